//! A database of one chat that keeps all versions, so that a viewer's events can be checked against them. It
//! uses the product's transitions, and checks every commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, Command, Content, Effect, Episode, Lease, LeaseTerm, Message,
    MessageId, Page, Rejection, ReplicaId, Role, Snapshot, Status, StoreFacts, Tail, Time, Version, WallTime,
};

use crate::sends::Sends;

pub(crate) const LEASE_TTL: Duration = Duration::from_secs(15);
/// Fewer messages than a real store returns, so that pages are common.
const TAIL_MAX: usize = 2;
const PAGE_MAX: usize = 2;

/// The chat at one version.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) state: Arc<ChatState>,
    pub(crate) messages: Arc<Vec<Arc<Message>>>,
}

impl Entry {
    pub(crate) fn live(&self) -> Option<Episode> {
        self.state.live_episode().map(|(episode, _)| episode)
    }
}

/// Everything a model has produced, whether or not it was sent to anybody.
#[derive(Clone, Debug)]
pub(crate) struct Produced {
    pub(crate) by: usize,
    pub(crate) lease: Lease,
    pub(crate) parts: Vec<String>,
}

impl Produced {
    pub(crate) fn text(&self) -> String {
        self.parts.concat()
    }
}

#[derive(Debug)]
pub(crate) struct Database {
    /// Version `n` is at index `n - 1`.
    pub(crate) log: Vec<Entry>,
    pub(crate) deleted: bool,
    lease_until: Option<Time>,
    pub(crate) produced: BTreeMap<Episode, Produced>,
    sends: Sends,
}

impl Database {
    pub(crate) fn new() -> Self {
        let create = Command::Create {
            chat: ChatId(uuid::Uuid::from_u128(7)),
            owner: "owner".into(),
            title: None,
            model: None,
            content: Some(Content::text("begin")),
        };
        let facts = StoreFacts { now: WallTime(0), lease_expired: false, message_role: None };
        let Effect::Changed(change) = create.apply_to(None, None, &facts).effect else {
            panic!("a chat is created")
        };
        let messages = Arc::new(change.inserted.into_iter().map(Arc::new).collect());
        let first = Entry { state: change.state, messages };
        let sends = Sends::new(&first);
        Self { log: vec![first], deleted: false, lease_until: None, produced: BTreeMap::new(), sends }
    }

    pub(crate) fn last(&self) -> &Entry {
        self.log.last().expect("the chat was created")
    }

    pub(crate) fn state(&self) -> &Arc<ChatState> {
        &self.last().state
    }

    /// The row at one version.
    pub(crate) fn row(&self, version: Version) -> Option<&Arc<ChatState>> {
        let before = usize::try_from(version.0).ok()?.checked_sub(1)?;
        self.log.get(before).map(|entry| &entry.state)
    }

    pub(crate) fn is_free(&self, now: Time) -> bool {
        let state = self.state();
        let expired = self.lease_until.is_some_and(|until| until <= now);
        !self.deleted && state.status.is_runnable() && (state.worker.is_none() || expired)
    }

    /// The state after the command and whether it changed anything.
    pub(crate) fn apply(
        &mut self,
        now: Time,
        command: &Command,
    ) -> Result<(Arc<ChatState>, bool), Rejection> {
        let last = self.last().clone();
        let role_of = |id| last.messages.iter().find(|message| message.id == id).map(|m| m.role);
        let facts = StoreFacts {
            now: WallTime(now.as_micros() as i64 / 1000),
            lease_expired: self.lease_until.is_some_and(|until| until <= now),
            message_role: command.message().and_then(role_of),
        };
        let state = (!self.deleted).then_some(&*last.state);
        let Applied { answer, effect } = command.apply_to(state, None, &facts);
        answer?;
        let Effect::Changed(change) = effect else { return Ok((last.state, false)) };
        match change.lease {
            LeaseTerm::Keep => {}
            LeaseTerm::Start => self.lease_until = Some(now + LEASE_TTL),
            LeaseTerm::End => self.lease_until = None,
        }
        let mut messages = (*last.messages).clone();
        if let Some(from) = change.cut_from {
            messages.retain(|message| message.id < from);
        }
        self.check_not_dropped(command, &last, &change.inserted);
        for message in change.inserted {
            self.check_kept(&last, &message);
            messages.push(Arc::new(message));
        }
        self.deleted = change.deleted;
        let state = change.state;
        let entry = Entry { state: state.clone(), messages: Arc::new(messages) };
        self.sends.take(command, &last, &entry);
        self.sends.check(&entry, self.deleted);
        self.log.push(entry);
        assert_eq!(state.snapshot_version, Version(self.log.len() as u64), "S1: one version for one change");
        Ok((state, true))
    }

    /// Asserts that whoever ends an episode commits what it has generated of it (S4).
    fn check_not_dropped(&self, command: &Command, before: &Entry, inserted: &[Message]) {
        let (Command::FinishTurn { fence, .. }
        | Command::FinishInterruption { fence, .. }
        | Command::Fail { fence, .. }) = command
        else {
            return;
        };
        let produced = self.produced.get(&fence.episode).filter(|produced| produced.lease == fence.lease);
        let live = before.live() == Some(fence.episode);
        if live && produced.is_some_and(|produced| !produced.text().is_empty()) {
            let kept = inserted.iter().any(|message| message.episode == Some(fence.episode));
            assert!(kept, "S4: {} drops what was generated of {:?}", command.name(), fence.episode);
        }
    }

    /// Asserts that the committed answer of an episode is all that its model produced, committed once (S4).
    fn check_kept(&self, before: &Entry, message: &Message) {
        let Some(episode) = message.episode else { return };
        assert_eq!(message.role, Role::Assistant);
        let produced = self.produced.get(&episode).expect("S4: an answer is of an episode that began");
        assert_eq!(message.content.to_text(), produced.text(), "S4: {episode:?} is committed whole");
        let again = before.messages.iter().any(|other| other.episode == Some(episode));
        assert!(!again, "S6: {episode:?} is committed once");
        assert_eq!(before.live(), Some(episode), "S5: only the live episode is committed");
    }

    pub(crate) fn renew(&mut self, now: Time, replica: &ReplicaId, lease: Lease) -> bool {
        let ours = !self.deleted && self.state().is_held_by(replica, lease);
        if ours {
            self.lease_until = Some(now + LEASE_TTL);
        }
        ours
    }

    pub(crate) fn snapshot(&self, cached: Option<CachedVersions>) -> Option<Snapshot> {
        if self.deleted {
            return None;
        }
        let Entry { state, messages } = self.last().clone();
        let tail = match cached {
            Some(cached) if cached.reset_version == state.reset_version => {
                let newer = messages.iter().filter(|message| message.id > cached.last_message);
                Tail::After(newer.cloned().collect())
            }
            _ => {
                let skipped = messages.len().saturating_sub(TAIL_MAX);
                Tail::Newest { messages: messages[skipped..].to_vec(), from_start: skipped == 0 }
            }
        };
        Some(Snapshot { state, tail })
    }

    pub(crate) fn page(&self, after: MessageId, until: MessageId) -> Option<Page> {
        if self.deleted {
            return None;
        }
        let Entry { state, messages } = self.last();
        let asked = |message: &&Arc<Message>| message.id > after && message.id <= until;
        let found: Vec<_> = messages.iter().filter(asked).cloned().collect();
        Some(Page {
            more: found.len() > PAGE_MAX,
            messages: found.into_iter().take(PAGE_MAX).collect(),
            has_base: after == MessageId(0) || messages.iter().any(|message| message.id == after),
            reset_version: state.reset_version,
            history_version: state.history_version,
        })
    }

    /// Whether `episode` is live in the newest row, under `lease`.
    pub(crate) fn wants(&self, episode: Episode, lease: Lease) -> bool {
        let state = self.state();
        !self.deleted && state.status == Status::Running && state.live_episode() == Some((episode, lease))
    }
}
