//! The messages that a chat is created with, as a request brings them.

use mainstem_machine::{Content, NewMessage, Role};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Problem;
use super::request::{content_problem, parse_content, parse_name, required};
use crate::limits::edge::CREATED_MESSAGES_MAX;

/// The members of a request that creates a chat, beside what it is set up with.
#[derive(Debug, Deserialize)]
pub(super) struct HistoryBody {
    content: Option<Box<RawValue>>,
    messages: Option<Vec<MessageBody>>,
}

#[derive(Debug, Deserialize)]
struct MessageBody {
    role: Role,
    content: Option<Box<RawValue>>,
    client_id: Option<String>,
}

impl HistoryBody {
    /// One message of a user, or all that was said elsewhere, or none. Each may have as much as one that is sent.
    pub(super) fn parse(self, bytes_max: usize) -> Result<Vec<NewMessage>, Problem> {
        let messages = match (self.content, self.messages) {
            (Some(_), Some(_)) => {
                return Err(Problem::not_a_history("`content` or `messages`, and not both".into()));
            }
            (content, None) => {
                let content = content.map(|content| parse_content(&content, bytes_max)).transpose()?;
                return Ok(NewMessage::opening(content));
            }
            (None, Some(messages)) => messages,
        };
        if messages.len() > CREATED_MESSAGES_MAX {
            let told = format!("a chat is created with up to {CREATED_MESSAGES_MAX} messages");
            return Err(Problem::not_a_history(told));
        }
        let messages = messages.into_iter().enumerate().map(|(at, message)| {
            message.parse(bytes_max).map_err(|problem| {
                let detail = format!("message {at}: {}", problem.detail);
                problem.detail(detail)
            })
        });
        let messages: Vec<_> = messages.collect::<Result<_, _>>()?;
        NewMessage::check(&messages).map_err(|error| Problem::not_a_history(error.to_string()))?;
        Ok(messages)
    }
}

impl MessageBody {
    fn parse(self, bytes_max: usize) -> Result<NewMessage, Problem> {
        let content = required(self.content, "content")?;
        let content = Content::from_history(self.role, content.get(), bytes_max).map_err(content_problem)?;
        Ok(NewMessage { role: self.role, content, client_id: parse_name(self.client_id, "client_id")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::parse_object;

    fn parsed(json: &str) -> Result<Vec<NewMessage>, Problem> {
        parse_object::<HistoryBody>(json.as_bytes())?.parse(9)
    }

    #[test]
    fn a_chat_begins_with_nothing_with_a_message_or_with_a_history() {
        assert_eq!(parsed("{}"), Ok(vec![]));
        assert_eq!(parsed(r#"{"messages": []}"#), Ok(vec![]));
        assert_eq!(parsed(r#"{"content": "x"}"#), Ok(NewMessage::opening(Some(Content::text("x")))));
        let json = r#"{"messages": [
            {"role": "system", "content": "be"},
            {"role": "user", "content": [{"type": "text", "text": "find"}], "client_id": "m-1"},
            {"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "f", "input": {}}]},
            {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "a", "content": "x"}]},
            {"role": "assistant", "content": "found", "id": 7}]}"#;
        let messages = parsed(json).expect("a history");
        let told: Vec<_> =
            messages.iter().map(|message| (message.role, message.client_id.as_deref())).collect();
        let (system, user, tool) = (Role::System, Role::User, Role::Tool);
        let answer = (Role::Assistant, None);
        assert_eq!(told, [(system, None), (user, Some("m-1")), answer, (tool, None), answer]);
    }

    #[test]
    fn what_is_no_history_is_refused_and_says_where() {
        let many =
            format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user","content":"x"}"#; 1001].join(","));
        for (json, code, said) in [
            (r#"{"content": "x", "messages": []}"#, "not_a_history", "not both"),
            (r#"{"messages": {}}"#, "malformed", "expected a sequence"),
            (r#"{"messages": [{"role": "developer", "content": "x"}]}"#, "malformed", "developer"),
            (r#"{"messages": [{"content": "x"}]}"#, "malformed", "role"),
            (r#"{"messages": [{"role": "user"}]}"#, "malformed", "message 0: `content` is missing"),
            (
                r#"{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": ""}]}"#,
                "malformed",
                "message 1: ",
            ),
            (r#"{"messages": [{"role": "user", "content": "0123456789"}]}"#, "too_large", "message 0: "),
            (
                r#"{"messages": [{"role": "user", "content": "x", "client_id": ""}]}"#,
                "malformed",
                "message 0: `client_id`",
            ),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "reasoning", "text": "x"}]}]}"#,
                "malformed",
                "message 0: ",
            ),
            (r#"{"messages": [{"role": "tool", "content": "x"}]}"#, "malformed", "message 0: "),
            (
                r#"{"messages": [{"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "a", "content": "x"}]}]}"#,
                "not_a_history",
                "message 0 ",
            ),
            (
                r#"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "f", "input": {}}]}]}"#,
                "not_a_history",
                "message 1 ",
            ),
            (
                r#"{"messages": [{"role": "user", "content": "x", "client_id": "m"}, {"role": "assistant", "content": "x", "client_id": "m"}]}"#,
                "not_a_history",
                "message 1 ",
            ),
            (&many, "not_a_history", "1000"),
        ] {
            let problem = parsed(json).expect_err("it is refused");
            assert_eq!(problem.code, code, "{json:.200}: {problem:?}");
            assert!(problem.detail.contains(said), "{said}: {problem:?}");
            assert_eq!(problem.status.as_u16() == 422, code == "not_a_history");
        }
    }
}
