//! The client's messages, as it sends them: read, bounded, and what is not taken refused by its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstem_machine::{CallResult, Content, NewMessage, Role};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::super::Problem;
use super::super::super::request::{content_problem, parse_name};
use super::super::names::{EDITED_MEMBER, METADATA_MEMBER};
use super::super::words::refuse_others;
use super::part::{content_of, failed};
use crate::content::given;

#[derive(Debug, Deserialize)]
pub(super) struct UiMessage {
    pub(super) id: String,
    pub(super) role: String,
    parts: Vec<UiPart>,
    /// What the client's own code says of it.
    metadata: Option<Box<RawValue>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UiPart {
    r#type: String,
    text: Option<String>,
    state: Option<String>,
    media_type: Option<String>,
    url: Option<String>,
    filename: Option<String>,
    title: Option<String>,
    id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    tool_call_id: Option<String>,
    tool_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    input: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "given")]
    raw_input: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "given")]
    output: Option<Box<RawValue>>,
    error_text: Option<String>,
    preliminary: Option<bool>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

fn not_taken(what: &str) -> Problem {
    Problem::malformed(format!("{what} is not taken here"))
}

impl UiMessage {
    pub(super) fn is_user(&self) -> bool {
        self.role == "user"
    }

    /// What a user says. An `edited` message keeps its sender's name in it.
    pub(super) fn content(&self, edited: bool, bytes_max: usize) -> Result<Content, Problem> {
        let mut parts = self.said_by_a_caller()?;
        if let Some(Value::Object(first)) = parts.first_mut().filter(|_| edited) {
            first.insert(EDITED_MEMBER.to_owned(), json!(self.id));
        }
        read(Role::User, &parts, bytes_max)
    }

    /// The parts of a message that no model wrote: each with all that it says.
    fn said_by_a_caller(&self) -> Result<Vec<Value>, Problem> {
        let mut parts = Vec::new();
        for part in &self.parts {
            if let Some(member) = part.rest.keys().next() {
                return Err(not_taken(&format!("`{member:.80}` of a part of type {:.80?}", part.r#type)));
            }
            parts.extend(part.said()?);
        }
        self.put_metadata(&mut parts)?;
        Ok(parts)
    }

    /// The first part keeps what is said of the whole message.
    fn put_metadata(&self, parts: &mut [Value]) -> Result<(), Problem> {
        refuse_others(&self.rest, "of a message")?;
        if let (Some(metadata), Some(Value::Object(first))) = (&self.metadata, parts.first_mut()) {
            first.insert(METADATA_MEMBER.to_owned(), value(metadata));
        }
        Ok(())
    }

    /// Results that the client brings: the ids of calls, and what came of each.
    pub(super) fn results(&self) -> Result<Vec<(Arc<str>, CallResult)>, Problem> {
        let mut results = Vec::new();
        for part in self.parts.iter().filter(|part| part.is_tool()) {
            if let Some(result) = part.result()? {
                results.push((part.call_id()?.into(), result));
            }
        }
        Ok(results)
    }

    /// What was said elsewhere, as a chat can be created with it.
    pub(super) fn history(&self, bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
        let name = parse_name(Some(self.id.clone()), "id")?;
        let one = |role, content| Ok(vec![NewMessage { role, content, client_id: name.clone() }]);
        match &*self.role {
            "user" => one(Role::User, self.content(false, bytes_max)?),
            "system" => one(Role::System, read(Role::System, &self.said_by_a_caller()?, bytes_max)?),
            "assistant" => self.answers(name, bytes_max),
            other => Err(not_taken(&format!("a message of role {other:.80?}"))),
        }
    }

    /// An answer, step by step: what it says and calls, then what came of its calls.
    fn answers(&self, name: Option<Arc<str>>, bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
        let (mut messages, mut said, mut results) = (Vec::new(), Vec::new(), Vec::new());
        let mut name = name;
        let mut end_step = |said: &mut Vec<Value>, results: &mut Vec<Value>| -> Result<(), Problem> {
            if !said.is_empty() {
                if messages.is_empty() {
                    self.put_metadata(said)?;
                }
                let content = read(Role::Assistant, said, bytes_max)?;
                messages.push(NewMessage { role: Role::Assistant, content, client_id: name.take() });
            }
            if !results.is_empty() {
                let content = read(Role::Tool, results, bytes_max)?;
                messages.push(NewMessage { role: Role::Tool, content, client_id: None });
            }
            said.clear();
            results.clear();
            Ok(())
        };
        for part in &self.parts {
            let begins = part.r#type == "step-start" || (!part.is_tool() && !results.is_empty());
            if begins {
                end_step(&mut said, &mut results)?;
            }
            if !part.is_tool() {
                said.extend(part.said()?);
                continue;
            }
            let (id, tool) = (part.call_id()?, part.tool()?);
            match part.result()? {
                Some(result) => {
                    let input = part.input.as_ref().or(part.raw_input.as_ref());
                    let input: Value = input.map_or(json!({}), |input| value(input));
                    said.push(json!({"type": "tool_call", "id": id, "name": tool, "input": input}));
                    let content: Value =
                        serde_json::from_str(&result.content).expect("it was written as JSON");
                    results.push(json!({
                        "type": "tool_result", "tool_call_id": id, "content": content, "is_error": result.is_error,
                    }));
                }
                None => {
                    return Err(Problem::malformed(format!(
                        "the call {id:.80?} of a chat that is not known here has no result"
                    )));
                }
            }
        }
        end_step(&mut said, &mut results)?;
        Ok(messages)
    }
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or(Value::Null)
}

fn read(role: Role, parts: &[Value], bytes_max: usize) -> Result<Content, Problem> {
    let json = serde_json::to_string(parts).expect("JSON is written");
    Content::from_history(role, &json, bytes_max).map_err(content_problem)
}

impl UiPart {
    fn is_tool(&self) -> bool {
        self.r#type == "dynamic-tool" || self.r#type.starts_with("tool-")
    }

    fn call_id(&self) -> Result<&str, Problem> {
        self.tool_call_id.as_deref().ok_or_else(|| Problem::malformed("a tool's part has no `toolCallId`"))
    }

    fn tool(&self) -> Result<&str, Problem> {
        let named = self.r#type.strip_prefix("tool-").or(self.tool_name.as_deref());
        named.ok_or_else(|| Problem::malformed("a part of type dynamic-tool has no `toolName`"))
    }

    /// What came of the call; `None` if that is not known yet.
    fn result(&self) -> Result<Option<CallResult>, Problem> {
        let state = self.state.as_deref().unwrap_or_default();
        match state {
            "output-available" if self.preliminary == Some(true) => Ok(None),
            "output-available" => {
                let null = RawValue::NULL;
                let content = content_of(self.output.as_deref().unwrap_or(null)).into();
                Ok(Some(CallResult { content, is_error: false }))
            }
            "output-error" => Ok(Some(failed(self.error_text.as_deref().unwrap_or("The tool failed.")))),
            "input-streaming" | "input-available" => Ok(None),
            "approval-requested" | "approval-responded" | "output-denied" => {
                Err(not_taken("the approval of a call"))
            }
            other => Err(not_taken(&format!("a call in the state {other:.80?}"))),
        }
    }

    /// The part as it is kept. A step's begin is none.
    fn said(&self) -> Result<Option<Value>, Problem> {
        let lacks =
            |member: &str| Problem::malformed(format!("a part of type {} has no `{member}`", self.r#type));
        let part = match &*self.r#type {
            "step-start" => return Ok(None),
            kind @ ("text" | "reasoning") => match self.text.as_deref().ok_or_else(|| lacks("text"))? {
                "" => return Ok(None),
                text => json!({"type": kind, "text": text}),
            },
            "file" => self.file()?,
            "source-url" => {
                let url = self.url.as_deref().ok_or_else(|| lacks("url"))?;
                match &self.title {
                    Some(title) => json!({"type": "source", "url": url, "title": title}),
                    None => json!({"type": "source", "url": url}),
                }
            }
            kind => match kind.strip_prefix("data-") {
                Some(name) => {
                    let data = value(self.data.as_deref().ok_or_else(|| lacks("data"))?);
                    match &self.id {
                        Some(id) => json!({"type": "data", "name": name, "data": data, "id": id}),
                        None => json!({"type": "data", "name": name, "data": data}),
                    }
                }
                None => return Err(not_taken(&format!("a part of type {kind:.80?}"))),
            },
        };
        Ok(Some(part))
    }

    fn file(&self) -> Result<Value, Problem> {
        let url =
            self.url.as_deref().ok_or_else(|| Problem::malformed("a part of type file has no `url`"))?;
        let mut part = json!({"type": "file"});
        let media_type = self.media_type.as_deref();
        if let Some(rest) = url.strip_prefix("data:") {
            let (head, data) = rest
                .split_once(',')
                .ok_or_else(|| Problem::malformed("the `url` of a file begins with data: and has no data"))?;
            let (of, is_base64) = match head.strip_suffix(";base64") {
                Some(of) => (of, true),
                None => (head, false),
            };
            let Some(data) = is_base64.then_some(data).filter(|data| STANDARD.decode(data).is_ok()) else {
                return Err(Problem::malformed("the data: in the `url` of a file is not base64"));
            };
            part["media_type"] = json!(media_type.unwrap_or(of));
            part["data"] = json!(data);
        } else {
            let media_type =
                media_type.ok_or_else(|| Problem::malformed("a part of type file has no `mediaType`"))?;
            part["media_type"] = json!(media_type);
            part["url"] = json!(url);
        }
        if let Some(name) = &self.filename {
            part["name"] = json!(name);
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, parts: &str) -> UiMessage {
        serde_json::from_str(&format!(r#"{{"id":"m1","role":"{role}","parts":{parts}}}"#)).expect("a message")
    }

    fn content(parts: &str) -> Result<Value, String> {
        let content =
            message("user", parts).content(false, 100).map_err(|problem| problem.detail.into_owned());
        content.map(|content| serde_json::from_str(content.as_json()).expect("JSON"))
    }

    #[test]
    fn what_a_user_says_is_kept() {
        for (part, kept) in [
            (json!({"type": "text", "text": "hi"}), json!({"type": "text", "text": "hi"})),
            (
                json!({"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,QQ==", "filename": "a"}),
                json!({"type": "file", "media_type": "image/png", "data": "QQ==", "name": "a"}),
            ),
            (
                json!({"type": "file", "mediaType": "image/png", "url": "https://x/a"}),
                json!({"type": "file", "media_type": "image/png", "url": "https://x/a"}),
            ),
            (
                json!({"type": "data-place", "data": null, "id": "p"}),
                json!({"type": "data", "name": "place", "data": null, "id": "p"}),
            ),
        ] {
            assert_eq!(content(&json!([part]).to_string()), Ok(json!([kept])));
        }
        let edited =
            message("user", r#"[{"type":"text","text":"hi"}]"#).content(true, 100).expect("it is fine");
        assert!(edited.as_json().contains(r#""client_id":"m1""#));
    }

    #[test]
    fn what_is_not_taken_is_refused_by_its_name() {
        for (part, named) in [
            (r#"{"type":"source-document","sourceId":"s"}"#, "source-document"),
            (r#"{"type":"custom","kind":"a.b"}"#, "custom"),
            (r#"{"type":"text"}"#, "text"),
            (r#"{"type":"file","mediaType":"a/b","url":"data:a/b,plain"}"#, "base64"),
            (r#"{"type":"file","url":"https://x/a"}"#, "mediaType"),
            (r#"{"type":"text","text":"x","providerMetadata":{"p":{}}}"#, "`providerMetadata`"),
            (r#"{"type":"tool-w","toolCallId":"a","state":"output-available"}"#, "tool-w"),
        ] {
            let why = content(&format!("[{part}]")).expect_err(part);
            assert!(why.contains(named), "{why}");
        }
        let approval = r#"[{"type":"tool-w","toolCallId":"a","state":"approval-responded"}]"#;
        let why = message("assistant", approval).results().expect_err("it is not taken");
        assert!(why.detail.contains("approval"));
        assert!(message("tool", "[]").history(9).is_err());
    }

    #[test]
    fn what_is_said_of_a_message_is_kept_with_it_or_refused() {
        let read = |members: &str| -> UiMessage {
            let parts = r#"[{"type":"text","text":"x"},{"type":"text","text":"y"}]"#;
            serde_json::from_str(&format!(r#"{{"id":"m1","role":"user",{members}"parts":{parts}}}"#))
                .expect("a message")
        };
        let content = read(r#""metadata":{"at":7},"#).content(true, 100).expect("a content");
        let content: Value = serde_json::from_str(content.as_json()).expect("JSON");
        let first = json!({"type": "text", "text": "x", "client_id": "m1", "message_metadata": {"at": 7}});
        assert_eq!(content, json!([first, {"type": "text", "text": "y"}]));
        assert!(read(r#""metadata":null,"createdAt":null,"#).content(false, 100).is_ok());
        let why = read(r#""createdAt":"today","#).content(false, 100).expect_err("it is not taken");
        assert!(why.detail.contains("`createdAt`"), "{why:?}");
    }

    #[test]
    fn results_are_those_that_are_known() {
        let parts = json!([
            {"type": "step-start"},
            {"type": "tool-w", "toolCallId": "a", "state": "output-available", "input": {}, "output": 42},
            {"type": "tool-w", "toolCallId": "b", "state": "output-error", "input": {}, "errorText": "no"},
            {"type": "dynamic-tool", "toolName": "w", "toolCallId": "c", "state": "input-available", "input": {}},
        ]);
        let results = message("assistant", &parts.to_string()).results().expect("results");
        let told: Vec<_> =
            results.iter().map(|(id, result)| (&**id, &*result.content, result.is_error)).collect();
        let data = r#"[{"type":"data","name":"output","data":42}]"#;
        assert_eq!(told, [("a", data, false), ("b", r#""no""#, true)]);
    }

    #[test]
    fn an_answer_of_elsewhere_is_a_history_step_by_step() {
        let parts = json!([
            {"type": "step-start"},
            {"type": "reasoning", "text": "hm"},
            {"type": "tool-w", "toolCallId": "a", "state": "output-available", "input": {"n": 1}, "output": "x"},
            {"type": "step-start"},
            {"type": "text", "text": "so"},
        ]);
        let messages = message("assistant", &parts.to_string()).history(100).expect("a history");
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::Assistant, Role::Tool, Role::Assistant]);
        assert_eq!(NewMessage::check(&messages), Ok(()));
        assert_eq!(messages[0].client_id.as_deref(), Some("m1"));
        let open = json!([{"type": "tool-w", "toolCallId": "a", "state": "input-available", "input": {}}]);
        assert!(message("assistant", &open.to_string()).history(100).is_err());
    }
}
