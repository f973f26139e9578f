//! The simulated database: one for all replicas, with a clock of its own. It outlives every replica, and
//! carries out a call even if the caller drops it. It reports every commit to the judges.

mod batches;
mod commits;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use madsim::runtime::NodeHandle;
use mainstem_machine::{ChatId, ChatState, Command, MessageId, ReplicaId, Time, Turn};
use mainstem_oracles::{Evidence, FaultKind, Operation};
use mainstem_rows::Rows;
use mainstem_runtime::Batching;
use mainstem_runtime::ports::{
    Applied, CachedVersions, Fault, HeartbeatReport, Held, Listed, Listing, Page, ReplicaRow, Request,
    Snapshot, Stale, Store, SyncReport, SyncRequest, Ticket,
};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, oneshot};

use crate::arrows::Way;
use crate::env::SimEnv;
use crate::world::World;

use commits::clock;
use faults::Faults;
pub use faults::Whose;
pub use mainstem_story::{CallFault, LateAnswers, PlannedFault};

/// The latency from a replica to the database and back.
const ROUND_TRIP: Duration = Duration::from_millis(2);
/// The interval at which a call tries again if it cannot reach the database or has no connection.
const RETRY: Duration = Duration::from_millis(10);
/// A call that gets no connection from the pool within this time is refused.
const POOL_TIMEOUT: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    world: World,
    node: NodeHandle,
    state: Mutex<State>,
    /// All faults were cleared: late answers come now.
    cleared: Notify,
}

struct State {
    rows: Rows,
    faults: Faults,
    rng: StdRng,
    vary: Duration,
}

impl Database {
    pub fn new(world: &World, lease_ttl: Duration) -> Self {
        let node = world.handle().create_node().name("database").build();
        let state = State {
            rows: Rows::new(lease_ttl),
            faults: Faults::default(),
            rng: world.stream("database"),
            vary: Duration::ZERO,
        };
        let (state, cleared) = (Mutex::new(state), Notify::new());
        Self(Arc::new(Shared { world: world.clone(), node, state, cleared }))
    }

    /// The database, as one replica uses it. Faults may affect one replica alone.
    pub fn store(&self, env: &SimEnv, replica: &str) -> SimStore {
        let calls = Arc::new(Calls {
            database: self.clone(),
            replica: replica.to_owned(),
            acquiring: Mutex::default(),
        });
        SimStore { batching: Batching::new(env.clone(), calls.clone()), calls }
    }

    /// The current committed state of the chat.
    pub fn chat(&self, chat: ChatId) -> Option<ChatState> {
        self.with(|state| state.rows.state(chat).map(|state| ChatState::clone(state)))
    }

    /// The current committed history.
    pub fn history(&self, chat: ChatId) -> Vec<Arc<mainstem_machine::Message>> {
        self.with(|state| state.rows.history(chat).to_vec())
    }

    /// The name is this process's at once: whoever starts it knows that the one before is gone.
    pub fn claim_name(&self, replica: &ReplicaId, incarnation: u64) {
        self.with(|state| state.rows.claim_name(clock(&self.0.world), replica, incarnation));
    }

    /// Chats that wait for a replica now.
    pub fn free(&self) -> Vec<Arc<ChatState>> {
        let now = clock(&self.0.world);
        self.with(|state| {
            let free = state.rows.rows().filter(|(_, row)| row.is_free(now));
            free.map(|(_, row)| row.state.clone()).collect()
        })
    }

    /// Sets whether the replica may acquire chats. If not, there never is anything for it to acquire.
    pub fn set_may_work(&self, replica: &str, may: bool) {
        self.with(|state| state.faults.set_may_work(replica, may));
        self.0.world.observe(Evidence::MayWork { replica: replica.into(), may });
    }

    /// Plans a fault for the next matching calls.
    pub fn plan(&self, whose: Whose, planned: PlannedFault) {
        self.with(|state| state.faults.plan(whose, planned));
    }

    /// Makes calls take this much longer.
    pub fn set_slow(&self, whose: Whose, by: Duration) {
        self.with(|state| state.faults.set_slow(whose, by));
    }

    /// Makes answers come this late, after their operations have happened.
    pub fn set_late(&self, whose: Whose, late: LateAnswers) {
        self.with(|state| state.faults.set_late(whose, late));
    }

    /// Sets whether calls reach the database. Calls that do not reach it wait.
    pub fn set_cut_off(&self, whose: Whose, cut: bool) {
        self.with(|state| state.faults.set_cut_off(whose, cut));
    }

    /// Sets whether the connection pool is exhausted.
    pub fn set_exhausted(&self, whose: Whose, exhausted: bool) {
        self.with(|state| state.faults.set_exhausted(whose, exhausted));
    }

    /// Sets the random extra latency, at most, of each way.
    pub fn set_vary(&self, vary: Duration) {
        self.with(|state| state.vary = vary);
    }

    /// The latency of one way, without faults.
    fn way(&self) -> Duration {
        self.with(|state| ROUND_TRIP / 2 + up_to(&mut state.rng, state.vary))
    }

    /// How much longer the answer to a call takes.
    fn lateness(&self, replica: &str, chat: Option<ChatId>, call_fault: Option<CallFault>) -> Duration {
        self.with(|state| {
            let LateAnswers { by, scattered } = state.faults.late(replica, chat);
            let planned = match call_fault {
                Some(CallFault::AnswerLate(late)) => late,
                _ => Duration::ZERO,
            };
            planned + by + up_to(&mut state.rng, scattered)
        })
    }

    /// Keeps an answer back for this long, or until all faults are cleared: then there is nothing in its way.
    async fn keep_back(&self, late: Duration) {
        let cleared = self.0.cleared.notified();
        let waiting = std::pin::pin!(self.0.world.sleep(late));
        futures::future::select(waiting, std::pin::pin!(cleared)).await;
    }

    /// Sets how many messages a snapshot carries at most; the rest is read in pages.
    pub fn set_tail_messages_max(&self, max: usize) {
        self.with(|state| state.rows.set_tail_messages_max(max));
    }

    pub fn clear_faults(&self) {
        self.with(|state| state.faults.clear_faults());
        self.0.cleared.notify_waiters();
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("the database is whole"))
    }
}

/// A random time, at most this long.
fn up_to(rng: &mut StdRng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(if most == 0 { 0 } else { rng.random_range(0..=most) })
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

/// The database, as one replica uses it: with its commands gathered on their way, as they are to PostgreSQL.
#[derive(Debug)]
pub struct SimStore {
    calls: Arc<Calls>,
    batching: Batching<SimEnv>,
}

/// What a call is.
#[derive(Debug)]
struct What {
    /// Its name in stories and logs.
    op: &'static str,
    /// The one chat that it is about.
    chat: Option<ChatId>,
    /// What goes together in it, each by its name and chat.
    commands: Vec<(&'static str, Option<ChatId>)>,
}

impl What {
    fn of(op: &'static str, chat: Option<ChatId>) -> Self {
        Self { op, chat, commands: vec![(op, chat)] }
    }

    /// Several that go together, each by its name and chat. `None` if there are none.
    fn together(op: &'static str, commands: Vec<(&'static str, Option<ChatId>)>) -> Option<Self> {
        match &commands[..] {
            [] => None,
            [(op, chat)] => Some(Self::of(op, *chat)),
            _ => Some(Self { op, chat: None, commands }),
        }
    }
}

/// The calls of one replica.
#[derive(Debug)]
struct Calls {
    database: Database,
    replica: String,
    /// Since when chats are being acquired: a lease counts from when it was asked for.
    acquiring: Mutex<BTreeMap<ChatId, Time>>,
}

/// An acquisition, until it is answered.
struct Asking<'a> {
    calls: &'a Calls,
    chat: ChatId,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.calls.acquiring.lock().expect("it is whole").remove(&self.chat);
    }
}

impl Calls {
    fn asking(&self, request: &Request) -> Option<Asking<'_>> {
        let chat = request.chat;
        let acquires = matches!(request.command, Command::Acquire { .. });
        acquires.then(|| {
            self.acquiring.lock().expect("it is whole").insert(chat, self.database.0.world.now());
            Asking { calls: self, chat }
        })
    }

    /// When a command was asked for that is carried out now.
    fn asked(&self, request: &Request) -> Time {
        let acquires = matches!(request.command, Command::Acquire { .. });
        let since = self.acquiring.lock().expect("it is whole").get(&request.chat).copied();
        since.filter(|_| acquires).unwrap_or_else(|| self.database.0.world.now())
    }

    /// One call: the way there, the operation at one moment, and the way back.
    async fn call<T: Send + 'static>(
        &self,
        what: What,
        work: impl FnOnce(&mut Rows, &World, bool) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let asking = Evidence::Operated { replica: self.replica.as_str().into(), what: Operation::Database };
        self.database.0.world.observe(asking);
        let (reply, answer) = oneshot::channel();
        let (database, replica) = (self.database.clone(), self.replica.clone());
        // On the database's own node, because the caller may be gone before the operation is done.
        drop(self.database.0.node.spawn(async move {
            let result = database.serve(&replica, what, &reply, work).await;
            if let Some(result) = result {
                let _ = reply.send(result);
            }
        }));
        answer.await.unwrap_or_else(|_| Err(Fault::Unknown("the connection is gone".into())))
    }
}

impl Database {
    /// `None`: the outcome reaches nobody.
    async fn serve<T>(
        &self,
        replica: &str,
        what: What,
        reply: &oneshot::Sender<Result<T, Fault>>,
        work: impl FnOnce(&mut Rows, &World, bool) -> T,
    ) -> Option<Result<T, Fault>> {
        let (world, What { op, chat, commands }) = (&self.0.world, what);
        let asked = world.now();
        // What delays this call, until it is answered.
        let mut delays = BTreeSet::new();
        while self.with(|state| state.faults.is_exhausted(replica, chat)) {
            if delays.insert(FaultKind::PoolExhausted) {
                world.landed_for(chat, FaultKind::PoolExhausted, replica, format_args!("{op}"));
            }
            if world.now().since(asked) >= POOL_TIMEOUT {
                return Some(Err(Fault::Refused("no connection was free in time".into())));
            }
            world.sleep(RETRY).await;
        }
        let call = world.sent(replica, "database", Way::Database, format_args!("{op}"));
        let slow = self.with(|state| state.faults.slow(replica, chat));
        if !slow.is_zero() {
            delays.insert(FaultKind::DatabaseSlow);
            let by = slow.as_millis();
            world.landed_for(chat, FaultKind::DatabaseSlow, replica, format_args!("{op} by {by} ms"));
        }
        if self.with(|state| state.faults.single_out(replica, chat)) {
            world.tally().landed("database of one chat");
        }
        world.sleep(self.way() + slow).await;
        while self.with(|state| state.faults.is_cut_off(replica, chat)) {
            if delays.insert(FaultKind::DatabaseCutOff) {
                world.landed_for(chat, FaultKind::DatabaseCutOff, replica, format_args!("{op}"));
            }
            if reply.is_closed() {
                world.lost(call);
                return None;
            }
            world.sleep(RETRY).await;
        }
        world.arrived(call);
        let call_fault = self.with(|state| {
            let of_one = |(op, chat)| state.faults.take(replica, op, chat);
            commands.iter().copied().find_map(of_one)
        });
        let late = self.lateness(replica, chat, call_fault);
        if let Some(call_fault) = call_fault.filter(|fault| !matches!(fault, CallFault::AnswerLate(_))) {
            for (op, chat) in &commands {
                world.landed_for(*chat, call_fault.kind(), replica, format_args!("{op}"));
            }
        }
        let result = match call_fault {
            Some(CallFault::Refused) => Err(Fault::Refused("no connection in time".into())),
            Some(CallFault::Conflict) => Err(Fault::Refused("could not serialize access".into())),
            Some(CallFault::AnswerLost) => {
                let _ = self.with(|state| {
                    let may_work = state.faults.may_work(replica);
                    work(&mut state.rows, world, may_work)
                });
                Err(Fault::Unknown("the answer was lost".into()))
            }
            Some(CallFault::AnswerLate(_)) | None => Ok(self.with(|state| {
                let may_work = state.faults.may_work(replica);
                work(&mut state.rows, world, may_work)
            })),
        };
        let outcome = call_fault.map_or("done", |fault| fault.kind().as_str());
        let answer = world.sent("database", replica, Way::Database, format_args!("{op}: {outcome}"));
        if call_fault == Some(CallFault::AnswerLost) {
            world.lost(answer);
        }
        if !late.is_zero() && !reply.is_closed() {
            delays.insert(FaultKind::AnswerLate);
            let by = late.as_millis();
            for (op, chat) in &commands {
                world.landed_for(*chat, FaultKind::AnswerLate, replica, format_args!("{op} by {by} ms"));
            }
            self.keep_back(late).await;
        }
        world.sleep(self.way()).await;
        if reply.is_closed() {
            world.lost(answer);
        } else if result.is_ok() {
            for (_, chat) in commands {
                delays.iter().for_each(|kind| world.over(*kind, replica, chat));
            }
        }
        world.arrived(answer);
        Some(result)
    }
}

#[async_trait]
impl Store for SimStore {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        let _asking = self.calls.asking(request);
        self.batching.apply(request, None).await
    }

    async fn apply_knowing(&self, request: &Request, known: Arc<ChatState>) -> Result<Applied, Fault> {
        let _asking = self.calls.asking(request);
        self.batching.apply(request, Some(known)).await
    }

    async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        self.batching.snapshot(chat, cached).await
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        self.calls
            .call(What::of("page", Some(chat)), move |rows, _, _| rows.page(chat, after, until, limit))
            .await
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        self.calls.call(What::of("turn", Some(chat)), move |rows, _, _| rows.turn(chat, turn)).await
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        self.calls
            .call(What::of("message_ids", Some(chat)), move |rows, _, _| rows.message_ids(chat, first, last))
            .await
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        let user = user.to_owned();
        self.calls
            .call(What::of("list", None), move |rows, _, _| rows.list(&user, listing, before, limit))
            .await
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        self.calls
            .call(What::of("stale", None), move |rows, world, _| {
                rows.stale(world.wall(), after, idle_for, limit)
            })
            .await
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        let (owner, external_id) = (owner.to_owned(), external_id.to_owned());
        self.calls
            .call(What::of("named_chat", None), move |rows, _, _| rows.named(&owner, &external_id))
            .await
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        let (row, held) = (replica.clone(), held.to_vec());
        let world = &self.calls.database.0.world;
        let sent = world.now();
        let report = self
            .calls
            .call(What::of("heartbeat", None), move |rows, world, _| {
                commits::heartbeat(rows, world, sent, &row, held)
            })
            .await?;
        for Held { chat, lease } in report.confirmed.iter().copied() {
            world.observe(Evidence::Assured { replica: replica.replica.clone(), chat, lease, sent });
        }
        Ok(report)
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        let replica = replica.clone();
        self.calls.call(What::of("deregister", None), move |rows, _, _| rows.deregister(&replica)).await
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        let request = request.clone();
        self.calls
            .call(What::of("sync", None), move |rows, world, may_work| {
                let runnable_max = if may_work { request.runnable_max } else { 0 };
                rows.sync(clock(world), request.chats, runnable_max)
            })
            .await
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        let fresh = fresh.to_vec();
        self.calls.call(What::of("secret", None), move |rows, _, _| rows.secret(&fresh)).await
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        let ticket = ticket.clone();
        self.calls
            .call(What::of("keep ticket", None), move |rows, world, _| {
                rows.keep_ticket(clock(world), &ticket)
            })
            .await
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        let digest = *digest;
        self.calls
            .call(What::of("take ticket", None), move |rows, world, _| {
                rows.take_ticket(clock(world), &digest)
            })
            .await
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.calls.call(What::of("ping", None), |_, _, _| ()).await
    }
}

#[cfg(test)]
mod tests;
