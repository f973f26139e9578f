//! A history as items: what a message is shown as. A pure function of the messages, in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::{ChatId, ChatState, Content, Message, MessageId, Role};
use serde_json::{Value, json};

use super::ids::{self, Origin};
use super::part::{Outcome, Part, outcomes_of, parts_of};

/// The server of tools that clients do not carry out themselves.
const SERVER_LABEL: &str = "mainstem";

/// The names of the tools that clients of a chat carry out; all others are the server's, or a model's own.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientTools(BTreeSet<Arc<str>>);

impl ClientTools {
    pub(super) fn of(state: &ChatState) -> Self {
        Self(state.tools.iter().map(|tool| tool.name.clone()).collect())
    }

    #[cfg(test)]
    pub(super) fn named(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).into()).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// What kind of item a block is, and what of it is told as it streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Reasoning,
    /// The client carries it out.
    FunctionCall,
    /// The server does, or the model's own agent.
    ServerCall,
}

impl Kind {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Text => "msg",
            Self::Reasoning => "rs",
            Self::FunctionCall => "fc",
            Self::ServerCall => "mcp",
        }
    }

    pub(super) fn of_part(part: &Part, tools: &ClientTools) -> Option<Self> {
        match &*part.r#type {
            "text" => Some(Self::Text),
            "reasoning" => Some(Self::Reasoning),
            "tool_call" => Some(Self::of_call(part.name.as_deref()?, tools)),
            _ => None,
        }
    }

    pub(super) fn of_call(name: &str, tools: &ClientTools) -> Self {
        if tools.has(name) { Self::FunctionCall } else { Self::ServerCall }
    }
}

/// The name of an item.
pub(super) fn name(kind: Kind, chat: ChatId, origin: Origin, place: u32) -> String {
    ids::item(kind.prefix(), chat, origin, place)
}

/// A call as it begins: what it is made with comes.
pub(super) fn open_call(kind: Kind, chat: ChatId, item: &str, call: &str, name: &str) -> Value {
    if kind == Kind::FunctionCall {
        let call = ids::call(chat, call);
        return json!({
            "type": "function_call", "id": item, "call_id": call, "name": name, "arguments": "",
            "status": "in_progress",
        });
    }
    json!({
        "type": "mcp_call", "id": item, "server_label": SERVER_LABEL, "name": name, "arguments": "",
        "approval_request_id": null, "output": null, "error": null, "status": "in_progress",
    })
}

pub(super) fn text_part(text: &str, annotations: Vec<Value>) -> Value {
    json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": []})
}

pub(super) fn reasoning_part(text: &str) -> Value {
    json!({"type": "reasoning_text", "text": text})
}

/// An item of an answer, with the place of its part.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) place: u32,
    pub(super) kind: Kind,
    pub(super) json: Value,
    /// What streamed of it.
    pub(super) text: String,
    /// The model's name for a call.
    pub(super) call: Option<String>,
}

impl Item {
    /// What came of a call that the server, or the model's own agent, carried out.
    pub(super) fn put(&mut self, outcome: &Outcome) {
        if outcome.is_error {
            let content = [json!({"type": "text", "text": outcome.text})];
            self.json["error"] = json!({"type": "mcp_tool_execution_error", "content": content});
        } else {
            self.json["output"] = json!(outcome.text);
        }
        self.json["status"] = json!(if outcome.is_error { "failed" } else { "completed" });
    }
}

/// The items of an answer, in order. What has no item, as data, is in none.
pub(super) fn items_of(chat: ChatId, message: &Message, tools: &ClientTools) -> Vec<Item> {
    let parts = parts_of(&message.content);
    let origin = Origin::of(message);
    let mut items: Vec<Item> = vec![];
    for (place, part) in &parts {
        if let Some(outcome) = part.outcome() {
            let is_it = |item: &&mut Item| item.call.as_deref() == Some(&*outcome.call);
            if let Some(item) = items.iter_mut().rev().find(is_it) {
                item.put(&outcome);
            }
            continue;
        }
        if let ("source", Some(url)) = (&*part.r#type, &part.url) {
            cite(&mut items, url, part.title.as_deref());
            continue;
        }
        let Some(kind) = Kind::of_part(part, tools) else { continue };
        let id = name(kind, chat, origin, *place);
        let status = if message.interrupted { "incomplete" } else { "completed" };
        let (json, text, call) = match kind {
            Kind::Text => {
                let Some(text) = part.text.clone() else { continue };
                let content = [text_part(&text, vec![])];
                let json = json!({"type": "message", "id": id, "role": "assistant", "content": content, "status": status});
                (json, text, None)
            }
            Kind::Reasoning => {
                let Some(text) = part.text.clone() else { continue };
                let content = [reasoning_part(&text)];
                let json = json!({"type": "reasoning", "id": id, "summary": [], "content": content, "status": status});
                (json, text, None)
            }
            Kind::FunctionCall | Kind::ServerCall => {
                let (Some(call), Some(name), Some(text)) = (&part.id, &part.name, part.arguments()) else {
                    continue;
                };
                let mut json = open_call(kind, chat, &id, call, name);
                json["arguments"] = json!(text);
                json["status"] = json!(match kind {
                    _ if !part.is_whole_call() => "incomplete",
                    Kind::ServerCall => "calling",
                    _ => "completed",
                });
                (json, text, Some(call.clone()))
            }
        };
        items.push(Item { place: *place, kind, json, text, call });
    }
    items
}

/// A source is of the text before it.
fn cite(items: &mut [Item], url: &str, title: Option<&str>) {
    let Some(item) = items.iter_mut().rev().find(|item| item.kind == Kind::Text) else { return };
    let end = item.text.chars().count();
    let citation = json!({"type": "url_citation", "url": url, "title": title.unwrap_or(url), "start_index": end, "end_index": end});
    if let Some(annotations) = item.json["content"][0]["annotations"].as_array_mut() {
        annotations.push(citation);
    }
}

/// Puts messages together, in order: what came of the server's calls is told with the call.
#[derive(Debug)]
pub(super) struct Rendering {
    chat: ChatId,
    tools: ClientTools,
    /// Of the answer whose calls are carried out.
    open: Vec<Item>,
}

impl Rendering {
    pub(super) fn new(chat: ChatId, tools: ClientTools) -> Self {
        Self { chat, tools, open: vec![] }
    }

    /// Takes the next message; tells what is complete by it.
    pub(super) fn add(&mut self, message: &Message) -> Vec<Value> {
        match message.role {
            Role::Assistant => {
                let complete = self.end();
                self.open = items_of(self.chat, message, &self.tools);
                complete
            }
            Role::Tool => {
                let mut brought = vec![];
                for (place, outcome) in (0..).zip(outcomes_of(message)) {
                    let is_it = |item: &&mut Item| {
                        item.kind == Kind::ServerCall && item.call.as_deref() == Some(&*outcome.call)
                    };
                    match self.open.iter_mut().find(is_it) {
                        Some(item) => item.put(&outcome),
                        None => brought.push(self.output(message, place, &outcome)),
                    }
                }
                let mut complete = self.end();
                complete.extend(brought);
                complete
            }
            Role::User | Role::System => {
                let mut complete = self.end();
                complete.push(said(self.chat, message.id, message.role, &message.content));
                complete
            }
        }
    }

    /// What is left at the end.
    pub(super) fn end(&mut self) -> Vec<Value> {
        self.open.drain(..).map(|item| item.json).collect()
    }

    /// What a client brought of a call.
    fn output(&self, message: &Message, place: u32, outcome: &Outcome) -> Value {
        let id = ids::item("fco", self.chat, Origin::Message(message.id), place);
        let call = ids::call(self.chat, &outcome.call);
        json!({"type": "function_call_output", "id": id, "call_id": call, "output": outcome.text, "status": "completed"})
    }
}

/// What a user, or whoever set the chat up, says.
pub(super) fn said(chat: ChatId, id: MessageId, role: Role, content: &Content) -> Value {
    let id = ids::item("msg", chat, Origin::Message(id), 0);
    let content = parts_of(content).into_iter().filter_map(|(_, part)| match &*part.r#type {
        "text" => Some(json!({"type": "input_text", "text": part.text?})),
        "file" => {
            let (url, media_type) = (part.file_url()?, part.media_type.as_deref().unwrap_or_default());
            if media_type.starts_with("image/") {
                return Some(
                    json!({"type": "input_image", "image_url": url, "detail": "auto", "file_id": null}),
                );
            }
            let member = if part.url.is_some() { "file_url" } else { "file_data" };
            Some(json!({"type": "input_file", "filename": part.name, member: url}))
        }
        _ => None,
    });
    let content: Vec<Value> = content.collect();
    json!({"type": "message", "id": id, "role": role.as_str(), "status": "completed", "content": content})
}
