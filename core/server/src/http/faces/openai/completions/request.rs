//! The body of a request for a completion.

use mainstem_machine::{CallResult, Content, NewMessage, Role, Settings};
use mainstem_runtime::ports::Env;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::super::request::parse_object;
use super::super::super::super::{Problem, Requester};
use super::super::super::settings::SaidSettings;
use super::super::asked::{Answers, Asker};
use super::super::ids::parse_call;
use super::super::input::{Given, Input, call, detail, file, read, refuse_unknown, result, role};
use super::super::request::{refuse, take_settings};

#[derive(Debug, Deserialize)]
struct Body {
    messages: Option<Vec<Map<String, Value>>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    include_obfuscation: Option<bool>,
}

#[derive(Debug)]
pub(super) struct CompletionRequest {
    input: Input,
    pub(super) streams: bool,
    /// Whether a stream ends with what it cost.
    pub(super) with_usage: bool,
    settings: SaidSettings,
    bytes_max: usize,
}

fn malformed(why: &str) -> Problem {
    Problem::malformed(why.to_owned())
}

impl CompletionRequest {
    pub(super) fn parse(body: &[u8], bytes_max: usize) -> Result<Self, Problem> {
        let Body { messages, stream, stream_options, mut rest } = parse_object(body)?;
        let settings = take_settings(&mut rest, |tool| tool.get("function").cloned())?;
        // Nothing is looked up of it here, whether it is to be kept or not: it is a chat like any other.
        rest.remove("store");
        refuse(&rest)?;
        let options = stream_options.unwrap_or_default();
        if options.include_obfuscation == Some(true) {
            return Err(malformed("`include_obfuscation` is not taken here"));
        }
        let messages = messages.filter(|messages| !messages.is_empty());
        let messages = messages.ok_or_else(|| malformed("`messages` has none"))?;
        let mut given = vec![];
        for message in &messages {
            given.extend(said_in(message, bytes_max)?);
        }
        let with_usage = options.include_usage == Some(true);
        Ok(Self { input: Input(given), streams: stream.unwrap_or(false), with_usage, settings, bytes_max })
    }

    fn history(&self) -> Result<Vec<NewMessage>, Problem> {
        self.input.history(self.bytes_max)
    }

    fn new_settings(&self) -> Result<Settings, Problem> {
        self.settings.of_new(None)
    }

    /// What the last of its users said.
    fn question(&self) -> Option<&Content> {
        self.input.0.iter().rev().find_map(|given| match given {
            Given::Message(Role::User, content) => Some(content),
            _ => None,
        })
    }
}

impl<E: Env> Asker<'_, E> {
    /// Begins a chat with what was said; what came of calls goes on with the chat that made them.
    pub(super) async fn complete(self, request: &CompletionRequest) -> Result<Answers, Problem> {
        let results: Vec<(&str, &CallResult)> = request.input.results();
        let Some((call, _)) = results.first() else {
            let (messages, settings) = (request.history()?, request.new_settings()?);
            return self.create(messages, settings).await;
        };
        let unknown = || {
            Problem::malformed(format!(
                "the call {call:.120?} is of no chat here: bring what came of it under the `id` that it was told with"
            ))
        };
        let (chat, _) = parse_call(call).ok_or_else(unknown)?;
        let by: &Requester = self.by;
        let state = self.app.node.chat(by, chat).await.map_err(|error| match Problem::from(error) {
            problem if problem.code == "no_such_chat" => unknown(),
            problem => problem,
        })?;
        let asked = match state.present_turn() {
            Some(turn) => {
                let before = mainstem_machine::MessageId(turn.message.0.saturating_sub(1));
                let page = self.app.node.messages(by, chat, before, 1).await?;
                page.messages.into_iter().next()
            }
            None => None,
        };
        // Ours is what counts, so what is shown has to be it.
        if asked.is_none_or(|asked| request.question().is_some_and(|question| *question != asked.content)) {
            return Err(Problem::gone_on());
        }
        self.answer_calls(&state, &request.settings, &results).await
    }
}

/// What a message says.
fn said_in(message: &Map<String, Value>, bytes_max: usize) -> Result<Vec<Given>, Problem> {
    let text = |member: &str| message.get(member).and_then(Value::as_str);
    let name = text("role");
    let known = |members: &[&str]| {
        let of = format!("of a message of role {:.80?}", name.unwrap_or_default());
        refuse_unknown(message, &[&["role", "content"], members].concat(), &of)
    };
    if name == Some("tool") {
        known(&["tool_call_id"])?;
        let call = text("tool_call_id")
            .ok_or_else(|| malformed("a message of role \"tool\" has no `tool_call_id`"))?;
        let content = result(&text_of(message.get("content"))?, bytes_max)?;
        return Ok(vec![Given::Result { call: call.to_owned(), result: content }]);
    }
    let role = role(name)?;
    if role != Role::Assistant {
        known(&[])?;
        let parts = match message.get("content") {
            Some(Value::String(text)) => vec![json!({"type": "text", "text": text})],
            Some(Value::Array(parts)) => {
                parts.iter().map(|part| self::part(part, role)).collect::<Result<_, _>>()?
            }
            _ => return Err(malformed("the `content` of a message is a string, or an array of parts")),
        };
        return Ok(vec![Given::Message(role, read(role, &parts, bytes_max)?)]);
    }
    known(&["tool_calls", "reasoning_content", "refusal", "annotations", "audio"])?;
    let mut given = vec![];
    if let Some(thought) = text("reasoning_content").filter(|thought| !thought.is_empty()) {
        given.push(Given::Part(json!({"type": "reasoning", "text": thought})));
    }
    let content = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        content => text_of(content)?,
    };
    if !content.is_empty() {
        given.push(Given::Part(json!({"type": "text", "text": content})));
    }
    for made in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let member = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| malformed("a call has an `id`, and a `function` with `name` and `arguments`"))
        };
        let function = &made["function"];
        let part =
            call(&member(&made["id"])?, &member(&function["name"])?, &member(&function["arguments"])?)?;
        given.push(Given::Part(part));
    }
    Ok(given)
}

fn text_of(content: Option<&Value>) -> Result<String, Problem> {
    match content {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().map(|part| match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text"), Some(text)) => Ok(text),
                (kind, _) => Err(Problem::malformed(format!(
                    "a part of type {:.80?} is not taken there",
                    kind.unwrap_or_default()
                ))),
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        _ => Err(malformed("the `content` of a message is a string, or an array of parts")),
    }
}

/// A part of what is said, as it is kept.
fn part(part: &Value, role: Role) -> Result<Value, Problem> {
    let kind = part["type"].as_str().unwrap_or_default();
    match (kind, role) {
        ("text", _) => Ok(json!({"type": "text", "text": part["text"]})),
        ("image_url", Role::User) => {
            let image = &part["image_url"];
            detail(image["detail"].as_str())?;
            let url =
                image["url"].as_str().ok_or_else(|| malformed("a part of type image_url has no `url`"))?;
            file(url, "image/*", None)
        }
        ("file", Role::User) => {
            let given = &part["file"];
            let data = given["file_data"].as_str();
            let data = data.ok_or_else(|| malformed("a part of type file has no `file_data`"))?;
            file(data, "application/octet-stream", given["filename"].as_str())
        }
        (kind, role) => {
            let role = role.as_str();
            Err(Problem::malformed(format!(
                "a part of type {kind:.80?} of a message of role {role} is not taken here"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Result<CompletionRequest, String> {
        CompletionRequest::parse(body.to_string().as_bytes(), 100)
            .map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn a_request_is_a_history() {
        let request = parsed(json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "n": 1, "store": false,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "messages": [
                {"role": "system", "content": "be"},
                {"role": "user", "content": [{"type": "text", "text": "find"}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "x"},
                {"role": "assistant", "content": "so", "refusal": null},
                {"role": "user", "content": "and"},
            ],
        }));
        let request = request.expect("a request");
        assert!(request.streams && request.with_usage);
        let roles: Vec<_> =
            request.history().expect("a history").iter().map(|message| message.role).collect();
        assert_eq!(
            roles,
            [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::User]
        );
        assert_eq!(request.new_settings().expect("settings").tools.len(), 1);
        assert_eq!(request.question().map(Content::to_text).as_deref(), Some("and"));
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_its_name() {
        let user = json!([{"role": "user", "content": "hi"}]);
        for (body, named) in [
            (json!({"messages": []}), "`messages`"),
            (json!({"messages": user, "temperature": 0.1}), "`temperature`"),
            (json!({"messages": user, "n": 2}), "`n`"),
            (json!({"messages": user, "response_format": {"type": "json_object"}}), "`response_format`"),
            (json!({"messages": user, "max_tokens": 5}), "`max_tokens`"),
            (json!({"messages": [{"role": "user", "content": "hi", "name": "ann"}]}), "`name`"),
            (json!({"messages": [{"role": "function", "content": "hi"}]}), "function"),
            (json!({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}), "input_audio"),
        ] {
            let why = parsed(body.clone()).expect_err("it is refused");
            assert!(why.contains(named), "{body}: {why}");
        }
    }
}
