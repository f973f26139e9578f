//! The result of a command: the answer to its caller, and the effect on its chat.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AnswerRecord, ChatState, Message, MessageId, NextRow, QueuedMessage, Turn, Version};

/// The result of a command, as [`Command::apply_to`](crate::Command::apply_to) decides it, and as a store returns
/// it after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the caller is told.
    pub answer: Answer,
    /// What happens to the chat.
    pub effect: Effect,
}

/// What the caller of a command is told.
pub type Answer = Result<Accepted, Rejection>;

/// What a command does to its chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The command was accepted, and this is written with it.
    Changed(Change),
    /// It was rejected, or accepted with nothing to change.
    Unchanged,
    /// The command was applied before, and the answer is that of its idempotency record. Only a store says so.
    Replayed,
}

impl Applied {
    /// A rejection leaves the chat as it is.
    pub const fn rejected(rejection: Rejection) -> Self {
        Self { answer: Err(rejection), effect: Effect::Unchanged }
    }

    /// Accepted, with nothing to change.
    pub const fn unchanged(accepted: Accepted) -> Self {
        Self { answer: Ok(accepted), effect: Effect::Unchanged }
    }

    /// The answer of an idempotency record.
    pub const fn replayed(answer: Answer) -> Self {
        Self { answer, effect: Effect::Replayed }
    }

    /// Says of the change what it made of the row, if it changed nothing else.
    #[must_use]
    pub(crate) fn made_of(mut self, before: &ChatState) -> Self {
        if let Effect::Changed(change) = &mut self.effect {
            let next = NextRow::between(before, &change.state);
            change.next_row = next.filter(|_| !change.deleted && change.is_plain());
        }
        self
    }

    /// What is written, if anything.
    pub const fn change(&self) -> Option<&Change> {
        match &self.effect {
            Effect::Changed(change) => Some(change),
            Effect::Unchanged | Effect::Replayed => None,
        }
    }
}

/// What a store writes, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state after the change; of a chat that is deleted, its last one.
    pub state: Arc<ChatState>,
    /// What it made of the row before, if this is all that it changed.
    pub next_row: Option<Box<NextRow>>,
    /// The chat is deleted, with all its messages.
    pub deleted: bool,
    /// The messages from this id on are removed, before any is inserted.
    pub cut_from: Option<MessageId>,
    /// The turn that begins again: what is kept of its end is removed, before anything is inserted.
    pub reopened: Option<MessageId>,
    /// Messages that join the history, in order.
    pub inserted: Vec<Message>,
    /// Whether the queue has to be written.
    pub queue_changed: bool,
    /// The turns that end with it: one, or those of the messages that a chat is created with.
    pub ended: Vec<Turn>,
    /// The names that senders gave to messages, each with what is answered to whoever sends it again.
    pub named: Vec<(Arc<str>, AnswerRecord)>,
    /// Whether it has to be written with whom the chat is shared.
    pub shares_changed: bool,
    /// The user with whose shares the chat is listed from now on.
    pub listed: Option<Arc<str>>,
    /// The user with whose shares it is listed no more.
    pub unlisted: Option<Arc<str>>,
    /// What becomes of the time at which the lease expires.
    pub lease: LeaseTerm,
    /// It is acquired from a worker that had begun an attempt, and has neither ended it nor handed it over.
    pub takes_over: bool,
}

impl Change {
    /// What is behind the end of the history now that was not there before, in order; `None` if messages were cut off,
    /// so that the history before is not the beginning of the one after.
    pub fn appended(&self) -> Option<Appended> {
        self.cut_from.is_none().then(|| self.inserted.iter().cloned().map(Arc::new).collect())
    }
}

/// Messages that joined the history behind its end with one change, oldest first.
pub type Appended = Arc<[Arc<Message>]>;

/// What happens to the time at which the lease expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseTerm {
    /// It stays as it is.
    Keep,
    /// The lease expires one `lease-ttl` from now.
    Start,
    /// There is no lease any more.
    End,
}

/// The answer to an accepted command. It is stored in the idempotency record, so that a repeated request gets
/// the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accepted {
    /// The chat as it is now.
    Chat(Arc<ChatState>),
    /// The chat that has the name which was asked for already.
    Found(Arc<ChatState>),
    /// Where the message is now: one of the first two.
    Sent {
        /// In the history.
        message: Option<Message>,
        /// In the queue.
        queued: Option<QueuedMessage>,
        /// Of the chat, after the send.
        snapshot_version: Version,
    },
    /// What was asked to be deleted is.
    Gone,
}

/// Why a command was not accepted. The state is untouched.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// No such chat, or it is another user's and not shared.
    #[error("there is no such chat")]
    NoSuchChat,
    /// Something was to be created that is there.
    #[error("a chat of this id exists")]
    Exists,
    /// Nothing to edit.
    #[error("the history has no such message")]
    NoSuchMessage,
    /// Nothing to promote, or to take out of the queue.
    #[error("the queue has no such message")]
    NoSuchQueued,
    /// No message of that id was sent, or it was cut off.
    #[error("the chat has no such turn")]
    NoSuchTurn,
    /// An answer was to be edited, or to be answered again.
    #[error("only a user's message can be edited or answered again")]
    NotEditable,
    /// The chat is running or interrupting.
    #[error("the chat is busy")]
    Busy,
    /// The queue has its maximum.
    #[error("the queue is full")]
    QueueFull,
    /// No such call waits for the client's result.
    #[error("no such call waits for a result")]
    NotPending,
    /// The client's results, with those that are there, have more bytes than those of one answer may have.
    #[error("the results of the answer's calls are too large together")]
    ResultsTooLarge,
    /// It is shared with the user to read.
    #[error("the chat is shared with the caller to read only")]
    ReadOnly,
    /// Something that only the owner may ask for.
    #[error("only the owner of the chat may do this")]
    NotOwner,
    /// The chat was to be shared with its owner.
    #[error("the chat is the user's own")]
    OwnChat,
    /// The chat is shared with as many as may be.
    #[error("the chat is shared with as many users as it may be")]
    TooManyShares,
    /// There is nothing to interrupt.
    #[error("nothing is running, or not what was named")]
    NotRunning,
    /// Another replica has it, or there is no work.
    #[error("there is nothing to acquire: not runnable, or held under a lease that has not run out")]
    NotFree,
    /// The worker has lost the chat, or the chat has moved on.
    #[error("the worker does not hold the chat under that lease, at that history and attempt")]
    Fenced,
    /// The idempotency key came with another body before. Only a store says so, and it cannot be recorded, because
    /// the key's record has the answer to its first body.
    #[error("this idempotency key was used for another request")]
    #[serde(skip)]
    KeyReused,
}
