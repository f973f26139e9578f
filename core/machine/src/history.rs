//! A read of a chat's whole history, page by page: all of one version, or none.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{Message, MessageId, Page, Version};

/// A history that is being read. Read the page [`after`](Self::after), and hand it in by
/// [`on_page`](Self::on_page) until it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryLoad {
    messages: Vec<Arc<Message>>,
    version: Option<Version>,
}

/// What a page has made of the read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryStep {
    /// Another page is to be read.
    More(HistoryLoad),
    /// All messages, oldest first, of this version.
    Whole(Version, Arc<[Arc<Message>]>),
}

/// Why nothing came of a read. Reading again may go better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryFault {
    /// There is no such chat.
    #[error("the chat is gone")]
    Gone,
    /// A page is of another version than those before it.
    #[error("the history moved while it was read")]
    Moved,
    /// There should be more messages, and the page has none of them.
    #[error("a page of the history that was to bring more is empty")]
    Empty,
}

impl HistoryLoad {
    /// The last message that is there: the next page is of those after it.
    pub fn after(&self) -> MessageId {
        self.messages.last().map_or(MessageId(0), |message| message.id)
    }

    /// Takes the next page; `None` if there is no such chat.
    pub fn on_page(mut self, page: Option<Page>) -> Result<HistoryStep, HistoryFault> {
        let Page { messages, more, history_version, .. } = page.ok_or(HistoryFault::Gone)?;
        if self.version.is_some_and(|version| version != history_version) {
            return Err(HistoryFault::Moved);
        }
        if more && messages.is_empty() {
            return Err(HistoryFault::Empty);
        }
        self.version = Some(history_version);
        self.messages.extend(messages);
        Ok(match more {
            true => HistoryStep::More(self),
            false => HistoryStep::Whole(history_version, self.messages.into()),
        })
    }
}
