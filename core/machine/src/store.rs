//! What a store is asked and what it answers, beside the reads of one chat, as values.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{ChatId, ChatState, Command, Keep, Lease, ReplicaId, Status, Version};

/// A command for a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Which chat it is for.
    pub chat: ChatId,
    /// What it does.
    pub command: Command,
    /// The user who asks: for anybody but its owner, a chat does not exist (S10). `None` for the server
    /// itself.
    pub by: Option<Arc<str>>,
    /// Under which the answer is kept.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Identifies a request, so that it takes effect only once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The user who asks.
    pub caller: Arc<str>,
    /// Method, path, and the value of the `Idempotency-Key` header.
    pub key: Arc<str>,
    /// A digest of the request's body.
    pub body: [u8; 32],
    /// How much of the answer is kept.
    pub keep: Keep,
}

/// What the names begin with that are drawn, and no client's.
const DRAWN: &str = "internal ";

impl IdempotencyKey {
    /// One that nobody else has, of numbers that were drawn for it: a request that came without a key may be sent again
    /// under it.
    pub fn drawn(caller: &Arc<str>, numbers: [u64; 2]) -> Self {
        let [first, second] = numbers;
        let key = format!("{DRAWN}{first:016x}{second:016x}").into();
        Self { caller: caller.clone(), key, body: [0; 32], keep: Keep::Decision }
    }

    /// Whether nobody else has it: then whoever uses it waits for nobody.
    pub fn is_drawn(&self) -> bool {
        self.key.starts_with(DRAWN)
    }
}

/// A chat held under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// The chat.
    pub chat: ChatId,
    /// The lease.
    pub lease: Lease,
}

/// A replica's entry in the table of members, which it writes with each heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaRow {
    /// Its name.
    pub replica: ReplicaId,
    /// Where peers reach its relay, `host:port`; empty if it has none (yet), and then it is nobody's peer.
    pub address: String,
    /// Which process of this name it is; two at the same time differ.
    pub incarnation: u64,
}

/// Another process that has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Where its relay is reached.
    pub address: String,
    /// How long it has not been heard of, by the database's clock.
    pub silent_for: Duration,
}

/// Another replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer {
    /// Its name.
    pub replica: ReplicaId,
    /// Where its relay is reached.
    pub address: String,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReport {
    /// The chats whose lease this replica still holds. They now expire one `lease_ttl` after this heartbeat.
    pub confirmed: Vec<Held>,
    /// The other replicas that sent a heartbeat within three times `lease_ttl`.
    pub peers: Vec<Peer>,
    /// The name is another's, who was heard of within `lease_ttl`: nothing was renewed or written.
    pub rival: Option<Rival>,
}

/// Which of the chats that a user may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// The user's own.
    #[default]
    Own,
    /// Those that others share with the user.
    Shared,
}

/// One page of a user's chats. A list carries no queues: those of its chats are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Newest first.
    pub chats: Vec<ChatState>,
    /// There are more behind the last one.
    pub more: bool,
}

/// What opens one stream, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Of the ticket itself, which nobody keeps.
    pub digest: [u8; 32],
    /// The user whose it is.
    pub owner: Arc<str>,
    /// What it is good for.
    pub body: Arc<str>,
    /// How long it may be taken, by the store's clock.
    pub lifetime: Duration,
    /// How many its owner may have.
    pub owned_max: usize,
}

/// What a look at some of the chats has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Those that are idle and have not changed for long, in the order of their ids.
    pub chats: Vec<ChatId>,
    /// The last chat that was looked at, if there may be more behind it.
    pub next: Option<ChatId>,
}

/// The request of a periodic sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The open hubs' chats.
    pub chats: Vec<ChatId>,
    /// The maximum number of runnable chats to report.
    pub runnable_max: usize,
}

/// The answer to a periodic sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The current versions of the requested chats that exist.
    pub versions: Vec<(ChatId, Version)>,
    /// Runnable chats that nobody holds, or whose lease has expired: interruptions first, then those that
    /// have waited longest.
    pub runnable: Vec<(ChatId, Status)>,
    /// Time, by the database's clock, until the next lease of a runnable chat expires.
    pub soonest_expiry: Option<Duration>,
}
