//! A hub and its task. Anything that has an event for the hub passes it in under the hub's lock. The task
//! carries out the hub's actions and owns everything that is open on its behalf: operations, the bus
//! subscription, the dial or relay, the model's run. Dropping any of these ends it, so nothing can be left
//! behind (B2).

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use mainstem_machine::history::{HistoryLoad, HistoryStep, ModelHistory};
use mainstem_machine::hub::{
    AudienceEvent, BusEvent, DatabaseEvent, Hub, HubAction, HubEvent, Input, LeaseEvent, Measure, ModelEvent,
    OpOutcome, Output, RelayEvent, Told, ToolEvent,
};
use mainstem_machine::limits::{OP_TIMEOUT, PAGE_MESSAGES_MAX};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{
    CachedVersions, CallResult, ChatId, ChatState, DialId, Ending, FollowerId, GenerationId, Lease, Offered,
    OpId, Prompt, Rejection, RelayFault, RelayFrame, RelayPosition, ReplicaId, Resume, StreamEvent,
    SubscriptionId, Time, Version,
};

use super::database::{bounded, outcome};
use super::drive::{Cell, Driven, Hands, Inner, drive};
use super::shared_frame::SharedFrame;
use super::{Shared, lock};
use crate::limits::driver::{CALL_SLACK, EVENTS_MAX, HUB_OPERATIONS_MAX};
use crate::ports::{
    Applied, BusError, BusSubscription, Conversation, Effect, Env, Fault, Generated, Generation, Request,
    ServerTool, TaskHandle, Tool, ToolCall, Topic, within,
};
use crate::relay::{Follow, RelayStream};
use crate::sync::{Mutex, Notified};
use crate::tape::Recorded;

impl Driven for Hub {
    type Event = HubEvent;
    type Action = HubAction;
    type Beside = Beside;

    const WAKE: HubEvent = HubEvent::Wake;

    fn input(at: Time, event: HubEvent) -> Input {
        Input { at, what: Told::Event(event) }
    }

    fn wake_at(&self) -> Option<Time> {
        self.poll_timeout().map(|deadline| deadline.at)
    }

    fn asked(said: &mut Output) -> (Vec<HubAction>, bool) {
        (std::mem::take(&mut said.actions), said.news)
    }
}

/// What is kept beside a hub.
#[derive(Default)]
pub(super) struct Beside {
    last_id: u64,
    /// The lease under which the hub has a runner.
    assigned: Option<Lease>,
}

/// A hub, its task, and the viewers and followers that wait for changes.
pub(crate) struct HubCell<E: Env> {
    chat: ChatId,
    cell: Cell<Hub>,
    task: Mutex<Option<TaskHandle>>,
    /// Of its viewers.
    frame: SharedFrame,
    env: std::marker::PhantomData<fn() -> E>,
}

/// The hub, while its lock is held.
pub(crate) struct Entry<'a> {
    inner: &'a mut Inner<Hub>,
    now: Time,
}

impl Entry<'_> {
    pub(crate) fn handle(&mut self, event: HubEvent) {
        if let HubEvent::Lease(LeaseEvent::Acquired { state, .. }) = &event {
            self.inner.beside.assigned = Some(state.lease);
        }
        self.inner.handle(self.now, event);
    }

    pub(crate) fn next_event(&mut self, subscription: SubscriptionId) -> Option<StreamEvent> {
        self.inner.tell(Input { at: self.now, what: Told::NextEvent(subscription) }).event
    }

    pub(crate) fn next_frame(&mut self, follower: FollowerId) -> Option<RelayFrame> {
        self.inner.tell(Input { at: self.now, what: Told::NextFrame(follower) }).frame
    }

    pub(crate) fn subscribe(&mut self, from: Resume, user: Option<Arc<str>>) -> Option<SubscriptionId> {
        if !self.inner.machine.has_capacity_for_viewer() {
            return None;
        }
        let subscription = SubscriptionId(self.next_id());
        self.handle(HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user }));
        Some(subscription)
    }

    pub(crate) fn follow(&mut self, position: Option<RelayPosition>) -> Option<FollowerId> {
        if !self.inner.machine.has_capacity_for_follower() {
            return None;
        }
        let follower = FollowerId(self.next_id());
        self.handle(HubEvent::Audience(AudienceEvent::Follow { follower, position }));
        Some(follower)
    }

    /// How long the last news has been there.
    pub(crate) fn age_of_news(&self) -> Duration {
        self.now.since(self.inner.news_at)
    }

    fn next_id(&mut self) -> u64 {
        self.inner.beside.last_id += 1;
        self.inner.beside.last_id
    }

    pub(crate) fn ending_for(&self, subscription: SubscriptionId) -> Option<Ending> {
        self.inner.machine.ending_for(subscription)
    }

    /// Whether more than one viewer is here.
    pub(crate) fn has_company(&self) -> bool {
        self.inner.machine.viewers() > 1
    }

    pub(crate) fn cached(&self) -> Option<CachedVersions> {
        self.inner.machine.cached()
    }

    pub(crate) fn is_over_for(&self, follower: FollowerId) -> bool {
        self.inner.machine.is_over_for(follower)
    }
}

impl<E: Env> HubCell<E> {
    /// Creates a hub and spawns its task.
    pub(super) fn spawn(shared: &Arc<Shared<E>>, chat: ChatId) -> Arc<Self> {
        let now = shared.env.now();
        let hub = Hub::new(now, shared.hub_config.clone());
        let cell = Cell::new(Recorded::new(hub, shared.hub_tape(chat, now)), Beside::default());
        let (task, frame, env) = (Mutex::default(), SharedFrame::default(), std::marker::PhantomData);
        let cell = Arc::new(Self { chat, cell, task, frame, env });
        let ended = Ended { shared: shared.clone(), cell: cell.clone() };
        let handle = shared.env.spawn(drive(HubTask::new(ended)));
        *lock(&cell.task) = Some(handle);
        cell
    }

    pub(crate) fn chat(&self) -> ChatId {
        self.chat
    }

    /// Completes when the hub may have changed. Enable it before reading the hub, or how often there was news.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.cell.news()
    }

    pub(super) fn frame(&self) -> &SharedFrame {
        &self.frame
    }

    /// How often there was news. Whoever asks before reading the hub has seen all of so much.
    pub(crate) fn news_count(&self) -> u64 {
        self.cell.news_count()
    }

    /// Calls `act` with the hub and wakes its task. `None` if the hub is finished, or panics.
    pub(crate) fn enter<T>(&self, env: &E, act: impl FnOnce(&mut Entry<'_>) -> T) -> Option<T> {
        self.cell.enter(|inner| act(&mut Entry { inner, now: env.now() }))
    }

    pub(super) fn snapshot_version(&self) -> Version {
        self.cell.read(|inner| inner.machine.snapshot_version())
    }

    /// The newest row that is known here.
    pub(super) fn row(&self) -> Option<Arc<ChatState>> {
        self.cell.read(|inner| inner.machine.row().cloned())
    }

    /// Measures the hub, and asserts its invariants.
    pub(super) fn inspect(&self) -> [Measure; 5] {
        self.cell.read(|inner| {
            let measures = inner.machine.measures();
            if measures.iter().all(|measure| measure.value <= measure.max) {
                inner.machine.assert_invariants();
            }
            measures
        })
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
        self.cell.cell.end();
        let assigned = self.cell.cell.beside(|beside| beside.assigned.take());
        self.shared.registry.remove(&self.cell);
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
    History { op: OpId, loaded: Result<(Version, ModelHistory), Fault> },
}

struct HubTask<E: Env> {
    ended: Ended<E>,
    operations: FuturesUnordered<BoxFuture<'static, Done>>,
    bus: Option<BusSubscription>,
    dial: Option<(DialId, BoxFuture<'static, Result<RelayStream, RelayFault>>)>,
    relay: Option<(DialId, RelayStream)>,
    histories: BTreeMap<OpId, ModelHistory>,
    generation: Option<Running>,
    calls: Vec<(OpId, BoxFuture<'static, CallResult>)>,
}

/// A run of the model, and what it may call here.
struct Running {
    id: GenerationId,
    stream: Generation,
    offered: Arc<[Offered]>,
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
            calls: Vec::new(),
        }
    }

    fn poll_bus(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        while let Some(bus) = &mut self.bus
            && events.len() < EVENTS_MAX
            && let Poll::Ready(notice) = bus.as_mut().poll_next(context)
        {
            events.push(match notice {
                Some(notice) => notice.event(),
                None => {
                    self.bus = None;
                    HubEvent::Bus(BusEvent::Lost)
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
                    events.push(HubEvent::Relay(RelayEvent::Dialed { dial }));
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
                Some(Ok(frame)) => events.push(HubEvent::Relay(RelayEvent::Relayed { dial, frame })),
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
        HubEvent::Relay(RelayEvent::Gone { dial, fault })
    }

    fn poll_generation(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        while let Some(run) = &mut self.generation
            && events.len() < EVENTS_MAX
            && let Poll::Ready(generated) = run.stream.as_mut().poll_next(context)
        {
            let (generation, offered) = (run.id, run.offered.clone());
            if !matches!(generated, Some(Generated::Part { .. })) {
                self.generation = None;
            }
            events.push(match generated {
                Some(Generated::Part { begins, text }) => {
                    HubEvent::Model(ModelEvent::Generated { generation, begins, text })
                }
                Some(Generated::Done(completion)) => {
                    HubEvent::Model(ModelEvent::Done { generation, completion, offered })
                }
                Some(Generated::Failed { error, retryable, retry_after }) => {
                    let entropy = self.ended.shared.env.entropy();
                    HubEvent::Model(ModelEvent::Failed { generation, error, retryable, retry_after, entropy })
                }
                None => {
                    let entropy = self.ended.shared.env.entropy();
                    HubEvent::Model(ModelEvent::BrokeOff { generation, entropy })
                }
            });
        }
    }

    fn poll_calls(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        self.calls.retain_mut(|(op, call)| match call.as_mut().poll(context) {
            Poll::Ready(result) => {
                events.push(HubEvent::Tool(ToolEvent::Returned { op: *op, result }));
                false
            }
            Poll::Pending => true,
        });
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
                HubEvent::Bus(BusEvent::Subscribed { op, established })
            }
            Done::History { op, loaded } => {
                let loaded = loaded.map(|(version, history)| {
                    self.histories.insert(op, history);
                    version
                });
                HubEvent::Database(DatabaseEvent::HistoryLoaded {
                    op,
                    outcome: outcome(loaded, "load history"),
                })
            }
        }
    }

    fn forget(&self, lease: Lease) {
        self.ended.cell.cell.beside(|beside| beside.assigned.take_if(|assigned| *assigned == lease));
    }

    fn operate(&mut self, operation: impl Future<Output = Done> + Send + 'static) {
        self.operations.push(Box::pin(operation));
    }
}

impl<E: Env> Hands<E> for HubTask<E> {
    type Machine = Hub;

    const OPERATIONS: usize = HUB_OPERATIONS_MAX;

    fn cell(&self) -> &Cell<Hub> {
        &self.ended.cell.cell
    }

    fn env(&self) -> &E {
        &self.ended.shared.env
    }

    fn poll(&mut self, context: &mut Context<'_>, events: &mut Vec<HubEvent>) {
        // What they open is polled after them.
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.operations).poll_next(context) {
            events.push(self.take(done));
        }
        self.poll_bus(context, events);
        self.poll_relay(context, events);
        self.poll_generation(context, events);
        self.poll_calls(context, events);
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
                Done::Event(HubEvent::Database(DatabaseEvent::SnapshotRead {
                    op,
                    outcome: outcome(read, "read snapshot"),
                }))
            }),
            HubAction::ReadPage { op, after, until } => self.operate(async move {
                let page = shared.store.page(chat, after, Some(until), PAGE_MESSAGES_MAX);
                let page = bounded(&shared.env, page).await;
                Done::Event(HubEvent::Database(DatabaseEvent::PageRead {
                    op,
                    outcome: outcome(page, "read messages"),
                }))
            }),
            HubAction::LoadHistory { op } => {
                self.operate(async move { Done::History { op, loaded: load_history(&shared, chat).await } })
            }
            HubAction::KeepHistory { op, messages, .. } => {
                self.histories.insert(op, ModelHistory::of(messages));
            }
            HubAction::DropHistory { op } => drop(self.histories.remove(&op)),
            HubAction::Apply { op, command } => self.operate(async move {
                let request = Request { chat, command, by: None, idempotency_key: None };
                let what = request.command.name();
                let applied = outcome(shared.apply(&request).await, what);
                Done::Event(HubEvent::Database(DatabaseEvent::Applied {
                    op,
                    outcome: applied_state(applied),
                }))
            }),
            HubAction::Dial { dial, worker, address, position } => {
                self.relay = None;
                self.dial = Some((dial, Box::pin(dial_worker(shared, chat, worker, address, position))));
            }
            HubAction::CloseDial { dial } => {
                self.dial.take_if(|(present, _)| *present == dial);
                self.relay.take_if(|(present, _)| *present == dial);
            }
            HubAction::Start { generation, episode, prompt, history } => {
                let history =
                    self.histories.get(&history).expect("a history is kept until it is dropped").clone();
                let Prompt { model, instructions, tools } = prompt;
                let of_server = shared.tools.list();
                let offered = of_server.iter().map(ServerTool::offered).collect();
                let tools = with_those_of_the_server(tools, &of_server);
                let conversation = Conversation { chat, model, episode, instructions, tools, history };
                tracing::info!(%chat, ?episode, "starting the model");
                let stream = shared.generator.start(conversation);
                self.generation = Some(Running { id: generation, stream, offered });
            }
            HubAction::Cancel { generation } => {
                self.generation.take_if(|run| run.id == generation);
            }
            HubAction::Call { op, turn, of, id, name, input, is_repeatable } => {
                tracing::info!(%chat, %turn, call = &*id, tool = &*name, "calling a tool");
                let call = ToolCall { chat, turn, of, id, name, input, is_repeatable };
                self.calls.push((op, call_tool(shared, call).boxed()));
            }
            HubAction::GiveUpCall { op } => self.calls.retain(|(present, _)| *present != op),
            HubAction::ToReplica(event) => {
                if let ReplicaEvent::RunnerGone { lease, .. } = &event {
                    self.forget(*lease);
                }
                shared.replica.handle(&shared.env, event);
            }
        }
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

/// What a model may call: the chat's own tools, and those of the server that have other names.
fn with_those_of_the_server(tools: Arc<[Tool]>, of_server: &[ServerTool]) -> Arc<[Tool]> {
    if of_server.is_empty() {
        return tools;
    }
    let is_new = |tool: &&Tool| tools.iter().all(|own| own.name != tool.name);
    let others = of_server.iter().map(|offered| &offered.tool).filter(is_new);
    tools.iter().chain(others).cloned().collect()
}

/// Carries out a call, and does not wait longer for a tool than it may take.
async fn call_tool<E: Env>(shared: Arc<Shared<E>>, call: ToolCall) -> CallResult {
    let tools = shared.tools.list();
    let limit = tools.iter().find(|offered| offered.tool.name == call.name).map(|offered| offered.timeout);
    let calling = shared.tools.call(call);
    match within(&shared.env, limit.unwrap_or_default() + CALL_SLACK, calling).await {
        Ok(result) => result,
        Err(_) => CallResult::error("The tool did not answer in time."),
    }
}

async fn load_history<E: Env>(shared: &Shared<E>, chat: ChatId) -> Result<(Version, ModelHistory), Fault> {
    let mut load = HistoryLoad::default();
    loop {
        let page = shared.store.page(chat, load.after(), None, PAGE_MESSAGES_MAX);
        let page = bounded(&shared.env, page).await?;
        match load.on_page(page).map_err(|fault| Fault::Refused(fault.to_string()))? {
            HistoryStep::More(rest) => load = rest,
            HistoryStep::Whole(version, history) => return Ok((version, history)),
        }
    }
}

async fn dial_worker<E: Env>(
    shared: Arc<Shared<E>>,
    chat: ChatId,
    worker: ReplicaId,
    address: Arc<str>,
    position: Option<RelayPosition>,
) -> Result<RelayStream, RelayFault> {
    let peers = shared.peers.as_ref().ok_or(RelayFault::Gone)?;
    let follower = shared.hub_config.replica.clone();
    tracing::debug!(%chat, peer = %worker, ?position, "dialing");
    let hop = shared.hops.follows(chat, &worker);
    let traceparent = hop.traceparent();
    let follow = Follow { chat, follower, worker, position, takes_blocks: true, traceparent };
    Ok(peers.follow(&address, follow).await?.traced_by(hop))
}
