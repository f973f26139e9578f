//! The node: one replica as its edge sees it, with commands, reads and streams.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use mainstem_machine::backoff::{Failure, Retries, Verdict};
use mainstem_machine::drain::{Drain, DrainAction, DrainEvent, Late};
use mainstem_machine::hub::{HubConfig, Measure};
use mainstem_machine::limits::{LIST_BYTES_MAX, OP_TIMEOUT};
use mainstem_machine::replica::ReplicaConfig;

use mainstem_machine::{
    Accepted, ChatId, ChatState, Command, MessageId, Rejection, RelayFault, RelayFrame, ReplicaId, Resume,
    Share, Standing, StreamEvent, Turn, Version,
};

use crate::driver::{Entry, Followed, Follows, HubCell, Next, ReplicaCell, Shared, Vitals, Watch, lock};
use crate::ports::{
    Applied, Env, Fault, IdempotencyKey, Listed, Listing, Page, Ports, ReplicaRow, Request, Stale,
    TaskHandle, Ticket, within,
};
use crate::principal::{Principal, Unable};
use crate::relay::{Follow, Peers, RelayCounts, RelayServer, RelaySource};
use crate::sync::Mutex;
use crate::tape::Recording;

/// The configuration of a replica.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub replica: ReplicaId,
    /// Which process of that name this is.
    pub incarnation: u64,
    /// Chats this replica generates at once.
    pub workers: usize,
    pub lease_ttl: Duration,
    pub heartbeat: Duration,
    pub poll_interval: Duration,
    pub drain_timeout: Duration,
    pub episode_bytes_max: usize,
    /// Answers of one turn that may end with calls.
    pub tool_steps_max: u64,
    /// `None`: the replica runs alone, without a relay and without peers.
    pub relay: Option<RelayConfig>,
    /// `None`: no tapes are kept.
    pub recording: Option<Recording>,
}

#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The address on which the relay listens, `host:port`.
    pub listen: String,
    /// The address at which peers reach it. `None`: the bound address.
    pub advertise: Option<String>,
    /// The secret by which peers authenticate.
    pub secret: Arc<[u8]>,
}

/// What there is of a replica at a moment, for those who operate it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Chats with a viewer, a follower or a run here, or that had one a moment ago.
    pub hubs: usize,
    /// Chats that it works on.
    pub held: usize,
    /// Chats that it may work on besides.
    pub slots_free: usize,
    /// Its follows of chats at other replicas.
    pub relay: RelayCounts,
}

/// Why a request does not get what it asks for. A rejection is an answer; the others say that there is none now.
/// They are one type because whoever asks a [`Node`] passes all of them on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The database cannot be reached now, or the outcome is unknown. Retrying is safe with an idempotency
    /// key.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// This replica is shutting down, or has reached a limit.
    #[error("this replica takes no more: {0}")]
    Overloaded(&'static str),
    /// The caller's credentials give no leave to it.
    #[error(transparent)]
    Forbidden(Unable),
}

impl From<Unable> for EdgeError {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::NoSuchChat => Self::Rejected(Rejection::NoSuchChat),
            unable => Self::Forbidden(unable),
        }
    }
}

/// One replica. Cheap to clone.
#[derive(Clone)]
pub struct Node<E: Env> {
    shared: Arc<Shared<E>>,
    running: Arc<Mutex<Running>>,
    vitals: Arc<Vitals>,
    drain_timeout: Duration,
}

/// The tasks of the replica. Dropping them ends them.
#[derive(Default)]
struct Running {
    replica: Option<TaskHandle>,
    relay: Option<RelayServer>,
    draining: bool,
}

impl<E: Env> fmt::Debug for Node<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.shared).finish()
    }
}

impl<E: Env> Node<E> {
    /// Starts the replica: listens for peers and begins to work. Fails if it cannot bind the relay's address.
    pub async fn start(env: E, config: NodeConfig, ports: Ports) -> std::io::Result<Self> {
        let mut address = String::new();
        let mut listener = None;
        if let Some(relay) = &config.relay {
            let bound = env.listen(&relay.listen).await?;
            address = relay.advertise.clone().map_or_else(|| env.local_address(&bound), Ok)?;
            listener = Some((bound, relay.secret.clone()));
        }
        let hub_config = HubConfig {
            replica: config.replica.clone(),
            relays: config.relay.is_some(),
            lease_ttl: config.lease_ttl,
            episode_bytes_max: config.episode_bytes_max,
            tool_steps_max: config.tool_steps_max,
        };
        let replica_config = ReplicaConfig {
            replica: config.replica.clone(),
            workers: config.workers,
            heartbeat: config.heartbeat,
            poll_interval: config.poll_interval,
        };
        let row = ReplicaRow { replica: config.replica, address, incarnation: config.incarnation };
        let peers = config.relay.map(|relay| Peers::new(env.clone(), relay.secret));
        let recording = config.recording;
        let cell = ReplicaCell::new(env.now(), replica_config, recording.as_ref());
        let hub_config = Arc::new(hub_config);
        let shared = Shared::new(env, ports, hub_config, row, peers, cell, recording);
        let vitals = Arc::new(Vitals::default());
        let vital = vitals.guard("replica");
        let run = crate::driver::run_replica(shared.clone());
        let task = shared.env.spawn(async move {
            let _vital = vital;
            run.await;
        });
        let relay = listener.map(|(listener, secret)| {
            let source = Arc::new(Source { shared: shared.clone(), follows: Follows::default() });
            RelayServer::serve_keeping(&shared.env, listener, secret, source, vitals.guard("relay"))
        });
        let running = Running { replica: Some(task), relay, draining: false };
        let running = Arc::new(Mutex::new(running));
        Ok(Self { shared, running, vitals, drain_timeout: config.drain_timeout })
    }

    /// Executes a user's command: applies, commits and announces it. If the caller brings no idempotency key,
    /// an internal one is used, so that retries are safe.
    pub async fn execute(
        &self,
        by: &Principal,
        chat: ChatId,
        command: Command,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Accepted, EdgeError> {
        by.may_change(chat, &command)?;
        let idempotency_key = idempotency_key.unwrap_or_else(|| self.internal_idempotency_key(by.user()));
        let by = by.asks_as(&command);
        let request = Request { chat, command, by, idempotency_key: Some(idempotency_key) };
        let shared = self.shared.clone();
        let (answer, answered) = tokio::sync::oneshot::channel();
        // In a task of its own, so that a change is announced even if the caller disconnects.
        let applying = async move {
            let _ = answer.send(settle(&shared, &request).await);
        };
        self.shared.env.spawn(applying).detach();
        let gone = || EdgeError::Unavailable("this replica is going away".into());
        Ok(answered.await.map_err(|_| gone())??.answer?)
    }

    fn internal_idempotency_key(&self, by: &Arc<str>) -> IdempotencyKey {
        let env = &self.shared.env;
        IdempotencyKey::drawn(by, [env.entropy(), env.entropy()])
    }

    pub async fn chat(&self, by: &Principal, chat: ChatId) -> Result<Arc<ChatState>, EdgeError> {
        let read = self.read(|| self.shared.store.state(chat)).await?;
        read.filter(|state| by.may_see(state)).ok_or(EdgeError::Rejected(Rejection::NoSuchChat))
    }

    /// With whom the chat is shared. Only its owner may see that.
    pub async fn shares(&self, by: &Principal, chat: ChatId) -> Result<Arc<[Share]>, EdgeError> {
        let state = self.chat(by, chat).await?;
        if by.may_see_shares(&state) { Ok(state.shares.clone()) } else { Err(Rejection::NotOwner.into()) }
    }

    pub async fn chats(
        &self,
        by: &Principal,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, EdgeError> {
        let Some(chats) = by.chats() else {
            return self.read(|| self.shared.store.list(by.user(), listing, before, limit)).await;
        };
        let mut listed = Listed { chats: vec![], more: false };
        let mut bytes = 0;
        for chat in chats.iter().rev().filter(|chat| before.is_none_or(|before| **chat < before)) {
            let Some(state) = self.read(|| self.shared.store.state(*chat)).await? else { continue };
            let of = match state.standing(by.user()) {
                Standing::Owner => Listing::Own,
                Standing::Reader | Standing::Writer => Listing::Shared,
                Standing::Stranger => continue,
            };
            if of != listing {
                continue;
            }
            let state = ChatState { queue: vec![], ..ChatState::clone(&state) };
            bytes += text_bytes(&state);
            if listed.chats.len() == limit || (bytes > LIST_BYTES_MAX && !listed.chats.is_empty()) {
                listed.more = true;
                break;
            }
            listed.chats.push(state);
        }
        Ok(listed)
    }

    /// The chat of a user that has this name of the user's own, as a list of one, or of none.
    pub async fn named_chats(&self, by: &Principal, external_id: &str) -> Result<Listed, EdgeError> {
        let named = self.read(|| self.shared.store.named_chat(by.user(), external_id)).await?;
        let mut chats = vec![];
        if let Some(chat) = named
            && let Some(state) = self.read(|| self.shared.store.state(chat)).await?
            && by.may_see(&state)
        {
            chats.push(ChatState { queue: vec![], ..ChatState::clone(&state) });
        }
        Ok(Listed { chats, more: false })
    }

    pub async fn messages(
        &self,
        by: &Principal,
        chat: ChatId,
        after: MessageId,
        limit: usize,
    ) -> Result<Page, EdgeError> {
        self.check_sight(by, chat).await?;
        let page = self.read(|| self.shared.store.page(chat, after, None, limit)).await?;
        page.ok_or(EdgeError::Rejected(Rejection::NoSuchChat))
    }

    /// A turn, as it stands or as it ended, with the ids of its messages. One that is queued has none yet.
    pub async fn turn(
        &self,
        by: &Principal,
        chat: ChatId,
        id: MessageId,
    ) -> Result<(Turn, Vec<MessageId>), EdgeError> {
        let state = self.chat(by, chat).await?;
        if state.queue.iter().any(|queued| queued.id == id) {
            return Ok((Turn::queued(id), vec![]));
        }
        let turn = match state.present_turn().filter(|turn| turn.id == id) {
            Some(turn) => Some(turn.clone()),
            None => self.read(|| self.shared.store.turn(chat, id)).await?,
        };
        let turn = turn.ok_or(EdgeError::Rejected(Rejection::NoSuchTurn))?;
        let ids = self.read(|| self.shared.store.message_ids(chat, turn.message, turn.last)).await?;
        Ok((turn, ids))
    }

    /// Subscribes to the chat. The stream may be dropped at any moment.
    pub async fn subscribe(
        &self,
        by: &Principal,
        chat: ChatId,
        from: Resume,
    ) -> Result<Viewer<E>, EdgeError> {
        self.check_sight(by, chat).await?;
        let too_many = EdgeError::Overloaded("too many are watching");
        let entered = self.shared.registry.enter(&self.shared, chat, |cell, entry| {
            // Asked where the hub is open: a drain that begins later finds it, and ends this stream too.
            if lock(&self.running).draining {
                return Err(EdgeError::Overloaded("it is going away"));
            }
            let subscription = entry.subscribe(from, by.sees_as()).ok_or(too_many.clone())?;
            Ok(Watch::new(self.shared.clone(), cell.clone(), subscription))
        });
        Ok(Viewer { watch: entered.unwrap_or(Err(too_many))? })
    }

    /// Looks at some chats for those that nobody has touched for long.
    pub async fn stale(
        &self,
        after: Option<ChatId>,
        idle_for: Duration,
        limit: usize,
    ) -> Result<Stale, EdgeError> {
        self.read(|| self.shared.store.stale(after, idle_for, limit)).await
    }

    /// Deletes a chat by such a [`Command::Expire`], and says whether it did.
    pub async fn expire(&self, chat: ChatId, command: Command) -> Result<bool, EdgeError> {
        let request = Request { chat, command, by: None, idempotency_key: None };
        let applied = self.shared.apply(&request).await;
        let applied = applied.map_err(|fault| EdgeError::Unavailable(fault.to_string()))?;
        Ok(applied.answer.is_ok())
    }

    /// Keeps a ticket, unless its owner has as many as may be.
    pub async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, EdgeError> {
        self.read(|| self.shared.store.keep_ticket(ticket)).await
    }

    /// Takes the ticket of this digest. It is tried once: whoever asks again may find that it was taken.
    pub async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, EdgeError> {
        let taken = within(&self.shared.env, OP_TIMEOUT, self.shared.store.take_ticket(digest)).await;
        let taken = taken.unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".into())));
        taken.map_err(|fault| EdgeError::Unavailable(fault.to_string()))
    }

    /// To whom may not see it, a chat does not exist (S10), and for nobody once it is deleted. This asks
    /// the database even if the chat is cached here, because this replica may not have heard of the deletion
    /// yet.
    async fn check_sight(&self, by: &Principal, chat: ChatId) -> Result<(), EdgeError> {
        let open = self.shared.registry.find(chat);
        let cached = open.and_then(|cell| cell.enter(&self.shared.env, |entry| entry.cached()).flatten());
        let read = self.read(|| self.shared.store.snapshot(chat, cached)).await?;
        let is_seen = read.is_some_and(|snapshot| by.may_see(&snapshot.state));
        if is_seen { Ok(()) } else { Err(Rejection::NoSuchChat.into()) }
    }

    /// Reads, and retries for a while, because the database may come back.
    async fn read<'a, T, F>(&'a self, read: impl Fn() -> F) -> Result<T, EdgeError>
    where
        F: Future<Output = Result<T, Fault>> + 'a,
    {
        let mut retries = Retries::new(self.shared.env.now());
        loop {
            let answer = within(&self.shared.env, OP_TIMEOUT, read()).await;
            match answer.unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".into()))) {
                Ok(read) => return Ok(read),
                Err(fault) => wait_to_retry(&self.shared.env, &mut retries, &fault).await?,
            }
        }
    }

    /// Whether traffic is welcome: the database can be read and written, all tasks live, and nobody drains.
    pub fn is_ready(&self) -> bool {
        let replica = &self.shared.replica;
        let works = replica.is_connected() && !self.vitals.is_failed();
        works && !lock(&self.running).draining
    }

    /// Whether a task has ended that it cannot live without.
    pub fn has_failed(&self) -> bool {
        self.vitals.is_failed()
    }

    /// The chats that are open here, with the version that is known of each.
    pub fn open_chats(&self) -> Vec<(ChatId, Version)> {
        self.shared.registry.versions()
    }

    /// What there is of it now.
    pub fn census(&self) -> Census {
        let (held, slots_free) = self.shared.replica.slots();
        let relay = self.shared.peers.as_ref().map(Peers::counts).unwrap_or_default();
        Census { hubs: self.shared.registry.len(), held, slots_free, relay }
    }

    /// Waits until a task has ended that the replica cannot live without, and names it. What is left of the
    /// replica can do no more than [`Node::abandon`].
    pub async fn failure(&self) -> &'static str {
        self.vitals.failure().await
    }

    /// Completes when another process has taken this replica's name, as it may when this one was stopped for
    /// longer than a lease lasts, and tells where that one's relay is reached. Nothing is begun from then on.
    pub async fn name_lost(&self) -> Arc<str> {
        loop {
            let news = self.shared.replica.news();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            if let Some(to) = self.shared.replica.name_lost() {
                return to;
            }
            news.await;
        }
    }

    /// Hands over what can be handed over at once, and sends all streams elsewhere.
    pub async fn abandon(&self) {
        self.go_away(Duration::ZERO).await;
    }

    /// Drains the replica: acquires no more chats, lets runs finish within the drain time-out, hands over
    /// those that do not, and then ends all streams. Returns when nothing is left.
    pub async fn drain(&self) {
        self.go_away(self.drain_timeout).await;
    }

    async fn go_away(&self, limit: Duration) {
        let (env, replica, announcer) = (&self.shared.env, &self.shared.replica, &self.shared.announcer);
        lock(&self.running).draining = true;
        let mut drain = Drain::default();
        drain.handle(env.now(), DrainEvent::Begin { limit });
        while !drain.is_over() {
            let (mut drained, mut announced) = (pin!(replica.news()), pin!(announcer.news()));
            drained.as_mut().enable();
            announced.as_mut().enable();
            let (is_drained, is_announced) = (replica.is_drained(), announcer.is_idle());
            drain.handle(env.now(), DrainEvent::Seen { is_drained, is_announced });
            let Some(action) = drain.poll_action() else {
                let until = drain.poll_timeout().expect("a drain that waits has an end");
                let news = futures::future::select(drained, announced);
                let _ = within(env, until.since(env.now()), news).await;
                continue;
            };
            let parts = action == DrainAction::Part;
            // What is broken may panic again: that keeps nobody else from being told.
            if AssertUnwindSafe(self.carry_out(action)).catch_unwind().await.is_err() {
                tracing::error!("a part of this replica panicked at its end");
            }
            if parts {
                drain.handle(env.now(), DrainEvent::Parted);
            }
        }
    }

    async fn carry_out(&self, action: DrainAction) {
        let Shared { env, registry, replica, .. } = &*self.shared;
        match action {
            DrainAction::ToReplica(event) => replica.handle(env, event),
            DrainAction::ToHubs(event) => registry.deliver_all(env, &event),
            DrainAction::Part => self.leave().await,
            DrainAction::Late(Late::HandOver) => tracing::warn!(
                "could not hand over all runs in time: others take them over when the leases expire"
            ),
            DrainAction::Late(Late::Announcing) => {
                tracing::warn!("the bus is too slow: others find what was handed over by polling");
            }
        }
    }

    /// Ends the replica's own tasks, and its membership.
    async fn leave(&self) {
        let shared = &self.shared;
        self.vitals.release();
        lock(&self.running).replica = None;
        // One after it would take the name again.
        shared.heartbeats.end().await;
        if let Err(error) = super::driver::bounded(&shared.env, shared.store.deregister(&shared.row)).await {
            tracing::warn!(%error, "no farewell");
        }
        lock(&self.running).relay = None;
        if let Some(peers) = &shared.peers {
            peers.close();
        }
    }

    /// Ends all tasks of the replica, at once.
    pub fn end(&self) {
        self.vitals.release();
        let running = std::mem::take(&mut *lock(&self.running));
        drop(running);
        self.shared.registry.end_all();
        if let Some(peers) = &self.shared.peers {
            peers.close();
        }
    }

    /// Measures everything that is bounded (B1), and asserts all invariants. For tests and simulations.
    pub fn inspect(&self) -> Vec<Measure> {
        self.shared.registry.inspect()
    }

    /// How many hubs are open. For tests that look for leaks (B2).
    pub fn open_hubs(&self) -> usize {
        self.shared.registry.chats().len()
    }
}

/// What of a chat's row may be large.
fn text_bytes(state: &ChatState) -> usize {
    let tools = state.tools.iter().map(|tool| tool.input_schema.len() + tool.description.len());
    state.instructions.as_deref().map_or(0, str::len) + tools.sum::<usize>()
}

/// Retries until the outcome is known. The idempotency key makes it happen only once (S6, R34).
async fn settle<E: Env>(shared: &Arc<Shared<E>>, request: &Request) -> Result<Applied, EdgeError> {
    assert!(
        request.idempotency_key.is_some(),
        "S6: only a command with an idempotency key may be applied again"
    );
    let mut retries = Retries::new(shared.env.now());
    loop {
        match shared.apply(request).await {
            Ok(applied) => return Ok(applied),
            Err(fault) => wait_to_retry(&shared.env, &mut retries, &fault).await?,
        }
    }
}

/// Waits for the next try of a request, if there is to be one.
async fn wait_to_retry<E: Env>(env: &E, retries: &mut Retries, fault: &Fault) -> Result<(), EdgeError> {
    let failure = match fault {
        Fault::Full(detail) => {
            tracing::debug!(detail, "a request was turned away");
            Failure::Full
        }
        Fault::Refused(_) => Failure::Refused,
        Fault::Unknown(_) => Failure::Unknown,
    };
    match retries.on_failure(env.now(), failure, env.entropy()) {
        Verdict::Again(delay) => env.sleep(delay).await,
        Verdict::Unavailable => return Err(EdgeError::Unavailable(fault.to_string())),
        Verdict::Overloaded => {
            return Err(EdgeError::Overloaded("all of its connections to the database are in use"));
        }
    }
    Ok(())
}

/// Serves the frames for peers that follow a chat here.
struct Source<E: Env> {
    shared: Arc<Shared<E>>,
    follows: Follows,
}

impl<E: Env> RelaySource for Source<E> {
    async fn follow(&self, request: Follow) -> Result<BoxStream<'static, RelayFrame>, RelayFault> {
        if request.worker != self.shared.hub_config.replica {
            return Err(RelayFault::NotWorker);
        }
        let slot = self.follows.enter(&request.follower).ok_or(RelayFault::Gone)?;
        let (shared, chat) = (&self.shared, request.chat);
        let follow = |cell: &Arc<HubCell<E>>, entry: &mut Entry<'_>| {
            let follower = entry.follow(request.position)?;
            Some(Followed::new(shared.clone(), cell.clone(), follower))
        };
        // A hub of its own is for a chat that is worked on here: a peer may name any chat, and each hub costs
        // memory and reads (B1). One that dials too early dials again.
        let followed = if shared.replica.works_on(chat) {
            shared.registry.enter(shared, chat, follow).flatten().ok_or(RelayFault::Gone)?
        } else {
            let entered = shared.registry.enter_open(&shared.env, chat, follow);
            entered.ok_or(RelayFault::NotWorker)?.ok_or(RelayFault::Gone)?
        };
        tracing::debug!(chat = %request.chat, peer = %request.follower, "a peer follows this chat");
        let hop = shared.hops.serves(chat, &request.follower, request.traceparent.as_deref());
        let frames = futures::stream::unfold((followed, slot, hop), |(mut followed, slot, hop)| async move {
            followed.next().await.map(|frame| (frame, (followed, slot, hop)))
        });
        Ok(Box::pin(frames))
    }
}

/// One viewer's stream.
#[derive(Debug)]
pub struct Viewer<E: Env> {
    watch: Watch<E>,
}

impl<E: Env> Viewer<E> {
    /// Waits for what comes next. Cancel-safe: an event that was not returned is not marked as sent.
    pub async fn next(&mut self) -> Next {
        self.watch.next().await
    }

    /// The bytes of an event as a server-sent event, which other viewers who are told the same need not write again.
    pub fn shared(&self, event: &StreamEvent, write: impl FnOnce() -> Bytes) -> Bytes {
        self.watch.shared(event, write)
    }

    /// How long the events that came last had been there, if they were waited for: what this replica's load, and not
    /// the client, made of them.
    pub fn lag(&self) -> Option<Duration> {
        self.watch.lag()
    }
}
