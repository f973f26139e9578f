//! What a chat consists of: committed messages, and messages that wait for their turn.

use serde::{Deserialize, Serialize};

use crate::{Content, Episode, MessageId, Version, WallTime};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
    Tool,
    System,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::System => "system",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Assistant, Self::Tool, Self::System].into_iter().find(|role| role.as_str() == name)
    }
}

/// A committed message. Immutable: an edit cuts it off and puts another in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    /// The `snapshot_version` of the change that committed it.
    pub revision: Version,
    pub role: Role,
    pub content: Content,
    /// The answer was cut short, by an interrupt or by a failure.
    pub interrupted: bool,
    /// The run that generated it; `None` for what a user sent.
    pub episode: Option<Episode>,
    /// The id it had while it was queued.
    pub queued_as: Option<MessageId>,
    pub created_at: WallTime,
}

/// A message that waits until what runs has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueuedMessage {
    pub id: MessageId,
    pub content: Content,
    pub created_at: WallTime,
}
