//! The messages of a chat: committed ones, and queued ones that wait for their turn.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Content, Episode, MessageId, Version, WallTime};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever uses the chat.
    User,
    /// The model.
    Assistant,
    /// A tool: what came of calls.
    Tool,
    /// Whoever set the chat up, in what it was created with.
    System,
}

impl Role {
    /// The name, as clients and databases have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::System => "system",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Assistant, Self::Tool, Self::System].into_iter().find(|role| role.as_str() == name)
    }
}

/// Why a model's answer ended, as the model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// A limit of tokens was reached: there would be more.
    Length,
    /// It asks for tools.
    ToolCalls,
    /// The provider filtered the rest.
    ContentFilter,
}

impl FinishReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::ToolCalls, Self::ContentFilter];

    /// Its name in JSON and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Whether the model would have had more to say: what it asks for may be cut, too.
    pub const fn is_cut(self) -> bool {
        matches!(self, Self::Length | Self::ContentFilter)
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What a run cost, as its provider counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation that it was sent.
    pub input_tokens: u64,
    /// Tokens that it generated, those that nobody was shown included.
    pub output_tokens: u64,
}

/// What a model says of the answer that it completed. Nothing, if it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Completion {
    /// Why it ended.
    pub finish_reason: Option<FinishReason>,
    /// What it cost.
    pub usage: Option<Usage>,
}

impl Completion {
    /// The model had no more to say.
    pub const STOPPED: Self = Self { finish_reason: Some(FinishReason::Stop), usage: None };
}

/// A committed message. Immutable: an edit cuts it off and puts another in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Grows within the chat.
    pub id: MessageId,
    /// The `snapshot_version` of the change that committed it.
    pub revision: Version,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The answer was cut short, by an interrupt or by a failure.
    pub interrupted: bool,
    /// The run that generated it; `None` for what a user sent.
    pub episode: Option<Episode>,
    /// Why a complete answer ended; `None` for what was cut short, and where nobody said.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
    #[serde(default)]
    /// What it cost, as the provider counts.
    pub usage: Option<Usage>,
    /// The id it had while it was queued: its own, unless something overtook it in the queue.
    pub queued_as: Option<MessageId>,
    /// The sender's own name for it.
    #[serde(default)]
    pub client_id: Option<Arc<str>>,
    /// The turn that it is of; `None` for what a release committed that knew no turns.
    #[serde(default)]
    pub turn: Option<MessageId>,
    /// By the database's clock.
    pub created_at: WallTime,
}

/// A message that waits until the current run has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueuedMessage {
    /// Of the same counter as a message's id.
    pub id: MessageId,
    /// The sender's own name for it.
    #[serde(default)]
    pub client_id: Option<Arc<str>>,
    /// The `snapshot_version` of the change that queued it; 0 if a release did that which did not keep it.
    #[serde(default)]
    pub revision: Version,
    /// What is to be said.
    pub content: Content,
    /// When it was sent, by the database's clock.
    pub created_at: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Databases and clients have these names, of this release and of others.
    #[test]
    fn roles_and_reasons_are_found_by_their_names_and_by_no_others() {
        let roles = [Role::User, Role::Assistant, Role::Tool, Role::System];
        assert_eq!(roles.map(Role::as_str), ["user", "assistant", "tool", "system"]);
        for role in roles {
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        let reasons = FinishReason::ALL.map(FinishReason::as_str);
        assert_eq!(reasons, ["stop", "length", "tool_calls", "content_filter"]);
        for reason in FinishReason::ALL {
            assert_eq!(FinishReason::from_name(reason.as_str()), Some(reason));
        }
        let cut = FinishReason::ALL.map(FinishReason::is_cut);
        assert_eq!(cut, [false, true, false, true], "what there is of calls is not made");
        for unknown in ["", "User", "stop ", "tools"] {
            assert_eq!(
                (Role::from_name(unknown), FinishReason::from_name(unknown)),
                (None, None),
                "{unknown:?}"
            );
        }
    }
}
