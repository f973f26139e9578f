//! The follower's side of the relay: one shared connection for each peer, and what is followed over it.
//!
//! A connection is opened when it is first needed. All follows that need it wait for the same dial, which is
//! cancelled when none of them waits any more (T5, R06). An idle connection is closed after a while, and a
//! broken one is dropped from the pool, so that the next follow dials again.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::future::{FutureExt, Shared, WeakShared};
use futures::stream::Stream;
use mainstem_machine::{RelayFault, RelayFrame};

use super::connection::{Connection, Held};
use super::counts::{Asked, Counts, Open, RelayCounts};
use super::many::ManyFrames;
use super::proto;
use super::wire::{Follow, TRACEPARENT};
use crate::limits::relay::{CONNECT_TIMEOUT, FOLLOW_TIMEOUT, PEERS_MAX};
use crate::ports::{Boxed, Env, Hop, TaskHandle, within};

/// The pool of connections to peers. Cheap to clone; all clones share it. The connections end with the last
/// clone.
#[derive(Clone)]
pub struct Peers<E: Env>(Arc<Pool<E>>);

impl<E: Env> Peers<E> {
    /// # Panics
    ///
    /// If the secret is empty, because anybody would know it.
    pub fn new(env: E, secret: Arc<[u8]>) -> Self {
        assert!(!secret.is_empty(), "S10: the relay needs a secret of at least one byte");
        Self(Arc::new(Pool { env, secret, counts: Arc::default(), state: Mutex::default() }))
    }

    /// Follows a chat at the peer that listens on `address` (`host:port`). Returns once the peer has
    /// accepted; fails after [`FOLLOW_TIMEOUT`]. Dropping the future leaves nothing behind except, for a
    /// while, an established connection.
    pub async fn follow(&self, address: &str, request: Follow) -> Result<RelayStream, RelayFault> {
        let asked = Asked::of(&self.0.counts);
        let agreed = within(&self.0.env, FOLLOW_TIMEOUT, self.0.follow(address, request));
        match agreed.await.unwrap_or(Err(RelayFault::Gone)) {
            Ok((frames, held)) => {
                Ok(RelayStream { frames: Some(frames), held, hop: None, _open: asked.accepted() })
            }
            Err(fault) => {
                asked.refused(fault);
                Err(fault)
            }
        }
    }

    /// Connects to the peer on `address`, and has each side prove that it knows the secret. Fails after
    /// [`CONNECT_TIMEOUT`].
    pub async fn greet(&self, address: &str) -> Result<(), RelayFault> {
        self.0.connection(address).await.map(drop)
    }

    /// What became of all follows.
    pub fn counts(&self) -> RelayCounts {
        self.0.counts.read()
    }

    /// Closes all connections for good: every stream ends, and there are no further dials.
    pub fn close(&self) {
        let ended = {
            let mut state = self.0.lock();
            state.closed = true;
            (std::mem::take(&mut state.slots), std::mem::take(&mut state.running))
        };
        // Outside the lock, because ending tasks may take it.
        drop(ended);
    }

    /// How many connections there are, idle ones included.
    pub fn connections(&self) -> usize {
        self.0.lock().running.len()
    }
}

impl<E: Env> fmt::Debug for Peers<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("connections", &self.connections()).finish()
    }
}

/// The frames that a worker sends for one chat. The last item is the fault that ended the stream;
/// [`RelayFault::Gone`] if the worker ended it. Dropping the stream ends the worker's side too.
pub struct RelayStream {
    frames: Option<Frames>,
    held: Held,
    hop: Option<Box<dyn Hop>>,
    _open: Open,
}

/// How the peer sends them.
enum Frames {
    OfMany(ManyFrames),
    OfCall(Box<tonic::Streaming<proto::Frame>>),
}

impl RelayStream {
    /// The same with what is kept until it is over.
    pub(crate) fn traced_by(self, hop: Box<dyn Hop>) -> Self {
        Self { hop: Some(hop), ..self }
    }
}

impl Stream for RelayStream {
    type Item = Result<RelayFrame, RelayFault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(frames) = &mut this.frames else { return Poll::Ready(None) };
        let frame = match frames {
            Frames::OfMany(frames) => ready!(frames.poll_frame(cx)),
            Frames::OfCall(frames) => match ready!(Pin::new(frames).poll_next(cx)) {
                Some(frame) => frame.map_err(|status| this.held.fault(&status)),
                None => Err(RelayFault::Gone),
            },
        };
        let fault = match frame.and_then(RelayFrame::try_from) {
            Ok(frame) => return Poll::Ready(Some(Ok(frame))),
            Err(fault) => fault,
        };
        (self.frames, self.hop) = (None, None);
        Poll::Ready(Some(Err(fault)))
    }
}

impl fmt::Debug for RelayStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayStream").field("connection", &self.held).finish_non_exhaustive()
    }
}

type Dial = Boxed<'static, Result<Arc<Connection>, RelayFault>>;

enum Slot {
    /// Held by the follows that wait for the dial: without them it is dropped.
    Dialing {
        id: u64,
        dial: WeakShared<Dial>,
    },
    Open(Arc<Connection>),
}

impl Slot {
    fn id(&self) -> u64 {
        match self {
            Self::Dialing { id, .. } => *id,
            Self::Open(connection) => connection.id,
        }
    }
}

struct Pool<E: Env> {
    env: E,
    secret: Arc<[u8]>,
    counts: Arc<Counts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    last_id: u64,
    /// By address: the dial or connection that the next follow uses.
    slots: BTreeMap<String, Slot>,
    /// The tasks of all connections, including those that are not in `slots` any more.
    running: BTreeMap<u64, TaskHandle>,
}

impl<E: Env> Pool<E> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(self: &Arc<Self>, address: &str, request: Follow) -> Result<(Frames, Held), RelayFault> {
        let held = self.connection(address).await?;
        if let Some(many) = held.many() {
            return Ok((Frames::OfMany(many.follow(request).await?), held));
        }
        let traceparent = request.traceparent.clone();
        let mut request = tonic::Request::new(proto::FollowRequest::from(request));
        if let Some(value) = traceparent.and_then(|said| said.parse().ok()) {
            request.metadata_mut().insert(TRACEPARENT, value);
        }
        match held.client().follow(request).await {
            Ok(response) => Ok((Frames::OfCall(Box::new(response.into_inner())), held)),
            Err(status) => Err(held.fault(&status)),
        }
    }

    async fn connection(self: &Arc<Self>, address: &str) -> Result<Held, RelayFault> {
        let dial = {
            let mut state = self.lock();
            if state.closed {
                return Err(RelayFault::Gone);
            }
            let dial = match state.slots.get(address) {
                Some(Slot::Open(connection)) if !connection.is_broken() => {
                    return Held::new(connection.clone());
                }
                Some(Slot::Dialing { dial, .. }) => dial.upgrade(),
                _ => None,
            };
            match dial {
                Some(dial) => dial,
                None => self.dial(&mut state, address)?,
            }
        };
        Held::new(dial.await?)
    }

    fn dial(self: &Arc<Self>, state: &mut State, address: &str) -> Result<Shared<Dial>, RelayFault> {
        if state.running.len().max(state.slots.len()) >= PEERS_MAX {
            tracing::warn!(address, "too many connections to peers: not following this one now");
            return Err(RelayFault::Gone);
        }
        state.last_id += 1;
        let slot_guard =
            SlotGuard { pool: Arc::downgrade(self), address: address.to_owned(), id: state.last_id };
        let pool = self.clone();
        let id = slot_guard.id;
        let dial: Dial = Box::pin(async move {
            let opening = Connection::open(&pool.env, slot_guard.id, &slot_guard.address, &pool.secret);
            let (connection, life) = match within(&pool.env, CONNECT_TIMEOUT, opening).await {
                Ok(Ok(opened)) => opened,
                Ok(Err(fault)) => return Err(slot_guard.failed(fault)),
                Err(_) => return Err(slot_guard.failed(RelayFault::Gone)),
            };
            pool.keep(slot_guard, connection, life)
        });
        let dial = dial.shared();
        let weak = dial.downgrade().expect("a dial that was not polled has not ended");
        state.slots.insert(address.to_owned(), Slot::Dialing { id, dial: weak });
        Ok(dial)
    }

    fn keep(
        &self,
        slot_guard: SlotGuard<E>,
        connection: Connection,
        life: Boxed<'static, ()>,
    ) -> Result<Arc<Connection>, RelayFault> {
        let connection = Arc::new(connection);
        let usage = connection.usage().clone();
        let (id, address) = (slot_guard.id, slot_guard.address.clone());
        let env = self.env.clone();
        let life = async move {
            let unused = std::pin::pin!(async {
                loop {
                    usage.ends(&env).await;
                    if slot_guard.leave_if(|| usage.is_idle()) {
                        return;
                    }
                }
            });
            futures::future::select(life, unused).await;
            tracing::info!(address = slot_guard.address, "disconnected from a peer");
        };
        let mut state = self.lock();
        if state.closed {
            // What was moved into `life` takes the lock when it is dropped.
            drop(state);
            return Err(RelayFault::Gone);
        }
        tracing::info!(address, "connected to a peer");
        state.running.insert(id, self.env.spawn(life));
        state.slots.insert(address, Slot::Open(connection.clone()));
        Ok(connection)
    }
}

/// The slot of a dial, and then of its connection, in the pool. Dropping it frees the slot.
struct SlotGuard<E: Env> {
    pool: Weak<Pool<E>>,
    address: String,
    id: u64,
}

impl<E: Env> SlotGuard<E> {
    fn failed(&self, fault: RelayFault) -> RelayFault {
        match fault {
            RelayFault::Denied => {
                tracing::warn!(address = self.address, "a peer has another secret than this replica")
            }
            _ => tracing::debug!(address = self.address, ?fault, "could not connect to a peer"),
        }
        fault
    }

    /// Frees the slot if `sure` returns true. `sure` is called under the lock, when no follow can begin to
    /// use the connection.
    fn leave_if(&self, sure: impl FnOnce() -> bool) -> bool {
        let Some(pool) = self.pool.upgrade() else { return true };
        let mut state = pool.lock();
        let sure = sure();
        let left = match state.slots.get(&self.address) {
            Some(slot) if sure && slot.id() == self.id => state.slots.remove(&self.address),
            _ => None,
        };
        drop(state);
        drop(left);
        sure
    }
}

impl<E: Env> Drop for SlotGuard<E> {
    fn drop(&mut self) {
        self.leave_if(|| true);
        if let Some(pool) = self.pool.upgrade() {
            let task = pool.lock().running.remove(&self.id);
            // This is the task that is ending.
            if let Some(task) = task {
                task.detach();
            }
        }
    }
}
