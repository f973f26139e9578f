//! Parts of a content, read for this face.

use std::sync::Arc;

use mainstem_machine::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::Problem;
use super::ids;
use crate::content::given;
use mainstem_machine::ChatId;

/// A part as it is in a content. What its kind does not have is `None`.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    pub(super) r#type: String,
    pub(super) text: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) input: Option<Box<RawValue>>,
    pub(super) media_type: Option<String>,
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) data: Option<Box<RawValue>>,
    pub(super) tool_call_id: Option<String>,
    pub(super) content: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) is_error: bool,
    pub(super) message_metadata: Option<Box<RawValue>>,
}

/// The parts of a message. One that cannot be read is none.
pub(super) fn parts_of(message: &Message) -> Vec<Part> {
    let parts: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).unwrap_or_default();
    let read = |part: &RawValue| serde_json::from_str(part.get()).ok();
    parts.into_iter().filter_map(read).collect()
}

/// A call whose input came whole. One that was cut short is told to nobody: it asks for nothing.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON.
    pub(super) input: Box<RawValue>,
}

/// What came of a call.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) message_id: String,
    pub(super) tool_call_id: String,
    pub(super) content: String,
    pub(super) is_error: bool,
}

impl Part {
    pub(super) fn into_call(self) -> Option<Call> {
        let is_call = self.r#type == "tool_call";
        Some(Call { id: self.id?, name: self.name?, input: self.input? }).filter(|_| is_call)
    }
}

/// The calls of an answer.
pub(super) fn calls_of(message: &Message) -> Vec<Call> {
    parts_of(message).into_iter().filter_map(Part::into_call).collect()
}

/// The results that a message has.
pub(super) fn outcomes_of(chat: ChatId, message: &Message) -> Vec<Outcome> {
    let results = parts_of(message).into_iter().filter(|part| part.r#type == "tool_result");
    let outcome = |(at, part): (usize, Part)| {
        Some(Outcome {
            message_id: ids::result(chat, message.id, at),
            tool_call_id: part.tool_call_id?,
            content: text_of(&part.content?),
            is_error: part.is_error,
        })
    };
    results.enumerate().filter_map(outcome).collect()
}

/// The content of a result, which is a text here: a string is that, texts are joined, and all else is told as JSON.
fn text_of(content: &RawValue) -> String {
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return text;
    }
    let parts: Vec<Part> = serde_json::from_str(content.get()).unwrap_or_default();
    let texts: Option<Vec<String>> = parts.into_iter().map(|part| part.text).collect();
    match texts {
        Some(texts) if !texts.is_empty() => texts.join("\n"),
        _ => content.get().to_owned(),
    }
}

/// The content that keeps a text.
pub(super) fn kept_text(text: &str, bytes_max: usize) -> Result<Arc<str>, Problem> {
    if text.len() > bytes_max {
        return Err(Problem::too_large("the text of a result", bytes_max));
    }
    Ok(serde_json::to_string(text).expect("a string is written").into())
}
