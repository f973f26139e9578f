//! Runs of the model, traced: a span for each attempt, below that of its turn, by OpenTelemetry's conventions for GenAI.
//! What users and models said is told only on demand, and if it is not too much.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use mainstem_machine::{Completion, Message, Role};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, KeyValue, StringValue, Value};
use serde_json::json;

use super::traces::{Over, Place, Traces, Turn};
use crate::limits::insight::TRACED_CONTENT_BYTES_MAX;

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// As OpenTelemetry names it.
    pub name: &'static str,
    /// The model where a chat names none.
    pub model: Arc<str>,
    /// Its host and port, if it has them.
    pub address: Option<(String, u16)>,
}

pub(super) struct TracedGenerator {
    pub(super) inner: Arc<dyn Generator>,
    pub(super) traces: Arc<Traces>,
    pub(super) provider: Provider,
}

impl TracedGenerator {
    fn begun(&self, conversation: &Conversation) -> Attempt {
        let messages = &conversation.history.messages;
        let asked = messages.iter().rev().find(|message| message.role == Role::User);
        let chat = conversation.chat;
        let place = asked.map_or_else(Place::alone, |asked| {
            let id = asked.turn.or(asked.queued_as).unwrap_or(asked.id);
            let sent = u64::try_from(asked.created_at.0).unwrap_or_default();
            let since = SystemTime::UNIX_EPOCH + Duration::from_millis(sent);
            self.traces.answers(chat, Turn { id, since });
            Place::of_turn(chat, id).below()
        });
        let model = conversation.model.clone().unwrap_or_else(|| self.provider.model.clone());
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", self.provider.name),
            KeyValue::new("gen_ai.request.model", model.to_string()),
            KeyValue::new("gen_ai.request.stream", true),
            KeyValue::new("gen_ai.conversation.id", chat.to_string()),
            KeyValue::new("mainstem.history_version", signed(conversation.episode.history_version.0)),
            KeyValue::new("mainstem.attempt", signed(conversation.episode.attempt)),
        ];
        if let Some((host, port)) = &self.provider.address {
            attributes.push(KeyValue::new("server.address", host.clone()));
            attributes.push(KeyValue::new("server.port", i64::from(*port)));
        }
        let said = self.traces.with_content.then(String::new);
        if said.is_some() {
            attributes.extend(input(messages).map(|input| KeyValue::new("gen_ai.input.messages", input)));
            let instructions = conversation.instructions.as_ref();
            attributes.extend(instructions.filter(|said| said.len() <= TRACED_CONTENT_BYTES_MAX).map(
                |said| {
                    KeyValue::new(
                        "gen_ai.system_instructions",
                        json!([{"type": "text", "content": said}]).to_string(),
                    )
                },
            ));
        }
        let name = format!("chat {model}").into();
        let over =
            Over { place, name, kind: SpanKind::Client, since: SystemTime::now(), attributes, error: None };
        Attempt { over: Some(over), begun: Instant::now(), has_begun: false, said }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The history as the conventions have it; `None` if it is too much.
fn input(messages: &[Arc<Message>]) -> Option<String> {
    let mut told = vec![];
    let mut bytes = 0;
    for message in messages {
        let json = message.content.as_json();
        bytes += json.len();
        if bytes > TRACED_CONTENT_BYTES_MAX {
            return None;
        }
        let mut parts: serde_json::Value = serde_json::from_str(json).ok()?;
        for part in parts.as_array_mut()? {
            // A text is `content` there.
            if let Some(text) = part.as_object_mut().and_then(|part| part.remove("text")) {
                part["content"] = text;
            }
        }
        told.push(json!({"role": message.role.as_str(), "parts": parts}));
    }
    Some(serde_json::Value::from(told).to_string())
}

impl Generator for TracedGenerator {
    fn start(&self, conversation: Conversation) -> Generation {
        let attempt = self.begun(&conversation);
        let traces = self.traces.clone();
        Box::pin(Run { inner: self.inner.start(conversation), traces, attempt })
    }
}

/// The span of an attempt, until it is over.
struct Attempt {
    over: Option<Over>,
    begun: Instant,
    has_begun: bool,
    /// What the model has said, if that is told.
    said: Option<String>,
}

impl Attempt {
    fn see(&mut self, generated: &Generated) {
        let Some(over) = &mut self.over else { return };
        match generated {
            Generated::Part { text, .. } => {
                if !std::mem::replace(&mut self.has_begun, true) {
                    let seconds = self.begun.elapsed().as_secs_f64();
                    over.attributes.push(KeyValue::new("gen_ai.response.time_to_first_chunk", seconds));
                }
                if let Some(said) = &mut self.said {
                    said.push_str(text);
                    self.said.take_if(|said| said.len() > TRACED_CONTENT_BYTES_MAX);
                }
            }
            Generated::Done(Completion { finish_reason, usage }) => {
                if let Some(reason) = finish_reason {
                    let reasons = Array::String(vec![StringValue::from(reason.as_str())]);
                    over.attributes
                        .push(KeyValue::new("gen_ai.response.finish_reasons", Value::Array(reasons)));
                }
                if let Some(usage) = usage {
                    let tokens = [
                        ("gen_ai.usage.input_tokens", usage.input_tokens),
                        ("gen_ai.usage.output_tokens", usage.output_tokens),
                    ];
                    over.attributes.extend(tokens.map(|(name, count)| KeyValue::new(name, signed(count))));
                }
            }
            Generated::Failed { error, .. } => over.error = Some(error.code.to_string().into()),
        }
    }

    fn end(&mut self, traces: &Traces, otherwise: Option<&'static str>) {
        let Some(mut over) = self.over.take() else { return };
        over.error = over.error.or(otherwise.map(Into::into));
        over.attributes.extend(over.error.clone().map(|error| KeyValue::new("error.type", error)));
        if let Some(said) = self.said.take() {
            let told = json!([{"role": "assistant", "parts": [{"type": "text", "content": said}]}]);
            over.attributes.push(KeyValue::new("gen_ai.output.messages", told.to_string()));
        }
        traces.over(over);
    }
}

struct Run {
    inner: Generation,
    traces: Arc<Traces>,
    attempt: Attempt,
}

impl Stream for Run {
    type Item = Generated;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        let this = &mut *self;
        let generated = ready!(this.inner.as_mut().poll_next(cx));
        match &generated {
            Some(generated) => {
                this.attempt.see(generated);
                if !matches!(generated, Generated::Part { .. }) {
                    this.attempt.end(&this.traces, None);
                }
            }
            None => this.attempt.end(&this.traces, Some("broke_off")),
        }
        Poll::Ready(generated)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.attempt.end(&self.traces, Some("cancelled"));
    }
}
