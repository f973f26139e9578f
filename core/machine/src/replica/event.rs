//! What a replica is told, and what it asks for.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::hub::{HubEvent, OpOutcome};
use crate::store::Peer;
use crate::{ChatId, ChatState, Command, Lease, OpId, Rejection, ReplicaId, Status, Version};

/// How a replica is set up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplicaConfig {
    /// Its id.
    pub replica: ReplicaId,
    /// Chats generated here at once.
    pub workers: usize,
    /// How often leases are renewed.
    pub heartbeat: Duration,
    /// How often the database is asked for news, if nothing else makes it be.
    pub poll_interval: Duration,
}

/// What a replica is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReplicaEvent {
    /// A notice says that a chat is runnable and held by nobody.
    Free {
        /// Which chat.
        chat: ChatId,
        /// Whether it is to run, or an interruption is to be finished.
        status: Status,
    },
    /// The answer to [`ReplicaAction::BusSubscribe`].
    BusSubscribed {
        /// The operation that this is the outcome of.
        op: OpId,
        /// Whether the subscription is in force.
        established: bool,
    },
    /// The subscription to the bus has ended: notices may have been missed.
    BusLost,
    /// The answer to [`ReplicaAction::Sync`].
    Synced {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<SyncResult>,
    },
    /// The answer to [`ReplicaAction::Acquire`].
    Acquired {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Result<Arc<ChatState>, Rejection>>,
    },
    /// The answer to [`ReplicaAction::Heartbeat`] and to [`ReplicaAction::LookUp`].
    HeartbeatResult {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Heartbeat>,
    },
    /// The hub has no runner for this lease any more.
    RunnerGone {
        /// Which chat.
        chat: ChatId,
        /// Which lease.
        lease: Lease,
    },
    /// A hub wants to know where a replica is reached. Answered by [`HubEvent::Located`].
    Locate {
        /// Whose hub; its newest question is the one that is answered.
        chat: ChatId,
        /// Which replica.
        replica: ReplicaId,
    },
    /// Acquire no more chats.
    Drain,
    /// A deadline may have come.
    Wake,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Heartbeat {
    /// What the database took it for.
    Confirmed {
        /// These leases are still held, and were renewed.
        leases: Vec<(ChatId, Lease)>,
        /// The other replicas that are there.
        peers: Vec<Peer>,
    },
    /// Nothing was renewed: another process has this replica's name.
    NameLost {
        /// Where the relay of that process is reached, `host:port`.
        to: Arc<str>,
    },
}

/// The result of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SyncResult {
    /// What the hubs of these chats do not know: the version in the database; `None` if there is no such chat.
    pub news: Vec<(ChatId, Option<Version>)>,
    /// Runnable chats that may be acquired, longest waiting first.
    pub runnable: Vec<(ChatId, Status)>,
    /// Time until the soonest lease of a runnable chat expires.
    pub soonest_expiry: Option<Duration>,
}

impl SyncResult {
    /// What is news to the hubs whose chats were `asked` for, each with the version that its hub knew then, if these
    /// were `found`.
    pub fn news(asked: &[(ChatId, Version)], found: &[(ChatId, Version)]) -> Vec<(ChatId, Option<Version>)> {
        let found: BTreeMap<_, _> = found.iter().copied().collect();
        let seen = asked.iter().map(|(chat, known)| (*chat, *known, found.get(chat).copied()));
        let news = seen.filter(|(_, known, found)| found.is_none_or(|found| found > *known));
        news.map(|(chat, _, found)| (chat, found)).collect()
    }
}

/// What a replica asks for. Each operation is answered by the event that names its `op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaAction {
    /// Subscribe to notices about all chats. Answered by [`ReplicaEvent::BusSubscribed`].
    BusSubscribe {
        /// Names the operation.
        op: OpId,
    },
    /// List the runnable chats, and read the versions of all open hubs' chats.
    Sync {
        /// Names the operation.
        op: OpId,
        /// Runnable chats to report at the most.
        runnable_max: usize,
        /// Whether the versions are asked for, too: they are many, and looking for work is frequent.
        versions: bool,
    },
    /// Apply the acquisition and commit it. Answered by [`ReplicaEvent::Acquired`].
    Acquire {
        /// Names the operation.
        op: OpId,
        /// Which chat.
        chat: ChatId,
        /// The acquisition.
        command: Command,
    },
    /// Renew these leases.
    Heartbeat {
        /// Names the operation.
        op: OpId,
        /// All that have a runner here.
        held: Vec<(ChatId, Lease)>,
    },
    /// Look up where the other replicas are reached: a heartbeat that renews no lease.
    LookUp {
        /// Names the operation.
        op: OpId,
    },
    /// Tell the chat's hub. What it is told is nobody's if there is no hub, unless
    /// [`HubEvent::unless_opened`] says otherwise.
    To {
        /// Which chat.
        chat: ChatId,
        /// What to tell it.
        event: HubEvent,
    },
}
