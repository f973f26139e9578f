//! The commands that change a chat.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    Access, AnswerRecord, CallResult, ChatId, Completion, Content, Episode, Lease, Message, MessageId,
    NewMessage, NewSettings, OpenCall, ReplicaId, Role, RunError, Settings, WallTime,
};

/// A request to change a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Creates the chat; if its last message is a user's, it starts running.
    Create {
        /// The id to give it.
        chat: ChatId,
        /// The user it will belong to.
        owner: Arc<str>,
        /// What it is set up with.
        settings: Settings,
        /// What was said so far, oldest first; a history that [can be](crate::NewMessage::check).
        messages: Vec<NewMessage>,
    },
    /// A user's message.
    Send {
        /// What it says.
        content: Content,
        /// What it does to a chat that is busy.
        mode: SendMode,
        /// Messages that may wait.
        queue_max: usize,
        /// The sender's own name for the message: sent again, it changes nothing (S12).
        client_id: Option<Arc<str>>,
    },
    /// Changes what is not the history.
    Configure(NewSettings),
    /// Answers calls that the client carries out. With the last one the turn goes on.
    ToolResults {
        /// The calls' ids, and what came of each.
        results: Vec<(Arc<str>, CallResult)>,
    },
    /// Cuts the history at a user's message and puts another in its place.
    Edit {
        /// Which one.
        message: MessageId,
        /// What the new one says.
        content: Content,
    },
    /// Cuts the history behind a user's message, whose turn begins again.
    Regenerate {
        /// Which one; `None`: the last one of a user.
        message: Option<MessageId>,
        /// What it does to a chat that is busy. Nothing of it can wait: only an interrupt is more than a rejection.
        mode: SendMode,
    },
    /// Stops what runs and keeps its partial answer.
    Interrupt {
        /// Only this episode, if it is the one that runs.
        episode: Option<Episode>,
    },
    /// Takes a message out of the queue.
    DeleteQueued {
        /// Which one.
        queued: MessageId,
    },
    /// Makes a queued message the next one, and interrupts what runs.
    Promote {
        /// Which one.
        queued: MessageId,
    },
    /// Deletes the chat and all that it has.
    Delete,
    /// The same, of a chat that has not changed for so long.
    Expire {
        /// For how long.
        idle_ms: u64,
    },
    /// Lets another user see the chat, or see and change it.
    Share {
        /// Whom.
        user: Arc<str>,
        /// What they may do from now on.
        may: Access,
    },
    /// Takes from a user what was shared.
    Unshare {
        /// From whom.
        user: Arc<str>,
    },
    /// `interrupting_only`: the replica has no slot for a run, and takes the chat only to finish an
    /// interruption.
    Acquire {
        /// Who wants to work on it.
        replica: ReplicaId,
        /// Only if there is an interruption to finish.
        interrupting_only: bool,
    },
    /// Gives the lease back.
    Release {
        /// Who holds it.
        replica: ReplicaId,
        /// Which lease it gives back.
        lease: Lease,
    },
    /// A generation starts.
    BeginAttempt {
        /// Under what it begins.
        fence: Fence,
    },
    /// A generation failed and is tried again later.
    RecordRetry {
        /// Of the attempt that failed.
        fence: Fence,
        /// When the next attempt begins, from now.
        delay_ms: u64,
        /// Why it failed.
        error: RunError,
    },
    /// Commits an answer that ends with calls, before any of them is carried out.
    CommitStep {
        /// Of the attempt that made it.
        fence: Fence,
        /// What was said.
        answer: Content,
        /// What the model says of its end.
        completion: Completion,
        /// Its calls; some may have their result already.
        calls: Vec<OpenCall>,
    },
    /// Keeps what came of calls that the worker carried out. With the last one of all, they join the history, and the
    /// next attempt begins.
    CommitResults {
        /// Of the history that has the calls.
        fence: Fence,
        /// The calls' ids, and what came of each; none if all that the worker was to do is in the row.
        results: Vec<(Arc<str>, CallResult)>,
    },
    /// Commits the answer; the queue's head has its turn.
    FinishTurn {
        /// Of the attempt that made it.
        fence: Fence,
        /// `None` if nothing was said.
        answer: Option<Content>,
        /// What the model says of its end.
        completion: Completion,
    },
    /// Commits the partial answer of what was interrupted; the queue's head has its turn.
    FinishInterruption {
        /// Of the attempt that was interrupted.
        fence: Fence,
        /// `None` if nothing was said.
        partial: Option<Content>,
    },
    /// Commits the partial answer of a run that failed for good.
    Fail {
        /// Of the attempt that failed.
        fence: Fence,
        /// `None` if nothing was said.
        partial: Option<Content>,
        /// Why it failed.
        error: RunError,
    },
}

/// What a send does if the chat is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendMode {
    /// The message waits for its turn.
    #[default]
    Queue,
    /// The message goes ahead of the queue, and what runs is interrupted.
    Interrupt,
    /// The send is rejected.
    Reject,
}

/// What a worker's write is fenced by: a write whose fence does not match changes nothing (S5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The worker.
    pub replica: ReplicaId,
    /// The lease it holds.
    pub lease: Lease,
    /// The history and the attempt that the write belongs to. For [`Command::BeginAttempt`], the attempt
    /// before the one to begin.
    pub episode: Episode,
}

/// What only the store knows, read in the command's transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// The database's clock.
    pub now: WallTime,
    /// Whether the current lease has expired, by the database's clock.
    pub lease_expired: bool,
    /// The message that the command [asks for](Command::sought); `None` if the history has none.
    pub found: Option<Found>,
    /// What was sent under the [`client_id`](Command::client_id) of the command before.
    pub known: Option<Known>,
}

/// Which message of the history a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The one of this id.
    Message(MessageId),
    /// The last one of a user.
    LastOfUser,
}

/// What a command has to know of a message of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: MessageId,
    /// Who speaks.
    pub role: Role,
    /// The id that it had in the queue, if it was there.
    pub queued_as: Option<MessageId>,
}

impl From<&Message> for Found {
    fn from(message: &Message) -> Self {
        Self { id: message.id, role: message.role, queued_as: message.queued_as }
    }
}

/// What was sent under a name before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What its sender was answered.
    pub answer: AnswerRecord,
    /// What it says, if it is in the history.
    pub content: Option<Content>,
}

impl Command {
    /// The message that the store has to look up for [`StoreFacts::found`].
    pub fn sought(&self) -> Option<Sought> {
        match self {
            Self::Edit { message, .. } | Self::Regenerate { message: Some(message), .. } => {
                Some(Sought::Message(*message))
            }
            Self::Regenerate { message: None, .. } => Some(Sought::LastOfUser),
            _ => None,
        }
    }

    /// The sender's own name for the message that this sends.
    pub fn client_id(&self) -> Option<&Arc<str>> {
        match self {
            Self::Send { client_id, .. } => client_id.as_ref(),
            _ => None,
        }
    }

    /// The owner, and the owner's own name for the chat that this creates.
    pub fn external_id(&self) -> Option<(&Arc<str>, &Arc<str>)> {
        match self {
            Self::Create { owner, settings, .. } => Some((owner, settings.external_id.as_ref()?)),
            _ => None,
        }
    }

    /// What a send or an edit says.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::Send { content, .. } | Self::Edit { content, .. } => Some(content),
            _ => None,
        }
    }

    /// What fences a worker's write of its run; `None` for everything else.
    pub const fn fence(&self) -> Option<&Fence> {
        match self {
            Self::BeginAttempt { fence }
            | Self::RecordRetry { fence, .. }
            | Self::CommitStep { fence, .. }
            | Self::CommitResults { fence, .. }
            | Self::FinishTurn { fence, .. }
            | Self::FinishInterruption { fence, .. }
            | Self::Fail { fence, .. } => Some(fence),
            _ => None,
        }
    }

    /// The lease under which a worker writes; `None` for what users ask for, and for an acquisition.
    pub fn lease(&self) -> Option<Lease> {
        match self {
            Self::Release { lease, .. } => Some(*lease),
            other => other.fence().map(|fence| fence.lease),
        }
    }

    /// A constant name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Send { .. } => "send",
            Self::Configure(_) => "configure",
            Self::ToolResults { .. } => "tool_results",
            Self::Edit { .. } => "edit",
            Self::Regenerate { .. } => "regenerate",
            Self::Interrupt { .. } => "interrupt",
            Self::DeleteQueued { .. } => "delete_queued",
            Self::Promote { .. } => "promote",
            Self::Delete => "delete",
            Self::Expire { .. } => "expire",
            Self::Share { .. } => "share",
            Self::Unshare { .. } => "unshare",
            Self::Acquire { .. } => "acquire",
            Self::Release { .. } => "release",
            Self::BeginAttempt { .. } => "begin_attempt",
            Self::RecordRetry { .. } => "record_retry",
            Self::CommitStep { .. } => "commit_step",
            Self::CommitResults { .. } => "commit_results",
            Self::FinishTurn { .. } => "finish_turn",
            Self::FinishInterruption { .. } => "finish_interruption",
            Self::Fail { .. } => "fail",
        }
    }
}
