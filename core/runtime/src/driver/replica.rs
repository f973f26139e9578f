//! The replica's own task: leases, membership, and the periodic sync.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::replica::{Heartbeat, Replica, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult};
use mainstem_machine::{ChatId, OpId, Time};

use super::database::{bounded, outcome};
use super::sleeper::Sleeper;
use super::task_waker::TaskWaker;
use super::{Shared, lock};
use crate::limits::driver::NOTICES_MAX;
use crate::ports::{
    BusError, BusSubscription, Env, Fault, Held, Request, SyncReport, SyncRequest, Topic, within,
};
use crate::sync::{Mutex, Notified, Notify};
use crate::tape::{Machine, Recorded, Recording};

/// The replica's machine, and the tasks that wait for changes of it.
pub(crate) struct ReplicaCell {
    inner: Mutex<Inner>,
    task_waker: TaskWaker,
    news: Notify,
}

struct Inner {
    replica: Recorded<Replica>,
    pending: VecDeque<ReplicaAction>,
    /// The machine has panicked, and handles nothing more.
    broken: bool,
    /// What it panicked with in somebody's hands: its task goes on with it.
    panic: Option<Box<dyn Any + Send>>,
}

impl ReplicaCell {
    pub(crate) fn new(now: Time, config: ReplicaConfig, recording: Option<&Recording>) -> Self {
        let first = || Machine::Replica { config: config.clone() };
        let tape = recording.and_then(|recording| recording.begin(first(), now));
        let replica = Recorded::new(Replica::new(now, config), tape);
        let inner = Inner { replica, pending: VecDeque::new(), broken: false, panic: None };
        let (task_waker, news) = (TaskWaker::default(), Notify::new());
        Self { inner: Mutex::new(inner), task_waker, news }
    }

    /// Hands an event in and wakes the task. If the machine panics at it, its task unwinds, and who has called goes
    /// on: it may be a hub, or a request (B3).
    pub(crate) fn handle<E: Env>(&self, env: &E, event: ReplicaEvent) {
        {
            let mut inner = lock(&self.inner);
            if inner.broken {
                return;
            }
            let Inner { replica, pending, .. } = &mut *inner;
            let handled = catch_unwind(AssertUnwindSafe(|| {
                replica.handle(env.now(), event);
                pending.extend(std::iter::from_fn(|| replica.poll_action()));
            }));
            if let Err(panic) = handled {
                (inner.broken, inner.panic) = (true, Some(panic));
            }
        }
        self.task_waker.wake();
        self.news.notify_waiters();
    }

    pub(crate) fn is_connected(&self) -> bool {
        lock(&self.inner).replica.is_connected()
    }

    /// Whether the chat is, or may be about to become, this replica's to work on.
    pub(crate) fn works_on(&self, chat: ChatId) -> bool {
        lock(&self.inner).replica.works_on(chat)
    }

    /// See [`Replica::name_lost`].
    pub(crate) fn name_lost(&self) -> Option<Arc<str>> {
        lock(&self.inner).replica.name_lost().cloned()
    }

    pub(crate) fn is_drained(&self) -> bool {
        lock(&self.inner).replica.is_drained()
    }

    /// Completes when the replica's state has changed. Enable it before reading the state.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
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
    let task =
        ReplicaTask { shared, operations: FuturesUnordered::new(), bus: None, sleeper: Sleeper::new() };
    task.run().await;
}

struct ReplicaTask<E: Env> {
    shared: Arc<Shared<E>>,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
    bus: Option<BusSubscription>,
    sleeper: Sleeper<E>,
}

impl<E: Env> ReplicaTask<E> {
    async fn run(mut self) {
        self.shared.replica.handle(&self.shared.env, ReplicaEvent::Wake);
        loop {
            let (actions, deadline) = {
                let mut inner = lock(&self.shared.replica.inner);
                if let Some(panic) = inner.panic.take() {
                    drop(inner);
                    resume_unwind(panic);
                }
                (std::mem::take(&mut inner.pending), inner.replica.poll_timeout())
            };
            for action in actions {
                self.execute(action);
            }
            self.sleeper.set(&self.shared.env, deadline.map(|deadline| deadline.at));
            let mut events = Vec::new();
            std::future::poll_fn(|context| self.poll_events(context, &mut events)).await;
            for event in events {
                self.shared.replica.handle(&self.shared.env, event);
            }
        }
    }

    fn poll_events(&mut self, context: &mut Context<'_>, events: &mut Vec<ReplicaEvent>) -> Poll<()> {
        let cell = &self.shared.replica;
        let woken = cell.task_waker.poll(context);
        while let Some(bus) = &mut self.bus
            && events.len() < NOTICES_MAX
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
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.operations).poll_next(context) {
            events.push(match done {
                Done::Event(event) => event,
                Done::Bus { op, subscribed } => {
                    let established = subscribed.is_ok();
                    match subscribed {
                        Ok(subscription) => self.bus = Some(subscription),
                        Err(error) => tracing::warn!(%error, "no notifications: this replica sees new work by polling only"),
                    }
                    ReplicaEvent::BusSubscribed { op, established }
                }
            });
        }
        if self.sleeper.poll(context).is_ready() {
            events.push(ReplicaEvent::Wake);
        }
        if woken || !events.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn execute(&mut self, action: ReplicaAction) {
        let shared = self.shared.clone();
        match action {
            ReplicaAction::BusSubscribe { op } => self.operate(async move {
                let subscribed = within(&shared.env, OP_TIMEOUT, shared.bus.subscribe(Topic::Work)).await;
                let subscribed = subscribed.unwrap_or_else(|_| Err(BusError("no answer in time".into())));
                Done::Bus { op, subscribed }
            }),
            ReplicaAction::Sync { op, runnable_max } => self.operate(async move {
                let synced = outcome(sync(&shared, runnable_max).await, "sync");
                Done::Event(ReplicaEvent::Synced { op, outcome: synced })
            }),
            ReplicaAction::Acquire { op, chat, command } => self.operate(async move {
                let request = Request { chat, command, by: None, idempotency_key: None };
                let applied = outcome(shared.apply(&request).await, "acquire");
                Done::Event(ReplicaEvent::Acquired { op, outcome: super::hub::applied_state(applied) })
            }),
            ReplicaAction::Heartbeat { op, held } => self.operate(async move {
                let held: Vec<_> = held.into_iter().map(|(chat, lease)| Held { chat, lease }).collect();
                let result = shared.heartbeat(held).await;
                let heartbeat = result.map(|report| match report.rival {
                    Some(rival) => Heartbeat::NameLost { to: rival.address.into() },
                    None => {
                        shared.learn_peers(report.peers);
                        let confirmed = report.confirmed.into_iter();
                        Heartbeat::Confirmed(confirmed.map(|held| (held.chat, held.lease)).collect())
                    }
                });
                Done::Event(ReplicaEvent::HeartbeatResult { op, outcome: outcome(heartbeat, "heartbeat") })
            }),
            ReplicaAction::To { chat, event } => shared.tell_hub(chat, event),
        }
    }

    fn operate(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.push(Box::pin(operation));
    }
}

/// Looks at everything.
async fn sync<E: Env>(shared: &Arc<Shared<E>>, runnable_max: usize) -> Result<SyncResult, Fault> {
    let asked = shared.registry.versions();
    let chats = asked.iter().map(|(chat, _)| *chat).collect();
    let request = SyncRequest { chats, runnable_max };
    let SyncReport { versions, runnable, soonest_expiry } =
        bounded(&shared.env, shared.store.sync(&request)).await?;
    Ok(SyncResult { news: SyncResult::news(&asked, &versions), runnable, soonest_expiry })
}
