//! The part of AG-UI that is read here (<https://docs.ag-ui.com/spec/1.0>), and what releases before it said instead.
//! A member that cannot be read is passed over, and the rest of its event counts.

use mainstem_machine::Usage;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::whole::{Content, data, quoted};
use crate::generators::fault::Fault;
use crate::generators::json::{each, is_there, members, parse, string};
use crate::generators::report::Report;
use crate::limits::model::{CALL_NAME_BYTES_MAX, ERROR_BYTES_MAX, TOKENS_MAX};
use crate::sse::SseEvent;

/// What is said in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Reasoning,
    Call,
}

/// An event, and the subagent that it is of; empty for the agent itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) lane: String,
    pub(super) said: Said,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A message or a call begins.
    Start(Head),
    Content {
        kind: Kind,
        id: String,
        text: String,
    },
    End {
        kind: Kind,
        id: String,
    },
    /// All of these in one. An empty id goes on with what is open.
    Chunk {
        head: Head,
        text: String,
    },
    Result {
        call: String,
        content: Content,
    },
    /// The agent's state, or a change of it: `None` if it cannot be kept.
    State {
        is_snapshot: bool,
        part: Option<String>,
    },
    /// Data for viewers, unless it cannot be kept.
    Data {
        part: Option<String>,
        is_aside: bool,
    },
    /// Nothing for viewers, but no message goes on behind it as chunks.
    Pause,
    /// The same for all lanes. What the agent said since the last user's message, as it has it now.
    Messages(Vec<String>),
    /// Nothing.
    Aside,
    RunStarted,
    RunFinished(Finish),
    RunError(Report),
}

/// What begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// Of a call: the tool's.
    pub(super) name: String,
    /// It is said by the agent, and not repeated of others.
    pub(super) is_own: bool,
}

/// How a run ended that did not fail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Finish {
    /// What viewers are told of it.
    pub(super) data: Vec<String>,
    pub(super) is_cancelled: bool,
    pub(super) usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    subagent_run_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_call_name: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow)]
    activity_type: Option<&'a RawValue>,
    #[serde(borrow)]
    patch: Option<&'a RawValue>,
    #[serde(borrow)]
    replace: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
    #[serde(borrow)]
    interrupt: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Outcome<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    interrupts: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokensUsed {
    input_tokens: u64,
    output_tokens: u64,
}

/// Whether the event that the body ends in came to its own end.
pub(super) fn is_complete(last: &SseEvent) -> bool {
    let data = last.data.trim_ascii();
    data.is_empty() || data == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

/// Whether a body that is no stream tells of an error.
pub(super) fn is_error(said: &Value) -> bool {
    let has = |member: &str| !said[member].is_null();
    has("error") || said["type"] == "RUN_ERROR" || said["type"].is_null() && (has("detail") || has("message"))
}

/// Reads one event.
pub(super) fn read(event: &SseEvent) -> Result<Event, Fault> {
    let nothing = || Event { lane: String::new(), said: Said::Aside };
    let data = event.data.trim_ascii();
    if data.is_empty() || data == b"[DONE]" {
        return Ok(nothing());
    }
    let is_named = !event.name.is_empty() && event.name != b"message";
    let object = serde_json::from_slice::<&RawValue>(data).ok();
    let raw: Option<Raw<'_>> = members(object)?;
    let kind = raw.as_ref().and_then(|raw| string(raw.r#type));
    match (raw, kind) {
        (Some(raw), Some(kind)) => Ok(Event { lane: short(raw.subagent_run_id)?, said: raw.said(&kind)? }),
        _ if event.name == b"error" => Err(told(data)),
        _ if object.is_some_and(|object| parse(object).is_some_and(|said: Value| is_error(&said))) => {
            Err(told(data))
        }
        // Events of other names are not of this protocol.
        _ if is_named => Ok(nothing()),
        _ => Err(Fault::Garbage),
    }
}

fn told(data: &[u8]) -> Fault {
    let said = if data.len() <= ERROR_BYTES_MAX { serde_json::from_slice(data).ok() } else { None };
    Fault::told(Report::of(None, &said.unwrap_or(Value::Null)))
}

/// An id or a name, of a length that is taken; empty if there is none.
fn short(member: Option<&RawValue>) -> Result<String, Fault> {
    let text = string(member).unwrap_or_default();
    if text.len() > CALL_NAME_BYTES_MAX { Err(Fault::Garbage) } else { Ok(text.into()) }
}

/// The JSON text of a member; `null` if there is none.
fn json_of(member: Option<&RawValue>) -> &str {
    member.map_or("null", RawValue::get)
}

impl Raw<'_> {
    fn said(&self, kind: &str) -> Result<Said, Fault> {
        let (id, text) = (self.message_id, string(self.delta).unwrap_or_default());
        let content = |kind, id| Ok(Said::Content { kind, id: short(id)?, text: text.clone().into() });
        let chunk = |kind, id| Ok(Said::Chunk { head: self.head(kind, id)?, text: text.clone().into() });
        let end = |kind, id| Ok(Said::End { kind, id: short(id)? });
        match kind {
            "TEXT_MESSAGE_START" => Ok(Said::Start(self.head(Kind::Text, id)?)),
            "TEXT_MESSAGE_CONTENT" => content(Kind::Text, id),
            "TEXT_MESSAGE_END" => end(Kind::Text, id),
            "TEXT_MESSAGE_CHUNK" => chunk(Kind::Text, id),
            "REASONING_MESSAGE_START" | "THINKING_TEXT_MESSAGE_START" => {
                Ok(Said::Start(self.head(Kind::Reasoning, id)?))
            }
            "REASONING_MESSAGE_CONTENT" | "THINKING_TEXT_MESSAGE_CONTENT" => content(Kind::Reasoning, id),
            "REASONING_MESSAGE_END" | "THINKING_TEXT_MESSAGE_END" => end(Kind::Reasoning, id),
            "REASONING_MESSAGE_CHUNK" => chunk(Kind::Reasoning, id),
            "TOOL_CALL_START" => {
                let head = self.head(Kind::Call, self.tool_call_id)?;
                // Nobody can say what was to be called.
                let is_named = !head.id.is_empty() && !head.name.is_empty();
                if is_named { Ok(Said::Start(head)) } else { Err(Fault::Garbage) }
            }
            "TOOL_CALL_ARGS" => content(Kind::Call, self.tool_call_id),
            "TOOL_CALL_END" => end(Kind::Call, self.tool_call_id),
            "TOOL_CALL_CHUNK" => chunk(Kind::Call, self.tool_call_id),
            "TOOL_CALL_RESULT" => {
                Ok(Said::Result { call: short(self.tool_call_id)?, content: Content::of(self.content) })
            }
            "STATE_SNAPSHOT" => Ok(self.state(true)),
            "STATE_DELTA" => Ok(self.state(false)),
            "ACTIVITY_SNAPSHOT" | "ACTIVITY_DELTA" => self.activity(kind == "ACTIVITY_SNAPSHOT"),
            "CUSTOM" => {
                let name = quoted(&short(self.name)?);
                let custom = format!(r#"{{"name":{name},"value":{}}}"#, json_of(self.value));
                Ok(Said::Data { part: data("agui.custom", None, &custom), is_aside: false })
            }
            "MESSAGES_SNAPSHOT" => Ok(Said::Messages(self.texts())),
            "STEP_STARTED" | "STEP_FINISHED" | "REASONING_START" | "REASONING_END" | "THINKING_START"
            | "THINKING_END" | "SUBAGENT_FINISHED" | "SUBAGENT_ERROR" => Ok(Said::Pause),
            "RUN_STARTED" => Ok(Said::RunStarted),
            "RUN_FINISHED" => Ok(Said::RunFinished(self.finish())),
            "RUN_ERROR" => Ok(Said::RunError(Report::of(None, &json!({ "code": string(self.code) })))),
            _ => Ok(Said::Aside),
        }
    }

    fn head(&self, kind: Kind, id: Option<&RawValue>) -> Result<Head, Fault> {
        let name = if kind == Kind::Call { short(self.tool_call_name)? } else { String::new() };
        let is_own = kind != Kind::Text || string(self.role).is_none_or(|role| role == "assistant");
        Ok(Head { kind, id: short(id)?, name, is_own })
    }

    fn state(&self, is_snapshot: bool) -> Said {
        let (name, value) = match is_snapshot {
            true => ("agui.state_snapshot", self.snapshot),
            false => ("agui.state_delta", self.delta),
        };
        Said::State { is_snapshot, part: data(name, None, json_of(value)) }
    }

    fn activity(&self, is_snapshot: bool) -> Result<Said, Fault> {
        let id = short(self.message_id)?;
        let (name, member, value) = match is_snapshot {
            true => ("agui.activity_snapshot", "content", self.content),
            false => ("agui.activity_delta", "patch", self.patch),
        };
        let kept = is_snapshot && self.replace.is_some_and(|replace| replace.get() == "false");
        let activity = format!(
            r#"{{"messageId":{},"activityType":{},"{member}":{}{}}}"#,
            quoted(&id),
            quoted(&short(self.activity_type)?),
            json_of(value),
            if kept { r#","replace":false"# } else { "" },
        );
        // One part replaces another of its id.
        let id = Some(&*id).filter(|id| is_snapshot && !kept && !id.is_empty());
        Ok(Said::Data { part: data(name, id, &activity), is_aside: true })
    }

    fn texts(&self) -> Vec<String> {
        let mut texts = vec![];
        let Some(messages) = self.messages else { return texts };
        each(messages, |message| {
            let message: Message<'_> = parse(message).unwrap_or_default();
            match string(message.role).as_deref() {
                Some("user") => texts.clear(),
                Some("assistant") => texts.extend(string(message.content).map(String::from)),
                _ => {}
            }
        });
        texts.retain(|text| !text.is_empty());
        texts
    }

    fn finish(&self) -> Finish {
        let outcome: Outcome<'_> = self.outcome.and_then(parse).unwrap_or_default();
        // It was a mere word once.
        let kind = string(outcome.r#type).or_else(|| string(self.outcome)).unwrap_or_default();
        let mut finish = Finish { usage: self.usage(), ..Finish::default() };
        if is_there(self.result) {
            finish.data.extend(data("agui.result", None, json_of(self.result)));
        }
        match &*kind {
            "interrupt" => {
                let interrupts = match (outcome.interrupts, self.interrupt) {
                    (Some(interrupts), _) => interrupts.get().into(),
                    (None, Some(interrupt)) => format!("[{}]", interrupt.get()),
                    (None, None) => "[]".into(),
                };
                finish.data.extend(data("agui.interrupt", None, &interrupts));
            }
            "cancelled" => {
                finish.is_cancelled = true;
                finish.data.extend(data("agui.cancelled", None, json_of(self.outcome)));
            }
            _ => {}
        }
        finish
    }

    /// The sum over all models, if each says all.
    fn usage(&self) -> Option<Usage> {
        let mut all = Some(vec![]);
        each(self.usage?, |entry| {
            let entry = parse::<TokensUsed>(entry);
            all = all.take().zip(entry).map(|(mut all, entry)| {
                all.push(entry);
                all
            });
        });
        let all = all.filter(|all| !all.is_empty())?;
        let sum = |tokens: fn(&TokensUsed) -> u64| {
            all.iter().map(tokens).fold(0, |sum: u64, more| sum.saturating_add(more).min(TOKENS_MAX))
        };
        Some(Usage {
            input_tokens: sum(|entry| entry.input_tokens),
            output_tokens: sum(|entry| entry.output_tokens),
        })
    }
}
