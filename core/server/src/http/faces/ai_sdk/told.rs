//! Events of a turn as chunks. A pure function: what it remembers is where it is in the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstem_machine::{Block, Message, QueuedMessage, Retry, Status, Tool, TurnStatus};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::shown::{CallInput, CommittedCall};
use super::super::turn::{End, TurnEvent};
use super::chunk::{Chunk, DataChunk, finish_reason};
use super::dialect::Dialect;
use super::part::{Outcome, Part};

/// What is said of a call whose input did not come whole.
pub(super) const CUT_SHORT: &str = "The answer was cut short before this call was complete.";
const GONE: &str = "This message is not in the chat any more.";

/// What has to happen behind the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// The answer has come to its end.
    Finish,
    /// The connection is cut, which is no end: the client comes back and is told all.
    Cut,
}

#[derive(Debug)]
enum Open {
    Text(String),
    Reasoning(String),
    Other,
}

/// Tells one turn.
#[derive(Debug)]
pub(super) struct Telling {
    dialect: Dialect,
    message_id: String,
    /// Tools that the client carries out; all others are the server's, or a model's own.
    client_tools: BTreeSet<Arc<str>>,
    /// As it was told last.
    status: Option<Status>,
    started: bool,
    in_step: bool,
    /// Whether the last thing that the client has is what came of calls: without a step behind it, it would ask on and on.
    owes_step: bool,
    open: Option<(u32, Open)>,
    /// Calls of the present step whose input is not told whole: what came of it.
    inputs: BTreeMap<Arc<str>, (Arc<str>, String)>,
    /// Calls of the turn whose input was told, with who carries them out.
    called: BTreeMap<Arc<str>, bool>,
    /// Those of the present step, which may be void.
    called_now: Vec<Arc<str>>,
    out: Vec<Box<RawValue>>,
}

impl Telling {
    /// Of a client that `brings_results`, the answer goes on behind them.
    pub(super) fn new(dialect: Dialect, message_id: String, tools: &[Tool], brings_results: bool) -> Self {
        let client_tools = tools.iter().map(|tool| tool.name.clone()).collect();
        let (inputs, called) = (BTreeMap::new(), BTreeMap::new());
        Self {
            dialect,
            message_id,
            client_tools,
            status: None,
            started: false,
            in_step: false,
            owes_step: brings_results,
            open: None,
            inputs,
            called,
            called_now: vec![],
            out: vec![],
        }
    }

    /// The chunks of an event, as JSON.
    pub(super) fn tell(&mut self, event: TurnEvent) -> (Vec<Box<RawValue>>, Then) {
        let then = match event {
            TurnEvent::Begins | TurnEvent::Committed(_) => Then::GoOn,
            TurnEvent::Piece { place, block, text } => {
                let text = std::str::from_utf8(&text).expect("the text of parts is UTF-8");
                self.piece(place, &block, text);
                Then::GoOn
            }
            TurnEvent::Call(call) => {
                self.step();
                self.close();
                self.call(&call);
                Then::GoOn
            }
            TurnEvent::Void if self.dialect.resets() => {
                self.open = None;
                self.inputs.clear();
                for id in self.called_now.drain(..) {
                    self.called.remove(&id);
                }
                self.say(&Chunk::ResetStep);
                Then::GoOn
            }
            TurnEvent::Void => Then::Cut,
            TurnEvent::Answer => {
                // An answer of nothing is a step, too.
                self.step();
                self.end_step();
                Then::GoOn
            }
            TurnEvent::Results(message) => {
                self.results(&message);
                Then::GoOn
            }
            TurnEvent::Queue(queue) => {
                self.news("data-mainstem-queue", &queue_news(&queue));
                Then::GoOn
            }
            // It is told again for what this face has no words for.
            TurnEvent::Status(status) if self.status == Some(status) => Then::GoOn,
            TurnEvent::Status(status) => {
                self.status = Some(status);
                self.news("data-mainstem-status", &json!({"status": status}));
                Then::GoOn
            }
            TurnEvent::Retry(retry) => {
                self.news("data-mainstem-retry", &retry_news(retry.as_ref()));
                Then::GoOn
            }
            TurnEvent::End(end) => self.end(&end),
        };
        (std::mem::take(&mut self.out), then)
    }

    fn say(&mut self, chunk: &impl Serialize) {
        self.out.push(to_raw_value(chunk).expect("a chunk is written"));
    }

    fn start(&mut self) {
        if !self.started {
            self.started = true;
            let message_id = self.message_id.clone();
            self.say(&Chunk::Start { message_id: &message_id });
        }
    }

    fn step(&mut self) {
        self.start();
        if !self.in_step {
            (self.in_step, self.owes_step) = (true, false);
            self.say(&Chunk::StartStep);
        }
    }

    fn end_step(&mut self) {
        self.close();
        self.inputs.clear();
        self.called_now.clear();
        self.say(&Chunk::FinishStep);
        self.in_step = false;
    }

    /// Ends the block that is open.
    fn close(&mut self) {
        match self.open.take() {
            Some((_, Open::Text(id))) => self.say(&Chunk::TextEnd { id: &id }),
            Some((_, Open::Reasoning(id))) => self.say(&Chunk::ReasoningEnd { id: &id }),
            Some((_, Open::Other)) | None => {}
        }
    }

    fn piece(&mut self, place: u32, block: &Block, text: &str) {
        self.step();
        if self.open.as_ref().is_none_or(|(open, _)| *open != place) {
            self.close();
            self.open = Some((place, self.begin(place, block)));
        }
        let id = place.to_string();
        match block {
            Block::Text if !text.is_empty() => self.say(&Chunk::TextDelta { id: &id, delta: text }),
            Block::Reasoning if !text.is_empty() => self.say(&Chunk::ReasoningDelta { id: &id, delta: text }),
            Block::ToolCall(call) => {
                if let Some((_, input)) = self.inputs.get_mut(&call.id) {
                    input.push_str(text);
                }
                if self.dialect.streams_inputs() && !text.is_empty() {
                    self.say(&Chunk::ToolInputDelta { tool_call_id: &call.id, input_text_delta: text });
                }
            }
            Block::Whole => self.whole(text),
            Block::Text | Block::Reasoning | Block::Unknown => {}
        }
    }

    fn begin(&mut self, place: u32, block: &Block) -> Open {
        let id = place.to_string();
        match block {
            Block::Text => {
                self.say(&Chunk::TextStart { id: &id });
                Open::Text(id)
            }
            Block::Reasoning => {
                self.say(&Chunk::ReasoningStart { id: &id });
                Open::Reasoning(id)
            }
            Block::ToolCall(call) => {
                self.inputs.insert(call.id.clone(), (call.name.clone(), String::new()));
                if self.dialect.streams_inputs() {
                    let provider_executed = self.is_servers(&call.name);
                    self.say(&Chunk::ToolInputStart {
                        tool_call_id: &call.id,
                        tool_name: &call.name,
                        provider_executed,
                    });
                }
                Open::Other
            }
            Block::Whole | Block::Unknown => Open::Other,
        }
    }

    fn is_servers(&self, tool: &str) -> bool {
        !self.client_tools.contains(tool)
    }

    fn call(&mut self, call: &CommittedCall) {
        let CommittedCall { id, name, input } = call;
        let provider_executed = self.is_servers(name);
        self.inputs.remove(id);
        // A result was told before, and its input with it.
        if self.called.contains_key(id) {
            return;
        }
        let (tool_call_id, tool_name) = (&**id, &**name);
        match input {
            CallInput::Whole(input) => {
                self.called.insert(id.clone(), provider_executed);
                self.called_now.push(id.clone());
                self.say(&Chunk::ToolInputAvailable { tool_call_id, tool_name, input, provider_executed });
            }
            CallInput::Cut(input) => self.say(&Chunk::ToolInputError {
                tool_call_id,
                tool_name,
                input,
                error_text: CUT_SHORT,
                provider_executed,
            }),
        }
    }

    /// The JSON text of a part that is told whole.
    fn whole(&mut self, json: &str) {
        let Some(part) = Part::read(json) else { return };
        match &*part.r#type {
            "tool_result" => self.result(json),
            "file" => {
                if let (Some(url), Some(media_type)) = (part.file_url(), &part.media_type) {
                    self.say(&Chunk::File { url: &url, media_type });
                }
            }
            "source" => {
                if let Some(url) = &part.url {
                    self.say(&Chunk::SourceUrl { source_id: url, url, title: part.title.as_deref() });
                }
            }
            "data" => {
                if let (Some(name), Some(data)) = (&part.name, &part.data) {
                    let kind = format!("data-{name}");
                    self.say(&DataChunk { r#type: &kind, id: part.id.as_deref(), data, transient: false });
                }
            }
            _ => {}
        }
    }

    fn results(&mut self, message: &Message) {
        let parts: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).unwrap_or_default();
        self.start();
        self.owes_step = true;
        parts.into_iter().for_each(|part| self.result(part.get()));
    }

    fn result(&mut self, json: &str) {
        let Some(Outcome { tool_call_id, output }) = Outcome::read(json) else { return };
        // An output without its call breaks the client, so the call comes first, with what came of its input.
        if let Some((name, input)) = self.inputs.remove(&*tool_call_id) {
            let input = whole_input(&input);
            let call =
                CommittedCall { id: tool_call_id.as_str().into(), name, input: CallInput::Whole(input) };
            self.call(&call);
        }
        let provider_executed = self.called.get(&*tool_call_id).copied().unwrap_or(false);
        let tool_call_id = &*tool_call_id;
        match &output {
            Ok(output) => self.say(&Chunk::ToolOutputAvailable { tool_call_id, output, provider_executed }),
            Err(error_text) => {
                self.say(&Chunk::ToolOutputError { tool_call_id, error_text, provider_executed });
            }
        }
    }

    fn end(&mut self, end: &End) -> Then {
        let finish = |reason: Option<&'static str>| Chunk::Finish { finish_reason: reason };
        if self.owes_step && matches!(end, End::Over(_)) {
            // It was stopped before it said more. A step alone is not put into the page's message until something is.
            self.step();
            self.started = false;
            self.start();
            self.end_step();
        }
        match end {
            End::Cut | End::Anew => return Then::Cut,
            End::Asked => self.say(&finish(Some("tool-calls"))),
            End::Gone => self.say(&Chunk::Error { error_text: GONE }),
            End::Over(turn) => match turn.status {
                TurnStatus::Failed => {
                    let error = turn.error.as_ref().map_or("The answer failed.", |error| &*error.message);
                    self.say(&Chunk::Error { error_text: error });
                }
                TurnStatus::Interrupted if self.dialect.tells_interrupted() => {
                    self.say(&Chunk::Abort);
                    self.say(&finish(Some("interrupted")));
                }
                TurnStatus::Interrupted => {
                    self.say(&Chunk::Abort);
                    self.say(&finish(None));
                }
                _ => {
                    self.start();
                    self.say(&finish(turn.finish_reason.map(finish_reason)));
                }
            },
        }
        Then::Finish
    }

    /// What only a page's own code hears of.
    fn news(&mut self, kind: &str, data: &serde_json::Value) {
        let data = to_raw_value(data).expect("JSON is written");
        self.say(&DataChunk { r#type: kind, id: None, data: &data, transient: true });
    }
}

/// As a committed call would have it.
fn whole_input(text: &str) -> Box<RawValue> {
    let text = if text.is_empty() { "{}" } else { text };
    let parsed = serde_json::from_str(text);
    parsed.unwrap_or_else(|_| to_raw_value(text).expect("a string is written"))
}

fn queue_news(queue: &[QueuedMessage]) -> serde_json::Value {
    let told = queue.iter().map(|queued| json!({"id": queued.id, "clientId": queued.client_id}));
    json!({"queue": told.collect::<Vec<_>>()})
}

fn retry_news(retry: Option<&Retry>) -> serde_json::Value {
    retry.map_or(
        json!({"retry": null}),
        |retry| json!({"retry": {"attempt": retry.attempt, "delayMs": retry.delay_ms, "error": retry.error}}),
    )
}

#[cfg(test)]
mod tests;
