//! A connection that speaks HTTP/2 (RFC 9113), which clients choose in TLS. Its requests share one connection, so nothing of them is
//! done outside of hyper. What a stream's client does not take is bounded by windows, and a connection of which one stream takes
//! nothing for the client time-out, or outlasts its token, ends as a whole: its client comes back, and resumes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::client_stream::ClientStream;
use super::closes;
use super::seats::Occupant;
use crate::http::{Streamed, answer};
use crate::limits::edge::{
    CONNECTION_BUFFER_BYTES, HTTP2_EARLY_RESETS_MAX, HTTP2_STREAM_BUFFER_BYTES, HTTP2_STREAMS_MAX,
    PING_INTERVAL, REVOKED_GRACE,
};

/// The requests of one connection that are being answered.
#[derive(Debug)]
struct Requests {
    occupant: Occupant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    last: u64,
    idle_since: Option<Instant>,
    streams: Vec<(u64, Told)>,
}

/// A stream, as it goes on.
#[derive(Debug)]
struct Told {
    streamed: Streamed,
    /// Since when the client takes nothing of what is there for it.
    waits_since: Option<Instant>,
    revoked_at: Option<Instant>,
}

/// One request. It is open until this is dropped.
struct Open {
    requests: Arc<Requests>,
    /// Of its stream, if its answer is one.
    stream: Option<u64>,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Open {
        let mut table = self.lock();
        table.open += 1;
        table.idle_since = None;
        drop(table);
        self.occupant.is_busy_now();
        Open { requests: self.clone(), stream: None }
    }

    /// Whether a stream keeps the connection from being of use.
    fn is_stuck(&self, client_timeout: Duration) -> bool {
        let now = Instant::now();
        let mut table = self.lock();
        table.streams.iter_mut().any(|(_, told)| {
            if told.streamed.is_revoked() {
                told.revoked_at.get_or_insert(now);
            }
            let overdue = told.revoked_at.is_some_and(|at| now - at >= REVOKED_GRACE);
            overdue || told.waits_since.is_some_and(|since| now - since >= client_timeout)
        })
    }
}

impl Open {
    fn streams(&mut self, streamed: Streamed) {
        let mut table = self.requests.lock();
        table.last += 1;
        let id = table.last;
        table.streams.push((id, Told { streamed, waits_since: None, revoked_at: None }));
        self.stream = Some(id);
    }

    fn waits(&self, since: Option<Instant>) {
        let Some(id) = self.stream else { return };
        let mut table = self.requests.lock();
        if let Some((_, told)) = table.streams.iter_mut().find(|(stream, _)| *stream == id) {
            told.waits_since = since;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.requests.lock();
        table.open -= 1;
        if let Some(id) = self.stream {
            table.streams.retain(|(stream, _)| *stream != id);
        }
        if table.open == 0 {
            table.idle_since = Some(Instant::now());
            drop(table);
            self.requests.occupant.is_idle_now();
        }
    }
}

/// A body that is open until its last byte was taken.
struct Counted {
    body: Body,
    open: Open,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // It is asked for when the client has room for more.
        self.open.waits(None);
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.open.waits(Some(Instant::now()));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves the connection to its end. `idle_timeout`: how long it may have no request.
pub(super) async fn serve(
    stream: ClientStream,
    idle_timeout: Duration,
    client_timeout: Duration,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let (occupant, progress, peer) = (stream.occupant(), stream.progress.clone(), stream.peer());
    let table = Mutex::new(Table { idle_since: Some(Instant::now()), ..Table::default() });
    let requests = Arc::new(Requests { occupant: occupant.clone(), table });
    let service = {
        let requests = requests.clone();
        service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            let (router, mut open) = (router.clone(), requests.begin());
            async move {
                let response: Response = answer(router, request.map(Body::new)).await?;
                if let Some(streamed) = response.extensions().get::<Streamed>() {
                    open.streams(streamed.clone());
                }
                Ok::<_, Infallible>(response.map(|body| Counted { body, open }))
            }
        })
    };
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(CONNECTION_BUFFER_BYTES as u32)
        .max_send_buf_size(HTTP2_STREAM_BUFFER_BYTES)
        .max_pending_accept_reset_streams(HTTP2_EARLY_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_EARLY_RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(client_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut closes = std::pin::pin!(closes(&mut closing));
    let mut look = Box::pin(sleep(client_timeout / 8));
    let mut closed = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            let is_over = !closed && closes.as_mut().poll(cx).is_ready();
            let looks = look.poll_unpin(cx).is_ready();
            if looks {
                look.set(sleep(client_timeout / 8));
                if requests.is_stuck(client_timeout) {
                    return Poll::Ready(None);
                }
            }
            let idle = requests.lock().idle_since;
            let is_idle = looks && idle.is_some_and(|since| since.elapsed() >= idle_timeout);
            if is_over || (!closed && (is_idle || occupant.poll_evicted(cx))) {
                closed = true;
                Pin::new(&mut connection).graceful_shutdown();
            } else if !looks {
                return Poll::Pending;
            }
        }
    })
    .await;
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection ended"),
        None => {
            tracing::debug!(
                "a stream of a connection took nothing for too long, or outlasted its token: closing it"
            );
            progress.demand_reset();
        }
    }
}
