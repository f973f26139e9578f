//! The rows of the simulated database, and the operations on them. Each operation happens at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    AnswerRecord, Applied, Change, ChatId, ChatState, Command, Effect, LeaseTerm, Message, MessageId,
    Rejection, ReplicaId, Status, StoreFacts, Time, limits,
};
use mainstem_oracles::{Committed, Evidence};
use mainstem_runtime::ports::{
    CachedVersions, HeartbeatReport, Held, Listed, Page, Peer, ReplicaRow, Request, Rival, Snapshot,
    SyncReport, SyncRequest, Tail,
};

use crate::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Rows {
    lease_ttl: Duration,
    tail_messages_max: usize,
    chats: BTreeMap<ChatId, Row>,
    idempotency_records: BTreeMap<(Arc<str>, Arc<str>), IdempotencyRecord>,
    replicas: BTreeMap<ReplicaId, Member>,
    /// The newest process of each name.
    started: BTreeMap<ReplicaId, u64>,
    secret: Option<Vec<u8>>,
}

/// The database's clock has millisecond resolution.
pub(super) fn clock(world: &World) -> Time {
    Time::from_micros(world.now().as_micros() / 1000 * 1000)
}

struct Row {
    state: Arc<ChatState>,
    history: Vec<Arc<Message>>,
    lease_until: Option<Time>,
    /// Since when nobody has held the chat.
    free_since: Time,
}

struct Member {
    address: String,
    heard: Time,
    /// The process that has the name.
    incarnation: u64,
}

struct IdempotencyRecord {
    body: [u8; 32],
    answer: Result<AnswerRecord, Rejection>,
    until: Time,
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

/// What users and providers wrote, beside messages.
fn text_bytes(state: &ChatState) -> usize {
    let labels = [&state.title, &state.model].into_iter().flatten().map(|text| text.len());
    let errors = state.error.iter().chain(state.retry.as_ref().map(|retry| &retry.error));
    labels.chain(errors.map(|error| error.code.len() + error.message.len())).sum()
}

impl Rows {
    pub(super) fn new(lease_ttl: Duration) -> Self {
        Self {
            lease_ttl,
            tail_messages_max: limits::TAIL_MESSAGES_MAX,
            chats: BTreeMap::new(),
            idempotency_records: BTreeMap::new(),
            replicas: BTreeMap::new(),
            started: BTreeMap::new(),
            secret: None,
        }
    }

    pub(super) fn set_tail_messages_max(&mut self, max: usize) {
        self.tail_messages_max = max.clamp(1, limits::TAIL_MESSAGES_MAX);
    }

    /// If there is more than fits, only the newest messages are returned, and the reader asks for pages (B1).
    fn fits_a_tail(&self, messages: &[Arc<Message>]) -> bool {
        let bytes: usize = messages.iter().map(|message| message.content.as_json().len()).sum();
        messages.len() <= 1 || (messages.len() <= self.tail_messages_max && bytes <= limits::TAIL_BYTES_MAX)
    }

    pub(super) fn chat(&self, chat: ChatId) -> Option<&ChatState> {
        self.chats.get(&chat).map(|row| &*row.state)
    }

    pub(super) fn history(&self, chat: ChatId) -> &[Arc<Message>] {
        self.chats.get(&chat).map_or(&[], |row| &row.history)
    }

    pub(super) fn free(&self, now: Time) -> Vec<Arc<ChatState>> {
        self.chats.values().filter(|row| row.is_free(now)).map(|row| row.state.clone()).collect()
    }

    pub(super) fn apply(
        &mut self,
        world: &World,
        replica: &str,
        request: &Request,
        asked: Time,
        may_work: bool,
    ) -> Applied {
        let now = clock(world);
        let idempotency_key = request.idempotency_key.as_ref().map(|r| (r.caller.clone(), r.key.clone()));
        if let (Some(key), Some(idempotency_key)) = (&idempotency_key, &request.idempotency_key)
            && let Some(kept) = self.idempotency_records.get(key).filter(|kept| kept.until > now)
        {
            world.observe(Evidence::Replayed { replica: replica.into(), chat: request.chat });
            if kept.body != idempotency_key.body {
                return Applied::rejected(Rejection::KeyReused);
            }
            let now = self.chats.get(&request.chat).map(|row| row.state.clone());
            let record = kept.answer.clone();
            return Applied::replayed(record.and_then(|record| record.answer(&request.command, now)));
        }
        let applied = self.apply_now(world, replica, request, asked, may_work);
        if let (Some(key), Some(idempotency_key)) = (idempotency_key, &request.idempotency_key) {
            let answer = match &applied.answer {
                Ok(accepted) => Ok(AnswerRecord::of(accepted, &request.command, idempotency_key.keep)),
                Err(rejection) => Err(*rejection),
            };
            self.idempotency_records
                .insert(key, IdempotencyRecord { body: idempotency_key.body, answer, until: now + DAY });
        }
        applied
    }

    fn apply_now(
        &mut self,
        world: &World,
        replica: &str,
        request: &Request,
        asked: Time,
        may_work: bool,
    ) -> Applied {
        let name = request.command.name();
        if matches!(request.command, Command::Acquire { .. }) && !may_work {
            return Applied::rejected(Rejection::NotFree);
        }
        let now = clock(world);
        let row = self.chats.get(&request.chat);
        let role = |id: MessageId| {
            let found = row?.history.iter().find(|message| message.id == id)?;
            Some(found.role)
        };
        let facts = StoreFacts {
            now: world.wall(),
            lease_expired: row.is_some_and(|row| row.lease_until.is_some_and(|until| until <= now)),
            message_role: request.command.message().and_then(role),
        };
        let applied = request.command.apply_to(row.map(|row| &*row.state), request.by.as_deref(), &facts);
        match (&applied.answer, &applied.effect) {
            (Err(rejection), _) => {
                world.trace("database", format_args!("rejects {name} of {replica}: {rejection}"));
            }
            (Ok(accepted), Effect::Changed(change)) => {
                world.observe(Evidence::Committed(Box::new(Committed {
                    chat: request.chat,
                    by: replica.into(),
                    asked,
                    caller: request.by.clone(),
                    key: request.idempotency_key.as_ref().map(|idempotency_key| idempotency_key.key.clone()),
                    command: request.command.clone(),
                    state: change.state.clone(),
                    deleted: change.deleted,
                    cut_from: change.cut_from,
                    inserted: change.inserted.clone(),
                    accepted: accepted.clone(),
                })));
                self.write(world, replica, request.chat, name, change);
            }
            (Ok(_), _) => {}
        }
        applied
    }

    fn write(&mut self, world: &World, replica: &str, chat: ChatId, command: &'static str, change: &Change) {
        let now = clock(world);
        let Change { state, deleted, cut_from, inserted, lease, .. } = change;
        world.trace(
            "database",
            format_args!(
                "commits {command} of {replica}: version {}, {}, worker {}, lease {}, attempt {:?}, {} queued{}",
                state.snapshot_version,
                state.status.as_str(),
                state.worker.as_ref().map_or("nobody", ReplicaId::as_str),
                state.lease,
                state.present_episode(),
                state.queue.len(),
                if inserted.is_empty() { "" } else { ", history grows" },
            ),
        );
        world.tally().committed(state, *deleted);
        if *deleted {
            self.chats.remove(&chat);
            return;
        }
        let row = self.chats.entry(chat).or_insert_with(|| Row {
            state: state.clone(),
            history: vec![],
            lease_until: None,
            free_since: now,
        });
        let was_free = row.is_free(now);
        row.state = state.clone();
        if let Some(from) = *cut_from {
            row.history.retain(|message| message.id < from);
        }
        row.history.extend(inserted.iter().cloned().map(Arc::new));
        match lease {
            LeaseTerm::Keep => {}
            LeaseTerm::Start => row.lease_until = Some(now + self.lease_ttl),
            LeaseTerm::End => row.lease_until = None,
        }
        if row.is_free(now) && !was_free {
            row.free_since = now;
        }
    }

    pub(super) fn snapshot(&self, chat: ChatId, cached: Option<CachedVersions>) -> Option<Snapshot> {
        let row = self.chats.get(&chat)?;
        let same_history = |cached: &CachedVersions| {
            cached.reset_version == row.state.reset_version && cached.last_message <= row.state.last_message
        };
        let lacking = cached.filter(same_history).map(|cached| {
            let from = row.history.partition_point(|message| message.id <= cached.last_message);
            &row.history[from..]
        });
        let tail = match lacking.filter(|lacking| self.fits_a_tail(lacking)) {
            Some(lacking) => Tail::After(lacking.to_vec()),
            None => {
                let (mut messages, mut bytes) = (vec![], 0);
                for message in row.history.iter().rev() {
                    bytes += message.content.as_json().len();
                    // The newest message is always included, and its size does not count.
                    if messages.is_empty() {
                        bytes = 0;
                    } else if messages.len() == self.tail_messages_max || bytes > limits::TAIL_BYTES_MAX {
                        break;
                    }
                    messages.push(message.clone());
                }
                messages.reverse();
                Tail::Newest { from_start: messages.len() == row.history.len(), messages }
            }
        };
        Some(Snapshot { state: row.state.clone(), tail })
    }

    pub(super) fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Option<Page> {
        let row = self.chats.get(&chat)?;
        let wanted =
            |message: &&Arc<Message>| message.id > after && until.is_none_or(|end| message.id <= end);
        let (mut messages, mut bytes, mut more) = (vec![], 0, false);
        for message in row.history.iter().filter(wanted) {
            bytes += message.content.as_json().len();
            if messages.is_empty() {
                bytes = 0;
            } else if messages.len() >= limit.min(limits::PAGE_MESSAGES_MAX) || bytes > limits::PAGE_BYTES_MAX
            {
                more = true;
                break;
            }
            messages.push(message.clone());
        }
        let has_base = after == MessageId(0) || row.history.iter().any(|message| message.id == after);
        let ChatState { reset_version, history_version, .. } = *row.state;
        Some(Page { messages, more, has_base, reset_version, history_version })
    }

    pub(super) fn list(&self, owner: &str, before: Option<ChatId>, limit: usize) -> Listed {
        let mine = |row: &&Row| &*row.state.owner == owner && before.is_none_or(|end| row.state.id < end);
        let (mut chats, mut bytes) = (vec![], 0);
        for row in self.chats.values().rev().filter(mine) {
            bytes += text_bytes(&row.state);
            if !chats.is_empty() && (chats.len() >= limit || bytes > limits::LIST_BYTES_MAX) {
                return Listed { chats, more: true };
            }
            chats.push(ChatState { queue: vec![], ..ChatState::clone(&row.state) });
        }
        Listed { chats, more: false }
    }

    pub(super) fn heartbeat(
        &mut self,
        world: &World,
        sent: Time,
        replica: &ReplicaRow,
        held: &[Held],
    ) -> HeartbeatReport {
        let now = clock(world);
        if let Some(member) = self.replicas.get(&replica.replica)
            && member.incarnation != replica.incarnation
            && (now.since(member.heard) <= self.lease_ttl || self.has_ended(replica))
        {
            let rival = Rival { address: member.address.clone(), silent_for: now.since(member.heard) };
            return HeartbeatReport { confirmed: vec![], peers: vec![], rival: Some(rival) };
        }
        let mut confirmed = vec![];
        for held in held {
            if let Some(row) = self.chats.get_mut(&held.chat)
                && row.state.is_held_by(&replica.replica, held.lease)
            {
                row.lease_until = Some(now + self.lease_ttl);
                confirmed.push(*held);
                let (replica, chat, lease) = (replica.replica.clone(), held.chat, held.lease);
                world.observe(Evidence::Confirmed { replica, chat, lease, sent });
            }
        }
        let ReplicaRow { replica, address, incarnation } = replica.clone();
        self.replicas.insert(replica.clone(), Member { address, heard: now, incarnation });
        let peers = self.replicas.iter().filter(|(id, member)| {
            **id != replica && !member.address.is_empty() && now.since(member.heard) <= self.lease_ttl * 3
        });
        let peers = peers.map(|(id, member)| Peer { replica: id.clone(), address: member.address.clone() });
        HeartbeatReport { confirmed, peers: peers.collect(), rival: None }
    }

    pub(super) fn deregister(&mut self, replica: &ReplicaRow) {
        let holder = self.replicas.get(&replica.replica).map(|member| member.incarnation);
        if holder == Some(replica.incarnation) {
            self.replicas.remove(&replica.replica);
        }
    }

    /// What a start does first: from then on nothing that another process of this name has sent takes the name.
    pub(super) fn claim_name(&mut self, now: Time, replica: &ReplicaId, incarnation: u64) {
        let address = self.replicas.remove(replica).map_or_else(String::new, |member| member.address);
        self.replicas.insert(replica.clone(), Member { address, heard: now, incarnation });
        self.started.insert(replica.clone(), incarnation);
    }

    /// Whether the process has ended. A real server has given up its statements long before a lease runs out, however
    /// slow it is; here leases may be shorter than that.
    fn has_ended(&self, replica: &ReplicaRow) -> bool {
        self.started.get(&replica.replica).is_some_and(|newest| replica.incarnation < *newest)
    }

    pub(super) fn sync(&self, now: Time, request: &SyncRequest, may_work: bool) -> SyncReport {
        let version = |chat: &ChatId| Some((*chat, self.chats.get(chat)?.state.snapshot_version));
        let versions = request.chats.iter().filter_map(version).collect();
        let mut free: Vec<_> = self.chats.values().filter(|row| may_work && row.is_free(now)).collect();
        // An interruption needs no free slot, so it comes first (L2).
        free.sort_by_key(|row| (row.state.status != Status::Interrupting, row.waiting_since(), row.state.id));
        let runnable =
            free.into_iter().take(request.runnable_max).map(|row| (row.state.id, row.state.status)).collect();
        let held = self.chats.values().filter(|row| row.state.status.is_runnable() && !row.is_free(now));
        let soonest = held.filter_map(|row| row.lease_until).min();
        SyncReport { versions, runnable, soonest_expiry: soonest.map(|until| until.since(now)) }
    }

    pub(super) fn secret(&mut self, fresh: Vec<u8>) -> Vec<u8> {
        self.secret.get_or_insert(fresh).clone()
    }
}
