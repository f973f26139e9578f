//! What a model is asked (<https://platform.openai.com/docs/api-reference/chat/create>).

use mainstem_runtime::ports::{Conversation, Tool};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::messages::{Messages, Thoughts};

/// What an endpoint is asked for beyond what all take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// To tell what the run cost.
    pub(super) usage: bool,
    /// To take what the model thought.
    pub(super) thoughts: Thoughts,
}

/// A request's body, and what is in it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) json: Vec<u8>,
    /// There are thoughts of the model in it.
    pub(super) has_thoughts: bool,
    /// There are tools, and answers without a thought.
    pub(super) lacks_thoughts: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolForm<'a>>,
    messages: Vec<Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ToolForm<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
}

impl<'a> ToolForm<'a> {
    fn of(tool: &'a Tool) -> Self {
        let parameters = serde_json::from_str(&tool.input_schema).ok();
        let function = Function { name: &tool.name, description: &tool.description, parameters };
        Self { r#type: "function", function }
    }
}

/// The body that asks `model` to go on with a conversation.
pub(super) fn request(model: &str, conversation: &Conversation, extras: Extras) -> Body {
    let Messages { all: messages, has_thoughts, lacks_thoughts } =
        Messages::of(model, conversation, extras.thoughts);
    let stream_options = extras.usage.then_some(StreamOptions { include_usage: true });
    let tools = conversation.tools.iter().map(ToolForm::of).collect();
    let request = Request { model, stream: true, stream_options, tools, messages };
    let json = serde_json::to_vec(&request).expect("strings are written as JSON");
    Body { json, has_thoughts, lacks_thoughts }
}
