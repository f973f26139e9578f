//! What a model is asked: the conversation in the words of Chat Completions
//! (<https://platform.openai.com/docs/api-reference/chat/create>). Endpoints refuse a call without a result, a
//! result without a call, and strict templates refuse neighbours of one role, and what says nothing. An answer
//! that was stopped before its first word leaves such neighbours.

use mainstem_machine::Role;
use mainstem_runtime::ports::{Conversation, Tool};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::said::Said;
use crate::content::{Part, parts};
use crate::generators::calls::UNKNOWN_RESULT;

/// What an endpoint is asked for beyond what all take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// To tell what the run cost.
    pub(super) usage: bool,
    /// To take what the model thought.
    pub(super) thoughts: Thoughts,
}

/// Which of its thoughts a model is told again. Where no tools are, none: there they have no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    /// Those of each turn in which it called tools: who thinks between calls wants to go on from there, and some
    /// want them in all later requests (<https://api-docs.deepseek.com/guides/thinking_mode>).
    OfCalls,
    /// Some with each answer. They were thought by other models, or not at all, and an endpoint may want them still.
    OfAll,
    None,
}

/// What stands for the thoughts of an answer that has none: endpoints that want some take an empty text for none.
const NO_THOUGHT: &str = " ";

/// A request's body, and what is in it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) json: Vec<u8>,
    /// There are thoughts of the model in it.
    pub(super) has_thoughts: bool,
    /// There are tools, and answers without a thought.
    pub(super) lacks_thoughts: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolForm<'a>>,
    messages: Vec<Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ToolForm<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
}

impl<'a> ToolForm<'a> {
    fn of(tool: &'a Tool) -> Self {
        let parameters = serde_json::from_str(&tool.input_schema).ok();
        let function = Function { name: &tool.name, description: &tool.description, parameters };
        Self { r#type: "function", function }
    }
}

/// The body that asks `model` to go on with a conversation.
pub(super) fn request(model: &str, conversation: &Conversation, extras: Extras) -> Body {
    let writer = write(conversation, extras.thoughts);
    let Writer { messages, has_thoughts, lacks_thoughts, .. } = writer;
    let stream_options = extras.usage.then_some(StreamOptions { include_usage: true });
    let tools = conversation.tools.iter().map(ToolForm::of).collect();
    let request = Request { model, stream: true, stream_options, tools, messages };
    let json = serde_json::to_vec(&request).expect("strings are written as JSON");
    Body { json, has_thoughts, lacks_thoughts }
}

fn write(conversation: &Conversation, thoughts: Thoughts) -> Writer {
    let history: Vec<(Role, Vec<Part>)> =
        conversation.messages.iter().map(|message| (message.role, parts(&message.content))).collect();
    let has_tools = !conversation.tools.is_empty() || history.iter().any(|(_, parts)| calls(parts));
    let mut writer =
        Writer { has_tools, fills: has_tools && thoughts == Thoughts::OfAll, ..Writer::default() };
    if let Some(instructions) = &conversation.instructions {
        writer.say(Role::System, vec![Said::Text(instructions.to_string())]);
    }
    let calling = turns_that_call(&history);
    for (at, (role, parts)) in history.into_iter().enumerate() {
        match role {
            Role::System | Role::User => writer.say(role, parts.into_iter().filter_map(Said::of).collect()),
            Role::Assistant | Role::Tool => {
                writer.is_new_message = true;
                let keeps_thoughts = match thoughts {
                    Thoughts::OfCalls => calling[at],
                    Thoughts::OfAll => has_tools,
                    Thoughts::None => false,
                };
                parts.into_iter().for_each(|part| writer.answer(part, keeps_thoughts));
            }
        }
    }
    writer.flush();
    writer
}

/// Whether any of these is a call that is sent.
fn calls(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Call { input: Some(_), .. }))
}

/// Of each message, whether it is of a turn with a call: turns begin with a user's message.
fn turns_that_call(history: &[(Role, Vec<Part>)]) -> Vec<bool> {
    let turns = history.chunk_by(|_, (role, _)| *role != Role::User);
    turns.flat_map(|turn| vec![turn.iter().any(|(_, parts)| calls(parts)); turn.len()]).collect()
}

#[derive(Default)]
struct Writer {
    messages: Vec<Value>,
    has_tools: bool,
    /// Whether an answer without a thought gets one.
    fills: bool,
    has_thoughts: bool,
    lacks_thoughts: bool,
    /// What is said by one role without a break, unless it is an answer.
    said: Option<(Role, Vec<Said>)>,
    answer: Answer,
    is_new_message: bool,
}

/// What a model said until results came.
#[derive(Default)]
struct Answer {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
}

struct Call {
    id: String,
    name: String,
    input: String,
    result: Option<String>,
}

impl Writer {
    fn say(&mut self, role: Role, said: Vec<Said>) {
        if said.iter().all(Said::is_blank) {
            return;
        }
        self.flush_answer();
        match &mut self.said {
            Some((last, all)) if *last == role => {
                all.push(Said::Text("\n\n".into()));
                all.extend(said);
            }
            _ => {
                self.flush_said();
                self.said = Some((role, said));
            }
        }
    }

    fn answer(&mut self, part: Part, keeps_thoughts: bool) {
        let has_calls = !self.answer.calls.is_empty();
        let is_answered = self.answer.calls.iter().any(|call| call.result.is_some());
        match part {
            Part::Result { call, text, is_error } => {
                // A result without its call is refused.
                if let Some(asked) = self.answer.calls.iter_mut().find(|asked| asked.id == call) {
                    asked.result = Some(if is_error { format!("error: {text}") } else { text });
                }
                return;
            }
            _ if has_calls && (is_answered || self.is_new_message) => self.flush_answer(),
            _ => {}
        }
        match part {
            Part::Text(text) => {
                if self.is_new_message && !self.answer.text.is_empty() && !text.trim().is_empty() {
                    self.answer.text += "\n\n";
                }
                self.is_new_message &= text.trim().is_empty();
                self.answer.text += &text;
            }
            Part::Reasoning(text) if keeps_thoughts => self.answer.reasoning += &text,
            Part::Call { id, name, input: Some(input) } => {
                self.is_new_message = false;
                self.answer.calls.push(Call { id, name, input, result: None });
            }
            // Nobody knows whether a call that was cut short was meant so.
            Part::Call { input: None, .. } | Part::Reasoning(_) => {}
            // A model's words hold no files.
            Part::Result { .. } | Part::File(_) | Part::Data { .. } => {}
        }
    }

    fn flush(&mut self) {
        self.flush_answer();
        self.flush_said();
    }

    fn flush_said(&mut self) {
        let Some((role, said)) = self.said.take() else { return };
        self.messages.push(json!({ "role": role, "content": Said::content(said) }));
    }

    fn flush_answer(&mut self) {
        let Answer { text, reasoning, calls } = std::mem::take(&mut self.answer);
        let content = Some(text).filter(|text| !text.trim().is_empty());
        if content.is_none() && calls.is_empty() {
            return;
        }
        self.flush_said();
        let mut message = json!({ "role": Role::Assistant, "content": content });
        if !calls.is_empty() {
            let form = |call: &Call| {
                let function = json!({ "name": call.name, "arguments": call.input });
                json!({ "id": call.id, "type": "function", "function": function })
            };
            message["tool_calls"] = calls.iter().map(form).collect();
        }
        if !reasoning.is_empty() {
            message["reasoning_content"] = reasoning.into();
            self.has_thoughts = true;
        } else if self.has_tools {
            self.lacks_thoughts = true;
            if self.fills {
                message["reasoning_content"] = NO_THOUGHT.into();
            }
        }
        self.messages.push(message);
        self.messages.extend(calls.into_iter().map(|call| {
            let content = call.result.unwrap_or_else(|| UNKNOWN_RESULT.into());
            json!({ "role": Role::Tool, "tool_call_id": call.id, "content": content })
        }));
    }
}
