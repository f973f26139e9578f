//! The part of the Chat Completions protocol that is spoken here: text, in one choice, streamed
//! (<https://platform.openai.com/docs/api-reference/chat-streaming>).

use mainstem_machine::Role;
use mainstem_runtime::ports::Conversation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    messages: Vec<Message>,
}

#[derive(Serialize)]
struct Message {
    role: Role,
    content: String,
}

/// The body that asks `model` to go on with a conversation.
pub(super) fn request(model: &str, conversation: &Conversation) -> Vec<u8> {
    let message = |message: &std::sync::Arc<mainstem_machine::Message>| Message {
        role: message.role,
        content: message.content.to_text(),
    };
    let messages = conversation.messages.iter().map(message).collect();
    serde_json::to_vec(&Request { model, stream: true, messages }).expect("strings are written as JSON")
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

/// What one event of the stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// May be empty.
    pub(super) text: String,
    /// How the answer ended, if it did.
    pub(super) end: Option<Result<(), Fault>>,
}

/// Reads the data of one event.
pub(super) fn read(data: &[u8]) -> Result<Said, Fault> {
    if data == b"[DONE]" {
        return Ok(Said { text: String::new(), end: Some(Ok(())) });
    }
    // Derived code would take an array for a struct, too.
    if !data.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::Garbage);
    }
    let chunk: Chunk = serde_json::from_slice(data).map_err(|_| Fault::Garbage)?;
    if let Some(error) = chunk.error {
        return Err(Fault::of_error(&error));
    }
    // The last chunk of some providers has no choice: it tells the tokens used.
    let Some(choice) = chunk.choices.and_then(|choices| choices.into_iter().next()) else {
        return Ok(Said { text: String::new(), end: None });
    };
    let text = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
    let end = choice.finish_reason.map(|reason| match reason.as_str() {
        "content_filter" => Err(Fault::Filtered),
        "error" => Err(Fault::Stopped),
        _ => Ok(()),
    });
    Ok(Said { text, end })
}
