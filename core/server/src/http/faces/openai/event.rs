//! Events of items, as OpenAI's clients take them: each names its item, and the item's place in the output.

use mainstem_machine::ChatId;
use serde::Serialize;
use serde_json::{Value, json};

use super::item::{Item, Kind, open_call, reasoning_part, text_part};
use super::number::ENDS;

/// An event with its name and its number.
#[derive(Serialize)]
pub(super) struct Numbered<'a, T> {
    pub(super) r#type: &'static str,
    pub(super) sequence_number: u64,
    #[serde(flatten)]
    pub(super) event: &'a T,
}

/// More text of an item.
#[derive(Serialize)]
pub(super) struct Delta<'a> {
    pub(super) item_id: &'a str,
    pub(super) output_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u32>,
    pub(super) delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[u8; 0]>,
}

impl<'a> Delta<'a> {
    /// With the event's name.
    pub(super) fn of(
        kind: Kind,
        item_id: &'a str,
        output_index: u64,
        delta: &'a str,
    ) -> (&'static str, Self) {
        let (name, content_index, logprobs) = match kind {
            Kind::Text => ("response.output_text.delta", Some(0), Some([])),
            Kind::Reasoning => ("response.reasoning_text.delta", Some(0), None),
            Kind::FunctionCall => ("response.function_call_arguments.delta", None, None),
            Kind::ServerCall => ("response.mcp_call_arguments.delta", None, None),
        };
        (name, Self { item_id, output_index, content_index, delta, logprobs })
    }
}

/// An item of which nothing was told yet.
pub(super) fn begun(kind: Kind, chat: ChatId, id: &str, call: &str, name: &str) -> Value {
    match kind {
        Kind::Text => {
            json!({"type": "message", "id": id, "role": "assistant", "status": "in_progress", "content": []})
        }
        Kind::Reasoning => {
            json!({"type": "reasoning", "id": id, "summary": [], "content": [], "status": "in_progress"})
        }
        Kind::FunctionCall | Kind::ServerCall => open_call(kind, chat, id, call, name),
    }
}

/// What comes behind an item's begin, before its text.
pub(super) fn opens(kind: Kind, id: &str, index: u64) -> Option<(&'static str, Value)> {
    let part = match kind {
        Kind::Text => text_part("", vec![]),
        Kind::Reasoning => reasoning_part(""),
        Kind::ServerCall => {
            return Some(("response.mcp_call.in_progress", json!({"item_id": id, "output_index": index})));
        }
        Kind::FunctionCall => return None,
    };
    let added = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part});
    Some(("response.content_part.added", added))
}

/// The events behind an item's text, each with its place among [`ENDS`] numbers. Of a call that is being carried out, the item is
/// not done.
pub(super) fn ends(item: &Item, index: u64, is_done: bool) -> Vec<(u64, &'static str, Value)> {
    let (id, text) = (&item.json["id"], &item.text);
    let mut ends = match item.kind {
        Kind::Text | Kind::Reasoning => {
            let part = &item.json["content"][0];
            let mut said = json!({"item_id": id, "output_index": index, "content_index": 0, "text": text});
            let kind = if item.kind == Kind::Text {
                said["logprobs"] = json!([]);
                "response.output_text.done"
            } else {
                "response.reasoning_text.done"
            };
            let whole = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part});
            vec![(0, kind, said), (1, "response.content_part.done", whole)]
        }
        Kind::FunctionCall => {
            let said =
                json!({"item_id": id, "output_index": index, "name": item.json["name"], "arguments": text});
            vec![(0, "response.function_call_arguments.done", said)]
        }
        Kind::ServerCall => {
            let said = json!({"item_id": id, "output_index": index, "arguments": text});
            let mut ends = vec![(0, "response.mcp_call_arguments.done", said)];
            if is_done {
                ends.push((1, came(item), json!({"item_id": id, "output_index": index})));
            }
            ends
        }
    };
    if is_done {
        ends.push((ENDS - 1, "response.output_item.done", json!({"output_index": index, "item": item.json})));
    }
    ends
}

/// What came of a call of the server's.
pub(super) fn came(item: &Item) -> &'static str {
    if item.json["status"] == "failed" { "response.mcp_call.failed" } else { "response.mcp_call.completed" }
}
