//! The durable state of one chat: the row, its versions and its queue. `command` has the transitions.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ChatId, Episode, Lease, MessageId, OpenCall, Prompt, QueuedMessage, ReplicaId, Share, Tool, Turn,
    Version, WallTime,
};

/// What a chat is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Idle.
    Waiting,
    /// A replica generates an answer, or is to take the chat up.
    Running,
    /// What runs is to be stopped, and its partial answer committed.
    Interrupting,
    /// The client is to carry out [`ChatState::calls`]: nobody works on the chat, and its turn is open.
    RequiresAction,
    /// The last run failed for good; [`ChatState::error`] says why.
    Error,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Running, Self::Interrupting, Self::RequiresAction, Self::Error];

    /// The name, as clients and databases have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Interrupting => "interrupting",
            Self::RequiresAction => "requires_action",
            Self::Error => "error",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether a turn is open.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Running | Self::Interrupting | Self::RequiresAction)
    }

    /// Whether there is work for a replica.
    pub const fn is_runnable(self) -> bool {
        matches!(self, Self::Running | Self::Interrupting)
    }
}

/// Why a run failed. `code` is stable and machine-readable, `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunError {
    /// Stable, for programs.
    pub code: Arc<str>,
    /// For people.
    pub message: Arc<str>,
}

/// A run failed and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// The attempt that failed.
    pub attempt: u64,
    /// How long the next attempt is put off.
    pub delay_ms: u64,
    /// Why the attempt failed.
    pub error: RunError,
    /// When the next attempt begins, by the database's clock.
    pub at: WallTime,
}

/// One chat as the database has it, without its messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatState {
    /// The chat.
    pub id: ChatId,
    /// The user it belongs to.
    pub owner: Arc<str>,
    /// For people.
    pub title: Option<Arc<str>>,
    /// The model to ask, if the chat names one.
    pub model: Option<Arc<str>>,
    /// The owner's own name for it.
    #[serde(default)]
    pub external_id: Option<Arc<str>>,
    /// The system prompt, if the chat has one.
    #[serde(default)]
    pub instructions: Option<Arc<str>>,
    /// Tools that the client carries out.
    #[serde(default)]
    pub tools: Arc<[Tool]>,
    /// What the chat is doing.
    pub status: Status,
    /// The replica that holds the lease.
    pub worker: Option<ReplicaId>,
    /// The present lease, or the last one.
    pub lease: Lease,
    /// The lease under which the current attempt began; `None` if no attempt is live. Stored as "begun".
    #[serde(rename = "begun")]
    pub attempt_lease: Option<Lease>,
    /// Grows by exactly 1 with each accepted change.
    pub snapshot_version: Version,
    /// The `snapshot_version` at which messages last changed.
    pub history_version: Version,
    /// The `snapshot_version` at which the queue last changed.
    pub queue_version: Version,
    /// The truncation version: the `snapshot_version` at which messages were last cut off the history.
    pub reset_version: Version,
    /// How many attempts have begun under the current `history_version`.
    pub attempt: u64,
    /// Why the chat is in [`Status::Error`].
    pub error: Option<RunError>,
    /// Set while a failed generation waits for its next attempt.
    pub retry: Option<Retry>,
    /// Messages that wait for their turn, in that order.
    pub queue: Vec<QueuedMessage>,
    /// The newest message of the history; 0 if there is none.
    pub last_message: MessageId,
    /// The highest id ever given to a message of this chat, queued or committed.
    pub last_id: MessageId,
    /// The highest id that the history ever had, of what was cut off too.
    #[serde(default)]
    pub last_told: MessageId,
    /// The turn that runs, or the last one.
    #[serde(default)]
    pub turn: Option<Turn>,
    /// The calls of the last message that have no result in the history.
    #[serde(default)]
    pub calls: Arc<[OpenCall]>,
    /// Who else may see it, by their names, in order.
    #[serde(default)]
    pub shares: Arc<[Share]>,
    /// By the database's clock.
    pub created_at: WallTime,
    /// When the last change was accepted, by the database's clock.
    pub updated_at: WallTime,
}

impl ChatState {
    /// The live episode, if there is one, with the lease under which it began. An acquisition ends the
    /// episode of the previous worker, and so do a retry and an error.
    pub fn live_episode(&self) -> Option<(Episode, Lease)> {
        let live = self.status.is_runnable() && self.attempt_lease == Some(self.lease);
        live.then(|| (self.present_episode(), self.lease))
    }

    /// How long after the last change the next attempt begins, if a failed one is to be tried again.
    pub fn retry_left(&self) -> Option<Duration> {
        let retry = self.retry.as_ref()?;
        Some(Duration::from_millis(retry.at.ms_since(self.updated_at)))
    }

    /// The turn that runs, or the last one. Not what the row still has of a turn that a release went on with, or ended,
    /// that knew no turns.
    pub fn present_turn(&self) -> Option<&Turn> {
        let fits = |turn: &&Turn| turn.last == self.last_message;
        self.turn.as_ref().filter(fits).filter(|turn| turn.status.is_over() != self.status.is_busy())
    }

    /// A row as it was read: without the calls that are open there since a release went on with the chat, or ended the
    /// turn, that knew no calls. While calls are open, nothing joins the history but their results.
    #[must_use]
    pub fn as_read(mut self) -> Self {
        if self.present_turn().is_none_or(|turn| turn.status.is_over()) {
            self.calls = [].into();
        }
        self
    }

    /// The name of the turn that runs, or of the last one.
    pub fn turn_id(&self) -> Option<MessageId> {
        self.present_turn().map(|turn| turn.id)
    }

    /// The row of the next version, to which nothing has happened yet.
    pub(crate) fn succeeding(&self, now: WallTime) -> Self {
        let mut next = self.clone();
        next.turn = self.present_turn().cloned();
        // What a release told that did not count it.
        next.last_told = self.last_told.max(self.last_message);
        next.snapshot_version = self.snapshot_version.next();
        next.updated_at = now;
        next
    }

    /// The episode to which an answer committed now would belong.
    pub fn present_episode(&self) -> Episode {
        Episode { history_version: self.history_version, attempt: self.attempt }
    }

    /// What a model is asked with.
    pub fn prompt(&self) -> Prompt {
        let (model, instructions, tools) =
            (self.model.clone(), self.instructions.clone(), self.tools.clone());
        Prompt { model, instructions, tools }
    }

    /// Whether `replica` holds the chat under `lease`.
    pub fn is_held_by(&self, replica: &ReplicaId, lease: Lease) -> bool {
        self.worker.as_ref() == Some(replica) && self.lease == lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Databases and clients have these names, of this release and of others.
    #[test]
    fn a_status_is_found_by_its_name_and_by_no_other() {
        assert_eq!(
            Status::ALL.map(Status::as_str),
            ["waiting", "running", "interrupting", "requires_action", "error"]
        );
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.as_str()), Some(status));
        }
        for unknown in ["", "Waiting", "waiting ", "run"] {
            assert_eq!(Status::from_name(unknown), None, "{unknown:?}");
        }
    }
}
