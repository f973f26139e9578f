//! A read of a chat's whole history for a model, page by page: all of one version, or none.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::calls::PartOfCall;
use crate::{Message, MessageId, Page, Role, Version};

/// A history as a model is given it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelHistory {
    /// Its messages, oldest first, without the calls that were cut short: nobody knows whether they were meant so, and
    /// they have no result (S11).
    pub messages: Arc<[Arc<Message>]>,
    /// The names of all its calls, those that were cut short too: each names one call, so no other may get it.
    pub call_ids: Arc<BTreeSet<String>>,
}

impl ModelHistory {
    /// What a model is given of these messages, oldest first.
    pub fn of(messages: impl IntoIterator<Item = Arc<Message>>) -> Self {
        let mut call_ids = BTreeSet::new();
        let messages = messages.into_iter().map(|message| match message.role {
            Role::Assistant => without_cut_calls(message, &mut call_ids),
            _ => message,
        });
        Self { messages: messages.collect(), call_ids: Arc::new(call_ids) }
    }
}

fn without_cut_calls(message: Arc<Message>, call_ids: &mut BTreeSet<String>) -> Arc<Message> {
    let mut has_cut = false;
    for part in message.content.parts_of_calls() {
        match part {
            PartOfCall::Call { id, .. } => _ = call_ids.insert(id),
            PartOfCall::Cut { id } => {
                has_cut = true;
                call_ids.insert(id);
            }
            PartOfCall::Result { .. } => {}
        }
    }
    if !has_cut {
        return message;
    }
    Arc::new(Message { content: message.content.without_cut_calls(), ..Message::clone(&message) })
}

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
    /// All of it, of this version.
    Whole(Version, ModelHistory),
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
            false => HistoryStep::Whole(history_version, ModelHistory::of(self.messages)),
        })
    }
}
