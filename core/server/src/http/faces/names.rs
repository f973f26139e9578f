//! Which message a client means. Its own names are kept with what it sends (`client_id`); what was said by others has a name
//! that is computed, and so is the same at every replica.

use std::sync::Arc;

use mainstem_machine::{ChatId, ChatState, Content, Message, MessageId, Rejection, Role};
use mainstem_runtime::EdgeError;
use mainstem_runtime::ports::Env;
use serde::Deserialize;
use uuid::Uuid;

use super::super::{App, Requester};
use crate::limits::edge::{MESSAGE_ID_MAX, PAGE_MAX};

/// The member, of the first part of an edited message, that has its sender's name for it: an edit has a new id, and the sender
/// goes on to call it as before.
pub(super) const EDITED_MEMBER: &str = "client_id";

/// The member, of a message's first part, that keeps what the client's own code says of the message.
pub(super) const METADATA_MEMBER: &str = "message_metadata";

/// The answer of a turn, through all its steps.
pub(super) fn of_answer(chat: ChatId, turn: MessageId) -> String {
    format!("a{}-{}", turn.0, chat.0.simple())
}

/// A message for which its sender has no name.
fn of_message(chat: ChatId, message: MessageId) -> String {
    format!("m{}-{}", message.0, chat.0.simple())
}

/// The name of a message that is no answer.
pub(super) fn of(chat: ChatId, message: &Message) -> String {
    let own = message.client_id.as_deref().map(str::to_owned).or_else(|| edited_name(&message.content));
    own.unwrap_or_else(|| of_message(chat, message.id))
}

/// What a name that was computed names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computed {
    Answer(MessageId),
    Message(MessageId),
}

impl Computed {
    fn parse(chat: ChatId, name: &str) -> Option<Self> {
        let (kind, rest) = name.split_at_checked(1)?;
        let (number, of) = rest.split_once('-')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let id = number.parse().ok().filter(|id| is_number && *id <= MESSAGE_ID_MAX).map(MessageId)?;
        if *of != *chat.0.simple().to_string() {
            return None;
        }
        match kind {
            "a" => Some(Self::Answer(id)),
            "m" => Some(Self::Message(id)),
            _ => None,
        }
    }

    fn is(self, message: &Message) -> bool {
        match self {
            Self::Answer(turn) => message.role == Role::Assistant && message.turn == Some(turn),
            Self::Message(id) => message.id == id,
        }
    }
}

fn edited_name(content: &Content) -> Option<String> {
    #[derive(Deserialize)]
    struct Part {
        client_id: Option<String>,
    }
    let parts: Vec<Part> = serde_json::from_str(content.as_json()).ok()?;
    parts.into_iter().next()?.client_id
}

/// Whether the message is the one of this name.
fn is_named(chat: ChatId, message: &Message, name: &str) -> bool {
    message.client_id.as_deref() == Some(name)
        || Computed::parse(chat, name).is_some_and(|computed| computed.is(message))
        || (message.role == Role::User && edited_name(&message.content).as_deref() == Some(name))
}

/// The caller's chat of this name: the caller's own name for it, or else its id.
pub(super) async fn chat<E: Env>(
    app: &App<E>,
    by: &Requester,
    name: &str,
) -> Result<Option<Arc<ChatState>>, EdgeError> {
    if let Some(chat) = app.node.named_chats(by, name).await?.chats.pop() {
        // With its queue.
        return app.node.chat(by, chat.id).await.map(Some);
    }
    let Some(id) = Uuid::try_parse(name).ok().filter(|_| name.len() == 36).map(ChatId) else {
        return Ok(None);
    };
    match app.node.chat(by, id).await {
        Ok(chat) => Ok(Some(chat)),
        Err(EdgeError::Rejected(Rejection::NoSuchChat)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first message of the history that is what is looked for.
pub(super) async fn find<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    mut after: MessageId,
    is_it: impl Fn(&Message) -> bool,
) -> Result<Option<Arc<Message>>, EdgeError> {
    loop {
        let page = app.node.messages(by, chat, after, PAGE_MAX).await?;
        if let Some(found) = page.messages.iter().find(|message| is_it(message)) {
            return Ok(Some(Arc::clone(found)));
        }
        match page.messages.last() {
            Some(last) if page.more => after = last.id,
            _ => return Ok(None),
        }
    }
}

/// The message of this name, if the history has it. Of an answer, its first message.
pub(super) async fn message<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    name: &str,
) -> Result<Option<Arc<Message>>, EdgeError> {
    find(app, by, chat, MessageId(0), |message| is_named(chat, message, name)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::{Version, WallTime};

    const CHAT: ChatId = ChatId(Uuid::from_u128(7));

    pub(super) fn said(id: u64, role: Role, turn: u64, client_id: Option<&str>, content: Content) -> Message {
        Message {
            id: MessageId(id),
            revision: Version(id),
            role,
            content,
            interrupted: false,
            episode: None,
            finish_reason: None,
            usage: None,
            queued_as: None,
            client_id: client_id.map(Into::into),
            turn: Some(MessageId(turn)),
            created_at: WallTime::default(),
        }
    }

    #[test]
    fn a_name_is_its_senders_or_computed_and_finds_its_message_again() {
        let own = said(1, Role::User, 1, Some("u1"), Content::text("x"));
        let answer = said(2, Role::Assistant, 1, None, Content::text("x"));
        let other = said(3, Role::User, 3, None, Content::text("x"));
        let edited = r#"[{"type":"text","text":"x","client_id":"u\u0032"}]"#;
        let edited = said(4, Role::User, 4, None, Content::from_stored(edited));
        assert_eq!((of(CHAT, &own), of(CHAT, &edited)), ("u1".into(), "u2".into()));
        let messages = [&own, &answer, &other, &edited];
        for (name, at) in [
            ("u1".to_owned(), 0),
            (of_answer(CHAT, MessageId(1)), 1),
            (of(CHAT, &other), 2),
            ("u2".into(), 3),
        ] {
            let found = messages.iter().position(|message| is_named(CHAT, message, &name));
            assert_eq!(found, Some(at), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_of_this_chat_names_nothing() {
        let other = ChatId(Uuid::from_u128(8));
        for name in ["", "a", "a1", "a-", "é1-x", "b1-00000000000000000000000000000007", "a1-7"] {
            assert_eq!(Computed::parse(CHAT, name), None, "{name}");
        }
        for sign in ["+1", "1.0", "99999999999999999999", ""] {
            assert_eq!(Computed::parse(CHAT, &format!("a{sign}-{}", CHAT.0.simple())), None, "{sign}");
        }
        let name = of_answer(other, MessageId(1));
        assert_eq!(Computed::parse(CHAT, &name), None);
        assert_eq!(Computed::parse(other, &name), Some(Computed::Answer(MessageId(1))));
    }
}
