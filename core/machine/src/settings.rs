//! What a chat is set up with, beside its history: what can be changed without touching what runs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A tool, as a model is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tool {
    /// What a call names.
    pub name: Arc<str>,
    /// What it does, for the model.
    pub description: Arc<str>,
    /// A JSON Schema, as JSON text on one line.
    pub input_schema: Arc<str>,
}

/// A tool that the server carries out, as a run of the model was told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offered {
    /// What a call names.
    pub name: Arc<str>,
    /// Whether a call may be begun again where nobody knows what became of it.
    pub is_repeatable: bool,
}

/// What a chat is created with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The caller's own name for the chat: it has one of that name at most.
    pub external_id: Option<Arc<str>>,
    /// For people.
    pub title: Option<Arc<str>>,
    /// The model to ask, if not the server's own.
    pub model: Option<Arc<str>>,
    /// The system prompt, if not the server's own.
    pub instructions: Option<Arc<str>>,
    /// Tools that the client carries out.
    pub tools: Arc<[Tool]>,
}

/// What a model is asked with, beside the history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prompt {
    /// The model to ask, if the chat names one.
    pub model: Option<Arc<str>>,
    /// The system prompt, if the chat has one.
    pub instructions: Option<Arc<str>>,
    /// The tools of the chat.
    pub tools: Arc<[Tool]>,
}

/// A change of them. `None`: it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NewSettings {
    /// For people.
    pub title: Option<Option<Arc<str>>>,
    /// The model to ask; `Some(None)`: the server's own.
    pub model: Option<Option<Arc<str>>>,
    /// The system prompt; `Some(None)`: the server's own.
    pub instructions: Option<Option<Arc<str>>>,
    /// Tools that the client carries out.
    pub tools: Option<Vec<Tool>>,
}
