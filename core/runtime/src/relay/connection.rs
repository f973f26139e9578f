//! One connection to a peer: the calls over it, and whether it is in use.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, select};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use mainstem_machine::RelayFault;
use tonic::body::Body;
use tonic::{Code, Status};

use super::io::{Driven, EnvTimer, Heard, Link, Tasks};
use super::many::Many;
use super::proto::relay_client::RelayClient;
use super::{auth, wire};
use crate::limits::relay::{
    CONNECTION_WINDOW, EARLY_RESETS_MAX, FOLLOWS_PER_PEER_MAX, HEADERS_BYTES_MAX, IDLE_MAX,
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, SEND_BUFFER_MAX, STREAM_WINDOW, TELLS_BYTES_MAX,
};
use crate::ports::{Boxed, Env, within};
use crate::sync::{AtomicBool, AtomicUsize, AtomicWaker, Ordering};

/// An established connection, which may have broken since. It ends when the last handle is dropped.
pub(super) struct Connection {
    pub(super) id: u64,
    /// `None` at a peer of an earlier release: each follow is a call of its own.
    many: Option<Many>,
    sender: SendRequest<Body>,
    usage: Arc<Usage>,
    broken: AtomicBool,
}

impl Connection {
    /// Connects and authenticates. Returns the connection, and a future that drives it and ends when it is
    /// lost. Dropping either closes the connection.
    pub(super) async fn open<E: Env>(
        env: &E,
        id: u64,
        address: &str,
        secret: &[u8],
    ) -> Result<(Self, Boxed<'static, ()>), RelayFault> {
        let mut stream = env.connect(address).await.map_err(|error| {
            tracing::debug!(address, %error, "a peer cannot be reached");
            RelayFault::Gone
        })?;
        auth::present(env, &mut stream, secret).await?;
        let tasks = Tasks::default();
        let heard = Heard::default();
        let (sender, connection) = Builder::new(tasks.clone())
            .timer(EnvTimer::new(env.clone()))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FOLLOWS_PER_PEER_MAX)
            .max_send_buf_size(SEND_BUFFER_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_concurrent_reset_streams(FOLLOWS_PER_PEER_MAX)
            .max_pending_accept_reset_streams(EARLY_RESETS_MAX)
            .max_local_error_reset_streams(EARLY_RESETS_MAX)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(Link::new(stream, heard.clone())))
            .await
            .map_err(|_| RelayFault::Gone)?;
        let mut driven = Driven::new(connection, tasks.clone());
        let asked = Box::pin(follow_many(Channel(sender.clone()), &tasks));
        let many = match select(&mut driven, asked).await {
            Either::Left(_) => return Err(RelayFault::Gone),
            Either::Right((many, _)) => many?,
        };
        let env = env.clone();
        let life = async move {
            select(driven, Box::pin(heard.silence(env))).await;
        };
        let usage = Arc::new(Usage::default());
        let connection = Self { id, many, sender, usage, broken: AtomicBool::new(false) };
        Ok((connection, Box::pin(life)))
    }

    /// Whether the connection is known to be broken, so that no new call can succeed.
    pub(super) fn is_broken(&self) -> bool {
        let is_over = self.many.as_ref().is_some_and(Many::is_over);
        is_over || self.broken.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    pub(super) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Begins the stream of all follows. `None` if the peer knows no such call.
async fn follow_many(channel: Channel, tasks: &Tasks) -> Result<Option<Many>, RelayFault> {
    let many = Many::default();
    match client(channel).follow_many(many.asks()).await {
        Ok(told) => {
            tasks.execute(many.hear(told.into_inner()));
            Ok(Some(many))
        }
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(wire::fault(&status)),
    }
}

fn client(channel: Channel) -> RelayClient<Channel> {
    let origin = http::Uri::from_static("http://relay");
    RelayClient::with_origin(channel, origin).max_decoding_message_size(TELLS_BYTES_MAX)
}

/// The number of follows that use a connection.
#[derive(Default)]
pub(super) struct Usage {
    follows: AtomicUsize,
    waker: AtomicWaker,
}

impl Usage {
    /// One more uses it. Returns how many do already.
    fn begin(&self) -> usize {
        let others = self.follows.fetch_add(1, Ordering::SeqCst);
        if others == 0 {
            self.waker.wake();
        }
        others
    }

    fn end(&self) {
        if self.follows.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.waker.wake();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.follows.load(Ordering::SeqCst) == 0
    }

    /// Waits until nobody has used the connection for [`IDLE_MAX`]. One task at a time may wait.
    pub(super) async fn ends<E: Env>(&self, env: &E) {
        loop {
            self.becomes(true).await;
            if within(env, IDLE_MAX, self.becomes(false)).await.is_err() {
                return;
            }
        }
    }

    async fn becomes(&self, idle: bool) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.is_idle() == idle { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The use of a connection by one follow.
#[derive(Debug)]
pub(super) struct Held(Arc<Connection>);

impl Held {
    /// Fails when too many use it.
    pub(super) fn new(connection: Arc<Connection>) -> Result<Self, RelayFault> {
        let others = connection.usage.begin();
        // From here on, dropping it decrements the count.
        let held = Self(connection);
        if others >= FOLLOWS_PER_PEER_MAX {
            tracing::warn!(
                follows = others,
                "too many chats are followed at one peer: not following another one now"
            );
            return Err(RelayFault::Gone);
        }
        Ok(held)
    }

    /// The stream of all follows, if the peer knows it.
    pub(super) fn many(&self) -> Option<&Many> {
        self.0.many.as_ref()
    }

    pub(super) fn client(&self) -> RelayClient<Channel> {
        client(Channel(self.0.sender.clone()))
    }

    /// The fault that a failed call stands for. If the transport failed, the next follow dials again, even if
    /// the connection's task has not noticed yet.
    pub(super) fn fault(&self, status: &Status) -> RelayFault {
        if wire::is_broken(status) {
            self.0.broken.store(true, Ordering::Relaxed);
        }
        wire::fault(status)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.usage.end();
    }
}

/// The channel through which the generated client sends its requests.
#[derive(Clone, Debug)]
pub(super) struct Channel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use shuttle::future::{block_on, spawn};

    use super::*;
    use crate::sync::explore;

    #[test]
    fn whoever_waits_for_a_connection_to_become_idle_or_used_is_told() {
        explore(|| {
            block_on(async {
                let usage = Arc::<Usage>::default();
                let users = [usage.clone(), usage.clone()].map(|usage| {
                    usage.begin();
                    spawn(async move { usage.end() })
                });
                usage.becomes(true).await;
                for user in users {
                    user.await.expect("no panic");
                }
                let user = usage.clone();
                let user = spawn(async move { user.begin() });
                usage.becomes(false).await;
                assert_eq!(user.await.expect("no panic"), 0);
            });
        });
    }
}
