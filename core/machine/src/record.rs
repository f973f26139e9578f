//! What a store keeps of an answer, so that it can be given again under the same key (S6): what the asking
//! itself brings again is not kept.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Accepted, Answer, ChatState, Command, Content, Message, MessageId, OpenCall, QueuedMessage, Rejection,
    Role, Version, WallTime,
};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// The answer as it was given: a caller may have seen it.
    #[default]
    Answer,
    /// What was decided. Nobody has seen an answer yet, so a chat is answered as it is by then.
    Decision,
}

/// The answer to an accepted command, as it is kept. A superset of what was kept in earlier versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerRecord {
    /// The chat as it was answered: of its calls, those that its client was told of.
    Chat(Arc<ChatState>),
    /// The chat that was there, in the same way.
    Found(Arc<ChatState>),
    /// The chat as it is when it is asked for again.
    ChatByThen,
    /// A send, whole.
    Sent {
        /// The message, if it went into the history.
        message: Option<Message>,
        /// The message, if it went into the queue.
        queued: Option<QueuedMessage>,
        /// The version of the chat after it.
        snapshot_version: Version,
    },
    /// A message with the content of the command.
    SentContent {
        /// The message's id.
        id: MessageId,
        /// Whether it went into the queue.
        queued: bool,
        /// The version of the chat after it.
        snapshot_version: Version,
        /// When, by the database's clock.
        created_at: WallTime,
    },
    /// What was asked for is gone.
    Gone,
}

impl AnswerRecord {
    /// What has to be kept of an answer to `command`, so that [`answer`](Self::answer) gives it again.
    pub fn of(accepted: &Accepted, command: &Command, keep: Keep) -> Self {
        match accepted {
            Accepted::Chat(_) if keep == Keep::Decision => Self::ChatByThen,
            Accepted::Chat(chat) => Self::Chat(told(chat)),
            Accepted::Found(chat) => Self::Found(told(chat)),
            Accepted::Gone => Self::Gone,
            Accepted::Sent { message, queued, snapshot_version } => {
                // Only what gives the very same again.
                Self::short(accepted)
                    .filter(|short| short.clone().answer(command, None).as_ref() == Ok(accepted))
                    .unwrap_or_else(|| Self::Sent {
                        message: message.clone(),
                        queued: queued.clone(),
                        snapshot_version: *snapshot_version,
                    })
            }
        }
    }

    /// What is kept of a message that was sent, without what it says.
    pub(crate) fn short(accepted: &Accepted) -> Option<Self> {
        let Accepted::Sent { message, queued, snapshot_version } = accepted else { return None };
        let (id, queued, created_at) = match (message, queued) {
            (Some(message), None) => (message.id, false, message.created_at),
            (None, Some(queued)) => (queued.id, true, queued.created_at),
            _ => return None,
        };
        Some(Self::SentContent { id, queued, snapshot_version: *snapshot_version, created_at })
    }

    /// Whether [`answer`](Self::answer) needs the chat as it is now.
    pub fn needs_chat(&self) -> bool {
        matches!(self, Self::ChatByThen)
    }

    /// The answer to `command`, which is the one that was asked for first: its key and body are the same.
    pub fn answer(self, command: &Command, now: Option<Arc<ChatState>>) -> Answer {
        Ok(match self {
            Self::Chat(chat) => Accepted::Chat(chat),
            Self::Found(chat) => Accepted::Found(chat),
            Self::ChatByThen => Accepted::Chat(now.ok_or(Rejection::NoSuchChat)?),
            Self::Sent { message, queued, snapshot_version } => {
                Accepted::Sent { message, queued, snapshot_version }
            }
            Self::SentContent { id, queued, snapshot_version, created_at } => {
                let client_id = command.client_id().cloned();
                let content = command.content().cloned().unwrap_or_else(|| Content::text(""));
                let (message, queued) = if queued {
                    (
                        None,
                        Some(QueuedMessage {
                            id,
                            client_id,
                            revision: snapshot_version,
                            content,
                            created_at,
                        }),
                    )
                } else {
                    let message = Message {
                        id,
                        revision: snapshot_version,
                        role: Role::User,
                        content,
                        interrupted: false,
                        episode: None,
                        finish_reason: None,
                        usage: None,
                        queued_as: None,
                        client_id,
                        turn: Some(id),
                        created_at,
                    };
                    (Some(message), None)
                };
                Accepted::Sent { message, queued, snapshot_version }
            }
            Self::Gone => Accepted::Gone,
        })
    }
}

/// A chat as its client is told of it: without the calls that do not wait for the client, and what came of them.
fn told(chat: &Arc<ChatState>) -> Arc<ChatState> {
    if chat.calls.iter().all(OpenCall::waits_for_client) {
        return chat.clone();
    }
    let calls = chat.calls.iter().filter(|call| call.waits_for_client()).cloned().collect();
    Arc::new(ChatState { calls, ..ChatState::clone(chat) })
}
