//! The worker's side of the relay: a listener that serves authenticated peers.
//!
//! Every connection has a task of its own, so that one peer cannot affect another. A connection is closed if
//! it does not authenticate in time, sends garbage or stops responding.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use futures::channel::mpsc;
use futures::future::{Abortable, select};
use futures::stream::{self, BoxStream, FuturesUnordered, StreamExt};
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use mainstem_machine::{RelayFault, RelayFrame};
use tonic::{Request, Response, Status, Streaming};

use super::frames::Frames;
use super::io::{Driven, EnvTimer, Heard, Link, Tasks};
use super::pending::Pending;
use super::proto::relay_server::{Relay, RelayServer as GrpcServer};
use super::wire::{self, Follow};
use super::{auth, many, proto};
use crate::limits::relay::{
    ACCEPT_RETRY_DELAY, ASKS_BYTES_MAX, CONNECTIONS_MAX, EARLY_RESETS_MAX, HEADERS_BYTES_MAX,
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, PREFACE_TIMEOUT, REQUESTS_WINDOW, SEND_BUFFER_MAX,
    STREAM_WINDOW, STREAMS_MAX, TRACEPARENT_BYTES_MAX,
};
use crate::log_rate::LogRate;
use crate::ports::{Boxed, Env, TaskHandle, within};

/// The source of a worker's frames.
pub trait RelaySource: Send + Sync + 'static {
    /// Accepts a follow, or says why not. The future is dropped if the follower cancels, and so is the
    /// stream. The stream is polled only when the follower can take more; when it ends, the follower gets
    /// [`RelayFault::Gone`]. The text of a part must not be longer than [`FRAME_TEXT_BYTES_MAX`]. Frames may
    /// have any number of parts: they are split and joined before they are sent.
    ///
    /// [`FRAME_TEXT_BYTES_MAX`]: crate::limits::relay::FRAME_TEXT_BYTES_MAX
    fn follow(
        &self,
        request: Follow,
    ) -> impl Future<Output = Result<BoxStream<'static, RelayFrame>, RelayFault>> + Send;
}

/// Serves peers until it is dropped, which ends all their streams.
pub struct RelayServer {
    _accepting: TaskHandle,
    connections: Arc<Connections>,
}

impl RelayServer {
    /// # Panics
    ///
    /// If the secret is empty, because anybody would know it.
    pub fn serve<E: Env>(
        env: &E,
        listener: E::Listener,
        secret: Arc<[u8]>,
        source: Arc<impl RelaySource>,
    ) -> Self {
        Self::serve_keeping(env, listener, secret, source, ())
    }

    /// The same as a replica of an earlier release serves: each follow is a call of its own. For tests of what is
    /// between releases.
    pub fn serve_calls<E: Env>(
        env: &E,
        listener: E::Listener,
        secret: Arc<[u8]>,
        source: Arc<impl RelaySource>,
    ) -> Self {
        Self::serve_with(env, listener, secret, Answers { source, knows_many: false }, ())
    }

    /// The same as [`serve`](Self::serve); `kept` is dropped when it accepts no more.
    pub(crate) fn serve_keeping<E: Env>(
        env: &E,
        listener: E::Listener,
        secret: Arc<[u8]>,
        source: Arc<impl RelaySource>,
        kept: impl Send + 'static,
    ) -> Self {
        Self::serve_with(env, listener, secret, Answers { source, knows_many: true }, kept)
    }

    fn serve_with<E: Env>(
        env: &E,
        listener: E::Listener,
        secret: Arc<[u8]>,
        answers: Answers<impl RelaySource>,
        kept: impl Send + 'static,
    ) -> Self {
        assert!(!secret.is_empty(), "S10: the relay needs a secret of at least one byte");
        let connections = Arc::new(Connections::default());
        let accepting = accept(env.clone(), listener, secret, connections.clone(), answers);
        let accepting = env.spawn(async move {
            let _kept = kept;
            accepting.await;
        });
        Self { _accepting: accepting, connections }
    }

    /// How many peers are connected.
    pub fn connections(&self) -> usize {
        self.connections.lock().running.len()
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        let ended = {
            let mut table = self.connections.lock();
            table.closed = true;
            std::mem::take(&mut table.running)
        };
        // Outside the lock, because ending tasks may take it.
        drop(ended);
    }
}

impl fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServer").field("connections", &self.connections()).finish()
    }
}

/// What strangers cause is logged at a bounded rate.
#[derive(Default)]
struct Rates {
    accept: LogRate,
    crowded: LogRate,
    denied: LogRate,
    strangers: LogRate,
    silent: LogRate,
    peers: LogRate,
}

/// Accepts connections, and spawns a task for each that has authenticated.
async fn accept<E: Env>(
    env: E,
    listener: E::Listener,
    secret: Arc<[u8]>,
    connections: Arc<Connections>,
    answers: Answers<impl RelaySource>,
) {
    let rates = Arc::new(Rates::default());
    let mut incoming = incoming(env.clone(), listener, rates.clone());
    let mut last_id = 0;
    let mut proving = FuturesUnordered::new();
    let mut pending = Pending::default();
    loop {
        tokio::select! {
            biased;
            Some(proved) = proving.next(), if !proving.is_empty() => {
                // `Err`: it was the oldest of too many, and was dropped.
                let Ok((id, proved)) = proved else { continue };
                pending.remove(id);
                if let Some(stream) = proved {
                    connections.spawn(&env, id, &rates.peers, serve_peer(env.clone(), stream, answers.clone()));
                }
            }
            Some(stream) = incoming.next() => {
                last_id += 1;
                let (registration, is_crowded) = pending.insert(last_id, env.origin(&stream));
                if is_crowded && let Some(suppressed) = rates.crowded.admit(env.now()) {
                    tracing::warn!(suppressed, "too many connections at once that prove nothing");
                }
                let proof = proof(env.clone(), last_id, stream, secret.clone(), rates.clone());
                let proof: Boxed<'static, _> = Box::pin(proof);
                proving.push(Abortable::new(proof, registration));
            }
        }
    }
}

/// Incoming connections. A failed `accept`, for example for lack of file descriptors, is retried.
fn incoming<E: Env>(env: E, listener: E::Listener, rates: Arc<Rates>) -> BoxStream<'static, E::Stream> {
    Box::pin(stream::unfold((env, listener, rates), |(env, mut listener, rates)| async move {
        loop {
            match env.accept(&mut listener).await {
                Ok(stream) => return Some((stream, (env, listener, rates))),
                Err(error) => {
                    if let Some(suppressed) = rates.accept.admit(env.now()) {
                        tracing::warn!(%error, suppressed, "a peer's connection could not be accepted");
                    }
                    env.sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }))
}

async fn proof<E: Env>(
    env: E,
    id: u64,
    mut stream: E::Stream,
    secret: Arc<[u8]>,
    rates: Arc<Rates>,
) -> (u64, Option<E::Stream>) {
    match within(&env, PREFACE_TIMEOUT, auth::admit(&env, &mut stream, &secret)).await {
        Ok(Ok(())) => return (id, Some(stream)),
        Ok(Err(auth::AuthError::Denied)) => {
            if let Some(suppressed) = rates.denied.admit(env.now()) {
                tracing::warn!(suppressed, "a peer has another secret and is turned away");
            }
        }
        Ok(Err(reason)) => {
            if let Some(suppressed) = rates.strangers.admit(env.now()) {
                tracing::debug!(%reason, suppressed, "a connection is no peer's");
            }
        }
        Err(_) => {
            if let Some(suppressed) = rates.silent.admit(env.now()) {
                tracing::debug!(suppressed, "a connection did not prove itself in time");
            }
        }
    }
    (id, None)
}

async fn serve_peer<E: Env>(env: E, stream: E::Stream, answers: Answers<impl RelaySource>) {
    let tasks = Tasks::default();
    let service = Service { answers, tasks: tasks.clone() };
    let service = GrpcServer::new(service).max_decoding_message_size(ASKS_BYTES_MAX);
    let heard = Heard::default();
    let connection = Builder::new(tasks.clone())
        .timer(EnvTimer::new(env.clone()))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(REQUESTS_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(EARLY_RESETS_MAX)
        .max_local_error_reset_streams(EARLY_RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(Link::new(stream, heard.clone())), TowerToHyperService::new(service));
    tracing::info!("a peer connected");
    let driven = Driven::new(connection, tasks);
    select(driven, Box::pin(heard.silence(env))).await;
    tracing::info!("a peer disconnected");
}

/// The tasks of the connections from peers.
#[derive(Default)]
struct Connections(Mutex<Table>);

#[derive(Default)]
struct Table {
    closed: bool,
    running: BTreeMap<u64, TaskHandle>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn<E: Env>(
        self: &Arc<Self>,
        env: &E,
        id: u64,
        rate: &LogRate,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut table = self.lock();
        if table.running.len() >= CONNECTIONS_MAX {
            if let Some(suppressed) = rate.admit(env.now()) {
                tracing::warn!(
                    connections = table.running.len(),
                    suppressed,
                    "connected to by too many peers"
                );
            }
        } else if !table.closed {
            let slot = ConnectionSlot { connections: Arc::downgrade(self), id };
            let task = async move {
                let _slot = slot;
                connection.await;
            };
            table.running.insert(id, env.spawn(task));
        }
    }
}

/// The slot of a connection in the table. Dropping it frees the slot.
struct ConnectionSlot {
    connections: Weak<Connections>,
    id: u64,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let Some(connections) = self.connections.upgrade() else { return };
        let task = connections.lock().running.remove(&self.id);
        // This is the task that is ending.
        if let Some(task) = task {
            task.detach();
        }
    }
}

/// How peers are answered.
struct Answers<H> {
    source: Arc<H>,
    /// Whether they may follow many chats on one stream.
    knows_many: bool,
}

impl<H> Clone for Answers<H> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), knows_many: self.knows_many }
    }
}

/// The same on one connection.
struct Service<H> {
    answers: Answers<H>,
    tasks: Tasks,
}

#[async_trait]
impl<H: RelaySource> Relay for Service<H> {
    type FollowManyStream = mpsc::Receiver<Result<proto::Tells, Status>>;
    type FollowStream = Frames;

    async fn follow_many(
        &self,
        request: Request<Streaming<proto::Asks>>,
    ) -> Result<Response<Self::FollowManyStream>, Status> {
        if !self.answers.knows_many {
            return Err(Status::unimplemented("each follow is a call of its own"));
        }
        let (serving, tells) = many::serve(self.answers.source.clone(), request.into_inner());
        self.tasks.execute(serving);
        Ok(Response::new(tells))
    }

    async fn follow(&self, request: Request<proto::FollowRequest>) -> Result<Response<Frames>, Status> {
        let traceparent = request.metadata().get(wire::TRACEPARENT).and_then(|said| said.to_str().ok());
        let traceparent = traceparent.filter(|said| said.len() <= TRACEPARENT_BYTES_MAX).map(Arc::from);
        let request = Follow::try_from(request.into_inner()).map_err(wire::to_status)?;
        let request = Follow { traceparent, ..request };
        let takes_blocks = request.takes_blocks;
        let frames = self.answers.source.follow(request).await.map_err(wire::to_status)?;
        Ok(Response::new(Frames::new(frames, takes_blocks)))
    }
}
