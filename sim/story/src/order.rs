//! What users ask for.

use std::sync::Arc;

use mainstem_machine::{Access, ChatId, Command, Content, MessageId, NewMessage, SendMode, Settings};
use serde::{Deserialize, Serialize};

use crate::kinds::{called_tool, result_of};
use crate::script::Script;

/// A user's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Create {
        text: Option<String>,
    },
    Send {
        text: String,
        mode: SendMode,
    },
    Edit {
        message: MessageId,
        text: String,
    },
    /// `None`: the last message of a user.
    Regenerate {
        message: Option<MessageId>,
        mode: SendMode,
    },
    Interrupt,
    Withdraw {
        queued: MessageId,
    },
    Promote {
        queued: MessageId,
    },
    /// Answers these calls.
    Answer {
        calls: Vec<String>,
    },
    Delete,
    Share {
        user: String,
        may: Access,
    },
    Unshare {
        user: String,
    },
}

const QUEUE_MAX: usize = 20;

impl Order {
    /// The name under which it is counted when it is accepted, if plans may be without it (D2).
    pub fn lands_as(&self) -> Option<&'static str> {
        match self {
            Self::Create { .. } | Self::Send { mode: SendMode::Queue | SendMode::Reject, .. } => None,
            Self::Send { mode: SendMode::Interrupt, .. } => Some("sent to interrupt"),
            Self::Edit { .. } => Some("edited"),
            Self::Regenerate { .. } => Some("regenerated"),
            Self::Interrupt => Some("interrupted"),
            Self::Withdraw { .. } => Some("withdrawn"),
            Self::Promote { .. } => Some("promoted"),
            Self::Answer { .. } => Some("calls answered"),
            Self::Delete => Some("deleted"),
            Self::Share { .. } => Some("shared"),
            Self::Unshare { .. } => Some("unshared"),
        }
    }

    /// What is to be said.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Create { text } => text.as_deref(),
            Self::Send { text, .. } | Self::Edit { text, .. } => Some(text),
            Self::Regenerate { .. }
            | Self::Interrupt
            | Self::Withdraw { .. }
            | Self::Promote { .. }
            | Self::Answer { .. }
            | Self::Delete
            | Self::Share { .. }
            | Self::Unshare { .. } => None,
        }
    }

    /// Where it is sent to, of its chat.
    pub fn path(&self) -> &'static str {
        match self {
            Self::Create { .. } => "POST chat",
            Self::Send { .. } => "POST messages",
            Self::Edit { .. } => "PATCH message",
            Self::Regenerate { .. } => "POST regenerate",
            Self::Interrupt => "POST interrupt",
            Self::Withdraw { .. } => "DELETE queue",
            Self::Promote { .. } => "POST promote",
            Self::Answer { .. } => "POST tool_results",
            Self::Delete => "DELETE chat",
            Self::Share { .. } => "PUT share",
            Self::Unshare { .. } => "DELETE share",
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Send { mode: SendMode::Queue, .. } => "send",
            Self::Send { mode: SendMode::Interrupt, .. } => "send, interrupting",
            Self::Send { mode: SendMode::Reject, .. } => "send, if idle",
            Self::Edit { .. } => "edit",
            Self::Regenerate { mode: SendMode::Interrupt, .. } => "regenerate, interrupting",
            Self::Regenerate { .. } => "regenerate",
            Self::Interrupt => "interrupt",
            Self::Withdraw { .. } => "withdraw",
            Self::Promote { .. } => "promote",
            Self::Answer { .. } => "answer",
            Self::Delete => "delete",
            Self::Share { .. } => "share",
            Self::Unshare { .. } => "unshare",
        }
    }

    pub fn into_command(self, chat: ChatId, by: &Arc<str>) -> Command {
        match self {
            Self::Create { text } => {
                let script = text.as_deref().and_then(Script::parse);
                let tools = script.filter(|script| script.calls).map(|_| [called_tool()].into());
                let settings = Settings { tools: tools.unwrap_or_default(), ..Settings::default() };
                let content = text.map(|text| Content::text(&text));
                Command::Create { chat, owner: by.clone(), settings, messages: NewMessage::opening(content) }
            }
            Self::Send { text, mode } => {
                Command::Send { content: Content::text(&text), mode, queue_max: QUEUE_MAX, client_id: None }
            }
            Self::Edit { message, text } => Command::Edit { message, content: Content::text(&text) },
            Self::Regenerate { message, mode } => Command::Regenerate { message, mode },
            Self::Interrupt => Command::Interrupt { episode: None },
            Self::Withdraw { queued } => Command::DeleteQueued { queued },
            Self::Promote { queued } => Command::Promote { queued },
            Self::Answer { calls } => {
                let result = |call: String| (call.as_str().into(), result_of(&call));
                Command::ToolResults { results: calls.into_iter().map(result).collect() }
            }
            Self::Delete => Command::Delete,
            Self::Share { user, may } => Command::Share { user: user.into(), may },
            Self::Unshare { user } => Command::Unshare { user: user.into() },
        }
    }
}
