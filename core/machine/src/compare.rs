//! A command without a lock: it is applied to a row that somebody knows, and what it changes is written if the chat is
//! still so. A version names one row for ever (it grows by exactly 1 with each change), so comparing it is as good as
//! having held the lock since the row was read (S5, S6).
//!
//! What a command needs beside the row (a message of the history, what was sent under a name, what else there is under a name),
//! and what changes more than the row and the end of the history, goes the other way: the store applies it under the lock.

use alloc::sync::Arc;

use crate::store::Request;
use crate::{
    Accepted, AnswerRecord, Applied, Change, ChatState, Command, Effect, StoreFacts, Version, WallTime,
};

/// A chat's row as far as somebody knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRow {
    /// The row; `None` if there is no such chat.
    pub state: Option<Arc<ChatState>>,
    /// Until when it is held, if it is; `None` if only the row is known.
    pub lease: Option<Option<WallTime>>,
    /// The database's clock. Where only the row is known, it may be behind.
    pub now: WallTime,
}

/// A change that is written if the chat is still what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What asks for it.
    pub request: Request,
    /// The version of which it was made; `None`: there must be no such chat.
    pub of: Option<Version>,
    /// Until when the chat must be held; `None`: that does not matter.
    pub lease: Option<Option<WallTime>>,
    /// What is written.
    pub change: Change,
    /// What its caller is told.
    pub accepted: Accepted,
    /// What is kept under the request's key. There must be nothing under it yet.
    pub kept: Option<AnswerRecord>,
}

/// What a request comes to by a row.
#[expect(clippy::large_enum_variant, reason = "it is looked at where it is made, and not kept")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is accepted if this is written.
    Write(Write),
    /// Nothing changes. It holds for a row that was read for it.
    Answer(Applied),
    /// The row does not tell.
    Lock,
}

impl Request {
    /// Whether a row alone can tell what it comes to.
    pub fn can_be_compared(&self) -> bool {
        let command = &self.command;
        let needs_more =
            command.sought().is_some() || command.client_id().is_some() || command.external_id().is_some();
        let changes_more = matches!(
            command,
            // What is announced for a time is committed at the time by which it is announced (S9).
            Command::RecordRetry { .. }
                | Command::Configure(_)
                | Command::Delete
                | Command::Expire { .. }
                | Command::Share { .. }
                | Command::Unshare { .. }
        );
        !needs_more && !changes_more
    }

    /// What it comes to by this row.
    pub fn decide(&self, row: &KnownRow) -> Decision {
        let acquires = matches!(self.command, Command::Acquire { .. });
        if !self.can_be_compared() || (acquires && row.lease.is_none()) {
            return Decision::Lock;
        }
        let state = row.state.as_deref();
        // A chat's times do not go back, whoever's clock was asked.
        let now = state.map_or(row.now, |state| row.now.max(state.updated_at));
        let lease_expired = row.lease.flatten().is_none_or(|until| until <= row.now);
        let facts = StoreFacts { now, lease_expired, found: None, known: None };
        let applied = self.command.apply_to(state, self.by.as_deref(), &facts);
        match applied {
            Applied { answer: Ok(accepted), effect: Effect::Changed(change) } if change.is_plain() => {
                assert_eq!(change.state.id, self.chat, "a command changes the chat it was sent to");
                let kept = self.idempotency_key.as_ref();
                let kept = kept.map(|key| AnswerRecord::of(&accepted, &self.command, key.keep));
                let of = state.map(|state| state.snapshot_version);
                let lease = row.lease.filter(|_| acquires);
                Decision::Write(Write { request: self.clone(), of, lease, change, accepted, kept })
            }
            // A rejection is kept as well, and is not written by comparing.
            applied @ Applied { effect: Effect::Unchanged, .. } if self.idempotency_key.is_none() => {
                Decision::Answer(applied)
            }
            _ => Decision::Lock,
        }
    }
}

impl Write {
    /// What was applied, if it was written.
    pub fn applied(&self) -> Applied {
        Applied { answer: Ok(self.accepted.clone()), effect: Effect::Changed(self.change.clone()) }
    }
}

impl Change {
    /// Whether it changes no more than what a worker's writes and plain sends do: the row's own state, and what joins the
    /// history behind its end.
    pub fn is_plain(&self) -> bool {
        let Self { deleted, cut_from, reopened, named, shares_changed, listed, unlisted, .. } = self;
        let cuts = *deleted || cut_from.is_some() || reopened.is_some();
        let lists = *shares_changed || listed.is_some() || unlisted.is_some();
        !cuts && !lists && named.is_empty()
    }
}
