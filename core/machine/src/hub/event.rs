//! What a hub is told, and what it asks for.

use alloc::string::String;
use alloc::sync::Arc;

use crate::{
    CachedVersions, ChatState, Command, DialId, Episode, FollowerId, GenerationId, Lease, MessageId, OpId,
    Page, Rejection, RelayFault, RelayFrame, RelayPosition, ReplicaId, Resume, RunError, Snapshot,
    SubscriptionId, Time, Version,
};

/// How an operation came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpOutcome<T> {
    Done(T),
    /// It did not happen.
    Refused,
    /// It may have happened.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubEvent {
    /// A viewer came. The id was not used before in this hub.
    Subscribe {
        subscription: SubscriptionId,
        from: Resume,
    },
    Leave {
        subscription: SubscriptionId,
    },
    /// A replica came that follows what is generated here.
    Follow {
        follower: FollowerId,
        position: Option<RelayPosition>,
    },
    Unfollow {
        follower: FollowerId,
    },

    /// The answer to [`HubAction::BusSubscribe`].
    BusSubscribed {
        op: OpId,
        established: bool,
    },
    /// The subscription to the bus has ended: notices may have been missed.
    BusLost,
    /// The chat has changed, up to this version: by the bus or by the periodic sync.
    Hint {
        snapshot_version: Version,
    },
    /// The chat was changed from here, and this is the row since. Told in any order, or not at all.
    Committed {
        state: Arc<ChatState>,
    },

    /// The answer to [`HubAction::ReadSnapshot`]: `Done(None)` if there is no such chat.
    SnapshotRead {
        op: OpId,
        outcome: OpOutcome<Option<Snapshot>>,
    },
    PageRead {
        op: OpId,
        outcome: OpOutcome<Option<Page>>,
    },
    /// The answer to [`HubAction::LoadHistory`]: the version of the history that was loaded.
    HistoryLoaded {
        op: OpId,
        outcome: OpOutcome<Version>,
    },
    /// The answer to [`HubAction::Apply`]: the state after it, or why it was rejected.
    Applied {
        op: OpId,
        outcome: OpOutcome<Result<Arc<ChatState>, Rejection>>,
    },

    /// This replica acquired the chat. `asked_at` is when it asked; without `has_slot` there is no place for a
    /// run, and only an interruption may be finished.
    Acquired {
        state: Arc<ChatState>,
        asked_at: Time,
        has_slot: bool,
    },
    /// The database confirmed the lease to a heartbeat that was sent at `sent_at`.
    LeaseConfirmed {
        lease: Lease,
        sent_at: Time,
    },
    /// The database says that the lease is not this replica's any more.
    LeaseLost {
        lease: Lease,
    },

    Dialed {
        dial: DialId,
    },
    Relayed {
        dial: DialId,
        frame: RelayFrame,
    },
    RelayGone {
        dial: DialId,
        fault: RelayFault,
    },

    Generated {
        generation: GenerationId,
        text: String,
    },
    GenerationDone {
        generation: GenerationId,
    },
    GenerationFailed {
        generation: GenerationId,
        error: RunError,
        retryable: bool,
    },

    /// Finish what runs; begin nothing new here.
    Drain,
    /// The grace for that is over: hand over what still runs, at once.
    HandOver,
    /// Nobody is served here any more: all streams end.
    Close,
    /// A deadline may have come.
    Wake,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HubAction {
    BusSubscribe {
        op: OpId,
    },
    BusUnsubscribe,
    ReadSnapshot {
        op: OpId,
        cached: Option<CachedVersions>,
    },
    /// The messages after `after`, up to and with `until`, as many as fit a page.
    ReadPage {
        op: OpId,
        after: MessageId,
        until: MessageId,
    },
    /// Read the whole history and keep it at hand for a `Start` that names this operation.
    LoadHistory {
        op: OpId,
    },
    Apply {
        op: OpId,
        command: Command,
    },
    /// Follow what `worker` generates. Answered by `Dialed` or `RelayGone`, unless closed before.
    Dial {
        dial: DialId,
        worker: ReplicaId,
        position: Option<RelayPosition>,
    },
    /// Give up the dial or the relay. Nothing of it is told any more.
    CloseDial {
        dial: DialId,
    },
    /// Run the model over the history that `history` loaded.
    Start {
        generation: GenerationId,
        episode: Episode,
        model: Option<Arc<str>>,
        history: OpId,
    },
    Cancel {
        generation: GenerationId,
    },
    /// There is no runner for this lease any more: it is not to be renewed.
    RunnerGone {
        lease: Lease,
    },
}

/// Why a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    BusRetry,
    ReadRetry,
    DialTimeout,
    DialRetry,
    RunnerRetry,
    GenerationRetry,
    LeaseRunsOut,
    EpisodeRetention,
    HubRetention,
    Heartbeat,
    Sync,
    SoonestLease,
    AcquireRetry,
}

/// When a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    pub at: Time,
    pub reason: Reason,
}
