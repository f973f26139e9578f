//! Tools: what a model may call, and what this server carries out itself.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
pub use mainstem_machine::Tool;
use mainstem_machine::{ChatId, MessageId};

/// A tool that this server carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTool {
    pub tool: Tool,
    /// Whether a call may be started again when nobody knows what became of it.
    pub is_repeatable: bool,
    /// After this, a call has failed.
    pub timeout: Duration,
}

/// A call of such a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub chat: ChatId,
    /// The user's message whose turn it belongs to.
    pub turn: MessageId,
    /// The model's name for the call; unique within the turn.
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// JSON text.
    pub input: Arc<str>,
}

/// What came of a call. There is always something: what goes wrong is said to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutput {
    /// The JSON text of a string, or of an array of parts, on one line.
    pub content: String,
    pub is_error: bool,
}

pub trait Tools: Send + Sync + 'static {
    /// What may be called now. Names are unique.
    fn list(&self) -> Arc<[ServerTool]>;

    /// Carries out a call, in bounded time and space. Dropping the future gives the call up.
    fn call(&self, call: ToolCall) -> BoxFuture<'static, ToolOutput>;
}
