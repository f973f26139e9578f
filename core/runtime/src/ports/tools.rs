//! Tools: what a model may call, and what this server carries out itself.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
pub use mainstem_machine::Tool;
use mainstem_machine::{CallResult, ChatId, MessageId, Offered, Version};

/// A tool that this server carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTool {
    pub tool: Tool,
    /// Whether a call may be started again when nobody knows what became of it.
    pub is_repeatable: bool,
    /// After this, a call has failed.
    pub timeout: Duration,
}

impl ServerTool {
    /// What the machine is told of it.
    pub fn offered(&self) -> Offered {
        Offered { name: self.tool.name.clone(), is_repeatable: self.is_repeatable }
    }
}

/// A call of such a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub chat: ChatId,
    /// The user's message whose turn it belongs to.
    pub turn: MessageId,
    /// The version of the history that ends with the call.
    pub of: Version,
    /// The model's name for the call; unique within its message.
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// JSON text.
    pub input: Arc<str>,
    /// A worker that does not know what became of it begins it again, because the tool of this name was repeatable when
    /// the model was asked.
    pub is_repeatable: bool,
}

pub trait Tools: Send + Sync + 'static {
    /// What may be called now. Names are unique.
    fn list(&self) -> Arc<[ServerTool]>;

    /// Carries out a call, in bounded time and space. There is always a result: what goes wrong is said to the model.
    /// A call that may be begun again gets to no tool that is not repeatable now (S11).
    /// Dropping the future gives the call up.
    fn call(&self, call: ToolCall) -> BoxFuture<'static, CallResult>;
}

/// A server that has no tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTools;

impl Tools for NoTools {
    fn list(&self) -> Arc<[ServerTool]> {
        [].into()
    }

    fn call(&self, _: ToolCall) -> BoxFuture<'static, CallResult> {
        ready(CallResult::error("the tool was not called: this server has no tools")).boxed()
    }
}
