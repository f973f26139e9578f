//! The generator: given a conversation, a model answers in parts.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use mainstem_machine::{ChatId, Completion, Episode, Message, RunError};

/// The conversation that a model has to continue.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub chat: ChatId,
    pub model: Option<Arc<str>>,
    /// The episode to generate. Attempts count from 1.
    pub episode: Episode,
    /// The whole history, oldest first.
    pub messages: Arc<[Arc<Message>]>,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    /// More text. Never empty.
    Text(String),
    /// The answer is complete. Nothing follows.
    Done(Completion),
    /// The run failed. Nothing follows.
    Failed {
        error: RunError,
        retryable: bool,
        /// How long the provider asked to be left alone before the next attempt.
        retry_after: Option<Duration>,
    },
}

/// A run: a stream of what it generates. Dropping it cancels the run and releases everything it holds. If it
/// ends without `Done` or `Failed`, the run has failed retryably.
pub type Generation = BoxStream<'static, Generated>;

pub trait Generator: Send + Sync + 'static {
    /// Returns at once: connecting to the model is part of the run.
    fn start(&self, conversation: Conversation) -> Generation;
}
