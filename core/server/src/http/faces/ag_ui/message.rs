//! The client's messages, as it sends them: read, bounded, and what is not taken refused by its name.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstem_machine::{CallResult, Content, NewMessage, Role};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::super::Problem;
use super::super::super::request::{content_problem, parse_name};
use super::super::names::{EDITED_MEMBER, METADATA_MEMBER};
use super::super::words::refuse_others;
use super::part::kept_text;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentMessage {
    pub(super) id: String,
    pub(super) role: String,
    content: Option<Value>,
    tool_calls: Option<Vec<ToolCall>>,
    tool_call_id: Option<String>,
    error: Option<String>,
    metadata: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ToolCall {
    id: String,
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    /// JSON.
    arguments: String,
}

fn not_taken(what: &str) -> Problem {
    Problem::malformed(format!("{what} is not taken here"))
}

fn read(role: Role, parts: &[Value], bytes_max: usize) -> Result<Content, Problem> {
    let json = serde_json::to_string(parts).expect("JSON is written");
    Content::from_history(role, &json, bytes_max).map_err(content_problem)
}

impl AgentMessage {
    pub(super) fn is_user(&self) -> bool {
        self.role == "user"
    }

    /// What a user sees of it.
    pub(super) fn text(&self) -> String {
        match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        }
    }

    /// The call whose result it is.
    pub(super) fn answers(&self) -> Option<&str> {
        self.tool_call_id.as_deref().filter(|_| self.role == "tool")
    }

    /// What came of that call.
    pub(super) fn result(&self, bytes_max: usize) -> Result<CallResult, Problem> {
        let text = match &self.error {
            Some(error) if self.text().is_empty() => error.clone(),
            _ => self.text(),
        };
        Ok(CallResult { content: kept_text(&text, bytes_max)?, is_error: self.error.is_some() })
    }

    /// What a user says. An `edited` message keeps its sender's name in it.
    pub(super) fn content(&self, edited: bool, bytes_max: usize) -> Result<Content, Problem> {
        refuse_others(&self.rest, "of a message")?;
        let mut parts = self.parts()?;
        if let Some(Value::Object(first)) = parts.first_mut() {
            if edited {
                first.insert(EDITED_MEMBER.to_owned(), json!(self.id));
            }
            if let Some(metadata) = self.metadata.as_ref().filter(|metadata| !is_empty(metadata)) {
                first.insert(METADATA_MEMBER.to_owned(), metadata.clone());
            }
        }
        read(Role::User, &parts, bytes_max)
    }

    fn parts(&self) -> Result<Vec<Value>, Problem> {
        match &self.content {
            Some(Value::String(text)) => Ok(vec![json!({"type": "text", "text": text})]),
            Some(Value::Array(parts)) => parts.iter().map(part).collect(),
            _ => Err(Problem::malformed(format!(
                "the `content` of a message of role {:.80?} is a string, or an array of parts",
                self.role
            ))),
        }
    }

    /// What was said elsewhere, as a chat can be created with it: a thought goes before the answer, and results together.
    pub(super) fn history(messages: &[Self], bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
        let (mut history, mut thoughts, mut results): (Vec<NewMessage>, Vec<Value>, Vec<Value>) =
            (vec![], vec![], vec![]);
        for message in messages {
            if message.role != "tool" && !results.is_empty() {
                let content = read(Role::Tool, &std::mem::take(&mut results), bytes_max)?;
                history.push(NewMessage { role: Role::Tool, content, client_id: None });
            }
            let (role, content) = match &*message.role {
                "user" => (Role::User, message.content(false, bytes_max)?),
                "system" | "developer" => (Role::System, read(Role::System, &message.parts()?, bytes_max)?),
                "reasoning" => {
                    thoughts.push(json!({"type": "reasoning", "text": message.text()}));
                    continue;
                }
                "assistant" => {
                    let parts = message.answer(std::mem::take(&mut thoughts))?;
                    if parts.is_empty() {
                        continue;
                    }
                    (Role::Assistant, read(Role::Assistant, &parts, bytes_max)?)
                }
                "tool" => {
                    let id = message.answers().ok_or_else(|| {
                        Problem::malformed("a message of role \"tool\" has no `toolCallId`")
                    })?;
                    let CallResult { content, is_error } = message.result(bytes_max)?;
                    let content: Value = serde_json::from_str(&content).expect("it was written as JSON");
                    results.push(json!({
                        "type": "tool_result", "tool_call_id": id, "content": content, "is_error": is_error,
                    }));
                    continue;
                }
                other => return Err(not_taken(&format!("a message of role {other:.80?}"))),
            };
            let client_id: Option<Arc<str>> = parse_name(Some(message.id.clone()), "id")?;
            history.push(NewMessage { role, content, client_id });
        }
        Ok(history)
    }

    fn answer(&self, thoughts: Vec<Value>) -> Result<Vec<Value>, Problem> {
        let mut parts = thoughts;
        let text = self.text();
        if !text.is_empty() {
            parts.push(json!({"type": "text", "text": text}));
        }
        for ToolCall { id, function } in self.tool_calls.iter().flatten() {
            let arguments = if function.arguments.is_empty() { "{}" } else { &function.arguments };
            let input: Box<RawValue> = serde_json::from_str(arguments).map_err(|error| {
                Problem::malformed(format!("the `arguments` of the call {id:.80?}: {error}"))
            })?;
            parts.push(json!({"type": "tool_call", "id": id, "name": function.name, "input": input}));
        }
        Ok(parts)
    }
}

fn is_empty(metadata: &Value) -> bool {
    metadata.is_null() || metadata.as_object().is_some_and(Map::is_empty)
}

/// A part of what a user says, as it is kept.
fn part(part: &Value) -> Result<Value, Problem> {
    let kind = part["type"].as_str().unwrap_or_default();
    let known: &[&str] = match kind {
        "text" => &["type", "text"],
        "image" | "audio" | "video" | "document" => &["type", "source"],
        "binary" => &["type", "mimeType", "url", "data", "filename"],
        other => return Err(not_taken(&format!("a part of type {other:.80?}"))),
    };
    if let Some(members) = part.as_object() {
        let rest = members.iter().filter(|(name, _)| !known.contains(&&***name));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        refuse_others(&rest, &format!("of a part of type {kind:?}"))?;
    }
    let lacks = |member: &str| Problem::malformed(format!("a part of type {kind:?} has no `{member}`"));
    match kind {
        "text" => {
            let text = part["text"].as_str().ok_or_else(|| lacks("text"))?;
            Ok(json!({"type": "text", "text": text}))
        }
        "binary" => {
            let media_type = part["mimeType"].as_str().ok_or_else(|| lacks("mimeType"))?;
            let mut file = match (part["data"].as_str(), part["url"].as_str()) {
                (Some(data), _) => data_file(media_type, data)?,
                (None, Some(url)) => json!({"type": "file", "media_type": media_type, "url": url}),
                (None, None) => return Err(lacks("url")),
            };
            if let Some(name) = part["filename"].as_str() {
                file["name"] = json!(name);
            }
            Ok(file)
        }
        _ => {
            let source = &part["source"];
            let value = source["value"].as_str().ok_or_else(|| lacks("source"))?;
            let given = source["mimeType"].as_str();
            match source["type"].as_str() {
                Some("data") => data_file(given.ok_or_else(|| lacks("source.mimeType"))?, value),
                // A URL need not say of what type it is: what is known is the kind.
                Some("url") => {
                    let any = if kind == "document" {
                        "application/octet-stream".into()
                    } else {
                        format!("{kind}/*")
                    };
                    Ok(json!({"type": "file", "media_type": given.map_or(any, str::to_owned), "url": value}))
                }
                _ => Err(not_taken(&format!("a `source` of type {:.80}", source["type"]))),
            }
        }
    }
}

fn data_file(media_type: &str, data: &str) -> Result<Value, Problem> {
    if STANDARD.decode(data).is_err() {
        return Err(Problem::malformed("the data of a file is not base64"));
    }
    Ok(json!({"type": "file", "media_type": media_type, "data": data}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: Value) -> AgentMessage {
        serde_json::from_value(json).expect("a message")
    }

    fn content(content: Value) -> Result<Value, String> {
        let said = message(json!({"id": "u1", "role": "user", "content": content}));
        let content = said.content(false, 100).map_err(|problem| problem.detail.into_owned())?;
        Ok(serde_json::from_str(content.as_json()).expect("JSON"))
    }

    #[test]
    fn what_a_user_says_is_kept() {
        let source =
            |kind: &str, value: &str, of: &str| json!({"type": kind, "value": value, "mimeType": of});
        for (part, kept) in [
            (json!({"type": "text", "text": "hi"}), json!({"type": "text", "text": "hi"})),
            (
                json!({"type": "image", "source": source("data", "QQ==", "image/png")}),
                json!({"type": "file", "media_type": "image/png", "data": "QQ=="}),
            ),
            (
                json!({"type": "video", "source": {"type": "url", "value": "https://x/a"}}),
                json!({"type": "file", "media_type": "video/*", "url": "https://x/a"}),
            ),
            (
                json!({"type": "binary", "mimeType": "a/b", "url": "https://x/a", "filename": "n"}),
                json!({"type": "file", "media_type": "a/b", "url": "https://x/a", "name": "n"}),
            ),
        ] {
            assert_eq!(content(json!([part])), Ok(json!([kept])));
        }
        assert_eq!(content(json!("hi")), Ok(json!([{"type": "text", "text": "hi"}])));
        let edited = message(json!({"id": "u1", "role": "user", "content": "x", "metadata": {"at": 7}}));
        let edited = edited.content(true, 100).expect("a content");
        let first = json!({"type": "text", "text": "x", "client_id": "u1", "message_metadata": {"at": 7}});
        assert_eq!(serde_json::from_str::<Value>(edited.as_json()).expect("JSON"), json!([first]));
    }

    #[test]
    fn what_is_not_taken_is_refused_by_its_name() {
        for (part, named) in [
            (json!({"type": "text"}), "`text`"),
            (json!({"type": "custom"}), "custom"),
            (json!({"type": "text", "text": "x", "cacheControl": {"a": 1}}), "`cacheControl`"),
            (json!({"type": "image", "source": {"type": "data", "value": "QQ=="}}), "mimeType"),
            (json!({"type": "image", "source": {"type": "data", "value": "é", "mimeType": "a/b"}}), "base64"),
            (json!({"type": "image", "source": {"type": "id", "value": "x"}}), "source"),
            (json!({"type": "binary", "mimeType": "a/b", "id": "x"}), "`id`"),
        ] {
            let why = content(json!([part])).expect_err(named);
            assert!(why.contains(named), "{why}");
        }
        let named = message(json!({"id": "u1", "role": "user", "content": "x", "name": "Ada"}));
        assert!(named.content(false, 9).is_err_and(|problem| problem.detail.contains("`name`")));
        let activity = message(json!({"id": "x", "role": "activity", "content": {}}));
        assert!(
            AgentMessage::history(&[activity], 9).is_err_and(|problem| problem.detail.contains("activity"))
        );
    }

    #[test]
    fn what_was_said_elsewhere_is_a_history() {
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1}"}});
        let messages = [
            json!({"id": "s", "role": "system", "content": "be"}),
            json!({"id": "u1", "role": "user", "content": "q"}),
            json!({"id": "r", "role": "reasoning", "content": "hm"}),
            json!({"id": "a", "role": "assistant", "toolCalls": [call]}),
            json!({"id": "t", "role": "tool", "toolCallId": "c", "content": "x", "error": "no"}),
            json!({"id": "b", "role": "assistant", "content": "so"}),
            json!({"id": "u2", "role": "user", "content": "and"}),
        ];
        let messages: Vec<_> = messages.into_iter().map(message).collect();
        let history = AgentMessage::history(&messages, 100).expect("a history");
        let roles: Vec<_> = history.iter().map(|message| message.role).collect();
        let expected = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::User];
        assert_eq!((roles, NewMessage::check(&history)), (expected.to_vec(), Ok(())));
        assert_eq!(history[5].client_id.as_deref(), Some("u2"));
        assert!(history[3].content.as_json().contains(r#""is_error":true"#));
    }
}
