//! Events for viewers and frames between replicas, before they are encoded.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    Block, Cursor, Episode, Lease, Message, MessageId, OpenCall, Part, QueuedMessage, ReplicaId, Retry,
    RunError, Seq, Status, Version,
};

/// One event of a viewer's stream, with the cursor that resumes right after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamEvent {
    /// Resumes right after this event.
    pub cursor: Cursor,
    /// What is told.
    pub body: Body,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// It was committed. The preview ends.
    Message(Arc<Message>),
    /// The whole queue.
    QueueUpdate(Arc<[QueuedMessage]>),
    /// What the chat is doing now, and the episode that this names.
    Status {
        /// What the chat is doing.
        status: Status,
        /// The replica that holds the lease.
        worker: Option<ReplicaId>,
        /// Of the episode.
        history_version: Version,
        /// Of the episode.
        attempt: u64,
        /// The turn that runs, or the last one.
        turn: Option<MessageId>,
        /// Calls that have no result in the history.
        calls: Arc<[OpenCall]>,
    },
    /// Why the chat is in [`Status::Error`].
    Error(RunError),
    /// A failed generation is tried again; `None`: that is over.
    Retry(Option<Retry>),
    /// The parts `first_seq..=last_seq` of one block, joined.
    Parts {
        /// Of which episode.
        episode: Episode,
        /// The first of them.
        first_seq: Seq,
        /// The last of them.
        last_seq: Seq,
        /// The place that the block will have in the message's content, from 0.
        place: u32,
        /// What they are parts of.
        block: Block,
        /// Their text, UTF-8.
        text: Bytes,
    },
    /// What was shown of the episode is void.
    PreviewReset {
        /// Which episode.
        episode: Episode,
        /// Why.
        reason: ResetReason,
    },
    /// Messages were removed: the full list follows.
    HistoryReset,
    /// What there was when the viewer came has been told.
    Synced,
}

/// Why a preview became void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetReason {
    /// The generation failed, or was given up, and another attempt follows.
    Retry,
    /// Another worker, or another lease.
    Takeover,
    /// The history was cut.
    Edit,
}

impl ResetReason {
    /// The name, as clients have it.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Resume {
    /// The viewer has nothing.
    Fresh,
    /// The viewer has the messages up to this one.
    After(crate::MessageId),
    /// Right behind the event that had this cursor.
    At(Cursor),
}

/// Why this side ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// The chat was deleted.
    Deleted,
    /// The chat is not there for the viewer any more.
    Unshared,
    /// This replica is shutting down; the viewer can resume at another one.
    Leaving,
}

/// The position of a follower: the newest episode it knows, and the last part it has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RelayPosition {
    /// The newest that the follower knows.
    pub episode: Episode,
    /// The last part that it has of it.
    pub seq: Seq,
}

/// What a worker sends to a follower. The relay never carries durable events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RelayFrame {
    /// An episode began, or continues at the follower's position.
    Opened {
        /// Which episode.
        episode: Episode,
        /// The lease under which it is generated.
        lease: Lease,
    },
    /// The parts from `first_seq` on.
    Parts {
        /// Of which episode.
        episode: Episode,
        /// The first of them.
        first_seq: Seq,
        /// In order.
        parts: Vec<Part>,
    },
    /// No part can be added to the episode any more, and the outcome of its commit is known.
    Closed {
        /// Which episode.
        episode: Episode,
    },
}

/// Why a relay failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RelayFault {
    /// Nobody answered, the connection broke, or the worker ended the stream.
    Gone,
    /// The peer does not work on this chat.
    NotWorker,
    /// The peer rejected our credentials. Final (S10).
    Denied,
    /// The peer violated the protocol.
    Nonsense,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pull writes one and moves it to whoever asked. A body that needs more belongs behind an `Arc`.
    #[test]
    fn an_event_is_small_enough_to_be_moved_for_every_pull() {
        assert!(size_of::<StreamEvent>() <= 168, "{} bytes", size_of::<StreamEvent>());
    }

    #[test]
    fn clients_are_told_why_a_preview_is_void_by_these_names() {
        let reasons = [ResetReason::Retry, ResetReason::Takeover, ResetReason::Edit];
        assert_eq!(reasons.map(ResetReason::as_str), ["retry", "takeover", "edit"]);
    }
}
