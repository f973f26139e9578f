//! The committed past of one chat: its state after each change, and its leases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    ChatState, Command, Episode, Lease, Message, MessageId, ReplicaId, Retry, Status, Time, Version,
};

use crate::{Committed, FaultKind, Name, View};

/// The committed state at one moment.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: Time,
    pub by: Name,
    pub command: Command,
    pub state: Arc<ChatState>,
    pub history: Arc<[Arc<Message>]>,
    pub deleted: bool,
}

/// The time during which a replica held the chat under one lease.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    pub(crate) replica: ReplicaId,
    /// When the database last granted or renewed the lease.
    pub(crate) confirmed: Time,
    /// When the replica sent the request whose confirmation it received last.
    pub(crate) assured: Time,
    /// When it received a confirmation after it may have treated the lease as expired: since which request it had
    /// none, and when it came.
    pub(crate) recovered: Option<(Time, Time)>,
}

#[derive(Clone, Debug, Default)]
pub struct Past {
    pub moments: Vec<Moment>,
    /// Every message that was ever committed.
    messages: BTreeMap<MessageId, Arc<Message>>,
    tenures: BTreeMap<Lease, Tenure>,
    /// What may have kept from the holder that it holds the chat: nothing was written under that lease yet.
    unaware: Option<FaultKind>,
}

impl Past {
    /// `hampered`: what befell whoever committed it, and its way to the database.
    pub(crate) fn commit(&mut self, at: Time, change: &Committed, hampered: Option<FaultKind>) {
        let Committed { command, state, cut_from, inserted, deleted, .. } = change;
        if matches!(command, Command::Create { .. }) {
            self.messages.clear();
        }
        let mut history = self.moments.last().map(|moment| moment.history.clone()).unwrap_or_default();
        if *deleted {
            history = Arc::default();
        } else if cut_from.is_some() || !inserted.is_empty() {
            let kept = history.iter().filter(|message| cut_from.is_none_or(|from| message.id < from));
            let inserted = inserted.iter().map(|message| {
                let message = Arc::new(message.clone());
                self.messages.insert(message.id, message.clone());
                message
            });
            history = kept.cloned().chain(inserted).collect();
        }
        if let Command::Acquire { replica, .. } = command {
            let tenure =
                Tenure { replica: replica.clone(), confirmed: at, assured: change.asked, recovered: None };
            self.tenures.insert(state.lease, tenure);
            self.unaware = hampered;
        } else if command.lease().is_some() {
            self.unaware = None;
        }
        let (by, command, state, deleted) = (change.by.clone(), command.clone(), state.clone(), *deleted);
        self.moments.push(Moment { at, by, command, state, history, deleted });
    }

    /// Why the holder may not know that it holds the chat: a process that died asked for it, say, and it was carried out
    /// when another one of its name had begun.
    pub(crate) fn unaware(&self) -> Option<FaultKind> {
        self.unaware
    }

    pub(crate) fn tenure(&self, lease: Lease) -> Option<&Tenure> {
        self.tenures.get(&lease)
    }

    pub(crate) fn tenure_mut(&mut self, lease: Lease) -> Option<&mut Tenure> {
        self.tenures.get_mut(&lease)
    }

    pub fn last(&self) -> Option<&Moment> {
        self.moments.last()
    }

    /// The current state; `None` if there is no such chat, or not any more.
    pub fn present(&self) -> Option<&Moment> {
        self.last().filter(|moment| !moment.deleted)
    }

    /// The newest moment and the one before.
    pub(crate) fn step(&self) -> (Option<&Moment>, &Moment) {
        let (last, before) = self.moments.split_last().expect("something was committed");
        (before.last().filter(|moment| !moment.deleted), last)
    }

    /// When the retry that the chat waits for was announced.
    pub(crate) fn announced(&self, retry: &Retry) -> Time {
        let before = self.moments.iter().rev().skip(1);
        let since = before.take_while(|moment| moment.state.retry.as_ref() == Some(retry)).last();
        since.map_or(Time::START, |moment| moment.at)
    }

    pub(crate) fn message(&self, id: MessageId) -> Option<&Arc<Message>> {
        self.messages.get(&id)
    }

    /// The moment at which this attempt began.
    pub(crate) fn beginning(&self, episode: Episode) -> Option<usize> {
        let begins = |moment: &Moment| {
            begins_attempt(&moment.command, &moment.state) && moment.state.present_episode() == episode
        };
        self.moments.iter().rposition(begins)
    }

    /// Whether anything was ever committed as the answer of an episode.
    pub(crate) fn has_saved(&self, episode: Episode) -> bool {
        self.messages.values().any(|message| message.episode == Some(episode))
    }

    /// The state of this version.
    pub(crate) fn at_version(&self, version: Version) -> Option<&ChatState> {
        let state = |moment: &'_ Moment| moment.state.snapshot_version == version;
        self.moments.iter().rfind(|moment| state(moment)).map(|moment| &*moment.state)
    }

    /// Whether the chat was there for this user at any time.
    pub(crate) fn was_there_for(&self, user: &str) -> bool {
        self.moments.iter().rev().any(|moment| moment.state.is_there_for(user))
    }
}

/// Whether a command that led to this row begins an attempt: its own does, an acquisition of a turn that waits for nothing, and
/// the one that brings the last result.
pub fn begins_attempt(command: &Command, after: &ChatState) -> bool {
    match command {
        Command::BeginAttempt { .. } => true,
        Command::Acquire { .. } => after.attempt_lease == Some(after.lease),
        Command::CommitResults { .. } => after.calls.is_empty(),
        _ => false,
    }
}

impl Tenure {
    /// The holder received, at `at`, the confirmation of the request that it sent at `sent`.
    pub(crate) fn assure(&mut self, at: Time, sent: Time, lease_ttl: Duration) {
        if at >= self.may_expire_at(lease_ttl) {
            self.recovered = Some((self.assured, at));
        }
        self.assured = self.assured.max(sent);
    }

    /// The earliest time at which its holder may treat the lease as expired, by whatever clock it has.
    pub(crate) fn may_expire_at(&self, lease_ttl: Duration) -> Time {
        self.assured + lease_ttl * 19 / 20
    }
}

impl Moment {
    /// Whether the screen shows the history of this moment. Comparing ids is enough: contents were checked
    /// before, and ids are never reused.
    pub(crate) fn is_shown_by(&self, view: &View) -> bool {
        view.messages.len() == self.history.len()
            && view.messages.iter().rev().map(|m| m.id).eq(self.history.iter().rev().map(|m| m.id))
    }

    /// The live episode and its lease, computed from the row alone.
    pub(crate) fn live(&self) -> Option<(Episode, Lease)> {
        let state = &self.state;
        let runs = matches!(state.status, Status::Running | Status::Interrupting);
        (runs && !self.deleted && state.worker.is_some() && state.attempt_lease == Some(state.lease))
            .then(|| (state.present_episode(), state.lease))
    }

    pub(crate) fn is_free(&self) -> bool {
        !self.deleted && self.is_runnable() && self.state.worker.is_none()
    }

    pub(crate) fn is_runnable(&self) -> bool {
        !self.deleted && matches!(self.state.status, Status::Running | Status::Interrupting)
    }
}
