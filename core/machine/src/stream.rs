//! What goes out to viewers and between replicas, before anybody encodes it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    Cursor, Episode, Lease, Message, QueuedMessage, ReplicaId, Retry, RunError, Seq, Status, Version,
};

/// One event of a viewer's stream, with the cursor that resumes right after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamEvent {
    pub cursor: Cursor,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    Message(Arc<Message>),
    QueueUpdate(Arc<[QueuedMessage]>),
    Status {
        status: Status,
        worker: Option<ReplicaId>,
        history_version: Version,
        attempt: u64,
    },
    Error(RunError),
    Retry(Option<Retry>),
    /// The parts `first_seq..=last_seq`, joined. UTF-8 text.
    Parts {
        episode: Episode,
        first_seq: Seq,
        last_seq: Seq,
        text: Bytes,
    },
    PreviewReset {
        episode: Episode,
        reason: ResetReason,
    },
    HistoryReset,
    Synced,
}

/// Why a preview is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetReason {
    Retry,
    Takeover,
    Edit,
}

impl ResetReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Takeover => "takeover",
            Self::Edit => "edit",
        }
    }
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resume {
    /// With nothing.
    Fresh,
    /// The viewer has the messages up to this one.
    After(crate::MessageId),
    At(Cursor),
}

/// Why a stream has ended, from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// The chat was deleted.
    Deleted,
    /// This replica is going away; another has the rest.
    Leaving,
}

/// The position of a follower: what it has of the newest episode it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayPosition {
    pub episode: Episode,
    pub seq: Seq,
}

/// What a worker tells a follower. The relay never carries durable events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RelayFrame {
    /// An episode began, or goes on where the follower's position is.
    Opened { episode: Episode, lease: Lease },
    /// The parts from `first_seq` on, each with its own text (UTF-8).
    Parts { episode: Episode, first_seq: Seq, parts: Vec<Bytes> },
    /// Nothing can be added to the episode any more, and the outcome of its commit is known.
    Closed { episode: Episode },
}

/// Why there is no relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayFault {
    /// Nobody answered, the connection broke, or the worker ended the stream.
    Gone,
    /// The peer does not work on this chat.
    NotWorker,
    /// The peer does not take our credentials. Final (S10).
    Denied,
    /// The peer sent what makes no sense.
    Nonsense,
}
