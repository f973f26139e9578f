//! The body of a request: what the client's transports send, and those of assistant-ui.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::Problem;
use super::super::super::request::{parse_name, parse_object};
use super::super::settings::SaidSettings;
use super::super::words::refuse_others;
use super::message::UiMessage;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    id: Option<String>,
    messages: Option<Vec<UiMessage>>,
    /// The last one alone, as Vercel's template has it.
    message: Option<UiMessage>,
    trigger: Option<String>,
    message_id: Option<String>,
    model: Option<String>,
    system: Option<String>,
    tools: Option<serde_json::Map<String, Value>>,
    /// Vercel's template has the model here.
    selected_chat_model: Option<String>,
    /// There: who may read the chat.
    selected_visibility_type: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Submit,
    Regenerate,
}

#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) chat: String,
    /// At least one.
    pub(super) messages: Vec<UiMessage>,
    pub(super) trigger: Trigger,
    pub(super) message_id: Option<String>,
    pub(super) settings: SaidSettings,
}

impl ChatRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let body: Body = parse_object(body)?;
        let chat = body.id.ok_or_else(|| Problem::malformed("`id`, the chat's, is missing"))?;
        let chat = parse_name(Some(chat), "id")?.map(|name| (*name).to_owned()).unwrap_or_default();
        let trigger = match body.trigger.as_deref() {
            None | Some("submit-message") => Trigger::Submit,
            Some("regenerate-message") => Trigger::Regenerate,
            Some(other) => {
                return Err(Problem::malformed(format!("the `trigger` {other:.80?} is not taken here")));
            }
        };
        let messages = match (body.messages, body.message) {
            (Some(messages), _) => messages,
            (None, Some(message)) => vec![message],
            (None, None) => vec![],
        };
        if messages.is_empty() {
            return Err(Problem::malformed("`messages` has none"));
        }
        refuse_others(&body.rest, "of a request")?;
        if let Some(other) = body.selected_visibility_type.filter(|who| who != "private") {
            let why = format!(
                "a `selectedVisibilityType` {other:.80?} is not taken here: chats are their users' own"
            );
            return Err(Problem::malformed(why));
        }
        let tools = body.tools.map(tools).transpose()?;
        let settings = SaidSettings::new(body.model.or(body.selected_chat_model), body.system, tools);
        Ok(Self { chat, messages, trigger, message_id: body.message_id, settings })
    }

    pub(super) fn last(&self) -> &UiMessage {
        self.messages.last().expect("there is one")
    }

    /// The messages that a chat of this request begins with: what was said elsewhere, if anything was answered there. What
    /// users said before, and nobody answered, never came to be sent.
    pub(super) fn begin(&self) -> impl Iterator<Item = &UiMessage> {
        let is_history = self.messages.iter().any(|message| message.role == "assistant");
        let last = self.messages.len() - 1;
        let messages = self.messages.iter().enumerate();
        let begins =
            move |(at, message): (usize, &'_ UiMessage)| is_history || at == last || !message.is_user();
        messages.filter(move |(at, message)| begins((*at, message))).map(|(_, message)| message)
    }
}

/// `tools` is a map of names to `{description, parameters}`.
fn tools(tools: serde_json::Map<String, Value>) -> Result<Vec<Value>, Problem> {
    let tools = tools.into_iter().map(|(name, tool)| {
        let schema = tool.get("parameters").or_else(|| tool.get("inputSchema"));
        let schema = schema.filter(|schema| schema.is_object()).ok_or_else(|| {
            Problem::malformed(format!("the tool {name:.80?} has no object `parameters`, a JSON Schema"))
        })?;
        let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
        Ok(serde_json::json!({"name": name, "description": description, "input_schema": schema}))
    });
    tools.collect()
}

/// What a page says that wants its chat to stop.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopBody {
    /// The answer that it means. One that does not run is nothing to stop.
    pub(super) active_stream_id: Option<String>,
    /// What the page shows of it. Ours is what was said.
    #[serde(rename = "assistantMessage")]
    _assistant_message: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<ChatRequest, String> {
        ChatRequest::parse(json.as_bytes()).map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn a_request_names_its_chat_and_says_something() {
        let user = r#"{"id":"u1","role":"user","parts":[{"type":"text","text":"x"}]}"#;
        let request = parsed(&format!(
            r#"{{"id":"c","messages":[{user}],"trigger":"submit-message","callSettings":{{}},"config":null}}"#
        ));
        let request = request.expect("a request");
        assert_eq!((&*request.chat, request.trigger, &*request.last().id), ("c", Trigger::Submit, "u1"));
        assert!(parsed(&format!(r#"{{"id":"c","message":{user}}}"#)).is_ok());
        for (wrong, named) in [
            (format!(r#"{{"messages":[{user}]}}"#), "`id`"),
            (format!(r#"{{"id":"","messages":[{user}]}}"#), "`id`"),
            (r#"{"id":"c","messages":[]}"#.to_owned(), "`messages`"),
            (format!(r#"{{"id":"c","messages":[{user}],"trigger":"go"}}"#), "go"),
            (
                format!(r#"{{"id":"c","messages":[{user}],"callSettings":{{"temperature":0.5}}}}"#),
                "`callSettings`",
            ),
            (format!(r#"{{"id":"c","messages":[{user}],"web":true}}"#), "`web`"),
            (format!(r#"{{"id":"c","messages":[{user}],"selectedVisibilityType":"public"}}"#), "public"),
            (format!(r#"{{"id":"c","messages":[{user}],"tools":{{"w":{{}}}}}}"#), "\"w\""),
        ] {
            let why = parsed(&wrong).expect_err(&wrong);
            assert!(why.contains(named), "{why}");
        }
    }

    #[test]
    fn a_chat_begins_with_what_was_answered_and_not_with_what_was_refused() {
        let message = |id: &str, role: &str| format!(r#"{{"id":"{id}","role":"{role}","parts":[]}}"#);
        let begin = |messages: &[String]| -> Vec<String> {
            let request =
                parsed(&format!(r#"{{"id":"c","messages":[{}]}}"#, messages.join(","))).expect("a request");
            request.begin().map(|message| message.id.clone()).collect()
        };
        let [system, refused, sent] = [message("s", "system"), message("u1", "user"), message("u2", "user")];
        assert_eq!(begin(&[system.clone(), refused.clone(), sent.clone()]), ["s", "u2"]);
        assert_eq!(begin(&[system, refused, message("a", "assistant"), sent]), ["s", "u1", "a", "u2"]);
    }

    #[test]
    fn settings_are_those_of_a_chat() {
        let user = r#"{"id":"u1","role":"user","parts":[{"type":"text","text":"x"}]}"#;
        let tools = r#"{"w":{"description":"d","parameters":{"type":"object"}}}"#;
        let request =
            parsed(&format!(r#"{{"id":"c","messages":[{user}],"model":"m","system":"be","tools":{tools}}}"#));
        let template = parsed(&format!(
            r#"{{"id":"c","message":{user},"selectedChatModel":"m","selectedVisibilityType":"private"}}"#
        ));
        let settings = template.expect("a request").settings.of_new(Some("c")).expect("settings");
        assert_eq!(settings.model.as_deref(), Some("m"));
        let settings = request.expect("a request").settings.of_new(Some("c")).expect("settings");
        assert_eq!((settings.external_id.as_deref(), settings.model.as_deref()), (Some("c"), Some("m")));
        assert_eq!((settings.instructions.as_deref(), &*settings.tools[0].name), (Some("be"), "w"));
    }
}
