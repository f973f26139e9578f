//! Events of a turn as chunks of a completion. A pure function. These clients cannot take anything back: what becomes void ends
//! the stream with an error, and the answer goes on in its chat.

use mainstem_machine::{Block, ChatState, FinishReason, Turn, TurnStatus, Usage};
use mainstem_runtime::EdgeError;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::super::super::Problem;
use super::super::super::shown::{CallInput, CommittedCall};
use super::super::super::turn::{End, Marked, TurnEvent};
use super::super::ids::{self, ResponseId};
use super::super::item::ClientTools;
use super::super::response::seconds;

const REPLACED: &str = "The answer began again, and what was said of it is void: ask again.";
const CUT: &str = "This replica goes away, and the answer goes on in its chat: ask again.";
const GONE: &str = "This answer is not in its chat any more.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Finish,
}

/// How it ended.
#[derive(Clone, Debug)]
enum Ended {
    Whole(&'static str),
    Failed(String),
    Cut,
}

/// Tells one answer, as chunks or as a whole.
#[derive(Debug)]
pub(super) struct Completion {
    name: String,
    id: ResponseId,
    model: String,
    created: i64,
    tools: ClientTools,
    /// Whether it is told in chunks, and whether their last says what it cost.
    streams: bool,
    with_usage: bool,
    has_role: bool,
    /// Whether anything of the present answer was told.
    has_said: bool,
    calls: Vec<Value>,
    /// Of what is told as a whole: all that was said, and how much of it is in the history.
    text: String,
    kept: usize,
    usage: Option<Usage>,
    ended: Option<Ended>,
    out: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Value; 1]>,
}

impl Completion {
    pub(super) fn new(
        id: ResponseId,
        state: &ChatState,
        default_model: &str,
        streams: bool,
        with_usage: bool,
    ) -> Self {
        Self {
            name: id.to_string().replacen("resp_", "chatcmpl-", 1),
            id,
            model: state.model.as_deref().unwrap_or(default_model).to_owned(),
            created: seconds(state.created_at),
            tools: ClientTools::of(state),
            streams,
            with_usage,
            has_role: false,
            has_said: false,
            calls: vec![],
            text: String::new(),
            kept: 0,
            usage: None,
            ended: None,
            out: vec![],
        }
    }

    /// The chunks of an event, as JSON.
    pub(super) fn tell(&mut self, marked: Marked) -> (Vec<Box<RawValue>>, Then) {
        match marked.event {
            TurnEvent::Piece { block, text, .. } => {
                let text = std::str::from_utf8(&text).expect("the text of parts is UTF-8");
                self.piece(&block, text);
            }
            TurnEvent::Call(call) => self.call(&call),
            TurnEvent::Committed(message) => {
                let usages = [self.usage, message.usage].into_iter().flatten();
                self.usage = usages.reduce(|sum, usage| Usage {
                    input_tokens: sum.input_tokens.saturating_add(usage.input_tokens),
                    output_tokens: sum.output_tokens.saturating_add(usage.output_tokens),
                });
            }
            TurnEvent::Answer => (self.kept, self.has_said) = (self.text.len(), false),
            TurnEvent::Void if self.streams && self.has_said => {
                self.ended = Some(Ended::Failed(REPLACED.to_owned()));
            }
            TurnEvent::Void => self.text.truncate(self.kept),
            TurnEvent::End(end) => self.ended = Some(ended(&end)),
            // What the server's tools are asked, and say, is not told here.
            TurnEvent::Begins
            | TurnEvent::Results(_)
            | TurnEvent::Queue(_)
            | TurnEvent::Status(_)
            | TurnEvent::Retry(_) => {}
        }
        let Some(ended) = &self.ended else { return (std::mem::take(&mut self.out), Then::GoOn) };
        if self.streams {
            match ended.clone() {
                Ended::Whole(reason) => self.finish(reason),
                Ended::Failed(why) => self.fail(&why, "answer_failed"),
                Ended::Cut => self.fail(CUT, "overloaded"),
            }
        }
        (std::mem::take(&mut self.out), Then::Finish)
    }

    fn piece(&mut self, block: &Block, text: &str) {
        let delta = match block {
            Block::Text => Delta { content: Some(text), ..Delta::default() },
            Block::Reasoning => Delta { reasoning_content: Some(text), ..Delta::default() },
            // It is told with its whole input.
            Block::ToolCall(_) | Block::Whole | Block::Unknown => return,
        };
        if self.streams {
            self.say(delta, None);
        } else if *block == Block::Text {
            self.text.push_str(text);
        }
    }

    fn call(&mut self, call: &CommittedCall) {
        let CommittedCall { id, name, input: CallInput::Whole(input) } = call else { return };
        if !self.tools.has(name) {
            return;
        }
        let function = json!({"name": name, "arguments": input.get()});
        let call = json!({"id": ids::call(self.id.chat, id), "type": "function", "function": function});
        if self.streams {
            let mut told = call.clone();
            told["index"] = json!(self.calls.len());
            self.say(Delta { tool_calls: Some([told]), ..Delta::default() }, None);
        }
        self.calls.push(call);
    }

    /// The first chunk says whose it is, and no other does.
    fn say(&mut self, delta: Delta<'_>, finish_reason: Option<&'static str>) {
        self.has_said = true;
        let role = (!std::mem::replace(&mut self.has_role, true)).then_some("assistant");
        let choice = Choice { index: 0, delta: Delta { role, ..delta }, finish_reason };
        let (id, model, object) = (&*self.name, &*self.model, "chat.completion.chunk");
        let chunk = Chunk { id, object, created: self.created, model, choices: [choice] };
        self.out.push(to_raw_value(&chunk).expect("a chunk is written"));
    }

    fn finish(&mut self, reason: &'static str) {
        self.say(Delta::default(), Some(reason));
        if self.with_usage {
            let chunk = json!({
                "id": self.name, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
                "choices": [], "usage": self.cost(),
            });
            self.out.push(to_raw_value(&chunk).expect("a chunk is written"));
        }
    }

    fn fail(&mut self, why: &str, code: &str) {
        let error = json!({"error": {"message": why, "type": "server_error", "code": code, "param": null}});
        self.out.push(to_raw_value(&error).expect("an error is written"));
    }

    fn cost(&self) -> Option<Value> {
        let Usage { input_tokens, output_tokens } = self.usage?;
        Some(json!({
            "prompt_tokens": input_tokens, "completion_tokens": output_tokens,
            "total_tokens": input_tokens.saturating_add(output_tokens),
        }))
    }

    /// The whole answer.
    pub(super) fn object(&self) -> Result<Value, Problem> {
        let reason = match &self.ended {
            Some(Ended::Whole(reason)) => reason,
            Some(Ended::Failed(why)) => return Err(Problem::answer_failed(why.clone())),
            Some(Ended::Cut) | None => return Err(EdgeError::Overloaded(CUT).into()),
        };
        let content = (!self.text.is_empty() || self.calls.is_empty()).then_some(&self.text);
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !self.calls.is_empty() {
            message["tool_calls"] = json!(self.calls);
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason});
        let mut object = json!({
            "id": self.name, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice],
        });
        if let Some(usage) = self.cost() {
            object["usage"] = usage;
        }
        Ok(object)
    }
}

fn ended(end: &End) -> Ended {
    match end {
        End::Cut | End::Anew => Ended::Cut,
        End::Gone => Ended::Failed(GONE.to_owned()),
        End::Asked => Ended::Whole("tool_calls"),
        End::Over(Turn { status: TurnStatus::Failed, error, .. }) => {
            Ended::Failed(error.as_ref().map_or("The answer failed.", |error| &*error.message).to_owned())
        }
        // There is no word for it: others know.
        End::Over(Turn { status: TurnStatus::Interrupted, .. }) => Ended::Whole("interrupted"),
        End::Over(turn) => Ended::Whole(turn.finish_reason.unwrap_or(FinishReason::Stop).as_str()),
    }
}
