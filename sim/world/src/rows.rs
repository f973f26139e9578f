//! The rows of the database in memory, and the operations on them. Each operation happens at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    AnswerRecord, Applied, CachedVersions, Change, ChatId, ChatState, Command, Keep, Lease, LeaseTerm,
    Message, MessageId, Page, Rejection, ReplicaId, Role, Snapshot, Status, StoreFacts, Tail, Time, Version,
    WallTime,
};

/// The database's wall clock at [`Time::START`].
const WALL_START: WallTime = WallTime(1_767_225_600_000);
/// Messages of a page. Fewer than a real store's, so that pages are common.
const PAGE_MESSAGES_MAX: usize = 2;

/// A command on its way to the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    /// Which chat it changes.
    pub(crate) chat: ChatId,
    /// What it does.
    pub(crate) command: Command,
    /// The user who asks; `None` for a replica itself.
    pub(crate) by: Option<Arc<str>>,
    /// The idempotency key of a user's request.
    pub(crate) key: Option<Arc<str>>,
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    lease_ttl: Duration,
    tail_messages_max: usize,
    chats: BTreeMap<ChatId, Row>,
    records: BTreeMap<(Arc<str>, Arc<str>), Result<AnswerRecord, Rejection>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    state: Arc<ChatState>,
    history: Vec<Arc<Message>>,
    lease_until: Option<Time>,
    /// Since when nobody has held the chat.
    free_since: Time,
}

impl Row {
    fn is_free(&self, now: Time) -> bool {
        let expired = self.state.worker.is_none() || self.lease_until.is_some_and(|until| until <= now);
        self.state.status.is_runnable() && expired
    }

    fn waiting_since(&self) -> Time {
        match self.lease_until {
            Some(until) if self.state.worker.is_some() => until,
            _ => self.free_since,
        }
    }
}

impl Rows {
    /// An empty database.
    pub(crate) fn new(lease_ttl: Duration, tail_messages_max: usize) -> Self {
        Self { lease_ttl, tail_messages_max, chats: BTreeMap::new(), records: BTreeMap::new() }
    }

    /// The committed state of a chat.
    pub(crate) fn state(&self, chat: ChatId) -> Option<&Arc<ChatState>> {
        self.chats.get(&chat).map(|row| &row.state)
    }

    /// The committed history of a chat.
    pub(crate) fn history(&self, chat: ChatId) -> &[Arc<Message>] {
        self.chats.get(&chat).map_or(&[], |row| &row.history)
    }

    /// Applies a command and commits it.
    pub(crate) fn apply(&mut self, now: Time, request: &Request) -> Applied {
        let key = request.by.clone().zip(request.key.clone());
        if let Some(record) = key.as_ref().and_then(|key| self.records.get(key)) {
            let state = self.chats.get(&request.chat).map(|row| row.state.clone());
            let answer = record.clone().and_then(|record| record.answer(&request.command, state));
            return Applied::replayed(answer);
        }
        let applied = self.apply_now(now, request);
        if let Some(key) = key {
            let kept = applied.answer.as_ref().map_err(|rejection| *rejection);
            let kept = kept.map(|answer| AnswerRecord::of(answer, &request.command, Keep::Answer));
            self.records.insert(key, kept);
        }
        applied
    }

    fn apply_now(&mut self, now: Time, request: &Request) -> Applied {
        let row = self.chats.get(&request.chat);
        let facts = StoreFacts {
            now: WALL_START.after_ms(now.as_micros() / 1000),
            lease_expired: row.is_some_and(|row| row.lease_until.is_some_and(|until| until <= now)),
            message_role: request.command.message().and_then(|id| role(row?, id)),
        };
        let state = row.map(|row| &*row.state);
        let applied = request.command.apply_to(state, request.by.as_deref(), &facts);
        if let Some(change) = applied.change() {
            self.write(now, request.chat, change);
        }
        applied
    }

    fn write(&mut self, now: Time, chat: ChatId, change: &Change) {
        if change.deleted {
            self.chats.remove(&chat);
            return;
        }
        let row = self.chats.entry(chat).or_insert_with(|| Row {
            state: change.state.clone(),
            history: vec![],
            lease_until: None,
            free_since: now,
        });
        let was_free = row.is_free(now);
        row.state = change.state.clone();
        if let Some(from) = change.cut_from {
            row.history.retain(|message| message.id < from);
        }
        row.history.extend(change.inserted.iter().cloned().map(Arc::new));
        match change.lease {
            LeaseTerm::Keep => {}
            LeaseTerm::Start => row.lease_until = Some(now + self.lease_ttl),
            LeaseTerm::End => row.lease_until = None,
        }
        if row.is_free(now) && !was_free {
            row.free_since = now;
        }
    }

    /// Reads a chat, without what the reader has already.
    pub(crate) fn snapshot(&self, chat: ChatId, cached: Option<CachedVersions>) -> Option<Snapshot> {
        let row = self.chats.get(&chat)?;
        let same_history = |cached: &CachedVersions| {
            cached.reset_version == row.state.reset_version && cached.last_message <= row.state.last_message
        };
        let lacking = cached.filter(same_history).map(|cached| {
            let from = row.history.partition_point(|message| message.id <= cached.last_message);
            &row.history[from..]
        });
        let tail = match lacking.filter(|lacking| lacking.len() <= self.tail_messages_max.max(1)) {
            Some(lacking) => Tail::After(lacking.to_vec()),
            None => {
                let skipped = row.history.len().saturating_sub(self.tail_messages_max);
                Tail::Newest { messages: row.history[skipped..].to_vec(), from_start: skipped == 0 }
            }
        };
        Some(Snapshot { state: row.state.clone(), tail })
    }

    /// Reads a part of a chat's history.
    pub(crate) fn page(&self, chat: ChatId, after: MessageId, until: MessageId) -> Option<Page> {
        let row = self.chats.get(&chat)?;
        let wanted = |message: &&Arc<Message>| message.id > after && message.id <= until;
        let mut messages: Vec<_> = row.history.iter().filter(wanted).cloned().collect();
        let more = messages.len() > PAGE_MESSAGES_MAX;
        messages.truncate(PAGE_MESSAGES_MAX);
        let has_base = after == MessageId(0) || row.history.iter().any(|message| message.id == after);
        let ChatState { reset_version, history_version, .. } = *row.state;
        Some(Page { messages, more, has_base, reset_version, history_version })
    }

    /// Renews those of the leases that the replica still has, and names them.
    pub(crate) fn heartbeat(
        &mut self,
        now: Time,
        replica: &ReplicaId,
        held: &[(ChatId, Lease)],
    ) -> Vec<(ChatId, Lease)> {
        let mut confirmed = vec![];
        for (chat, lease) in held {
            if let Some(row) = self.chats.get_mut(chat)
                && row.state.is_held_by(replica, *lease)
            {
                row.lease_until = Some(now + self.lease_ttl);
                confirmed.push((*chat, *lease));
            }
        }
        confirmed
    }

    /// The current version of each of these chats that exists.
    pub(crate) fn versions(&self, asked: &[(ChatId, Version)]) -> Vec<(ChatId, Version)> {
        let version = |chat: &ChatId| Some((*chat, self.chats.get(chat)?.state.snapshot_version));
        asked.iter().filter_map(|(chat, _)| version(chat)).collect()
    }

    /// Runnable chats that nobody holds or whose lease has expired, interruptions first, then those that have
    /// waited longest; and the time until the soonest lease of another runnable chat expires.
    pub(crate) fn runnable(&self, now: Time, max: usize) -> (Vec<(ChatId, Status)>, Option<Duration>) {
        let mut free: Vec<_> = self.chats.iter().filter(|(_, row)| row.is_free(now)).collect();
        free.sort_by_key(|(_, row)| (row.state.status != Status::Interrupting, row.waiting_since()));
        let free = free.into_iter().take(max).map(|(chat, row)| (*chat, row.state.status)).collect();
        let held = self.chats.values().filter(|row| row.state.status.is_runnable() && !row.is_free(now));
        let soonest = held.filter_map(|row| row.lease_until).min().map(|until| until.since(now));
        (free, soonest)
    }
}

fn role(row: &Row, id: MessageId) -> Option<Role> {
    row.history.iter().find(|message| message.id == id).map(|message| message.role)
}
