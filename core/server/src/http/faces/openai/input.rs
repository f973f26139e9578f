//! What a request brings: items, read, bounded, and what is not taken refused by its name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstem_machine::{CallResult, Content, NewMessage, Role};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::super::Problem;
use super::super::super::request::content_problem;
use super::super::words::refuse_others;
use crate::limits::edge::CREATED_MESSAGES_MAX;

/// What is said, by whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Message(Role, Content),
    /// What the model thought, or called: of the answer that goes on with what follows.
    Part(Value),
    Result {
        call: String,
        result: CallResult,
    },
}

/// The input of a request, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input(pub(super) Vec<Given>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    Text(String),
    Items(Vec<Map<String, Value>>),
}

fn not_taken(what: &str) -> Problem {
    Problem::malformed(format!("{what} is not taken here"))
}

fn lacks(kind: &str, member: &str) -> Problem {
    Problem::malformed(format!("an item of type {kind} has no `{member}`"))
}

pub(super) fn read(role: Role, parts: &[Value], bytes_max: usize) -> Result<Content, Problem> {
    let json = serde_json::to_string(parts).expect("JSON is written");
    Content::from_history(role, &json, bytes_max).map_err(content_problem)
}

/// What came of a call, as a text that is kept.
pub(super) fn result(text: &str, bytes_max: usize) -> Result<CallResult, Problem> {
    if text.len() > bytes_max {
        return Err(Problem::too_large("the text of a result", bytes_max));
    }
    let content = serde_json::to_string(text).expect("a string is written").into();
    Ok(CallResult { content, is_error: false })
}

/// A call as it is kept.
pub(super) fn call(id: &str, name: &str, arguments: &str) -> Result<Value, Problem> {
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    let input: Box<RawValue> = serde_json::from_str(arguments)
        .map_err(|error| Problem::malformed(format!("the `arguments` of the call {id:.80?}: {error}")))?;
    Ok(json!({"type": "tool_call", "id": id, "name": name, "input": input}))
}

/// A file that is in the request, or where it is.
pub(super) fn file(url: &str, media_type: &str, name: Option<&str>) -> Result<Value, Problem> {
    let mut part = match url.strip_prefix("data:") {
        Some(rest) => {
            let parsed =
                rest.split_once(',').and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data)));
            let parsed = parsed.filter(|(_, data)| STANDARD.decode(data).is_ok());
            let (of, data) = parsed.ok_or_else(|| {
                Problem::malformed("a `data:` address of a file is not `data:<type>;base64,<data>`")
            })?;
            json!({"type": "file", "media_type": of, "data": data})
        }
        None => json!({"type": "file", "media_type": media_type, "url": url}),
    };
    if let Some(name) = name {
        part["name"] = json!(name);
    }
    Ok(part)
}

/// Refuses what is neither known here nor says nothing.
pub(super) fn refuse_unknown(object: &Map<String, Value>, known: &[&str], of: &str) -> Result<(), Problem> {
    let rest = object.iter().filter(|(name, _)| !known.contains(&&***name));
    let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    refuse_others(&rest, of)
}

impl Input {
    pub(super) fn parse(json: &RawValue, bytes_max: usize) -> Result<Self, Problem> {
        let shape = serde_json::from_str(json.get())
            .map_err(|_| Problem::malformed("`input` is a string, or an array of items"))?;
        let items = match shape {
            Shape::Text(text) => {
                let content = read(Role::User, &[json!({"type": "text", "text": text})], bytes_max)?;
                vec![Given::Message(Role::User, content)]
            }
            Shape::Items(items) => {
                items.iter().map(|item| given(item, bytes_max)).collect::<Result<Vec<_>, _>>()?
            }
        };
        if items.is_empty() {
            return Err(Problem::malformed("`input` has no item"));
        }
        Ok(Self(items))
    }

    /// The results at its end, if it ends with some.
    pub(super) fn results(&self) -> Vec<(&str, &CallResult)> {
        let last = self.0.iter().rev().map_while(|given| match given {
            Given::Result { call, result } => Some((&**call, result)),
            _ => None,
        });
        last.collect()
    }

    /// What a chat is created with.
    pub(super) fn history(&self, bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
        let (mut history, mut said, mut results): (Vec<NewMessage>, Vec<Value>, Vec<Value>) =
            (vec![], vec![], vec![]);
        let end = |history: &mut Vec<NewMessage>, role, parts: &mut Vec<Value>| -> Result<(), Problem> {
            if !parts.is_empty() {
                let content = read(role, &std::mem::take(parts), bytes_max)?;
                history.push(NewMessage { role, content, client_id: None });
            }
            Ok(())
        };
        for given in &self.0 {
            if !matches!(given, Given::Result { .. }) {
                end(&mut history, Role::Tool, &mut results)?;
            }
            match given {
                Given::Message(Role::Assistant, content) => {
                    let parts: Vec<Value> = serde_json::from_str(content.as_json()).unwrap_or_default();
                    said.extend(parts);
                }
                Given::Message(role, content) => {
                    end(&mut history, Role::Assistant, &mut said)?;
                    history.push(NewMessage { role: *role, content: content.clone(), client_id: None });
                }
                Given::Part(part) => said.push(part.clone()),
                Given::Result { call, result } => {
                    end(&mut history, Role::Assistant, &mut said)?;
                    let content: Value =
                        serde_json::from_str(&result.content).expect("it was written as JSON");
                    results.push(json!({"type": "tool_result", "tool_call_id": call, "content": content}));
                }
            }
        }
        end(&mut history, Role::Assistant, &mut said)?;
        end(&mut history, Role::Tool, &mut results)?;
        if history.len() > CREATED_MESSAGES_MAX {
            let told = format!("a chat is created with up to {CREATED_MESSAGES_MAX} messages");
            return Err(Problem::not_a_history(told));
        }
        NewMessage::check(&history).map_err(|error| Problem::not_a_history(error.to_string()))?;
        Ok(history)
    }
}

fn given(item: &Map<String, Value>, bytes_max: usize) -> Result<Given, Problem> {
    let text = |member: &str| item.get(member).and_then(Value::as_str);
    // An item of an earlier response has names and states of ours: they say nothing new.
    let known = |members: &[&str]| {
        let known = [&["type", "id", "status"], members].concat();
        refuse_unknown(item, &known, &format!("of an item of type {:?}", text("type").unwrap_or("message")))
    };
    match text("type").unwrap_or("message") {
        "message" => {
            known(&["role", "content", "phase"])?;
            message(text("role"), item.get("content"), bytes_max)
        }
        "function_call" => {
            known(&["call_id", "name", "arguments"])?;
            let member = |member| text(member).ok_or_else(|| lacks("function_call", member));
            call(member("call_id")?, member("name")?, member("arguments")?).map(Given::Part)
        }
        "function_call_output" => {
            known(&["call_id", "output"])?;
            let call = text("call_id").ok_or_else(|| lacks("function_call_output", "call_id"))?.to_owned();
            let text = match item.get("output") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(parts)) => texts(parts, &["input_text", "output_text", "text"])?,
                _ => return Err(lacks("function_call_output", "output")),
            };
            Ok(Given::Result { call, result: result(&text, bytes_max)? })
        }
        "reasoning" => {
            known(&["summary", "content", "encrypted_content"])?;
            if item.get("encrypted_content").is_some_and(|content| !content.is_null()) {
                return Err(not_taken("`encrypted_content` of an item of type \"reasoning\""));
            }
            let parts =
                |member: &str| item.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
            let all = [parts("content"), parts("summary")].concat();
            Ok(Given::Part(
                json!({"type": "reasoning", "text": texts(&all, &["reasoning_text", "summary_text"])?}),
            ))
        }
        other => Err(not_taken(&format!("an item of type {other:.80?}"))),
    }
}

/// The texts of parts, of which all are of these kinds.
fn texts(parts: &[Value], kinds: &[&str]) -> Result<String, Problem> {
    let texts = parts.iter().map(|part| {
        let kind = part["type"].as_str().unwrap_or_default();
        let text = part["text"].as_str().filter(|_| kinds.contains(&kind));
        text.ok_or_else(|| not_taken(&format!("a part of type {kind:.80?} there")))
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// The role that a name means here.
pub(super) fn role(name: Option<&str>) -> Result<Role, Problem> {
    match name {
        Some("user") => Ok(Role::User),
        Some("system" | "developer") => Ok(Role::System),
        Some("assistant") => Ok(Role::Assistant),
        other => Err(not_taken(&format!("a message of role {:.80?}", other.unwrap_or_default()))),
    }
}

fn message(name: Option<&str>, content: Option<&Value>, bytes_max: usize) -> Result<Given, Problem> {
    let role = role(name)?;
    let parts = match content {
        Some(Value::String(text)) => vec![json!({"type": "text", "text": text})],
        Some(Value::Array(parts)) => {
            parts.iter().map(|part| self::part(part, role)).collect::<Result<_, _>>()?
        }
        _ => return Err(lacks("message", "content")),
    };
    Ok(Given::Message(role, read(role, &parts, bytes_max)?))
}

/// A part of what is said, as it is kept.
fn part(part: &Value, role: Role) -> Result<Value, Problem> {
    let kind = part["type"].as_str().unwrap_or_default();
    let text = |member: &str| part[member].as_str();
    let known = |members: &[&str]| {
        let object = part.as_object().cloned().unwrap_or_default();
        refuse_unknown(&object, &[&["type"], members].concat(), &format!("of a part of type {kind:.80?}"))
    };
    let lacks = |member: &str| Problem::malformed(format!("a part of type {kind:.80?} has no `{member}`"));
    match (kind, role) {
        ("input_text" | "text", _) => {
            known(&["text"])?;
            Ok(json!({"type": "text", "text": text("text").ok_or_else(|| lacks("text"))?}))
        }
        ("output_text", Role::Assistant) => {
            known(&["text", "annotations", "logprobs"])?;
            Ok(json!({"type": "text", "text": text("text").ok_or_else(|| lacks("text"))?}))
        }
        ("input_image", Role::User) => {
            known(&["image_url", "detail"])?;
            detail(text("detail"))?;
            file(text("image_url").ok_or_else(|| lacks("image_url"))?, "image/*", None)
        }
        ("input_file", Role::User) => {
            known(&["filename", "file_data", "file_url"])?;
            let url = text("file_data").or(text("file_url")).ok_or_else(|| lacks("file_data"))?;
            file(url, "application/octet-stream", text("filename"))
        }
        (kind, _) => {
            Err(not_taken(&format!("a part of type {kind:.80?} of a message of role {}", role.as_str())))
        }
    }
}

/// How closely an image is looked at is left to the model.
pub(super) fn detail(detail: Option<&str>) -> Result<(), Problem> {
    match detail {
        None | Some("auto") => Ok(()),
        Some(other) => Err(not_taken(&format!("the `detail` {other:.80?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: Value) -> Result<Input, String> {
        let raw: Box<RawValue> = serde_json::from_str(&json.to_string()).expect("JSON");
        Input::parse(&raw, 100).map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn an_input_is_a_text_or_a_history() {
        let text = parsed(json!("hi")).expect("an input");
        let [Given::Message(Role::User, content)] = &text.0[..] else { panic!("{text:?}") };
        assert_eq!(content.to_text(), "hi");
        let input = parsed(json!([
            {"role": "developer", "content": "be"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "find"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{\"n\": 1.50}"},
            {"type": "function_call_output", "call_id": "a", "output": "x"},
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "so", "annotations": []}]},
            {"role": "user", "content": "and"},
        ]));
        let history = input.expect("an input").history(100).expect("a history");
        let told: Vec<_> =
            history.iter().map(|message| (message.role, message.content.as_json().to_owned())).collect();
        let expected = [
            (Role::System, r#"[{"type":"text","text":"be"}]"#),
            (Role::User, r#"[{"type":"text","text":"find"}]"#),
            (
                Role::Assistant,
                r#"[{"type":"reasoning","text":"hm"},{"type":"tool_call","id":"a","input":{"n":1.50},"name":"f"}]"#,
            ),
            (Role::Tool, r#"[{"type":"tool_result","content":"x","tool_call_id":"a"}]"#),
            (Role::Assistant, r#"[{"type":"text","text":"so"}]"#),
            (Role::User, r#"[{"type":"text","text":"and"}]"#),
        ];
        let same = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
        assert_eq!(told.len(), expected.len());
        for ((role, json), (of, kept)) in told.iter().zip(expected) {
            assert_eq!((*role, same(json)), (of, same(kept)));
        }
    }

    #[test]
    fn files_are_kept_where_they_are_or_as_they_are() {
        let input = parsed(json!([{"role": "user", "content": [
            {"type": "input_image", "image_url": "https://x/a.png", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        ]}]));
        let Ok(Input(given)) = input else { panic!("{input:?}") };
        let [Given::Message(Role::User, content)] = &given[..] else { panic!("{given:?}") };
        let kept: Value = serde_json::from_str(content.as_json()).expect("JSON");
        assert_eq!(
            kept,
            json!([
                {"type": "file", "media_type": "image/*", "url": "https://x/a.png"},
                {"type": "file", "media_type": "application/pdf", "data": "QQ==", "name": "a.pdf"},
            ])
        );
    }

    #[test]
    fn what_is_not_taken_is_refused_by_its_name() {
        let user = |part: Value| json!([{"role": "user", "content": [part]}]);
        for (wrong, named) in [
            (json!([]), "no item"),
            (json!(3), "`input`"),
            (json!([{"type": "item_reference", "id": "msg_1"}]), "item_reference"),
            (json!([{"role": "critic", "content": "x"}]), "critic"),
            (json!([{"role": "user", "content": "x", "name": "ann"}]), "`name`"),
            (user(json!({"type": "input_image", "file_id": "f"})), "`file_id`"),
            (user(json!({"type": "input_image", "image_url": "https://x", "detail": "high"})), "high"),
            (user(json!({"type": "input_file", "file_data": "data:a/b,plain"})), "base64"),
            (user(json!({"type": "input_audio"})), "input_audio"),
            (
                json!([{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{"}]),
                "`arguments`",
            ),
            (json!([{"type": "reasoning", "summary": [], "encrypted_content": "x"}]), "`encrypted_content`"),
        ] {
            let why = parsed(wrong.clone()).expect_err("it is refused");
            assert!(why.contains(named), "{wrong}: {why}");
        }
    }
}
