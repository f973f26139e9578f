//! A history as TanStack's client renders it first: each answer with its thoughts, its calls, and what came of them.

use mainstem_machine::{ChatId, Message, Role};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::listed::Rendering;
use super::super::names;
use super::ids;
use super::part::{Part, outcomes_of, parts_of};
use super::snapshot::{kind_of, source_of, text_of};

#[derive(Debug, Serialize)]
pub(super) struct UiMessage {
    id: String,
    role: &'static str,
    parts: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

/// Puts messages together, in order.
#[derive(Debug)]
pub(super) struct UiHistory {
    chat: ChatId,
    /// An answer, whose results may follow.
    open: Option<UiMessage>,
}

impl UiHistory {
    pub(super) fn new(chat: ChatId) -> Self {
        Self { chat, open: None }
    }
}

impl Rendering for UiHistory {
    type Rendered = UiMessage;

    fn add(&mut self, message: &Message) -> Vec<UiMessage> {
        let parts = parts_of(message);
        match message.role {
            Role::User | Role::System => {
                let mut complete: Vec<UiMessage> = self.open.take().into_iter().collect();
                let role = if message.role == Role::User { "user" } else { "system" };
                let metadata = parts.first().and_then(|part| part.message_metadata.as_ref());
                let metadata = metadata.and_then(|metadata| serde_json::from_str(metadata.get()).ok());
                let parts = parts.into_iter().filter_map(said).collect();
                complete.push(UiMessage { id: names::of(self.chat, message), role, parts, metadata });
                complete
            }
            Role::Assistant => {
                let complete = self.open.take().into_iter().collect();
                let id = ids::kept_answer(self.chat, message);
                let mut shown = vec![];
                for (place, part) in (0..).zip(&parts).filter(|(_, part)| part.r#type == "reasoning") {
                    let step = ids::kept_thought(self.chat, message, place);
                    shown.push(json!({"type": "thinking", "content": part.text, "stepId": step}));
                }
                let text = text_of(&parts, "text");
                if !text.is_empty() {
                    shown.push(json!({"type": "text", "content": text}));
                }
                shown.extend(parts.into_iter().filter_map(Part::into_call).map(|call| {
                    let arguments = call.input.get();
                    json!({
                        "type": "tool-call", "id": call.id, "name": call.name, "arguments": arguments,
                        "state": "input-complete", "input": call.input,
                    })
                }));
                if !shown.is_empty() {
                    self.open = Some(UiMessage { id, role: "assistant", parts: shown, metadata: None });
                }
                self.results(message);
                complete
            }
            Role::Tool => {
                self.results(message);
                vec![]
            }
        }
    }

    fn end(&mut self) -> Option<UiMessage> {
        self.open.take()
    }
}

impl UiHistory {
    fn results(&mut self, message: &Message) {
        let Some(open) = self.open.as_mut() else { return };
        for outcome in outcomes_of(self.chat, message) {
            let id = &*outcome.tool_call_id;
            let call = open.parts.iter_mut().find(|part| part["type"] == "tool-call" && part["id"] == id);
            let Some(call) = call else { continue };
            let output: Value =
                serde_json::from_str(&outcome.content).unwrap_or_else(|_| json!(outcome.content));
            call["output"] = output;
            let state = if outcome.is_error { "error" } else { "complete" };
            open.parts.push(json!({
                "type": "tool-result", "toolCallId": id, "content": outcome.content, "state": state,
            }));
        }
    }
}

fn said(part: Part) -> Option<Value> {
    match &*part.r#type {
        "text" => Some(json!({"type": "text", "content": part.text?})),
        "file" => Some(json!({"type": kind_of(part.media_type.as_deref()), "source": source_of(part)?})),
        _ => None,
    }
}
