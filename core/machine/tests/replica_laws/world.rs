//! A replica between a database and a bus that answer as a claim says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{HubEvent, LeaseEvent, OpOutcome};
use mainstem_machine::limits::{ACQUISITIONS_MAX, SYNC_RUNNABLE_MAX};
use mainstem_machine::replica::{Heartbeat, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult};
use mainstem_machine::{
    ChatId, ChatState, Command, Content, Effect, Lease, NewMessage, OpId, Rejection, ReplicaId, Status,
    StoreFacts, Time, WallTime,
};
use uuid::Uuid;

use crate::told::Replica;

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
pub(crate) const POLL: Duration = Duration::from_secs(4);
const ACTIONS_MAX: usize = ACQUISITIONS_MAX + 16;

pub(crate) fn chat(n: u8) -> ChatId {
    ChatId(Uuid::from_u128(n.into()))
}

/// The answer to an acquisition: the chat, held by this replica under this lease.
pub(crate) fn acquired(chat: ChatId, lease: u64) -> Arc<ChatState> {
    let facts = StoreFacts { now: WallTime(0), lease_expired: true, found: None, known: None };
    let content = Some(Content::text("begin"));
    let create = Command::Create {
        chat,
        owner: "owner".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    let Effect::Changed(change) = create.apply_to(None, None, &facts).effect else { panic!("it is created") };
    let state = ChatState::clone(&change.state);
    Arc::new(ChatState { lease: Lease(lease), worker: Some(replica()), ..state })
}

pub(crate) fn replica() -> ReplicaId {
    ReplicaId::new("replica").expect("a replica's id")
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Yes,
    No,
    Refused,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) replica: Replica,
    workers: usize,
    /// Held chats, each with its lease and whether it has a slot.
    pub(crate) held: BTreeMap<ChatId, (Lease, bool)>,
    /// Chats being acquired, each with whether it has a slot.
    pub(crate) acquiring: BTreeMap<OpId, (ChatId, bool)>,
    pub(crate) sync: Option<OpId>,
    pub(crate) heartbeat: Option<(OpId, Vec<(ChatId, Lease)>)>,
    pub(crate) bus: Option<OpId>,
    pub(crate) syncs: usize,
    /// Those that asked for versions.
    pub(crate) with_versions: usize,
    pub(crate) heartbeats: usize,
    leases: u64,
    draining: bool,
    /// The actions of the last event.
    pub(crate) actions: Vec<ReplicaAction>,
}

impl World {
    pub(crate) fn new(workers: usize) -> Self {
        let now = Time::from_micros(1_000_000);
        let config = ReplicaConfig { replica: replica(), workers, heartbeat: HEARTBEAT, poll_interval: POLL };
        let mut world = Self {
            now,
            replica: Replica::new(now, config),
            workers,
            held: BTreeMap::new(),
            acquiring: BTreeMap::new(),
            sync: None,
            heartbeat: None,
            bus: None,
            syncs: 0,
            with_versions: 0,
            heartbeats: 0,
            leases: 0,
            draining: false,
            actions: Vec::new(),
        };
        world.handle(ReplicaEvent::Wake);
        world
    }

    pub(crate) fn handle(&mut self, event: ReplicaEvent) {
        self.replica.handle(self.now, event);
        self.actions.clear();
        while let Some(action) = self.replica.poll_action() {
            self.note(&action);
            self.actions.push(action);
            assert!(self.actions.len() <= ACTIONS_MAX, "L4: one event leads to ever more actions");
        }
        self.check();
    }

    fn note(&mut self, action: &ReplicaAction) {
        match action {
            ReplicaAction::BusSubscribe { op } => self.bus = Some(*op),
            ReplicaAction::Sync { op, runnable_max, versions } => {
                assert_eq!(*runnable_max, SYNC_RUNNABLE_MAX, "B1");
                self.with_versions += usize::from(*versions);
                self.sync = Some(*op);
                self.syncs += 1;
            }
            ReplicaAction::Heartbeat { op, held } => {
                let ours: Vec<_> = self.held.iter().map(|(chat, (lease, _))| (*chat, *lease)).collect();
                assert_eq!(*held, ours, "S5: exactly what has a runner here is renewed");
                self.heartbeat = Some((*op, held.clone()));
                self.heartbeats += 1;
            }
            ReplicaAction::Acquire { op, chat, command } => {
                let Command::Acquire { interrupting_only, .. } = command else { panic!("{command:?}") };
                let asked = self.acquiring.values().any(|(asked, _)| asked == chat);
                assert!(!asked, "S5: {chat} is asked for twice");
                assert!(!self.held.contains_key(chat), "S5: {chat} is asked for though it is held");
                assert!(!self.draining, "who drains takes nothing more");
                self.acquiring.insert(*op, (*chat, !interrupting_only));
            }
            ReplicaAction::To {
                chat,
                event: HubEvent::Lease(LeaseEvent::Acquired { state, has_slot, .. }),
            } => {
                let (lease, had_slot) = self.held[chat];
                assert_eq!(lease, state.lease);
                assert_eq!(*has_slot, had_slot && !self.draining, "the slot is the one that was requested");
            }
            ReplicaAction::To {
                chat,
                event:
                    HubEvent::Lease(LeaseEvent::Confirmed { lease, .. })
                    | HubEvent::Lease(LeaseEvent::Lost { lease }),
            } => {
                assert_eq!(self.held.get(chat).map(|(held, _)| held), Some(lease), "it is for a held lease");
            }
            ReplicaAction::LookUp { .. } => panic!("nobody asks where a replica is"),
            ReplicaAction::To { event, .. } => panic!("no hub is told this: {event:?}"),
        }
    }

    fn check(&self) {
        let placed = self.held.values().chain(self.acquiring.values().map(|_| &(Lease(0), false)));
        let held = placed.filter(|(_, has_slot)| *has_slot).count();
        let asked = self.acquiring.values().filter(|(_, has_slot)| *has_slot).count();
        assert!(held + asked <= self.workers, "B1: {held} held and {asked} asked for, of {}", self.workers);
        assert!(self.acquiring.len() <= ACQUISITIONS_MAX, "B1");
        let mut replica = self.replica.clone();
        for _ in 0..2 {
            replica.handle(self.now, ReplicaEvent::Wake);
            while replica.poll_action().is_some() {}
        }
        let deadline = replica.poll_timeout().expect("heartbeats never end");
        assert!(deadline.at > self.now, "L4: woken for {:?} again and again", deadline.reason);
        let drained = self.held.is_empty() && self.acquiring.is_empty();
        assert_eq!(self.replica.is_drained(), drained, "B2");
    }

    pub(crate) fn free(&mut self, n: u8, status: Status) {
        self.handle(ReplicaEvent::Free { chat: chat(n), status });
    }

    pub(crate) fn answer_acquire(&mut self, which: usize, how: How) {
        if self.acquiring.is_empty() {
            return;
        }
        let op = *self.acquiring.keys().nth(which % self.acquiring.len()).expect("there is one");
        let (chat, has_slot) = self.acquiring.remove(&op).expect("it was asked for");
        let outcome = match how {
            How::Yes => {
                self.leases += 1;
                self.held.insert(chat, (Lease(self.leases), has_slot));
                OpOutcome::Done(Ok(acquired(chat, self.leases)))
            }
            How::No => OpOutcome::Done(Err(Rejection::NotFree)),
            How::Refused => OpOutcome::Refused,
            How::Unknown => OpOutcome::Unknown,
        };
        self.handle(ReplicaEvent::Acquired { op, outcome });
    }

    pub(crate) fn answer_sync(
        &mut self,
        runnable: Vec<(ChatId, Status)>,
        soonest: Option<Duration>,
        how: How,
    ) {
        let Some(op) = self.sync.take() else { return };
        let outcome = match how {
            How::Yes | How::No => {
                OpOutcome::Done(SyncResult { runnable, soonest_expiry: soonest, news: vec![] })
            }
            How::Refused => OpOutcome::Refused,
            How::Unknown => OpOutcome::Unknown,
        };
        let failed = !matches!(outcome, OpOutcome::Done(_));
        self.handle(ReplicaEvent::Synced { op, outcome });
        assert!(!failed || self.sync.is_none(), "L4: a sync that failed is asked for again at once");
    }

    pub(crate) fn answer_heartbeat(&mut self, how: How) {
        let Some((op, held)) = self.heartbeat.take() else { return };
        let outcome = match how {
            How::Yes => OpOutcome::Done(Heartbeat::Confirmed { leases: held, peers: vec![] }),
            How::No => OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] }),
            How::Refused => OpOutcome::Refused,
            How::Unknown => OpOutcome::Unknown,
        };
        let failed = !matches!(outcome, OpOutcome::Done(_));
        self.handle(ReplicaEvent::HeartbeatResult { op, outcome });
        assert!(!failed || self.heartbeat.is_none(), "L4: a heartbeat that failed is sent again at once");
    }

    /// The answer to the heartbeat: another process has the name.
    pub(crate) fn lose_name(&mut self) {
        let Some((op, _)) = self.heartbeat.take() else { return };
        self.draining = true;
        let outcome = OpOutcome::Done(Heartbeat::NameLost { to: "10.0.0.9:4000".into() });
        self.handle(ReplicaEvent::HeartbeatResult { op, outcome });
        assert!(!self.replica.is_connected() && self.replica.name_lost().is_some(), "S5");
        let doubted = |action: &&ReplicaAction| {
            matches!(action, ReplicaAction::To { event: HubEvent::Lease(LeaseEvent::Lost { .. }), .. })
        };
        assert_eq!(self.actions.iter().filter(doubted).count(), self.held.len(), "S5: nothing was renewed");
    }

    pub(crate) fn answer_bus(&mut self, established: bool) {
        if let Some(op) = self.bus.take() {
            self.handle(ReplicaEvent::BusSubscribed { op, established });
        }
    }

    pub(crate) fn runner_gone(&mut self, which: usize) {
        if !self.held.is_empty() {
            let chat = *self.held.keys().nth(which % self.held.len()).expect("there is one");
            let (lease, _) = self.held.remove(&chat).expect("it is held");
            self.handle(ReplicaEvent::RunnerGone { chat, lease });
        }
    }

    pub(crate) fn pass(&mut self) {
        let deadline = self.replica.poll_timeout().expect("heartbeats never end");
        self.now = self.now.max(deadline.at);
        self.handle(ReplicaEvent::Wake);
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.handle(ReplicaEvent::Drain);
    }
}
