//! A hub and its task. Anything that has an event for the hub passes it in under the hub's lock. The task
//! carries out the hub's actions and owns everything that is open on its behalf: operations, the bus
//! subscription, the dial or relay, the model's run. Dropping any of these ends it, so nothing can be left
//! behind (B2).

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use mainstem_machine::history::{HistoryLoad, HistoryStep};
use mainstem_machine::hub::{Hub, HubAction, HubEvent, JoinedParts, Measure, OpOutcome};
use mainstem_machine::limits::{OP_TIMEOUT, PAGE_MESSAGES_MAX};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{
    CachedVersions, ChatId, ChatState, DialId, Ending, FollowerId, GenerationId, Lease, Message, OpId,
    Rejection, RelayFault, RelayFrame, RelayPosition, ReplicaId, Resume, StreamEvent, SubscriptionId, Time,
    Version,
};

use super::database::{bounded, outcome};
use super::sleeper::Sleeper;
use super::task_waker::TaskWaker;
use super::{Shared, lock, yield_now};
use crate::limits::driver::{EVENTS_MAX, OPERATIONS_MAX};
use crate::ports::{
    Applied, BusError, BusSubscription, Conversation, Effect, Env, Fault, Generated, Generation, Request,
    TaskHandle, Topic, within,
};
use crate::relay::{Follow, RelayStream};
use crate::sync::{Mutex, Notified, Notify};
use crate::tape::Recorded;

/// A hub, its task, and the viewers and followers that wait for changes.
pub(crate) struct HubCell<E: Env> {
    chat: ChatId,
    inner: Mutex<Inner>,
    news: Notify,
    task_waker: TaskWaker,
    task: Mutex<Option<TaskHandle>>,
    env: std::marker::PhantomData<fn() -> E>,
}

struct Inner {
    hub: Recorded<Hub>,
    joined: JoinedParts,
    pending: VecDeque<HubAction>,
    last_id: u64,
    /// The lease under which the hub has a runner.
    assigned: Option<Lease>,
    /// The task has ended, or is about to.
    ended: bool,
    /// What the hub panicked with in somebody's hands: its task goes on with it.
    panic: Option<Box<dyn Any + Send>>,
}

/// The hub, while its lock is held.
pub(crate) struct Entry<'a> {
    inner: &'a mut Inner,
    now: Time,
    moved: bool,
}

impl Entry<'_> {
    pub(crate) fn handle(&mut self, event: HubEvent) {
        if self.inner.hub.is_finished() {
            return;
        }
        if let HubEvent::Acquired { state, .. } = &event {
            self.inner.assigned = Some(state.lease);
        }
        self.inner.hub.handle(self.now, event);
        self.drain();
        self.moved = true;
    }

    pub(crate) fn next_event(&mut self, subscription: SubscriptionId) -> Option<StreamEvent> {
        let Inner { hub, joined, .. } = &mut *self.inner;
        let event = hub.next_event(self.now, subscription, joined);
        self.moved |= self.drain();
        event
    }

    pub(crate) fn next_frame(&mut self, follower: FollowerId) -> Option<RelayFrame> {
        let frame = self.inner.hub.next_frame(self.now, follower);
        self.moved |= self.drain();
        frame
    }

    pub(crate) fn subscribe(&mut self, from: Resume) -> Option<SubscriptionId> {
        if !self.inner.hub.has_capacity_for_viewer() {
            return None;
        }
        self.inner.last_id += 1;
        let subscription = SubscriptionId(self.inner.last_id);
        self.handle(HubEvent::Subscribe { subscription, from });
        Some(subscription)
    }

    pub(crate) fn follow(&mut self, position: Option<RelayPosition>) -> Option<FollowerId> {
        if !self.inner.hub.has_capacity_for_follower() {
            return None;
        }
        self.inner.last_id += 1;
        let follower = FollowerId(self.inner.last_id);
        self.handle(HubEvent::Follow { follower, position });
        Some(follower)
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.inner.hub.ending()
    }

    pub(crate) fn cached(&self) -> Option<CachedVersions> {
        self.inner.hub.cached()
    }

    pub(crate) fn is_over_for(&self, follower: FollowerId) -> bool {
        self.inner.hub.is_over_for(follower)
    }

    fn drain(&mut self) -> bool {
        let mut any = false;
        while let Some(action) = self.inner.hub.poll_action() {
            self.inner.pending.push_back(action);
            any = true;
        }
        any
    }
}

impl<E: Env> HubCell<E> {
    /// Creates a hub and spawns its task.
    pub(super) fn spawn(shared: &Arc<Shared<E>>, chat: ChatId) -> Arc<Self> {
        let now = shared.env.now();
        let hub = Hub::new(now, shared.hub_config.clone());
        let hub = Recorded::new(hub, shared.hub_tape(chat, now));
        let (joined, pending) = (JoinedParts::default(), VecDeque::new());
        let inner = Inner { hub, joined, pending, last_id: 0, assigned: None, ended: false, panic: None };
        let (news, task_waker, task) = (Notify::new(), TaskWaker::default(), Mutex::default());
        let inner = Mutex::new(inner);
        let cell = Arc::new(Self { chat, inner, news, task_waker, task, env: std::marker::PhantomData });
        let ended = Ended { shared: shared.clone(), cell: cell.clone() };
        let handle = shared.env.spawn(HubTask::new(ended).run());
        *lock(&cell.task) = Some(handle);
        cell
    }

    pub(crate) fn chat(&self) -> ChatId {
        self.chat
    }

    /// Completes when the hub may have changed. Enable it before reading the hub.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Calls `act` with the hub and wakes its task. `None` if the hub is finished, or panics: then its task unwinds,
    /// and who has called goes on, for they may be what a replica cannot live without (B3).
    pub(crate) fn enter<T>(&self, env: &E, act: impl FnOnce(&mut Entry<'_>) -> T) -> Option<T> {
        let (done, moved) = self.enter_quietly(env, act)?;
        if moved {
            self.task_waker.wake();
        }
        Some(done)
    }

    /// The same for the task itself, which need not be woken.
    fn enter_quietly<T>(&self, env: &E, act: impl FnOnce(&mut Entry<'_>) -> T) -> Option<(T, bool)> {
        let mut inner = lock(&self.inner);
        if inner.ended || inner.hub.is_finished() {
            return None;
        }
        let mut entry = Entry { inner: &mut inner, now: env.now(), moved: false };
        let done = catch_unwind(AssertUnwindSafe(|| act(&mut entry)));
        let moved = entry.moved;
        let done = match done {
            Ok(done) => done,
            Err(panic) => {
                (inner.ended, inner.panic) = (true, Some(panic));
                drop(inner);
                self.task_waker.wake();
                return None;
            }
        };
        let news = inner.hub.take_news();
        drop(inner);
        if news {
            self.news.notify_waiters();
        }
        Some((done, moved))
    }

    pub(super) fn snapshot_version(&self) -> Version {
        lock(&self.inner).hub.snapshot_version()
    }

    /// Measures the hub, and asserts its invariants.
    pub(super) fn inspect(&self) -> [Measure; 5] {
        let inner = lock(&self.inner);
        let measures = inner.hub.measures();
        if measures.iter().all(|measure| measure.value <= measure.max) {
            inner.hub.assert_invariants();
        }
        measures
    }

    /// Ends the task, whatever it is doing.
    pub(super) fn end(&self) {
        drop(lock(&self.task).take());
    }
}

impl<E: Env> fmt::Debug for HubCell<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubCell").field("chat", &self.chat).finish_non_exhaustive()
    }
}

/// Cleans up when the task ends, also after a panic: viewers are sent to other replicas, and the lease is
/// left to expire.
struct Ended<E: Env> {
    shared: Arc<Shared<E>>,
    cell: Arc<HubCell<E>>,
}

impl<E: Env> Drop for Ended<E> {
    fn drop(&mut self) {
        let assigned = {
            let mut inner = lock(&self.cell.inner);
            inner.ended = true;
            inner.assigned.take()
        };
        self.shared.registry.remove(&self.cell);
        self.cell.news.notify_waiters();
        if let Some(lease) = assigned {
            let gone = ReplicaEvent::RunnerGone { chat: self.cell.chat, lease };
            self.shared.replica.handle(&self.shared.env, gone);
        }
    }
}

/// The result of an operation, with what the task keeps of it.
enum Done {
    Event(HubEvent),
    Bus { op: OpId, subscribed: Result<BusSubscription, BusError> },
    History { op: OpId, loaded: Result<(Version, History), Fault> },
}

/// All messages of a chat, oldest first.
type History = Arc<[Arc<Message>]>;

struct HubTask<E: Env> {
    ended: Ended<E>,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
    bus: Option<BusSubscription>,
    dial: Option<(DialId, BoxFuture<'static, Result<RelayStream, RelayFault>>)>,
    relay: Option<(DialId, RelayStream)>,
    histories: BTreeMap<OpId, History>,
    generation: Option<(GenerationId, Generation)>,
    sleeper: Sleeper<E>,
}

impl<E: Env> HubTask<E> {
    fn new(ended: Ended<E>) -> Self {
        Self {
            ended,
            operations: FuturesUnordered::new(),
            bus: None,
            dial: None,
            relay: None,
            histories: BTreeMap::new(),
            generation: None,
            sleeper: Sleeper::new(),
        }
    }

    async fn run(mut self) {
        let mut events = Vec::with_capacity(4);
        loop {
            let (actions, deadline, finished) = {
                let mut inner = lock(&self.ended.cell.inner);
                if let Some(panic) = inner.panic.take() {
                    drop(inner);
                    resume_unwind(panic);
                }
                let actions = std::mem::take(&mut inner.pending);
                (actions, inner.hub.poll_timeout(), inner.hub.is_finished())
            };
            for action in actions {
                self.execute(action);
            }
            if finished {
                return;
            }
            self.sleeper.set(&self.ended.shared.env, deadline.map(|deadline| deadline.at));
            std::future::poll_fn(|context| self.poll_events(context, &mut events)).await;
            assert!(
                events.len() <= EVENTS_MAX + OPERATIONS_MAX,
                "B3: a hub keeps its thread for a bounded number of events"
            );
            let many = events.len() >= EVENTS_MAX;
            let (cell, env) = (&self.ended.cell, &self.ended.shared.env);
            cell.enter_quietly(env, |entry| {
                for event in events.drain(..) {
                    entry.handle(event);
                }
            });
            if many {
                yield_now().await;
            }
        }
    }

    /// Collects events. Ready if there are any, or if another task has changed the hub.
    fn poll_events(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) -> Poll<()> {
        let woken = self.ended.cell.task_waker.poll(context);
        self.poll_bus(context, events);
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.operations).poll_next(context) {
            events.push(self.take(done));
        }
        self.poll_relay(context, events);
        self.poll_generation(context, events);
        if self.sleeper.poll(context).is_ready() {
            events.push(HubEvent::Wake);
        }
        if woken || !events.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_bus(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        while let Some(bus) = &mut self.bus
            && events.len() < EVENTS_MAX
            && let Poll::Ready(notice) = bus.as_mut().poll_next(context)
        {
            events.push(match notice {
                Some(notice) => HubEvent::Hint { snapshot_version: notice.snapshot_version },
                None => {
                    self.bus = None;
                    HubEvent::BusLost
                }
            });
        }
    }

    fn poll_relay(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        if let Some((dial, dialing)) = &mut self.dial
            && let Poll::Ready(dialed) = dialing.as_mut().poll(context)
        {
            let dial = *dial;
            self.dial = None;
            match dialed {
                Ok(stream) => {
                    self.relay = Some((dial, stream));
                    events.push(HubEvent::Dialed { dial });
                }
                Err(fault) => events.push(self.relay_gone(dial, fault)),
            }
        }
        while let Some((dial, relay)) = &mut self.relay
            && events.len() < EVENTS_MAX
            && let Poll::Ready(frame) = Pin::new(relay).poll_next(context)
        {
            let dial = *dial;
            match frame {
                Some(Ok(frame)) => events.push(HubEvent::Relayed { dial, frame }),
                Some(Err(fault)) => {
                    self.relay = None;
                    events.push(self.relay_gone(dial, fault));
                }
                None => {
                    self.relay = None;
                    events.push(self.relay_gone(dial, RelayFault::Gone));
                }
            }
        }
    }

    fn relay_gone(&self, dial: DialId, fault: RelayFault) -> HubEvent {
        let chat = self.ended.cell.chat;
        match fault {
            RelayFault::Denied => {
                tracing::error!(%chat, %dial, "a peer denies our credentials: give all replicas the same secret");
            }
            RelayFault::Nonsense => tracing::warn!(%chat, %dial, "a peer violated the relay protocol"),
            RelayFault::Gone | RelayFault::NotWorker => {
                tracing::debug!(%chat, %dial, fault = fault.as_str(), "the relay is gone");
            }
        }
        HubEvent::RelayGone { dial, fault }
    }

    fn poll_generation(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        while let Some((generation, run)) = &mut self.generation
            && events.len() < EVENTS_MAX
            && let Poll::Ready(generated) = run.as_mut().poll_next(context)
        {
            let generation = *generation;
            if !matches!(generated, Some(Generated::Text(_))) {
                self.generation = None;
            }
            events.push(match generated {
                Some(Generated::Text(text)) => HubEvent::Generated { generation, text },
                Some(Generated::Done(completion)) => HubEvent::GenerationDone { generation, completion },
                Some(Generated::Failed { error, retryable, retry_after }) => {
                    let entropy = self.ended.shared.env.entropy();
                    HubEvent::GenerationFailed { generation, error, retryable, retry_after, entropy }
                }
                None => {
                    let entropy = self.ended.shared.env.entropy();
                    HubEvent::GenerationBrokeOff { generation, entropy }
                }
            });
        }
    }

    /// Keeps the result of a finished operation, and returns the event for the hub.
    fn take(&mut self, done: Done) -> HubEvent {
        match done {
            Done::Event(event) => event,
            Done::Bus { op, subscribed } => {
                let established = subscribed.is_ok();
                match subscribed {
                    Ok(subscription) => self.bus = Some(subscription),
                    Err(error) => {
                        tracing::debug!(chat = %self.ended.cell.chat, %error, "could not subscribe to the bus")
                    }
                }
                HubEvent::BusSubscribed { op, established }
            }
            Done::History { op, loaded } => {
                let loaded = loaded.map(|(version, messages)| {
                    self.histories.insert(op, messages);
                    version
                });
                HubEvent::HistoryLoaded { op, outcome: outcome(loaded, "load history") }
            }
        }
    }

    fn execute(&mut self, action: HubAction) {
        let (shared, chat) = (self.ended.shared.clone(), self.ended.cell.chat);
        tracing::trace!(%chat, ?action, "action");
        match action {
            HubAction::BusSubscribe { op } => self.operate(async move {
                let subscribing = shared.bus.subscribe(Topic::Chat(chat));
                let subscribed = within(&shared.env, OP_TIMEOUT, subscribing).await;
                let subscribed = subscribed.unwrap_or_else(|_| Err(BusError("no answer in time".into())));
                Done::Bus { op, subscribed }
            }),
            HubAction::BusUnsubscribe => self.bus = None,
            HubAction::ReadSnapshot { op, cached } => self.operate(async move {
                let read = bounded(&shared.env, shared.store.snapshot(chat, cached)).await;
                Done::Event(HubEvent::SnapshotRead { op, outcome: outcome(read, "read snapshot") })
            }),
            HubAction::ReadPage { op, after, until } => self.operate(async move {
                let page = shared.store.page(chat, after, Some(until), PAGE_MESSAGES_MAX);
                let page = bounded(&shared.env, page).await;
                Done::Event(HubEvent::PageRead { op, outcome: outcome(page, "read messages") })
            }),
            HubAction::LoadHistory { op } => {
                self.operate(async move { Done::History { op, loaded: load_history(&shared, chat).await } })
            }
            HubAction::DropHistory { op } => drop(self.histories.remove(&op)),
            HubAction::Apply { op, command } => self.operate(async move {
                let request = Request { chat, command, by: None, idempotency_key: None };
                let what = request.command.name();
                let applied = outcome(shared.apply(&request).await, what);
                Done::Event(HubEvent::Applied { op, outcome: applied_state(applied) })
            }),
            HubAction::Dial { dial, worker, position } => {
                self.relay = None;
                self.dial = Some((dial, Box::pin(dial_worker(shared, chat, worker, position))));
            }
            HubAction::CloseDial { dial } => {
                self.dial.take_if(|(present, _)| *present == dial);
                self.relay.take_if(|(present, _)| *present == dial);
            }
            HubAction::Start { generation, episode, model, history } => {
                let messages =
                    self.histories.get(&history).expect("a history is kept until it is dropped").clone();
                let conversation = Conversation { chat, model, episode, messages };
                tracing::info!(%chat, ?episode, "starting the model");
                self.generation = Some((generation, shared.generator.start(conversation)));
            }
            HubAction::Cancel { generation } => {
                self.generation.take_if(|(present, _)| *present == generation);
            }
            HubAction::ToReplica(event) => {
                if let ReplicaEvent::RunnerGone { lease, .. } = &event {
                    self.forget(*lease);
                }
                shared.replica.handle(&shared.env, event);
            }
        }
    }

    fn forget(&self, lease: Lease) {
        let mut inner = lock(&self.ended.cell.inner);
        inner.assigned.take_if(|assigned| *assigned == lease);
    }

    fn operate(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.push(Box::pin(operation));
    }
}

pub(super) fn applied_state(applied: OpOutcome<Applied>) -> OpOutcome<Result<Arc<ChatState>, Rejection>> {
    match applied {
        OpOutcome::Done(Applied { effect: Effect::Changed(change), .. }) => OpOutcome::Done(Ok(change.state)),
        OpOutcome::Done(Applied { answer: Err(rejection), .. }) => OpOutcome::Done(Err(rejection)),
        // A runner's command always changes something if it is accepted, and never has an idempotency key.
        OpOutcome::Done(_) => OpOutcome::Refused,
        OpOutcome::Refused => OpOutcome::Refused,
        OpOutcome::Unknown => OpOutcome::Unknown,
    }
}

async fn load_history<E: Env>(shared: &Shared<E>, chat: ChatId) -> Result<(Version, History), Fault> {
    let mut load = HistoryLoad::default();
    loop {
        let page = shared.store.page(chat, load.after(), None, PAGE_MESSAGES_MAX);
        let page = bounded(&shared.env, page).await?;
        match load.on_page(page).map_err(|fault| Fault::Refused(fault.to_string()))? {
            HistoryStep::More(rest) => load = rest,
            HistoryStep::Whole(version, messages) => return Ok((version, messages)),
        }
    }
}

async fn dial_worker<E: Env>(
    shared: Arc<Shared<E>>,
    chat: ChatId,
    worker: ReplicaId,
    position: Option<RelayPosition>,
) -> Result<RelayStream, RelayFault> {
    let peers = shared.peers.as_ref().ok_or(RelayFault::Gone)?;
    let address = shared.address_of(&worker).await.ok_or(RelayFault::Gone)?;
    let follower = shared.hub_config.replica.clone();
    tracing::debug!(%chat, peer = %worker, ?position, "dialing");
    peers.follow(&address, Follow { chat, follower, worker, position }).await
}
