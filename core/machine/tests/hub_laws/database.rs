//! A database of one chat that keeps all versions, so that a viewer's events can be checked against them. It
//! checks every commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::announce::Notice;
use mainstem_machine::hub::{ChatEvent, HubEvent};
use mainstem_machine::store::{Held, Request};
use mainstem_machine::{
    Appended, Applied, CachedVersions, Change, ChatId, ChatState, Command, Content, Effect, Episode, Lease,
    Message, MessageId, NewMessage, NextRow, Page, Rejection, ReplicaId, Snapshot, Status, Time, Version,
    WallTime,
};
use mainstem_oracles::{Committed, Name};
use mainstem_rows::Rows;

pub(crate) const CHAT: ChatId = ChatId(uuid::Uuid::from_u128(7));
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(15);
/// Fewer messages than a real store returns, so that pages are common.
const TAIL_MAX: usize = 2;
const PAGE_MAX: usize = 2;

/// The chat at one version.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) state: Arc<ChatState>,
    pub(crate) messages: Arc<Vec<Arc<Message>>>,
    /// What the change to this version appended.
    pub(crate) appended: Option<Appended>,
    /// What it made of the row before, if that is all.
    pub(crate) next_row: Option<Box<NextRow>>,
}

impl Entry {
    /// The chat as it is committed.
    fn newest(rows: &Rows, appended: Option<Appended>, next_row: Option<Box<NextRow>>) -> Option<Self> {
        let row = rows.row(CHAT)?;
        let messages = Arc::new(row.history.clone());
        Some(Self { state: row.state.clone(), messages, appended, next_row })
    }

    /// What other replicas are told by the bus.
    pub(crate) fn noticed(&self) -> HubEvent {
        Notice::of(&self.state, self.next_row.clone(), false).event()
    }

    /// What a replica that committed this version is told.
    pub(crate) fn committed(&self) -> HubEvent {
        let (state, appended) = (self.state.clone(), self.appended.clone());
        HubEvent::Chat(ChatEvent::Committed { state, appended })
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
    pub(crate) rows: Rows,
    pub(crate) produced: BTreeMap<Episode, Produced>,
    /// What was committed and not yet told to the judges.
    pub(crate) commits: Vec<Committed>,
}

impl Database {
    pub(crate) fn new() -> Self {
        let mut rows = Rows::new(LEASE_TTL);
        rows.set_tail_messages_max(TAIL_MAX);
        let content = Some(Content::text("begin"));
        let create = Command::Create {
            chat: CHAT,
            owner: "owner".into(),
            settings: Default::default(),
            messages: NewMessage::opening(content),
        };
        let applied = rows.apply(Time::START, WallTime(0), &request(&create));
        let appended = applied.change().and_then(Change::appended);
        let first = Entry::newest(&rows, appended, None).expect("a chat is created");
        let commits = committed(Time::START, &create, &applied).into_iter().collect();
        Self { log: vec![first], rows, produced: BTreeMap::new(), commits }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.rows.row(CHAT).is_none()
    }

    pub(crate) fn last(&self) -> &Entry {
        self.log.last().expect("the chat was created")
    }

    pub(crate) fn state(&self) -> &Arc<ChatState> {
        &self.last().state
    }

    /// The chat at one version.
    pub(crate) fn entry(&self, version: Version) -> Option<&Entry> {
        let before = usize::try_from(version.0).ok()?.checked_sub(1)?;
        self.log.get(before)
    }

    /// The row at one version.
    pub(crate) fn row(&self, version: Version) -> Option<&Arc<ChatState>> {
        self.entry(version).map(|entry| &entry.state)
    }

    pub(crate) fn is_free(&self, now: Time) -> bool {
        self.rows.row(CHAT).is_some_and(|row| row.is_free(now))
    }

    /// The state after the command and whether it changed anything.
    pub(crate) fn apply(
        &mut self,
        now: Time,
        command: &Command,
    ) -> Result<(Arc<ChatState>, bool), Rejection> {
        let last = self.last().clone();
        let wall = WallTime(now.as_micros() as i64 / 1000);
        let applied = self.rows.apply(now, wall, &request(command));
        self.commits.extend(committed(now, command, &applied));
        let Applied { answer, effect } = applied;
        answer?;
        let Effect::Changed(change) = effect else { return Ok((last.state, false)) };
        let (appended, state, next_row) = (change.appended(), change.state, change.next_row);
        let entry = Entry::newest(&self.rows, appended.clone(), next_row).unwrap_or_else(|| Entry {
            state: state.clone(),
            messages: last.messages.clone(),
            appended,
            next_row: None,
        });
        self.log.push(entry);
        assert_eq!(state.snapshot_version, Version(self.log.len() as u64), "S1: one version for one change");
        Ok((state, true))
    }

    pub(crate) fn renew(&mut self, now: Time, replica: &ReplicaId, lease: Lease) -> bool {
        !self.rows.renew(now, replica, [Held { chat: CHAT, lease }]).is_empty()
    }

    pub(crate) fn snapshot(&self, cached: Option<CachedVersions>) -> Option<Snapshot> {
        self.rows.snapshot(CHAT, cached)
    }

    pub(crate) fn page(&self, after: MessageId, until: MessageId) -> Option<Page> {
        self.rows.page(CHAT, after, Some(until), PAGE_MAX)
    }

    /// Whether `episode` is live in the newest row, under `lease`.
    pub(crate) fn wants(&self, episode: Episode, lease: Lease) -> bool {
        let state = self.state();
        !self.is_deleted()
            && state.status == Status::Running
            && state.live_episode() == Some((episode, lease))
    }
}

/// What the judges are told of a change.
fn committed(now: Time, command: &Command, applied: &Applied) -> Option<Committed> {
    let (change, accepted) = (applied.change()?.clone(), applied.answer.clone().ok()?);
    let holder = change.state.worker.clone().map_or_else(|| "nobody".into(), Name::from);
    Some(Committed {
        chat: CHAT,
        by: holder,
        asked: now,
        caller: command.lease().is_none().then(|| "owner".into()),
        key: None,
        command: command.clone(),
        state: change.state,
        deleted: change.deleted,
        cut_from: change.cut_from,
        inserted: change.inserted,
        ended: change.ended,
        accepted,
    })
}

fn request(command: &Command) -> Request {
    Request { chat: CHAT, command: command.clone(), by: None, idempotency_key: None }
}
