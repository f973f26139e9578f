//! A history as UI messages: what a page renders first. All that answers one message is one message there.

use mainstem_machine::{ChatId, Message, MessageId, Role, Tool};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::listed::Rendering;
use super::super::names;
use super::part::{Outcome, Part};
use super::told::CUT_SHORT;

#[derive(Debug, Serialize)]
pub(super) struct Rendered {
    id: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    parts: Vec<RenderedPart>,
    #[serde(skip)]
    turn: Option<MessageId>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct RenderedPart {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_executed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// Puts messages together, in order.
#[derive(Debug)]
pub(super) struct UiHistory {
    chat: ChatId,
    client_tools: Vec<Tool>,
    /// An answer that more may belong to.
    open: Option<Rendered>,
}

impl UiHistory {
    pub(super) fn new(chat: ChatId, tools: &[Tool]) -> Self {
        Self { chat, client_tools: tools.to_vec(), open: None }
    }
}

impl Rendering for UiHistory {
    type Rendered = Rendered;

    fn add(&mut self, message: &Message) -> Vec<Rendered> {
        let mut complete = vec![];
        let goes_on = self.open.as_ref().is_some_and(|open| open.turn == message.turn);
        match message.role {
            Role::User | Role::System => {
                complete.extend(self.open.take());
                let role = if message.role == Role::User { "user" } else { "system" };
                let (id, turn) = (names::of(self.chat, message), message.turn);
                let (metadata, parts) = (metadata_of(message), self.parts(message));
                complete.push(Rendered { id, role, metadata, parts, turn });
            }
            Role::Assistant => {
                if !goes_on {
                    complete.extend(self.open.take());
                    let computed = || names::of_answer(self.chat, message.turn.unwrap_or(message.id));
                    let id = message.client_id.as_deref().map_or_else(computed, str::to_owned);
                    let (role, metadata, turn) = ("assistant", metadata_of(message), message.turn);
                    self.open = Some(Rendered { id, role, metadata, parts: vec![], turn });
                }
                let parts = self.parts(message);
                let open = self.open.as_mut().expect("it was just opened");
                open.parts.push(RenderedPart { r#type: "step-start".into(), ..RenderedPart::default() });
                // What an agent did itself stands beside its calls.
                let own: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).unwrap_or_default();
                open.parts.extend(parts);
                own.into_iter().for_each(|part| open.result(part.get()));
            }
            Role::Tool => {
                let parts: Vec<&RawValue> =
                    serde_json::from_str(message.content.as_json()).unwrap_or_default();
                if let Some(open) = self.open.as_mut() {
                    parts.into_iter().for_each(|part| open.result(part.get()));
                }
            }
        }
        complete
    }

    fn end(&mut self) -> Option<Rendered> {
        self.open.take()
    }
}

impl UiHistory {
    fn parts(&self, message: &Message) -> Vec<RenderedPart> {
        let parts: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).unwrap_or_default();
        let is_answer = message.role == Role::Assistant;
        parts.into_iter().filter_map(|part| self.part(Part::read(part.get())?, is_answer)).collect()
    }

    fn part(&self, part: Part, is_answer: bool) -> Option<RenderedPart> {
        let kind = part.r#type.clone();
        let default = RenderedPart::default();
        Some(match &*kind {
            "text" | "reasoning" => RenderedPart {
                r#type: kind,
                text: Some(part.text?),
                state: is_answer.then_some("done"),
                ..default
            },
            "tool_call" => {
                let name = part.name?;
                let is_servers = self.client_tools.iter().all(|tool| *tool.name != *name);
                let provider_executed = is_servers.then_some(true);
                let call = RenderedPart {
                    r#type: format!("tool-{name}"),
                    tool_call_id: Some(part.id?),
                    provider_executed,
                    ..default
                };
                match part.input {
                    Some(input) => {
                        RenderedPart { state: Some("input-available"), input: Some(input), ..call }
                    }
                    None => RenderedPart {
                        state: Some("output-error"),
                        raw_input: part.input_text,
                        error_text: Some(CUT_SHORT.into()),
                        ..call
                    },
                }
            }
            "file" => {
                let url = Some(part.file_url()?);
                RenderedPart {
                    r#type: kind,
                    url,
                    media_type: part.media_type,
                    filename: part.name,
                    ..default
                }
            }
            "source" => RenderedPart {
                r#type: "source-url".into(),
                source_id: part.url.clone(),
                url: Some(part.url?),
                title: part.title,
                ..default
            },
            "data" => RenderedPart {
                r#type: format!("data-{}", part.name?),
                id: part.id,
                data: Some(part.data?),
                ..default
            },
            _ => return None,
        })
    }
}

/// What the client's own code said of a message that it sent.
fn metadata_of(message: &Message) -> Option<Box<RawValue>> {
    let parts: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).ok()?;
    Part::read(parts.first()?.get())?.message_metadata
}

impl Rendered {
    /// What came of a call, if the JSON is of a result.
    fn result(&mut self, json: &str) {
        let Some(Outcome { tool_call_id, output }) = Outcome::read(json) else { return };
        let is_it = |part: &&mut RenderedPart| part.tool_call_id.as_deref() == Some(&*tool_call_id);
        let Some(part) = self.parts.iter_mut().rev().find(is_it) else { return };
        match output {
            Ok(output) => {
                part.state = Some("output-available");
                part.output = Some(output);
            }
            Err(why) => {
                part.state = Some("output-error");
                part.error_text = Some(why);
            }
        }
    }
}
