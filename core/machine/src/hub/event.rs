//! The events that a hub handles, each in an enum of its kind.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::replica::ReplicaEvent;
use crate::{
    Appended, Block, CallResult, ChatId, ChatState, Completion, DialId, FollowerId, GenerationId, Lease,
    NextRow, Offered, OpId, Page, Rejection, RelayFault, RelayFrame, RelayPosition, ReplicaId, Resume,
    RunError, Snapshot, SubscriptionId, Time, Version,
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
    /// Who watches or follows, and who does not any more.
    Audience(AudienceEvent),
    /// The subscription to the chat's notices.
    Bus(BusEvent),
    /// What is heard of the chat: it may be newer than what is known here.
    Chat(ChatEvent),
    /// The outcome of an operation on the database.
    Database(DatabaseEvent),
    /// What the database says of this replica's lease of the chat.
    Lease(LeaseEvent),
    /// What comes of a dial, and by the relay that it leads to.
    Relay(RelayEvent),
    /// What a run of the model says.
    Model(ModelEvent),
    /// What comes of calls that this replica carries out.
    Tool(ToolEvent),
    /// The replica goes away.
    Leaving(LeavingEvent),
    /// A deadline may have come.
    Wake,
}

/// Who watches or follows, and who does not any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AudienceEvent {
    /// A viewer came. The id was not used before in this hub.
    Subscribe {
        /// Names the viewer from now on.
        subscription: SubscriptionId,
        /// Where the stream begins.
        from: Resume,
        /// Whose stream it is: it ends when the chat is not there for them any more. `None`: of somebody who may see
        /// every chat.
        user: Option<Arc<str>>,
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
}

/// The subscription to the chat's notices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BusEvent {
    /// The answer to [`HubAction::BusSubscribe`](super::HubAction::BusSubscribe).
    Subscribed {
        /// The operation that this is the outcome of.
        op: OpId,
        /// Whether the subscription is in force.
        established: bool,
    },
    /// The subscription to the bus has ended: notices may have been missed.
    Lost,
}

/// What a notice says of the row of a version: of which history and queue it is, and what was made of the row before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Noticed {
    /// Of the row.
    pub snapshot_version: Version,
    /// Of the history, which the change left as it was.
    pub history_version: Version,
    /// Of the queue, which the change left as it was.
    pub queue_version: Version,
    /// What the change made of the row.
    pub row: Box<NextRow>,
}

/// What is heard of the chat: it may be newer than what is known here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ChatEvent {
    /// The chat has changed, up to this version: by the bus or by the periodic sync.
    Hint {
        /// The newest version heard of.
        snapshot_version: Version,
    },
    /// The periodic sync asked for the chat and found none. It may be newer, or older, than what is known here.
    NotFound,
    /// This replica changed the chat, and this is the new row. Such events may come in any order, or not at
    /// all, and others may have changed the chat in between.
    Committed {
        /// The row after the change.
        state: Arc<ChatState>,
        /// What the change appended to the history of the version before this row's; `None` if it cut messages off.
        appended: Option<Appended>,
    },
    /// Another replica changed the chat's row and nothing else. Like all that comes by the bus, it may come in any order, more
    /// than once, or not at all.
    Noticed(Noticed),
}

/// The outcome of an operation on the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DatabaseEvent {
    /// The answer to [`HubAction::ReadSnapshot`](super::HubAction::ReadSnapshot): `Done(None)` if there is no such chat.
    SnapshotRead {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Option<Snapshot>>,
    },
    /// The answer to [`HubAction::ReadPage`](super::HubAction::ReadPage): `Done(None)` if there is no such chat.
    PageRead {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Option<Page>>,
    },
    /// The answer to [`HubAction::LoadHistory`](super::HubAction::LoadHistory): the version of the history that was loaded.
    HistoryLoaded {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Version>,
    },
    /// The answer to [`HubAction::Apply`](super::HubAction::Apply): the state after it, or why it was rejected.
    Applied {
        /// The operation that this is the outcome of.
        op: OpId,
        /// How it came out.
        outcome: OpOutcome<Result<Arc<ChatState>, Rejection>>,
    },
}

/// What the database says of this replica's lease of the chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LeaseEvent {
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
    Confirmed {
        /// Which lease.
        lease: Lease,
        /// The lease counts from then.
        sent_at: Time,
    },
    /// The database says that the lease is not this replica's any more.
    Lost {
        /// Which lease.
        lease: Lease,
    },
}

/// What comes of a dial, and by the relay that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RelayEvent {
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
    Gone {
        /// Which dial.
        dial: DialId,
        /// Why.
        fault: RelayFault,
    },
}

/// What a run of the model says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ModelEvent {
    /// The model said something.
    Generated {
        /// Which run.
        generation: GenerationId,
        /// The block that this begins; `None`: it continues the one before it, or begins a text.
        begins: Option<Block>,
        /// What it said; becomes one part, or several if it is long and not whole.
        text: String,
    },
    /// The model has ended its answer.
    Done {
        /// Which run.
        generation: GenerationId,
        /// What the model says of its end.
        completion: Completion,
        /// The server's tools that the model was told of when it began.
        offered: Arc<[Offered]>,
    },
    /// The model's run failed.
    Failed {
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
    BrokeOff {
        /// Which run.
        generation: GenerationId,
        /// What the delay before the next attempt is spread by.
        entropy: u64,
    },
}

/// What comes of calls that this replica carries out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ToolEvent {
    /// The answer to [`HubAction::Call`](super::HubAction::Call).
    Returned {
        /// The operation that this is the outcome of.
        op: OpId,
        /// What came of it; what went wrong is told here, too.
        result: CallResult,
    },
}

/// The replica goes away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LeavingEvent {
    /// Finish what runs; begin nothing new here.
    Drain,
    /// The grace period of the drain is over: hand over what still runs, at once.
    HandOver,
    /// The replica is shutting down: all streams end.
    Close,
}

impl HubEvent {
    /// What the replica is told if this event opens its chat's hub, and there is no room for one. `None`: it opens
    /// none, and is nobody's if there is none.
    pub fn unless_opened(&self, chat: ChatId) -> Option<ReplicaEvent> {
        match self {
            Self::Lease(LeaseEvent::Acquired { state, .. }) => {
                Some(ReplicaEvent::RunnerGone { chat, lease: state.lease })
            }
            _ => None,
        }
    }
}
