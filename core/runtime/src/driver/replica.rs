//! The replica's own task: leases, membership, and the periodic sync.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::replica::{
    Heartbeat, Input, Output, Replica, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult,
};
use mainstem_machine::{ChatId, OpId, Time};

use super::Shared;
use super::database::{bounded, outcome};
use super::drive::{Cell, Driven, Hands, drive};
use crate::limits::driver::{EVENTS_MAX, REPLICA_OPERATIONS_MAX};
use crate::ports::{
    BusError, BusSubscription, Env, Fault, HeartbeatReport, Held, Request, SyncReport, SyncRequest, Topic,
    within,
};
use crate::sync::Notified;
use crate::tape::{Machine, Recorded, Recording};

impl Driven for Replica {
    type Event = ReplicaEvent;
    type Action = ReplicaAction;
    type Beside = ();

    const WAKE: ReplicaEvent = ReplicaEvent::Wake;

    fn input(at: Time, event: ReplicaEvent) -> Input {
        Input { at, event }
    }

    fn wake_at(&self) -> Option<Time> {
        self.poll_timeout().map(|deadline| deadline.at)
    }

    fn asked(said: &mut Output) -> (Vec<ReplicaAction>, bool) {
        (std::mem::take(&mut said.actions), true)
    }
}

/// The replica's machine, and the tasks that wait for changes of it.
pub(crate) struct ReplicaCell(Cell<Replica>);

impl ReplicaCell {
    pub(crate) fn new(now: Time, config: ReplicaConfig, recording: Option<&Recording>) -> Self {
        let first = || Machine::Replica { config: config.clone() };
        let tape = recording.and_then(|recording| recording.begin(first(), now));
        Self(Cell::new(Recorded::new(Replica::new(now, config), tape), ()))
    }

    /// Hands an event in and wakes the task.
    pub(crate) fn handle<E: Env>(&self, env: &E, event: ReplicaEvent) {
        self.0.enter(|inner| inner.handle(env.now(), event));
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.read(|inner| inner.machine.is_connected())
    }

    /// Whether the chat is, or may be about to become, this replica's to work on.
    pub(crate) fn works_on(&self, chat: ChatId) -> bool {
        self.0.read(|inner| inner.machine.works_on(chat))
    }

    /// See [`Replica::name_lost`].
    pub(crate) fn name_lost(&self) -> Option<Arc<str>> {
        self.0.read(|inner| inner.machine.name_lost().cloned())
    }

    /// How many chats are held, and how many more may be.
    pub(crate) fn slots(&self) -> (usize, usize) {
        self.0.read(|inner| (inner.machine.held(), inner.machine.free_slots()))
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.0.read(|inner| inner.machine.is_drained())
    }

    /// Completes when the replica's state has changed. Enable it before reading the state.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.0.news()
    }
}

impl fmt::Debug for ReplicaCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaCell").finish_non_exhaustive()
    }
}

enum Done {
    Event(ReplicaEvent),
    Bus { op: OpId, subscribed: Result<BusSubscription, BusError> },
}

/// Drives the replica's machine until it is dropped.
pub(crate) async fn run<E: Env>(shared: Arc<Shared<E>>) {
    shared.replica.handle(&shared.env, ReplicaEvent::Wake);
    drive(ReplicaTask { shared, operations: FuturesUnordered::new(), bus: None, is_told_unheard: false })
        .await;
}

struct ReplicaTask<E: Env> {
    shared: Arc<Shared<E>>,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
    bus: Option<BusSubscription>,
    /// The log has been told that there is none.
    is_told_unheard: bool,
}

impl<E: Env> Hands<E> for ReplicaTask<E> {
    type Machine = Replica;

    const OPERATIONS: usize = REPLICA_OPERATIONS_MAX;

    fn cell(&self) -> &Cell<Replica> {
        &self.shared.replica.0
    }

    fn env(&self) -> &E {
        &self.shared.env
    }

    fn poll(&mut self, context: &mut Context<'_>, events: &mut Vec<ReplicaEvent>) {
        // What they open is polled after them.
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.operations).poll_next(context) {
            events.push(match done {
                Done::Event(event) => event,
                Done::Bus { op, subscribed } => {
                    let established = subscribed.is_ok();
                    match subscribed {
                        Ok(subscription) => {
                            self.bus = Some(subscription);
                            self.is_told_unheard = false;
                        }
                        // It is tried again and again.
                        Err(error) if self.is_told_unheard => tracing::debug!(%error, "still no notifications"),
                        Err(error) => {
                            self.is_told_unheard = true;
                            tracing::warn!(%error, "no notifications: this replica sees new work by polling only");
                        }
                    }
                    ReplicaEvent::BusSubscribed { op, established }
                }
            });
        }
        while let Some(bus) = &mut self.bus
            && events.len() < EVENTS_MAX
            && let Poll::Ready(notice) = bus.as_mut().poll_next(context)
        {
            events.push(match notice {
                Some(notice) => ReplicaEvent::Free { chat: notice.chat, status: notice.status },
                None => {
                    self.bus = None;
                    ReplicaEvent::BusLost
                }
            });
        }
    }

    fn execute(&mut self, action: ReplicaAction) {
        let shared = self.shared.clone();
        match action {
            ReplicaAction::BusSubscribe { op } => self.operate(async move {
                let subscribed = within(&shared.env, OP_TIMEOUT, shared.bus.subscribe(Topic::Work)).await;
                let subscribed = subscribed.unwrap_or_else(|_| Err(BusError("no answer in time".into())));
                Done::Bus { op, subscribed }
            }),
            ReplicaAction::Sync { op, runnable_max, versions } => self.operate(async move {
                let synced = outcome(sync(&shared, runnable_max, versions).await, "sync");
                Done::Event(ReplicaEvent::Synced { op, outcome: synced })
            }),
            ReplicaAction::Acquire { op, chat, command } => self.operate(async move {
                let request = Request { chat, command, by: None, idempotency_key: None };
                let applied = outcome(shared.apply(&request).await, "acquire");
                Done::Event(ReplicaEvent::Acquired { op, outcome: super::hub::applied_state(applied) })
            }),
            ReplicaAction::Heartbeat { op, held } => self.operate(async move {
                let held: Vec<_> = held.into_iter().map(|(chat, lease)| Held { chat, lease }).collect();
                let heartbeat = shared.heartbeat(held).await.map(taken_for);
                Done::Event(ReplicaEvent::HeartbeatResult { op, outcome: outcome(heartbeat, "heartbeat") })
            }),
            ReplicaAction::LookUp { op } => self.operate(async move {
                let looked_up = shared.heartbeat(vec![]).await.map(taken_for);
                Done::Event(ReplicaEvent::HeartbeatResult {
                    op,
                    outcome: outcome(looked_up, "look up peers"),
                })
            }),
            ReplicaAction::To { chat, event } => shared.tell_hub(chat, event),
        }
    }
}

impl<E: Env> ReplicaTask<E> {
    fn operate(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.push(Box::pin(operation));
    }
}

fn taken_for(report: HeartbeatReport) -> Heartbeat {
    match report.rival {
        Some(rival) => Heartbeat::NameLost { to: rival.address.into() },
        None => {
            let leases = report.confirmed.into_iter().map(|held| (held.chat, held.lease)).collect();
            Heartbeat::Confirmed { leases, peers: report.peers }
        }
    }
}

/// Looks for work, and for news of all hubs if `versions` are asked for.
async fn sync<E: Env>(
    shared: &Arc<Shared<E>>,
    runnable_max: usize,
    versions: bool,
) -> Result<SyncResult, Fault> {
    let asked = if versions { shared.registry.versions() } else { vec![] };
    let chats = asked.iter().map(|(chat, _)| *chat).collect();
    let request = SyncRequest { chats, runnable_max };
    let SyncReport { versions, runnable, soonest_expiry } =
        bounded(&shared.env, shared.store.sync(&request)).await?;
    Ok(SyncResult { news: SyncResult::news(&asked, &versions), runnable, soonest_expiry })
}
