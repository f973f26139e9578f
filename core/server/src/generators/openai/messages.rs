//! The conversation in the words of Chat Completions. Endpoints refuse a call without a result, a result without a
//! call, and strict templates refuse neighbours of one role, and what says nothing. An answer that was stopped before
//! its first word leaves such neighbours.

use mainstem_machine::Role;
use mainstem_runtime::ports::Conversation;
use serde_json::{Value, json};

use super::extra::Extra;
use super::said::Said;
use crate::content::{Part, parts};
use crate::generators::calls::UNKNOWN_RESULT;

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

/// The messages of a request, and what is in them.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) all: Vec<Value>,
    /// There are thoughts of the model in them.
    pub(super) has_thoughts: bool,
    /// There are tools, and answers without a thought.
    pub(super) lacks_thoughts: bool,
}

impl Messages {
    /// To go on with `conversation`, for `model`.
    pub(super) fn of(model: &str, conversation: &Conversation, thoughts: Thoughts) -> Self {
        let Writer { messages: all, has_thoughts, lacks_thoughts, .. } = write(model, conversation, thoughts);
        Self { all, has_thoughts, lacks_thoughts }
    }
}

fn write<'a>(model: &'a str, conversation: &Conversation, thoughts: Thoughts) -> Writer<'a> {
    let history: Vec<(Role, Vec<Part>)> =
        conversation.history.messages.iter().map(|message| (message.role, parts(&message.content))).collect();
    let has_tools = !conversation.tools.is_empty() || history.iter().any(|(_, parts)| calls(parts));
    let mut writer =
        Writer { model, has_tools, fills: has_tools && thoughts == Thoughts::OfAll, ..Writer::default() };
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
    parts.iter().any(|part| matches!(part, Part::Call { .. }))
}

/// Of each message, whether it is of a turn with a call: turns begin with a user's message.
fn turns_that_call(history: &[(Role, Vec<Part>)]) -> Vec<bool> {
    let turns = history.chunk_by(|_, (role, _)| *role != Role::User);
    turns.flat_map(|turn| vec![turn.iter().any(|(_, parts)| calls(parts)); turn.len()]).collect()
}

#[derive(Default)]
struct Writer<'a> {
    model: &'a str,
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
    /// What the provider wants back with it.
    extra: Option<Value>,
    result: Option<String>,
}

impl Writer<'_> {
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
            Part::Data { name, json } => {
                // Otherwise a model's words hold no data.
                let extra = Extra::read(name.as_deref(), &json).filter(|extra| *extra.model == *self.model);
                let Some(extra) = extra else { return };
                if let Some(call) = self.answer.calls.iter_mut().find(|call| *call.id == *extra.tool_call_id)
                {
                    call.extra = serde_json::from_str(extra.extra_content.get()).ok();
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
            Part::Call { id, name, input } => {
                self.is_new_message = false;
                self.answer.calls.push(Call { id, name, input, extra: None, result: None });
            }
            Part::Reasoning(_) => {}
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
                let mut form = json!({ "id": call.id, "type": "function", "function": function });
                if let Some(extra) = &call.extra {
                    form["extra_content"] = extra.clone();
                }
                form
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstem_machine::history::ModelHistory;
    use mainstem_machine::{ChatId, Content, Episode, Message, MessageId, Version, WallTime};

    use super::*;

    fn conversation(said: &[(Role, Value)]) -> Conversation {
        let message = |(role, content): &(Role, Value)| {
            Arc::new(Message {
                id: MessageId(1),
                revision: Version(1),
                role: *role,
                content: Content::from_stored(content.to_string()),
                interrupted: false,
                episode: None,
                finish_reason: None,
                usage: None,
                queued_as: None,
                client_id: None,
                turn: None,
                created_at: WallTime(0),
            })
        };
        Conversation {
            chat: ChatId(uuid::Uuid::nil()),
            model: None,
            episode: Episode { history_version: Version(1), attempt: 1 },
            instructions: None,
            tools: [].into(),
            history: ModelHistory::of(said.iter().map(message)),
        }
    }

    /// The messages, each on a line: who speaks, what is said, and what is called.
    fn lines(said: &[(Role, Value)]) -> Vec<String> {
        let all = Messages::of("m", &conversation(said), Thoughts::OfCalls).all;
        let line = |message: &Value| {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            let calls: String = calls.map(|call| format!(" +{}", call["id"].as_str().unwrap())).collect();
            let answered = message["tool_call_id"].as_str().map(|id| format!(" {id}:")).unwrap_or_default();
            format!("{}{answered} {}{calls}", message["role"].as_str().unwrap(), message["content"])
        };
        all.iter().map(line).collect()
    }

    fn text(text: &str) -> Value {
        json!({ "type": "text", "text": text })
    }

    fn thought(text: &str) -> Value {
        json!({ "type": "reasoning", "text": text })
    }

    fn call(id: &str) -> Value {
        json!({ "type": "tool_call", "id": id, "name": "f", "input": null })
    }

    fn result(id: &str) -> Value {
        json!({ "type": "tool_result", "tool_call_id": id, "content": id })
    }

    const UNKNOWN: &str = "\"error: nobody knows what became of this call\"";

    #[test]
    fn what_one_role_says_without_a_break_is_one_message() {
        use Role::{Assistant, System, User};
        let blank = || json!([text(" \n")]);
        let said = [
            (System, json!([text("s")])),
            (User, json!([text("a"), text("b")])),
            (User, blank()),
            (User, json!([text("c")])),
            (Assistant, blank()),
            (Assistant, json!([])),
            (User, json!([text("d")])),
            (Assistant, json!([text("e"), text("f")])),
            (Assistant, blank()),
            (Assistant, json!([text("g")])),
            (User, json!([])),
            (Assistant, json!([text("h")])),
        ];
        let wanted = ["system \"s\"", r#"user "ab\n\nc\n\nd""#, r#"assistant "ef \n\n\ng\n\nh""#];
        assert_eq!(lines(&said), wanted);
    }

    #[test]
    fn a_call_without_a_result_gets_one_and_a_result_without_its_call_is_left_out() {
        use Role::{Assistant, Tool, User};
        let go = || (User, json!([text("go")]));
        for (rest, wanted) in [
            (
                vec![(Assistant, json!([call("a"), call("b")])), (Tool, json!([result("b"), result("x")]))],
                vec!["assistant null +a +b".to_owned(), format!("tool a: {UNKNOWN}"), "tool b: \"b\"".into()],
            ),
            // The next answer is another, whether or not there was a result.
            (
                vec![(Assistant, json!([call("a")])), (Assistant, json!([text("so"), call("b")]))],
                vec![
                    "assistant null +a".into(),
                    format!("tool a: {UNKNOWN}"),
                    "assistant \"so\" +b".into(),
                    format!("tool b: {UNKNOWN}"),
                ],
            ),
            // Text between calls is of one answer with them.
            (
                vec![(Assistant, json!([text("x"), call("a"), text("y"), call("b")]))],
                vec![
                    "assistant \"xy\" +a +b".into(),
                    format!("tool a: {UNKNOWN}"),
                    format!("tool b: {UNKNOWN}"),
                ],
            ),
            (
                vec![(Assistant, json!([call("a"), result("a"), call("b"), result("b"), text("z")]))],
                vec![
                    "assistant null +a".into(),
                    "tool a: \"a\"".into(),
                    "assistant null +b".into(),
                    "tool b: \"b\"".into(),
                    "assistant \"z\"".into(),
                ],
            ),
            (
                vec![(Tool, json!([result("a")])), (Assistant, json!([text("z")]))],
                vec!["assistant \"z\"".into()],
            ),
        ] {
            let said: Vec<_> = [go()].into_iter().chain(rest).collect();
            assert_eq!(lines(&said)[1..], wanted, "{said:?}");
        }
    }

    #[test]
    fn whose_thoughts_are_sent_and_whose_are_missing_is_told() {
        use Role::{Assistant, User};
        let turn = |parts: Value| [(User, json!([text("go")])), (Assistant, parts)];
        let talk = turn(json!([thought("1"), text("x")]));
        let thoughtless = turn(json!([call("a")]));
        let calling = turn(json!([thought("2"), call("a")]));
        for (said, thoughts, wanted, has, lacks) in [
            (vec![&talk], Thoughts::OfCalls, vec![None], false, false),
            (vec![&talk], Thoughts::OfAll, vec![None], false, false),
            (vec![&calling], Thoughts::OfCalls, vec![Some("2")], true, false),
            (vec![&calling], Thoughts::None, vec![None], false, true),
            (vec![&thoughtless], Thoughts::OfCalls, vec![None], false, true),
            (vec![&thoughtless], Thoughts::OfAll, vec![Some(NO_THOUGHT)], false, true),
            (vec![&calling, &talk], Thoughts::OfCalls, vec![Some("2"), None], true, true),
            (vec![&talk, &calling], Thoughts::OfCalls, vec![None, Some("2")], true, true),
            (vec![&talk, &calling], Thoughts::OfAll, vec![Some("1"), Some("2")], true, false),
            (vec![&calling, &talk], Thoughts::None, vec![None, None], false, true),
        ] {
            let said: Vec<_> = said.into_iter().flatten().cloned().collect();
            let messages = Messages::of("m", &conversation(&said), thoughts);
            let Messages { all, has_thoughts, lacks_thoughts } = messages;
            let answers = all.iter().filter(|message| message["role"] == "assistant");
            let told: Vec<_> = answers.map(|answer| answer["reasoning_content"].as_str()).collect();
            assert_eq!((told, has_thoughts, lacks_thoughts), (wanted, has, lacks), "{said:?} {thoughts:?}");
        }
    }
}
