//! The events that a hub handles, and the actions that it asks for.

use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::replica::ReplicaEvent;
use crate::{
    CachedVersions, ChatId, ChatState, Command, Completion, DialId, Episode, FollowerId, GenerationId, Lease,
    MessageId, OpId, Page, Rejection, RelayFault, RelayFrame, RelayPosition, ReplicaId, Resume, RunError,
    Snapshot, SubscriptionId, Time, Version,
};

/// The outcome of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OpOutcome<T> {
    /// It happened, and this is its result.
    Done(T),
    /// The operation did not happen.
    Refused,
    /// The operation may have happened.
    Unknown,
}

/// What a hub is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HubEvent {
    /// A viewer came. The id was not used before in this hub.
    Subscribe {
        /// Names the viewer from now on.
        subscription: SubscriptionId,
        /// Where the stream begins.
        from: Resume,
    },
    /// A viewer has gone.
    Leave {
        /// Which viewer.
        subscription: SubscriptionId,
    },
    /// A replica came that follows what is generated here.
    Follow {
        /// Names the follower from now on. The id was not used before in this hub.
        follower: FollowerId,
        /// What it has already.
        position: Option<RelayPosition>,
    },
    /// A follower has gone.
    Unfollow {
        /// Which follower.
        follower: FollowerId,
    },

    /// The answer to [`HubAction::BusSubscribe`].
    BusSubscribed {
        /// The operation that this is the outcome of.
        op: OpId,
        /// Whether the subscription is in force.
        established: bool,
    },
    /// The subscription to the bus has ended: notices may have been missed.
    BusLost,
    /// The chat has changed, up to this version: by the bus or by the periodic sync.
    Hint {
        /// The newest version heard of.
        snapshot_version: Version,
    },
    /// The periodic sync asked for the chat and found none. It may be newer, or older, than what is known here.
    NotFound,
    /// This replica changed the chat, and this is the new row. Such events may come in any order, or not at
    /// all.
    Committed {
        /// The row after the change.
        state: Arc<ChatState>,
    },

    /// The answer to [`HubAction::ReadSnapshot`]: `Done(None)` if there is no such chat.
    SnapshotRead {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Option<Snapshot>>,
    },
    /// The answer to [`HubAction::ReadPage`]: `Done(None)` if there is no such chat.
    PageRead {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Option<Page>>,
    },
    /// The answer to [`HubAction::LoadHistory`]: the version of the history that was loaded.
    HistoryLoaded {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Version>,
    },
    /// The answer to [`HubAction::Apply`]: the state after it, or why it was rejected.
    Applied {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Result<Arc<ChatState>, Rejection>>,
    },

    /// This replica acquired the chat. `asked_at` is when it asked. Without `has_slot`, it has no slot for a
    /// run and may only finish an interruption.
    Acquired {
        /// The row after the acquisition.
        state: Arc<ChatState>,
        /// When the acquisition was asked for; the lease counts from then.
        asked_at: Time,
        /// Whether there is a free slot for a run.
        has_slot: bool,
    },
    /// The database confirmed the lease to a heartbeat that was sent at `sent_at`.
    LeaseConfirmed {
        /// Which lease.
        lease: Lease,
        /// The lease counts from then.
        sent_at: Time,
    },
    /// The database says that the lease is not this replica's any more.
    LeaseLost {
        /// Which lease.
        lease: Lease,
    },

    /// The answer to [`ReplicaEvent::Locate`].
    Located {
        /// Which replica.
        replica: ReplicaId,
        /// Where its relay is reached, `host:port`; `None` if that is not known.
        address: Option<Arc<str>>,
    },
    /// The worker has agreed to be followed.
    Dialed {
        /// Which dial.
        dial: DialId,
    },
    /// A frame came from the worker.
    Relayed {
        /// By which dial.
        dial: DialId,
        /// What it says.
        frame: RelayFrame,
    },
    /// A dial failed, or a relay ended.
    RelayGone {
        /// Which dial.
        dial: DialId,
        /// Why.
        fault: RelayFault,
    },

    /// The model said something.
    Generated {
        /// Which run.
        generation: GenerationId,
        /// What it said; becomes one part, or several if it is long.
        text: String,
    },
    /// The model has ended its answer.
    GenerationDone {
        /// Which run.
        generation: GenerationId,
        /// What the model says of its end.
        completion: Completion,
    },
    /// The model's run failed.
    GenerationFailed {
        /// Which run.
        generation: GenerationId,
        /// Why.
        error: RunError,
        /// Whether another attempt may go better.
        retryable: bool,
        /// How long the provider asked to be left alone.
        retry_after: Option<Duration>,
        /// What the delay before the next attempt is spread by.
        entropy: u64,
    },

    /// The model's run ended without an end.
    GenerationBrokeOff {
        /// Which run.
        generation: GenerationId,
        /// What the delay before the next attempt is spread by.
        entropy: u64,
    },

    /// Finish what runs; begin nothing new here.
    Drain,
    /// The grace period of the drain is over: hand over what still runs, at once.
    HandOver,
    /// The replica is shutting down: all streams end.
    Close,
    /// A deadline may have come.
    Wake,
}

impl HubEvent {
    /// What the replica is told if this event opens its chat's hub, and there is no room for one. `None`: it opens
    /// none, and is nobody's if there is none.
    pub fn unless_opened(&self, chat: ChatId) -> Option<ReplicaEvent> {
        match self {
            Self::Acquired { state, .. } => Some(ReplicaEvent::RunnerGone { chat, lease: state.lease }),
            _ => None,
        }
    }
}

/// What a hub asks for. Each operation is answered by the event that names its `op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HubAction {
    /// Subscribe to the chat's notices. Answered by [`HubEvent::BusSubscribed`].
    BusSubscribe {
        /// Names the operation.
        op: OpId,
    },
    /// The subscription is of no use any more.
    BusUnsubscribe,
    /// Read the chat. Answered by [`HubEvent::SnapshotRead`].
    ReadSnapshot {
        /// Names the operation.
        op: OpId,
        /// What the hub has already and need not be sent again.
        cached: Option<CachedVersions>,
    },
    /// The messages after `after`, up to and with `until`, as many as fit a page.
    ReadPage {
        /// Names the operation.
        op: OpId,
        /// The messages after this one.
        after: MessageId,
        /// Up to and with this one.
        until: MessageId,
    },
    /// Read the whole history, all of one version (as [`HistoryLoad`](crate::history::HistoryLoad) does), and keep it
    /// at hand for a `Start` that names this operation, until a `DropHistory` does.
    LoadHistory {
        /// Names the operation.
        op: OpId,
    },
    /// What this operation loaded is of no use any more.
    DropHistory {
        /// The operation that loaded it.
        op: OpId,
    },
    /// Apply a command and commit it. Answered by [`HubEvent::Applied`].
    Apply {
        /// Names the operation.
        op: OpId,
        /// The command.
        command: Command,
    },
    /// Follow what `worker` generates. Answered by `Dialed` or `RelayGone`, unless closed before.
    Dial {
        /// Names the dial, and the relay that comes of it.
        dial: DialId,
        /// Whom to dial.
        worker: ReplicaId,
        /// Where it is reached, `host:port`.
        address: Arc<str>,
        /// What the hub has already.
        position: Option<RelayPosition>,
    },
    /// Abort the dial or the relay. No more of its events are delivered.
    CloseDial {
        /// Which one.
        dial: DialId,
    },
    /// Run the model over the history that `history` loaded.
    Start {
        /// Names the run.
        generation: GenerationId,
        /// What the run generates.
        episode: Episode,
        /// The model that the chat names.
        model: Option<Arc<str>>,
        /// The operation that loaded the history.
        history: OpId,
    },
    /// Stop the model's run. Nothing of it is told any more.
    Cancel {
        /// Which run.
        generation: GenerationId,
    },
    /// Tell this replica's own machine.
    ToReplica(ReplicaEvent),
}

/// Why a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// To subscribe to the bus again, or to wait no longer for the answer.
    BusRetry,
    /// To try a read again.
    ReadRetry,
    /// A dial was not answered in time.
    DialTimeout,
    /// To dial again.
    DialRetry,
    /// To go on after an operation that failed.
    RunnerRetry,
    /// The next attempt of a failed generation is due.
    GenerationRetry,
    /// The lease expires by this replica's own clock.
    LeaseRunsOut,
    /// An episode that has ended need not be kept any longer.
    EpisodeRetention,
    /// Nobody has cared for the hub for a while.
    HubRetention,
    /// Leases are to be renewed, or a heartbeat's answer is overdue.
    Heartbeat,
    /// The periodic sync is due, or its answer is overdue.
    Sync,
    /// To acquire again after a failure.
    AcquireRetry,
}

/// When a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    /// When.
    pub at: Time,
    /// Why.
    pub reason: Reason,
}
