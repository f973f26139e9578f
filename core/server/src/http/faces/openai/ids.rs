//! Names of conversations, responses, items and calls. All are computed, so they are the same at every replica, and each says
//! in which chat its thing is found.

use std::fmt;

use mainstem_machine::{ChatId, Episode, Message, MessageId, Version};
use uuid::Uuid;

use crate::limits::edge::MESSAGE_ID_MAX;

/// A chat, as a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConversationId(pub(super) ChatId);

/// A turn, or what of it follows an answer whose calls the client carried out: each request of a client has a response of its
/// own, whatever attempts and tools of the server's it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseId {
    pub(super) chat: ChatId,
    pub(super) turn: MessageId,
    /// The answer that asked for the calls.
    pub(super) behind: Option<MessageId>,
}

/// What an item is made of: a part of an answer, or of another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An answer has its generation before it has a place in the history.
    Answer(Episode),
    Message(MessageId),
}

impl Origin {
    pub(super) fn of(message: &Message) -> Self {
        message.episode.map_or(Self::Message(message.id), Self::Answer)
    }
}

fn chat(text: &str) -> Option<ChatId> {
    let is_ours = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    Uuid::try_parse(text).ok().filter(|_| is_ours).map(ChatId)
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= MESSAGE_ID_MAX)
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv_{}", self.0.0.simple())
    }
}

impl ConversationId {
    pub(super) fn parse(name: &str) -> Option<Self> {
        chat(name.strip_prefix("conv_")?).map(Self)
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resp_{}_{}", self.chat.0.simple(), self.turn.0)?;
        self.behind.map_or(Ok(()), |behind| write!(f, "_{}", behind.0))
    }
}

impl ResponseId {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix("resp_")?.split('_');
        let (chat, turn) = (chat(fields.next()?)?, MessageId(number(fields.next()?)?));
        let behind = match fields.next() {
            Some(behind) => Some(MessageId(number(behind)?)),
            None => None,
        };
        let id = Self { chat, turn, behind };
        (id.to_string() == name).then_some(id)
    }

    /// The answer from which on it is told: its own message, or the one that asked for the calls.
    pub(super) fn is_first(&self) -> bool {
        self.behind.is_none()
    }
}

/// The name of an item, which begins with what kind of item it is.
pub(super) fn item(kind: &str, chat: ChatId, origin: Origin, place: u32) -> String {
    let chat = chat.0.simple();
    match origin {
        Origin::Answer(Episode { history_version: Version(version), attempt }) => {
            format!("{kind}_{chat}_{version}_{attempt}_{place}")
        }
        Origin::Message(id) => format!("{kind}_{chat}_{}_{place}", id.0),
    }
}

/// A model's name for a call, with the chat: so who brings what came of it need not say more.
pub(super) fn call(chat: ChatId, id: &str) -> String {
    format!("call_{}_{id}", chat.0.simple())
}

/// The chat of a call, and the model's name for it.
pub(super) fn parse_call(name: &str) -> Option<(ChatId, &str)> {
    let (of, id) = name.strip_prefix("call_")?.split_once('_')?;
    chat(of).map(|chat| (chat, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ChatId = ChatId(Uuid::from_u128(0xab));

    #[test]
    fn a_name_is_read_as_what_was_named_and_nothing_else_is() {
        let conversation = ConversationId(CHAT);
        assert_eq!(ConversationId::parse(&conversation.to_string()), Some(conversation));
        for behind in [None, Some(MessageId(7))] {
            let id = ResponseId { chat: CHAT, turn: MessageId(3), behind };
            assert_eq!(ResponseId::parse(&id.to_string()), Some(id));
            for wrong in
                [id.to_string().to_uppercase(), format!("{id}_"), format!("{id}_1_2"), format!(" {id}")]
            {
                assert_eq!(ResponseId::parse(&wrong), None, "{wrong}");
            }
        }
        let chat = CHAT.0.simple();
        for wrong in [
            "".to_owned(),
            "resp_".into(),
            format!("resp_{chat}"),
            format!("resp_{chat}_+1"),
            format!("resp_{chat}_01"),
        ] {
            assert_eq!(ResponseId::parse(&wrong), None, "{wrong}");
        }
        assert_eq!(ConversationId::parse(&format!("conv_{}", CHAT.0)), None);
    }

    #[test]
    fn a_call_says_its_chat_and_keeps_its_name() {
        for id in ["call_1", "a_b", ""] {
            assert_eq!(parse_call(&call(CHAT, id)), Some((CHAT, id)));
        }
        assert_eq!(parse_call("call_1_2"), None);
    }

    #[test]
    fn each_attempt_has_items_of_its_own() {
        let of = |attempt| {
            let episode = Episode { history_version: Version(4), attempt };
            item("msg", CHAT, Origin::Answer(episode), 0)
        };
        assert_ne!(of(1), of(2));
        assert_ne!(of(1), item("msg", CHAT, Origin::Message(MessageId(4)), 0));
    }
}
