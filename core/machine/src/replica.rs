//! One replica's own state machine, for everything that does not concern a single chat: which chats to
//! acquire, which leases to renew, the periodic sync, draining, and where other replicas are reached.

mod event;
mod input;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use event::{Heartbeat, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult};
pub use input::{Input, Output};

use crate::backoff::Backoff;
use crate::bus_subscription::BusSubscription;
use crate::hub::{ChatEvent, Deadline, HubEvent, LeaseEvent, OpOutcome, Reason, RelayEvent};
use crate::limits::{
    ACQUISITIONS_MAX, EXPIRY_SLACK, OP_RETRY_DELAY_MAX, OVERDUE_MAX, SYNC_RUNNABLE_MAX, SYNC_SPACING_MIN,
    WANTED_FEW, WANTED_MAX,
};
use crate::marks::sometimes;
use crate::peers::{Located, Peers};
use crate::{ChatId, ChatState, Command, Lease, OpId, Rejection, Status, Time};

/// What a replica does that concerns no single chat: it finds chats that wait for a worker, acquires them,
/// renews their leases, and syncs periodically. Hubs do the rest.
///
/// It is used as a hub is: [`take`](Self::take) is its one door, and it is woken by [`ReplicaEvent::Wake`] at
/// [`poll_timeout`](Self::poll_timeout) unless another event comes first. It begins with a wake-up.
///
/// ```
/// use mainstem_machine::hub::{HubEvent, LeaseEvent, OpOutcome};
/// use mainstem_machine::replica::{
///     Heartbeat, Input, Replica, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult,
/// };
/// use mainstem_machine::{ChatId, Command, Content, Effect, NewMessage, ReplicaId, Status, StoreFacts};
/// use mainstem_machine::{Time, WallTime};
/// use std::time::Duration;
///
/// let config = ReplicaConfig {
///     replica: ReplicaId::new("a").unwrap(),
///     workers: 64,
///     heartbeat: Duration::from_secs(5),
///     poll_interval: Duration::from_secs(5),
/// };
/// let mut now = Time::START;
/// let mut replica = Replica::new(now, config);
/// let tell = |replica: &mut Replica, at, event| replica.take(Input { at, event }).actions;
/// let asked = tell(&mut replica, now, ReplicaEvent::Wake);
/// let [
///     ReplicaAction::BusSubscribe { .. },
///     ReplicaAction::Heartbeat { op: heartbeat, .. },
///     ReplicaAction::Sync { op: sync, .. },
/// ] = asked[..] else { panic!() };
/// let renewed = OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] });
/// tell(&mut replica, now, ReplicaEvent::HeartbeatResult { op: heartbeat, outcome: renewed });
///
/// // The database knows of a chat that nobody works on.
/// let chat = ChatId(uuid::Uuid::from_u128(1));
/// let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
/// let content = Some(Content::text("hello"));
/// let messages = NewMessage::opening(content);
/// let create = Command::Create { chat, owner: "ann".into(), settings: Default::default(), messages };
/// let Effect::Changed(row) = create.apply_to(None, Some("ann"), &facts).effect else { panic!() };
/// let found = SyncResult { runnable: vec![(chat, Status::Running)], ..SyncResult::default() };
/// let asked = tell(&mut replica, now, ReplicaEvent::Synced { op: sync, outcome: OpOutcome::Done(found) });
///
/// // It is acquired: the row decides, and has the lease since.
/// let [ReplicaAction::Acquire { op, command, .. }] = &asked[..] else { panic!() };
/// let Effect::Changed(row) = command.apply_to(Some(&row.state), None, &facts).effect else { panic!() };
/// let (lease, state) = (row.state.lease, row.state);
/// let acquired = ReplicaEvent::Acquired { op: *op, outcome: OpOutcome::Done(Ok(state)) };
/// let [ReplicaAction::To { event: HubEvent::Lease(LeaseEvent::Acquired { .. }), .. }] = tell(&mut replica, now, acquired)[..] else {
///     panic!("its hub gets a runner")
/// };
/// assert_eq!((replica.held(), replica.free_slots()), (1, 63));
///
/// // From now on heartbeats renew it. What the database confirms counts from when the heartbeat was sent.
/// now = replica.poll_timeout().unwrap().at;
/// let (sent_at, told) = loop {
///     let asked = tell(&mut replica, now, ReplicaEvent::Wake);
///     let renewed = asked.into_iter().find_map(|action| match action {
///         ReplicaAction::Heartbeat { op, held } => Some((op, held)),
///         _ => None,
///     });
///     if let Some((op, held)) = renewed {
///         assert_eq!(held, [(chat, lease)]);
///         let renewed = OpOutcome::Done(Heartbeat::Confirmed { leases: held, peers: vec![] });
///         break (now, tell(&mut replica, now, ReplicaEvent::HeartbeatResult { op, outcome: renewed }));
///     }
///     now = replica.poll_timeout().unwrap().at;
/// };
/// let event = HubEvent::Lease(LeaseEvent::Confirmed { lease, sent_at });
/// assert_eq!(told, [ReplicaAction::To { chat, event }]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    config: ReplicaConfig,
    held: BTreeMap<ChatId, Held>,
    acquiring: BTreeMap<OpId, Acquisition>,
    wanted: VecDeque<Wanted>,
    /// The chats in `wanted`, for look-ups.
    wanted_chats: BTreeSet<ChatId>,
    acquire_backoff: Backoff,
    acquire_not_before: Time,
    bus: BusSubscription,
    heartbeat: Round,
    /// The newest heartbeat whose outcome is known was written: the database takes writes.
    can_write: bool,
    /// Heartbeats and looks that were not waited for any longer, and when they were sent. Their answers count
    /// when they come: a database that is slower than the rhythm still confirms leases.
    overdue: BTreeMap<OpId, Time>,
    sync: Round,
    sync_backoff: Backoff,
    /// When the versions of the hubs' chats are to be asked for again.
    versions_at: Time,
    /// Something happened that the sync in flight may have missed.
    resync_requested: bool,
    synced_at: Option<Time>,
    peers: Peers,
    draining: bool,
    /// Who has this replica's name by now.
    name_lost: Option<Arc<str>>,
    last_op: u64,
    out: Vec<ReplicaAction>,
}

/// A chat that waits for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    chat: ChatId,
    status: Status,
    /// The last operation that had been requested when this became known.
    since: OpId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    lease: Lease,
    /// A notice said that the chat is free before this replica knew that its own runner was gone.
    free_again: Option<Status>,
    /// It counts against `workers`. Without a slot, the runner only finishes an interruption.
    has_slot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Acquisition {
    chat: ChatId,
    status: Status,
    asked_at: Time,
    has_slot: bool,
    /// A notice came in the meantime, so a rejection may be older than the notice.
    free_again: Option<Status>,
}

/// A periodic operation, with at most one in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Round {
    Due {
        at: Time,
    },
    /// If there is no answer by `until`, the next round begins without it.
    InFlight {
        op: OpId,
        sent_at: Time,
        until: Time,
    },
}

impl Replica {
    /// A replica that holds nothing. Give it [`ReplicaEvent::Wake`] to begin.
    pub fn new(now: Time, config: ReplicaConfig) -> Self {
        Self {
            config,
            held: BTreeMap::new(),
            acquiring: BTreeMap::new(),
            wanted: VecDeque::new(),
            wanted_chats: BTreeSet::new(),
            acquire_backoff: Backoff::default(),
            acquire_not_before: now,
            bus: BusSubscription::new(),
            heartbeat: Round::Due { at: now },
            can_write: false,
            overdue: BTreeMap::new(),
            sync: Round::Due { at: now },
            sync_backoff: Backoff::default(),
            versions_at: now,
            resync_requested: false,
            synced_at: None,
            peers: Peers::default(),
            draining: false,
            name_lost: None,
            last_op: 0,
            out: Vec::new(),
        }
    }

    fn handle(&mut self, now: Time, event: ReplicaEvent) {
        self.apply(now, event);
        self.settle(now);
        let furthest = now + self.config.poll_interval.max(OP_RETRY_DELAY_MAX);
        assert!(self.sync.deadline() <= furthest, "L1: the next sync is at most one poll interval away");
        assert!(self.versions_at <= furthest, "L1: the next one that asks for versions is no further away");
        assert_eq!(self.wanted.len(), self.wanted_chats.len(), "L3: whoever waits for a worker is found");
    }

    /// When to wake the replica, if nothing else does.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let acquire = self.can_acquire_any().then_some((self.acquire_not_before, Reason::AcquireRetry));
        let rounds = [(self.heartbeat.deadline(), Reason::Heartbeat), (self.sync.deadline(), Reason::Sync)];
        let rest = rounds.into_iter().chain(acquire).map(|(at, reason)| Deadline { at, reason });
        rest.chain(self.bus.deadline()).min()
    }

    /// Whether no chat is held or being acquired.
    pub fn is_drained(&self) -> bool {
        self.held.is_empty() && self.acquiring.is_empty()
    }

    /// Whether the chat is held, or is being acquired: then the database may name this replica as its worker.
    pub fn works_on(&self, chat: ChatId) -> bool {
        self.held.contains_key(&chat) || self.acquiring.values().any(|asked| asked.chat == chat)
    }

    /// Whether the database answered the last sync, took the last heartbeat, and knows this replica by its name.
    pub fn is_connected(&self) -> bool {
        let answers = self.synced_at.is_some() && self.sync_backoff.is_fresh() && self.can_write;
        answers && self.name_lost.is_none()
    }

    /// How many more chats it may generate at the same time.
    pub fn free_slots(&self) -> usize {
        let taken = self.held.values().filter(|held| held.has_slot).count();
        let asked = self.acquiring.values().filter(|acquisition| acquisition.has_slot).count();
        self.config.workers.saturating_sub(taken + asked)
    }

    /// How many chats are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Where the process is reached that has this replica's name by now, if it is not this one any more.
    pub fn name_lost(&self) -> Option<&Arc<str>> {
        self.name_lost.as_ref()
    }

    fn apply(&mut self, now: Time, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Free { chat, status } => self.want(chat, status),
            ReplicaEvent::BusSubscribed { op, established } => {
                // Chats that became free before the subscription was in force were not announced.
                if self.bus.on_subscribed(now, op, established) && established {
                    self.sync_soon(now);
                }
            }
            ReplicaEvent::BusLost => self.bus.on_lost(now),
            ReplicaEvent::Synced { op, outcome } => self.on_synced(now, op, outcome),
            ReplicaEvent::Acquired { op, outcome } => self.on_acquired(now, op, outcome),
            ReplicaEvent::HeartbeatResult { op, outcome } => {
                self.on_peers(op, &outcome);
                self.on_heartbeat_result(now, op, outcome);
            }
            ReplicaEvent::RunnerGone { chat, lease } => {
                let was_full = !self.has_free_slot();
                if let Some(held) = self.held.get(&chat).filter(|held| held.lease == lease) {
                    let free_again = held.free_again;
                    self.held.remove(&chat);
                    if let Some(status) = free_again {
                        self.want(chat, status);
                    }
                    // What is known to wait comes first: only then is there more to look for.
                    if was_full && self.wanted.len() < WANTED_FEW {
                        self.sync_soon(now);
                    }
                }
            }
            ReplicaEvent::Locate { chat, replica } => {
                let known = self.peers.ask(chat, replica, OpId(self.last_op));
                known.into_iter().for_each(|located| self.tell_where(located));
            }
            ReplicaEvent::Drain => self.drain(),
            ReplicaEvent::Wake => {}
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.wanted.clear();
        self.wanted_chats.clear();
    }

    fn want(&mut self, chat: ChatId, status: Status) {
        if self.draining {
            return;
        }
        if let Some(acquisition) = self.acquiring.values_mut().find(|asked| asked.chat == chat) {
            acquisition.free_again = Some(status);
        } else if let Some(held) = self.held.get_mut(&chat) {
            held.free_again = Some(status);
        } else if self.wanted_chats.contains(&chat) {
            let known = self.wanted.iter_mut().find(|wanted| wanted.chat == chat);
            known.expect("it is wanted").status = status;
        } else if self.wanted.len() < WANTED_MAX {
            self.wanted_chats.insert(chat);
            self.wanted.push_back(Wanted { chat, status, since: OpId(self.last_op) });
        }
        // If the list is full, a later sync reports the chat again (B1).
    }

    fn on_synced(&mut self, now: Time, op: OpId, mut outcome: OpOutcome<SyncResult>) {
        // However late it comes: a hub takes it for no more than a reason to read.
        if let OpOutcome::Done(SyncResult { news, .. }) = &mut outcome {
            for (chat, found) in core::mem::take(news) {
                let seen = |snapshot_version| HubEvent::Chat(ChatEvent::Hint { snapshot_version });
                self.tell(chat, found.map_or(HubEvent::Chat(ChatEvent::NotFound), seen));
            }
        }
        let overdue = self.overdue.remove(&op).is_some();
        if !self.sync.is(op) && !overdue {
            return;
        }
        let OpOutcome::Done(result) = outcome else {
            if overdue {
                return;
            }
            self.versions_at = self.versions_at.min(now);
            self.sync = Round::Due { at: now + self.sync_backoff.next_delay() };
            return;
        };
        self.sync_backoff.reset();
        self.synced_at = Some(now);
        let soonest = result.soonest_expiry.map_or(self.config.poll_interval, |left| left + EXPIRY_SLACK);
        if !overdue {
            let next = if self.resync_requested { SYNC_SPACING_MIN } else { soonest };
            let at = (now + next.min(self.config.poll_interval)).min(self.versions_at);
            self.sync = Round::Due { at: at.max(now + SYNC_SPACING_MIN) };
        }
        // The result is newer than everything known when the sync was sent, and older than every notice
        // since.
        self.wanted_chats.clear();
        let learned_since = core::mem::take(&mut self.wanted).into_iter().filter(|wanted| wanted.since >= op);
        for (chat, status) in result.runnable {
            self.want(chat, status);
        }
        for wanted in learned_since {
            self.want(wanted.chat, wanted.status);
        }
    }

    fn on_acquired(&mut self, now: Time, op: OpId, outcome: OpOutcome<Result<Arc<ChatState>, Rejection>>) {
        let Some(acquisition) = self.acquiring.remove(&op) else { return };
        let Acquisition { chat, status, asked_at, has_slot, free_again } = acquisition;
        match outcome {
            OpOutcome::Done(Ok(state)) => {
                self.acquire_backoff.reset();
                self.held.insert(chat, Held { lease: state.lease, free_again: None, has_slot });
                // A draining replica begins nothing: the runner releases the chat unless it has an
                // interruption to finish.
                let has_slot = has_slot && !self.draining;
                self.tell(chat, HubEvent::Lease(LeaseEvent::Acquired { state, asked_at, has_slot }));
            }
            OpOutcome::Done(Err(_)) => {
                self.acquire_backoff.reset();
                if let Some(status) = free_again {
                    self.want(chat, status);
                }
            }
            // The chat may be held by this replica already: ask again until the database answers.
            OpOutcome::Refused | OpOutcome::Unknown => {
                if outcome == OpOutcome::Unknown {
                    sometimes!("an acquisition's outcome is unknown");
                }
                self.want(chat, status);
                self.acquire_not_before = now + self.acquire_backoff.next_delay();
            }
        }
    }

    fn on_heartbeat_result(&mut self, now: Time, op: OpId, outcome: OpOutcome<Heartbeat>) {
        let (sent_at, overdue) = match (self.heartbeat, self.overdue.remove(&op)) {
            (_, Some(sent_at)) => (sent_at, true),
            (Round::InFlight { op: present, sent_at, .. }, None) if present == op => (sent_at, false),
            _ => return,
        };
        let confirmed: BTreeSet<_> = match outcome {
            OpOutcome::Done(Heartbeat::Confirmed { leases, .. }) => {
                self.can_write = true;
                leases.into_iter().collect()
            }
            // Whoever is not itself any more begins nothing (S5). It takes a new process to be another.
            OpOutcome::Done(Heartbeat::NameLost { to }) => {
                self.name_lost = Some(to);
                self.drain();
                BTreeSet::new()
            }
            OpOutcome::Refused | OpOutcome::Unknown if overdue => return,
            OpOutcome::Refused | OpOutcome::Unknown => {
                self.can_write = false;
                self.heartbeat = Round::Due { at: now + self.config.heartbeat / 5 };
                return;
            }
        };
        if !overdue {
            self.heartbeat = Round::Due { at: sent_at + self.config.heartbeat };
        }
        for (&chat, &Held { lease, .. }) in &self.held {
            let event = match confirmed.contains(&(chat, lease)) {
                true => HubEvent::Lease(LeaseEvent::Confirmed { lease, sent_at }),
                // A lease acquired after the heartbeat was sent is reported here too; the hub reads the row
                // and keeps it.
                false => HubEvent::Lease(LeaseEvent::Lost { lease }),
            };
            self.out.push(ReplicaAction::To { chat, event });
        }
    }

    /// However late it comes: it says no less of the other replicas.
    fn on_peers(&mut self, op: OpId, outcome: &OpOutcome<Heartbeat>) {
        let peers = match outcome {
            OpOutcome::Done(Heartbeat::Confirmed { peers, .. }) => Some(peers.as_slice()),
            OpOutcome::Done(Heartbeat::NameLost { .. }) | OpOutcome::Refused | OpOutcome::Unknown => None,
        };
        for located in self.peers.on_answer(op, peers) {
            self.tell_where(located);
        }
    }

    fn tell_where(&mut self, Located { chat, replica, address }: Located) {
        self.tell(chat, HubEvent::Relay(RelayEvent::Located { replica, address }));
    }

    fn stop_waiting(&mut self, round: Round) {
        if let Round::InFlight { op, sent_at, .. } = round {
            self.overdue.insert(op, sent_at);
            if self.overdue.len() > OVERDUE_MAX {
                self.overdue.pop_first();
            }
        }
    }

    fn sync_soon(&mut self, now: Time) {
        match self.sync {
            Round::Due { at } => self.sync = Round::Due { at: at.min(now) },
            Round::InFlight { .. } => self.resync_requested = true,
        }
    }

    fn settle(&mut self, now: Time) {
        self.settle_bus(now);
        if self.heartbeat.is_due(now) {
            self.stop_waiting(self.heartbeat);
            // No answer is a failure too, until one comes.
            self.can_write &= !matches!(self.heartbeat, Round::InFlight { .. });
            let held: Vec<_> = self.held.iter().map(|(chat, held)| (*chat, held.lease)).collect();
            let until = now + self.config.heartbeat;
            let op = self.ask(|op| ReplicaAction::Heartbeat { op, held });
            self.heartbeat = Round::InFlight { op, sent_at: now, until };
        }
        if self.sync.is_due(now) {
            self.stop_waiting(self.sync);
            if matches!(self.sync, Round::InFlight { .. }) {
                // A missing answer is a failure as well. The driver's own time-out may be longer than the
                // interval, so that it reports only when the next sync is under way.
                self.sync_backoff.next_delay();
                self.versions_at = self.versions_at.min(now);
            }
            let until = now + self.config.poll_interval;
            self.resync_requested = false;
            let versions = self.versions_at <= now;
            if versions {
                self.versions_at = until;
            }
            let op = self.ask(|op| ReplicaAction::Sync { op, runnable_max: SYNC_RUNNABLE_MAX, versions });
            self.sync = Round::InFlight { op, sent_at: now, until };
        }
        if self.peers.wants_look_up() {
            let op = self.ask(|op| ReplicaAction::LookUp { op });
            self.peers.begin(op);
        }
        self.settle_wanted(now);
    }

    fn settle_bus(&mut self, now: Time) {
        self.bus.expire(now);
        if self.bus.is_due(now) {
            let op = self.ask(|op| ReplicaAction::BusSubscribe { op });
            self.bus.begin(now, op);
        }
    }

    fn settle_wanted(&mut self, now: Time) {
        if self.acquire_not_before > now {
            return;
        }
        while let Some(at) = self.next_wanted() {
            let Wanted { chat, status, .. } = self.wanted.remove(at).expect("the place was just found");
            self.wanted_chats.remove(&chat);
            let has_slot = self.has_free_slot();
            let interrupting_only = !has_slot;
            if interrupting_only {
                sometimes!("an interruption is finished without a slot");
            }
            let command = Command::Acquire { replica: self.config.replica.clone(), interrupting_only };
            let op = self.ask(|op| ReplicaAction::Acquire { op, chat, command });
            self.acquiring
                .insert(op, Acquisition { chat, status, asked_at: now, has_slot, free_again: None });
        }
    }

    /// The first chat that can be acquired now. Finishing an interruption needs no slot (L2).
    fn next_wanted(&self) -> Option<usize> {
        if self.draining || self.acquiring.len() >= ACQUISITIONS_MAX {
            return None;
        }
        if self.has_free_slot() {
            return (!self.wanted.is_empty()).then_some(0);
        }
        self.wanted.iter().position(|wanted| wanted.status == Status::Interrupting)
    }

    fn can_acquire_any(&self) -> bool {
        self.next_wanted().is_some()
    }

    fn has_free_slot(&self) -> bool {
        self.free_slots() > 0
    }

    fn tell(&mut self, chat: ChatId, event: HubEvent) {
        self.out.push(ReplicaAction::To { chat, event });
    }

    fn ask(&mut self, action: impl FnOnce(OpId) -> ReplicaAction) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.out.push(action(op));
        op
    }
}

impl Round {
    fn deadline(self) -> Time {
        match self {
            Self::Due { at } => at,
            Self::InFlight { until, .. } => until,
        }
    }

    fn is_due(self, now: Time) -> bool {
        self.deadline() <= now
    }

    fn is(self, op: OpId) -> bool {
        matches!(self, Self::InFlight { op: present, .. } if present == op)
    }
}
