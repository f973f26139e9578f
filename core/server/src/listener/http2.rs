//! A connection that speaks HTTP/2 (RFC 9113), which clients choose in TLS. Its requests share one connection, so nothing of them is
//! done outside of hyper. What a client does not take of an answer is bounded by windows, and a connection of which one answer is
//! taken no further for the client time-out, or one stream outlasts its token, ends as a whole: its client comes back, and resumes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use hyper::body::{Body as _, Frame, SizeHint};
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
    CLOSE_TIMEOUT, CONNECTION_BUFFER_BYTES, GIVE_WAY_GRACE, HTTP2_EARLY_RESETS_MAX, HTTP2_FRAME_BYTES_MAX,
    HTTP2_STREAM_BUFFER_BYTES, HTTP2_STREAMS_MAX, PING_INTERVAL, REVOKED_GRACE,
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
    answers: Vec<(u64, Told)>,
}

/// An answer, as it goes on.
#[derive(Debug)]
struct Told {
    /// If it is a stream.
    streamed: Option<Streamed>,
    /// Since when the client takes nothing of what is there for it.
    waits_since: Option<Instant>,
    revoked_at: Option<Instant>,
}

/// One request. It is open until this is dropped.
struct Open {
    requests: Arc<Requests>,
    /// Of its answer, when there is one.
    answer: Option<u64>,
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
        Open { requests: self.clone(), answer: None }
    }

    /// Whether an answer keeps the connection from being of use.
    fn is_stuck(&self, client_timeout: Duration) -> bool {
        let now = Instant::now();
        let mut table = self.lock();
        table.answers.iter_mut().any(|(_, told)| {
            if told.streamed.as_ref().is_some_and(Streamed::is_revoked) {
                told.revoked_at.get_or_insert(now);
            }
            let overdue = told.revoked_at.is_some_and(|at| now - at >= REVOKED_GRACE);
            overdue || told.waits_since.is_some_and(|since| now - since >= client_timeout)
        })
    }
}

impl Open {
    fn answers(&mut self, streamed: Option<Streamed>) {
        let mut table = self.requests.lock();
        table.last += 1;
        let id = table.last;
        table.answers.push((id, Told { streamed, waits_since: None, revoked_at: None }));
        self.answer = Some(id);
    }

    fn waits(&self, since: Option<Instant>) {
        let Some(id) = self.answer else { return };
        let mut table = self.requests.lock();
        if let Some((_, told)) = table.answers.iter_mut().find(|(answer, _)| *answer == id) {
            told.waits_since = since;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.requests.lock();
        table.open -= 1;
        if let Some(id) = self.answer {
            table.answers.retain(|(answer, _)| *answer != id);
        }
        if table.open == 0 {
            table.idle_since = Some(Instant::now());
            drop(table);
            self.requests.occupant.is_idle_now();
        }
    }
}

/// A body that is open until its last byte was taken. hyper hands a frame on as soon as the client has room for its first byte, and
/// lets go of the body with the last frame: so frames are small (B1), and the last byte is one of its own, which has to wait for
/// room behind all others.
struct Counted {
    body: Body,
    /// Of a frame of the body's, what was not given yet.
    rest: Bytes,
    open: Open,
}

impl Counted {
    fn next_piece(&mut self) -> Bytes {
        let mut length = self.rest.len().min(HTTP2_FRAME_BYTES_MAX);
        if length == self.rest.len() && length > 1 && self.body.is_end_stream() {
            length -= 1;
        }
        self.rest.split_to(length)
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // It is asked for when what came before has been taken.
        self.open.waits(None);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        self.open.waits(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
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
                open.answers(response.extensions().get::<Streamed>().cloned());
                Ok::<_, Infallible>(response.map(|body| Counted { body, rest: Bytes::new(), open }))
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
    let (mut closed, mut is_evicted, mut has_to_end) = (false, false, false);
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            let is_over = !closed && closes.as_mut().poll(cx).is_ready();
            let looks = look.poll_unpin(cx).is_ready();
            if looks {
                look.set(sleep(client_timeout / 8));
                let is_over = has_to_end && requests.lock().open == 0;
                if is_over || requests.is_stuck(client_timeout) {
                    return Poll::Ready(None);
                }
            }
            let idle = requests.lock().idle_since;
            let is_idle = looks && idle.is_some_and(|since| since.elapsed() >= idle_timeout);
            let grace = if !is_evicted && occupant.poll_evicted(cx) {
                is_evicted = true;
                Some(GIVE_WAY_GRACE)
            } else {
                Some(CLOSE_TIMEOUT).filter(|_| is_idle && !closed)
            };
            if let Some(grace) = grace {
                // A client that does not answer, or takes no end of a stream, is not waited for.
                has_to_end = true;
                look.set(sleep(grace));
            }
            if !closed && (is_over || has_to_end) {
                closed = true;
                Pin::new(&mut connection).graceful_shutdown();
            } else if !looks && grace.is_none() {
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
                "an answer was taken no further for too long, or a stream outlasted its token: closing the connection"
            );
            progress.demand_reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::super::seats::Seats;
    use super::super::socket::Socket;
    use super::*;
    use crate::rates::Doors;

    /// A body of which hyper does not know beforehand that it ends.
    async fn ends_soon() -> Body {
        Body::from_stream(futures::stream::iter([Ok::<_, Infallible>("ten bytes.")]))
    }

    #[tokio::test]
    async fn who_does_not_take_the_end_of_an_answer_is_idle_and_gives_way_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (stream, peer) = listener.accept().await.expect("a client");
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let seats = Seats::new(1);
        let entry = Doors::default().enter(peer.ip()).expect("there is no limit");
        let seat = seats.take(entry).await.expect("a seat");
        let stream = ClientStream::plain(Socket::new(stream, hour), seat);
        let router = Router::new().route("/", get(ends_soon));
        let (_open, closing) = watch::channel(false);
        tokio::spawn(serve(stream, second, 8 * second, router, closing));
        // The preface, a window of one byte for each stream (RFC 9113, section 6.5.2), and `GET /` of the static table.
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1];
        let request = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86];
        let said = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &request].concat();
        client.write_all(&said).await.expect("it reads");
        // It reads on, and gives no room.
        let mut came = vec![];
        let ended = timeout(Duration::from_secs(20), client.read_to_end(&mut came)).await;
        assert!(ended.is_ok(), "B1: the connection is held for ever: {came:?}");
        assert!(!came.windows(10).any(|bytes| bytes == b"ten bytes."), "it had no room for all");
    }
}
