//! What a read of the database brings: one chat as it was at one moment, and pages of its history.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{ChatState, Message, MessageId, Version};

/// What the reader has already, so that the store need not send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CachedVersions {
    /// Of the row.
    pub snapshot_version: Version,
    /// Tells whether the history was cut since.
    pub reset_version: Version,
    /// The newest message of the history.
    pub last_message: MessageId,
}

/// One view of a chat: everything in it was true at the same moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The row with its queue.
    pub state: Arc<ChatState>,
    /// The newest messages of the history.
    pub tail: Tail,
}

/// The newest messages, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// All messages after `CachedVersions::last_message`. Only if the history was not cut since.
    After(Vec<Arc<Message>>),
    /// The newest messages, up to `limits::TAIL_MESSAGES_MAX` and `limits::TAIL_BYTES_MAX` (at least one, if
    /// there is any); `from_start` if there is none before them.
    Newest {
        /// Oldest first.
        messages: Vec<Arc<Message>>,
        /// Whether nothing of the history is before them.
        from_start: bool,
    },
}

/// Messages in order, up to `limits::PAGE_MESSAGES_MAX` or the asked limit, and `limits::PAGE_BYTES_MAX` (at
/// least one, if there is any).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Arc<Message>>,
    /// There are more behind the last one (not counting any behind the asked end).
    pub more: bool,
    /// Whether the history has the message after which the page begins. True for 0.
    pub has_base: bool,
    /// When the history was last cut: pages of different ones do not fit together.
    pub reset_version: Version,
    /// Of the history that was read.
    pub history_version: Version,
}
