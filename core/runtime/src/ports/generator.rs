//! The generator: given a conversation, a model answers in parts.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use mainstem_machine::history::ModelHistory;
use mainstem_machine::{Block, ChatId, Completion, Episode, RunError};

use super::Tool;

/// The conversation that a model has to continue.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub chat: ChatId,
    pub model: Option<Arc<str>>,
    /// The episode to generate. Attempts count from 1.
    pub episode: Episode,
    /// The system prompt.
    pub instructions: Option<Arc<str>>,
    /// What the model may call.
    pub tools: Arc<[Tool]>,
    pub history: ModelHistory,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    /// More of the answer. One that begins no block continues the one before it, or begins a text. Only a call may
    /// begin with an empty text; what is whole comes at once, as the JSON text of an object on one line.
    Part { begins: Option<Block>, text: String },
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

impl Generated {
    /// More of the block before it, or of a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Part { begins: None, text: text.into() }
    }
}

/// A run: a stream of what it generates. Dropping it cancels the run and releases everything it holds. If it
/// ends without `Done` or `Failed`, the run has failed retryably.
pub type Generation = BoxStream<'static, Generated>;

pub trait Generator: Send + Sync + 'static {
    /// Returns at once: connecting to the model is part of the run.
    fn start(&self, conversation: Conversation) -> Generation;
}
