//! The messages that a chat is created with: none, one of a user, or a history that was told elsewhere.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::calls::PartOfCall;
use crate::{Content, Role};

/// A message that a chat is created with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The creator's own name for it: what is sent under it later is this message (S12).
    pub client_id: Option<Arc<str>>,
}

/// Why messages are not a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Calls of the answer at this index have not exactly one result each, right behind it.
    #[error(
        "message {0} calls tools: the message behind it has to be of role `tool`, with exactly one result for each call"
    )]
    Unanswered(usize),
    /// The results at this index are of no calls.
    #[error("message {0} is of role `tool`, and no message before it calls anything")]
    Uncalled(usize),
    /// The message at this index has the name of one before.
    #[error("message {0} has a `client_id` that another one has")]
    NamedTwice(usize),
}

impl NewMessage {
    /// What a user begins a chat with: a message, or nothing.
    pub fn opening(content: Option<Content>) -> Vec<Self> {
        content.into_iter().map(|content| Self { role: Role::User, content, client_id: None }).collect()
    }

    /// Whether a chat may be created with these: each call has its one result before anything else (S11), and each name
    /// is one message's (S12).
    pub fn check(messages: &[Self]) -> Result<(), HistoryError> {
        let mut names = BTreeSet::new();
        let mut calls: Vec<Arc<str>> = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            if message.client_id.as_ref().is_some_and(|name| !names.insert(name)) {
                return Err(HistoryError::NamedTwice(at));
            }
            match message.role {
                Role::Tool if calls.is_empty() => return Err(HistoryError::Uncalled(at)),
                Role::Tool => {
                    let mut results: Vec<_> =
                        message.content.results().into_iter().map(|(id, _)| id).collect();
                    results.sort_unstable();
                    calls.sort_unstable();
                    if results != calls {
                        return Err(HistoryError::Unanswered(at - 1));
                    }
                    calls.clear();
                }
                _ if !calls.is_empty() => return Err(HistoryError::Unanswered(at - 1)),
                Role::Assistant if !message.answers_once() => return Err(HistoryError::Unanswered(at)),
                Role::Assistant => calls = message.calls(),
                Role::User | Role::System => {}
            }
        }
        if calls.is_empty() { Ok(()) } else { Err(HistoryError::Unanswered(messages.len() - 1)) }
    }

    /// The calls that have their results behind it.
    fn calls(&self) -> Vec<Arc<str>> {
        self.content.open_calls().into_iter().map(|call| call.id).collect()
    }

    /// Whether its calls have names of their own, and what it has as results is of calls before, once each. A call of an
    /// answer that was cut short needs none, and may have had one by then.
    fn answers_once(&self) -> bool {
        let (mut called, mut cut, mut answered) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        self.content.parts_of_calls().into_iter().all(|part| match part {
            PartOfCall::Call { id, .. } => called.insert(id),
            PartOfCall::Cut { id } => {
                cut.insert(id);
                true
            }
            PartOfCall::Result { tool_call_id } => {
                (called.contains(&tool_call_id) || cut.contains(&tool_call_id))
                    && answered.insert(tool_call_id)
            }
        })
    }

    /// Whether it ends with calls.
    pub(crate) fn has_calls(&self) -> bool {
        self.role == Role::Assistant && !self.calls().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;

    fn message(role: Role, parts: &[String]) -> NewMessage {
        let content = Content::from_stored(format!("[{}]", parts.join(",")));
        NewMessage { role, content, client_id: None }
    }

    fn says(role: Role) -> NewMessage {
        NewMessage { role, content: Content::text("so"), client_id: None }
    }

    fn call(id: &str) -> String {
        format!(r#"{{"type":"tool_call","id":"{id}","name":"find","input":{{}}}}"#)
    }

    fn result(id: &str) -> String {
        format!(r#"{{"type":"tool_result","tool_call_id":"{id}","content":"x"}}"#)
    }

    fn cut(id: &str) -> String {
        call(id).replace(r#""input":{}"#, r#""input_text":"{""#)
    }

    #[test]
    fn each_call_has_its_one_result_right_behind_its_answer() {
        let asks = message(Role::Assistant, &[call("a"), call("b")]);
        let told = |ids: &[&str]| message(Role::Tool, &ids.iter().map(|id| result(id)).collect::<Vec<_>>());
        let user = says(Role::User);
        let good = [
            vec![],
            vec![user.clone()],
            vec![says(Role::System), user.clone(), asks.clone(), told(&["b", "a"]), says(Role::Assistant)],
            vec![user.clone(), asks.clone(), told(&["a", "b"]), user.clone()],
            // What an agent did itself, and a call that was cut short.
            vec![message(Role::Assistant, &[call("a"), result("a")]), user.clone()],
            vec![message(Role::Assistant, &[call("a"), call("b"), result("b"), result("a")]), user.clone()],
            vec![message(Role::Assistant, &[cut("a")])],
            vec![message(Role::Assistant, &[cut("a"), result("a"), cut("b")]), user.clone()],
        ];
        for messages in good {
            assert_eq!(NewMessage::check(&messages), Ok(()), "S11: {messages:?}");
        }
        let bad = [
            (vec![user.clone(), asks.clone()], HistoryError::Unanswered(1)),
            (vec![asks.clone(), user.clone(), told(&["a", "b"])], HistoryError::Unanswered(0)),
            (vec![asks.clone(), told(&["a"])], HistoryError::Unanswered(0)),
            (vec![asks.clone(), told(&["a", "b", "b"])], HistoryError::Unanswered(0)),
            (vec![asks.clone(), told(&["a", "c"])], HistoryError::Unanswered(0)),
            (vec![asks.clone(), told(&["a"]), told(&["b"])], HistoryError::Unanswered(0)),
            (
                vec![message(Role::Assistant, &[cut("a"), result("a"), result("a")])],
                HistoryError::Unanswered(0),
            ),
            (vec![message(Role::Assistant, &[cut("a"), result("b")])], HistoryError::Unanswered(0)),
            (vec![user.clone(), told(&["a"])], HistoryError::Uncalled(1)),
            (vec![asks.clone(), told(&["a", "b"]), told(&["a"])], HistoryError::Uncalled(2)),
        ];
        for (messages, error) in bad {
            assert_eq!(NewMessage::check(&messages), Err(error), "S11: {messages:?}");
        }
    }

    #[test]
    fn a_name_is_one_messages() {
        let named = |name: &str| NewMessage { client_id: Some(name.into()), ..says(Role::User) };
        assert_eq!(NewMessage::check(&[named("a"), says(Role::User), named("b")]), Ok(()));
        let twice = [named("a"), named("b"), named("a")];
        assert_eq!(NewMessage::check(&twice), Err(HistoryError::NamedTwice(2)), "S12");
    }
}
