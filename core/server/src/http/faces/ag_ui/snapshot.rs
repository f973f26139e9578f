//! The history as messages of AG-UI, and how a client comes from what it has to that.

use mainstem_machine::{ChatId, Message, MessageId, Role};
use mainstem_runtime::ports::Env;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::{App, Problem, Requester};
use super::super::names;
use super::ids;
use super::part::{Part, calls_of, outcomes_of, parts_of};
use crate::limits::edge::{PAGE_MAX, SNAPSHOT_BYTES_MAX};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rendered {
    pub(super) id: String,
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

impl Rendered {
    /// A thought that is void: a client that tells thoughts by themselves keeps them, unless a history has any.
    pub(super) fn no_thought(id: String) -> Self {
        Self::new(id, "reasoning", Some(json!("")))
    }

    fn new(id: String, role: &'static str, content: Option<Value>) -> Self {
        let (tool_calls, tool_call_id, error, metadata) = (vec![], None, None, None);
        Self { id, role, content, tool_calls, tool_call_id, error, metadata }
    }
}

/// The history up to a message, or `None` if it is more than is told in one event.
pub(super) async fn read<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    up_to: MessageId,
) -> Result<Option<Vec<Rendered>>, Problem> {
    let (mut rendered, mut after, mut bytes) = (vec![], MessageId(0), 0);
    loop {
        let page = app.node.messages(by, chat, after, PAGE_MAX).await?;
        for message in page.messages.iter().filter(|message| message.id <= up_to) {
            bytes += message.content.as_json().len();
            if bytes > SNAPSHOT_BYTES_MAX {
                return Ok(None);
            }
            rendered.extend(render(chat, message));
        }
        match page.messages.last() {
            Some(last) if page.more && last.id < up_to => after = last.id,
            _ => return Ok(Some(rendered)),
        }
    }
}

/// A message of the history as the messages that it is there.
pub(super) fn render(chat: ChatId, message: &Message) -> Vec<Rendered> {
    match message.role {
        Role::User => {
            let parts = parts_of(message);
            let metadata = parts.first().and_then(|part| part.message_metadata.as_ref());
            let metadata = metadata.and_then(|metadata| serde_json::from_str(metadata.get()).ok());
            let content = content_of(parts);
            vec![Rendered { metadata, ..Rendered::new(names::of(chat, message), "user", Some(content)) }]
        }
        Role::System => {
            let text = text_of(&parts_of(message), "text");
            vec![Rendered::new(names::of(chat, message), "system", Some(json!(text)))]
        }
        Role::Assistant => answer(chat, message),
        Role::Tool => results(chat, message),
    }
}

fn answer(chat: ChatId, message: &Message) -> Vec<Rendered> {
    let parts = parts_of(message);
    let thoughts = (0..).zip(&parts).filter(|(_, part)| part.r#type == "reasoning");
    let thoughts = thoughts.filter_map(|(place, part)| {
        let text = part.text.as_ref().filter(|text| !text.is_empty())?;
        Some(Rendered::new(ids::kept_thought(chat, message, place), "reasoning", Some(json!(text))))
    });
    let mut rendered: Vec<Rendered> = thoughts.collect();
    let text = text_of(&parts, "text");
    let tool_calls: Vec<Value> = calls_of(message)
        .into_iter()
        .map(|call| {
            let function = json!({"name": call.name, "arguments": call.input.get()});
            json!({"id": call.id, "type": "function", "function": function})
        })
        .collect();
    if !text.is_empty() || !tool_calls.is_empty() {
        let content = Some(text).filter(|text| !text.is_empty()).map(Value::String);
        let answer = Rendered::new(ids::kept_answer(chat, message), "assistant", content);
        rendered.push(Rendered { tool_calls, ..answer });
    }
    rendered.extend(results(chat, message));
    rendered
}

fn results(chat: ChatId, message: &Message) -> Vec<Rendered> {
    let result = |outcome: super::part::Outcome| {
        let error = outcome.is_error.then(|| outcome.content.clone());
        let content = Some(Value::String(outcome.content));
        let tool_call_id = Some(outcome.tool_call_id);
        Rendered { tool_call_id, error, ..Rendered::new(outcome.message_id, "tool", content) }
    };
    outcomes_of(chat, message).into_iter().map(result).collect()
}

/// The texts of this kind, as one.
pub(super) fn text_of(parts: &[Part], kind: &str) -> String {
    let of_kind = parts.iter().filter(|part| part.r#type == kind);
    of_kind.filter_map(|part| part.text.as_deref()).collect()
}

/// What a user said: a text, or parts if there are files. Data of other faces have no words here.
fn content_of(parts: Vec<Part>) -> Value {
    if parts.iter().all(|part| part.r#type != "file") {
        return Value::String(text_of(&parts, "text"));
    }
    let part = |part: Part| match &*part.r#type {
        "text" => Some(json!({"type": "text", "text": part.text?})),
        "file" => Some(json!({"type": kind_of(part.media_type.as_deref()), "source": source_of(part)?})),
        _ => None,
    };
    parts.into_iter().filter_map(part).collect()
}

/// What a file is called by its media type.
pub(super) fn kind_of(media_type: Option<&str>) -> &'static str {
    match media_type.and_then(|media_type| media_type.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}

/// Where a file is.
pub(super) fn source_of(part: Part) -> Option<Value> {
    let mut source = match (part.url, part.data) {
        (Some(url), _) => json!({"type": "url", "value": url}),
        (None, Some(data)) => {
            let data: String = serde_json::from_str(data.get()).ok()?;
            json!({"type": "data", "value": data})
        }
        (None, None) => return None,
    };
    if let Some(media_type) = part.media_type {
        source["mimeType"] = json!(media_type);
    }
    Some(source)
}

/// A question by its name, the texts that answer it, and the thoughts.
pub(super) type Seen = (String, String, String);

/// What a user sees of messages.
pub(super) fn essence<'a>(messages: impl Iterator<Item = (&'a str, &'a str, String)>) -> Vec<Seen> {
    let mut essence: Vec<Seen> = vec![];
    for (role, id, text) in messages {
        if role == "user" {
            essence.push((id.to_owned(), String::new(), String::new()));
            continue;
        }
        if essence.is_empty() {
            essence.push(Seen::default());
        }
        let Some((_, answer, thoughts)) = essence.last_mut() else { continue };
        match role {
            "assistant" => answer.push_str(&text),
            "reasoning" => thoughts.push_str(&text),
            _ => {}
        }
    }
    essence.retain(|seen| *seen != Seen::default());
    essence
}

pub(super) fn essence_of(rendered: &[Rendered]) -> Vec<Seen> {
    essence(rendered.iter().map(|message| {
        let text = message.content.as_ref().and_then(Value::as_str).unwrap_or_default();
        (message.role, &*message.id, text.to_owned())
    }))
}

/// The calls of which something came.
pub(super) fn results_of(rendered: &[Rendered]) -> impl Iterator<Item = &str> {
    rendered.iter().filter_map(|message| message.tool_call_id.as_deref())
}

/// How many messages a client has to be told of first, before all of them: it leaves those that it has in their order, and
/// puts what it lacks at the end.
pub(super) fn first_of(rendered: &[Rendered], has: &[String]) -> Option<usize> {
    let known = has.iter().filter(|id| rendered.iter().any(|message| message.id == **id));
    let mut order = rendered.iter();
    let count = known.clone().count();
    let common = known.zip(order.by_ref()).take_while(|(id, message)| message.id == **id).count();
    (common < count).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::{Content, Episode, Version, WallTime};
    use uuid::Uuid;

    const CHAT: ChatId = ChatId(Uuid::from_u128(7));

    fn said(id: u64, role: Role, json: &str) -> Message {
        let episode = Episode { history_version: Version(1), attempt: 1 };
        Message {
            id: MessageId(id),
            revision: Version(id),
            role,
            content: Content::from_stored(json),
            interrupted: false,
            episode: (role == Role::Assistant).then_some(episode),
            finish_reason: None,
            usage: None,
            queued_as: None,
            client_id: (role == Role::User).then(|| "u1".into()),
            turn: Some(MessageId(1)),
            created_at: WallTime::default(),
        }
    }

    fn rendered(message: &Message) -> Value {
        serde_json::to_value(render(CHAT, message)).expect("JSON")
    }

    #[test]
    fn all_that_is_kept_is_told_under_the_names_that_it_had_live() {
        let file = r#"[{"type":"text","text":"see"},{"type":"file","media_type":"image/png","data":"QQ=="}]"#;
        let source = json!({"type": "data", "value": "QQ==", "mimeType": "image/png"});
        let content = json!([{"type": "text", "text": "see"}, {"type": "image", "source": source}]);
        assert_eq!(
            rendered(&said(1, Role::User, file)),
            json!([{"id": "u1", "role": "user", "content": content}])
        );
        let json = concat!(
            r#"[{"type":"reasoning","text":"hm"},{"type":"text","text":"a"},{"type":"tool_call","id":"c","name":"f","input":{"n": 1}},"#,
            r#"{"type":"text","text":"b"},{"type":"tool_call","id":"d","name":"f","input_text":"{"}]"#
        );
        let message = said(2, Role::Assistant, json);
        let episode = message.episode.expect("it has one");
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"n\": 1}"}});
        let expected = json!([
            {"id": ids::thought(CHAT, MessageId(1), episode, 0), "role": "reasoning", "content": "hm"},
            {"id": ids::answer(CHAT, MessageId(1), episode), "role": "assistant", "content": "ab", "toolCalls": [call]},
        ]);
        assert_eq!(rendered(&message), expected);
        let json = r#"[{"type":"tool_result","tool_call_id":"c","content":[{"type":"text","text":"no"}],"is_error":true}]"#;
        let id = ids::result(CHAT, MessageId(3), 0);
        let expected = json!([{"id": id, "role": "tool", "content": "no", "toolCallId": "c", "error": "no"}]);
        assert_eq!(rendered(&said(3, Role::Tool, json)), expected);
    }

    #[test]
    fn a_client_that_has_another_order_is_told_what_is_right_of_it_first() {
        let ours: Vec<Rendered> =
            ["a", "b", "c", "d"].map(|id| Rendered::new(id.into(), "user", None)).into();
        for (has, first) in [
            (vec![], None),
            (vec!["a", "b"], None),
            (vec!["a", "x", "b"], None),
            (vec!["a", "d"], Some(1)),
            (vec!["b", "a"], Some(0)),
            (vec!["a", "b", "c", "d"], None),
        ] {
            let has: Vec<String> = has.into_iter().map(str::to_owned).collect();
            assert_eq!(first_of(&ours, &has), first, "{has:?}");
        }
    }

    #[test]
    fn what_a_user_sees_is_compared_and_nothing_else() {
        let of = |messages: &[(&'static str, &'static str, &str)]| {
            essence(messages.iter().map(|(role, id, text)| (*role, *id, (*text).to_owned())))
        };
        let ours =
            of(&[("user", "u", "q"), ("assistant", "a", "1 "), ("tool", "t", "x"), ("assistant", "b", "2")]);
        let theirs = of(&[("system", "s", "be"), ("user", "u", "Q"), ("assistant", "z", "1 2")]);
        assert_eq!(ours, theirs);
        assert_ne!(ours, of(&[("user", "u", "q"), ("reasoning", "r", "hm"), ("assistant", "a", "1 2")]));
        assert_ne!(ours, of(&[("user", "u", "q"), ("assistant", "a", "1 ")]));
        assert_ne!(ours, of(&[("user", "v", "q"), ("assistant", "a", "1 2")]));
    }
}
