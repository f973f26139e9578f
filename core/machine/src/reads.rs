//! Results of database reads: a snapshot of one chat, and pages of its history.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{ChatState, Message, MessageId, Version};

/// What the reader has cached already, so that the store need not send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CachedVersions {
    /// Of the row.
    pub snapshot_version: Version,
    /// Tells whether the history was cut since.
    pub reset_version: Version,
    /// The newest message of the history.
    pub last_message: MessageId,
}

/// A consistent view of one chat at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// The row with its queue.
    pub state: Arc<ChatState>,
    /// The newest messages of the history.
    pub tail: Tail,
}

/// The newest messages, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Tail {
    /// All messages after `CachedVersions::last_message`. Only if nothing was cut off the history since.
    After(Vec<Arc<Message>>),
    /// The newest messages, up to `limits::TAIL_MESSAGES_MAX` and `limits::TAIL_BYTES_MAX`, but at least one
    /// if there is any. `from_start`: there are no messages before them.
    Newest {
        /// Oldest first.
        messages: Vec<Arc<Message>>,
        /// Whether nothing of the history is before them.
        from_start: bool,
    },
}

/// Messages in order, up to `limits::PAGE_MESSAGES_MAX` or the requested limit, and up to
/// `limits::PAGE_BYTES_MAX`, but at least one if there is any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Arc<Message>>,
    /// There are more messages after the last one, before the requested end.
    pub more: bool,
    /// Whether the message after which the page begins is in the history. True for 0.
    pub has_base: bool,
    /// When the history was last cut: pages of different ones do not fit together.
    pub reset_version: Version,
    /// Of the history that was read.
    pub history_version: Version,
}
