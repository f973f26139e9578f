//! The listener for clients: it bounds connections, and lets hyper handle requests. Three things are done
//! here instead, where HTTP/1.1 is spoken: event streams (`delivery`), problem documents for malformed request heads
//! (`malformed_requests`), and a time limit for clients that do not read (`socket`). With certificates, all of it is in
//! TLS, in which a client may choose HTTP/2 (`http2`).
//!
//! The kernel's send buffer is small (B1).

mod client_stream;
mod delivery;
mod http2;
mod length;
mod malformed_requests;
mod outgoing;
mod request_body;
mod seats;
mod socket;
mod turned_away;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use http::{HeaderMap, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstem_runtime::LogRate;
use mainstem_runtime::ports::Env;
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use self::client_stream::ClientStream;
use self::delivery::{Delivery, Handover};
use self::seats::{Seat, Seats};
use self::socket::Socket;
use self::turned_away::TurnedAway;
use crate::TokioEnv;
use crate::http::answer;
use crate::limits::edge::{
    ACCEPT_RETRY_DELAY, BACKLOG, CLOSE_TIMEOUT, CONNECTION_BUFFER_BYTES, CONNECTIONS_MAX, HEAD_TIMEOUT,
    HEADERS_MAX, SEND_BUFFER_BYTES, SOCKET_STALLED_GRACE, TLS_TIMEOUT,
};
use crate::rates::Doors;

pub use self::socket::Progress;

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    client_timeout: Duration,
    head_timeout: Duration,
    connections_max: usize,
    doors: Doors,
    /// `None`: in the clear.
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
}

/// What is the same for all connections.
#[derive(Clone, Debug)]
struct Terms {
    head_timeout: Duration,
    client_timeout: Duration,
    router: Router,
    closing: watch::Receiver<bool>,
}

impl Listener {
    /// Binds the first of `addresses` that is available.
    pub fn bind(addresses: &[SocketAddr], client_timeout: Duration) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match bind(*address) {
                Ok(inner) => {
                    let (head_timeout, connections_max) = (HEAD_TIMEOUT, CONNECTIONS_MAX);
                    let doors = Doors::default();
                    return Ok(Self {
                        inner,
                        client_timeout,
                        head_timeout,
                        connections_max,
                        doors,
                        tls: None,
                    });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The same for so many clients at once.
    #[must_use]
    pub fn with_connections_max(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// The same, with limits of addresses.
    #[must_use]
    pub fn with_doors(self, doors: Doors) -> Self {
        Self { doors, ..self }
    }

    /// The same in TLS. Each connection begins by what the configuration is then.
    #[must_use]
    pub fn with_tls(self, tls: Option<watch::Receiver<Arc<ServerConfig>>>) -> Self {
        Self { tls, ..self }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Serves until `closing` becomes true, and then waits a while for requests in progress.
    pub async fn serve(self, router: Router, mut closing: watch::Receiver<bool>) {
        let (seats, turned_away) = (Seats::new(self.connections_max), TurnedAway::new());
        let (env, rate, crowded) = (TokioEnv::new(), LogRate::new(), LogRate::new());
        let (head_timeout, client_timeout) = (self.head_timeout, self.client_timeout);
        let terms = Terms { head_timeout, client_timeout, router, closing: closing.clone() };
        loop {
            let accepted = tokio::select! {
                biased;
                () = closes(&mut closing) => break,
                accepted = self.accept(&seats, &turned_away) => accepted,
            };
            match accepted {
                Ok(Some((socket, seat))) => {
                    let terms = terms.clone();
                    match &self.tls {
                        None => drop(tokio::spawn(connection(ClientStream::plain(socket, seat), terms))),
                        Some(tls) => {
                            let acceptor = TlsAcceptor::from(tls.borrow().clone());
                            drop(tokio::spawn(secured(acceptor, socket, seat, terms)));
                        }
                    }
                }
                Ok(None) => {
                    if let Some(suppressed) = crowded.admit(env.now()) {
                        tracing::warn!(suppressed, "a client was turned away: all connections are in use");
                    }
                }
                Err(error) => {
                    if let Some(suppressed) = rate.admit(env.now()) {
                        tracing::warn!(%error, suppressed, "a connection was not accepted");
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        drop(self.inner);
        if timeout(CLOSE_TIMEOUT, seats.all_free()).await.is_err() {
            tracing::warn!("connections were cut: they did not end in time");
        }
    }

    /// `None` if there was no place for the connection, which is told so if that can be said in the clear.
    async fn accept(
        &self,
        seats: &Arc<Seats>,
        turned_away: &TurnedAway,
    ) -> io::Result<Option<(Socket, Seat)>> {
        let (stream, entry) = loop {
            let (stream, peer) = self.inner.accept().await?;
            if let Some(entry) = self.doors.enter(peer.ip()) {
                break (stream, entry);
            }
        };
        self.doors.pace().await;
        let Some(seat) = seats.take(entry).await else {
            if self.tls.is_none() {
                turned_away.take(stream);
            }
            return Ok(None);
        };
        // A peer that vanished is noticed as well: soon after one that stalls, whose end is told better.
        let vanished_after = self.client_timeout + 2 * SOCKET_STALLED_GRACE;
        let set = stream.set_nodelay(true);
        if let Err(error) =
            set.and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(vanished_after)))
        {
            tracing::debug!(%error, "a connection was lost as soon as it was made");
        }
        Ok(Some((Socket::new(stream, self.client_timeout), seat)))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is accepted inherits it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Waits until it becomes true, or its sender is gone.
async fn closes(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Whether the client wants the connection closed behind the answer (RFC 9112, section 9.6).
fn asks_to_close(headers: &HeaderMap) -> bool {
    let mut options =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Serves what follows a stream on its connection.
fn serve_on(stream: ClientStream, terms: Terms) {
    drop(tokio::spawn(connection(stream, terms)));
}

/// A connection in TLS. Until that stands, its seat may be another's.
async fn secured(acceptor: TlsAcceptor, socket: Socket, seat: Seat, terms: Terms) {
    let occupant = seat.occupant();
    let mut securing = pin!(timeout(TLS_TIMEOUT, acceptor.accept(socket)));
    let secured = poll_fn(|cx| match securing.as_mut().poll(cx) {
        Poll::Pending if occupant.poll_evicted(cx) => Poll::Ready(None),
        secured => secured.map(Some),
    })
    .await;
    let stream = match secured {
        Some(Ok(Ok(stream))) => ClientStream::secure(stream, seat),
        Some(Ok(Err(error))) => {
            return tracing::debug!(%error, "a client does not speak TLS as it is spoken here");
        }
        Some(Err(_)) | None => return,
    };
    if stream.protocol() == Some(b"h2") {
        let Terms { head_timeout, client_timeout, router, closing } = terms;
        http2::serve(stream, head_timeout, client_timeout, router, closing).await;
    } else {
        connection(stream, terms).await;
    }
}

async fn connection(stream: ClientStream, terms: Terms) {
    let (head_timeout, router, mut closing) =
        (terms.head_timeout, terms.router.clone(), terms.closing.clone());
    let progress = Arc::clone(&stream.progress);
    let (occupant, peer) = (stream.occupant(), stream.peer());
    let handover = Arc::new(Handover::default());
    let service = {
        let (progress, handover) = (Arc::clone(&progress), Arc::clone(&handover));
        let occupant = occupant.clone();
        service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let closes = asks_to_close(request.headers());
            let mut request = handover.watch(request);
            request.extensions_mut().insert(Arc::clone(&progress));
            request.extensions_mut().insert(peer);
            let (router, handover) = (router.clone(), Arc::clone(&handover));
            let occupant = occupant.clone();
            occupant.is_busy_now();
            async move {
                let (method, version) = (request.method().clone(), request.version());
                let response = answer(router, request).await?;
                match Delivery::of(&method, version, response) {
                    Ok(delivery) => {
                        handover.give(if closes { delivery.then_closes() } else { delivery });
                        pending().await
                    }
                    Err(response) => {
                        // What becomes a WebSocket is at work until its end.
                        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                            occupant.is_idle_now();
                        }
                        Ok::<_, Infallible>(response)
                    }
                }
            }
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut closes = pin!(closes(&mut closing));
    let mut closed = false;
    let ended = poll_fn(|cx| {
        loop {
            let polled = Pin::new(&mut connection).poll(cx);
            // Earlier responses have to be written first.
            if !progress.is_waiting()
                && let Some(delivery) = handover.take()
            {
                return Poll::Ready(Ok(Some(delivery)));
            }
            if polled.is_pending() && occupant.poll_evicted(cx) && !progress.is_waiting() {
                return Poll::Ready(Ok(None));
            }
            if polled.is_ready() || closed || closes.as_mut().poll(cx).is_pending() {
                return polled.map_ok(|()| None);
            }
            closed = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;
    if let Err(error) = &ended {
        tracing::debug!(%error, "a connection ended");
    }
    let Some(parts) = connection.into_parts() else { return };
    let stream = parts.io.into_inner();
    occupant.is_nobodys_task();
    match ended {
        // A task of its own: this one is large, and a stream lasts.
        Ok(Some(delivery)) => {
            // What was read beyond the request is gone, and what is left of it is no next one.
            let is_clean = parts.read_buf.is_empty() && handover.body_is_over();
            let delivery = if is_clean { delivery } else { delivery.then_closes() };
            drop(tokio::spawn(deliver(delivery, stream, terms)));
        }
        Ok(None) => malformed_requests::answer(stream, None, &parts.read_buf).await,
        Err(error) => malformed_requests::answer(stream, Some(&error), &parts.read_buf).await,
    }
}

/// Writes a stream, and serves what follows it.
async fn deliver(mut delivery: Delivery, mut stream: ClientStream, terms: Terms) {
    if delivery.carry_out(&mut stream).await {
        stream.occupant().is_idle_now();
        serve_on(stream, terms);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::{Context, Wake, Waker};

    use axum::body::Body;
    use axum::response::Response;
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::Streamed;

    #[tokio::test]
    async fn a_head_that_takes_too_long_is_a_problem_and_silence_is_none() {
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut listener = Listener::bind(&[address], Duration::from_secs(10)).expect("a port");
        listener.head_timeout = Duration::from_millis(100);
        let address = listener.local_addr().expect("it is bound");
        let (_open, closing) = watch::channel(false);
        tokio::spawn(listener.serve(Router::new(), closing));
        for (head, expected) in [("GET / HTTP/1.1\r\nhost: localhost\r\n", "HTTP/1.1 408 "), ("", "")] {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(head.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("it answers and closes");
            assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{answer:?}");
        }
    }

    /// Wakes somebody else.
    struct Relayed(Mutex<Waker>);

    impl Wake for Relayed {
        fn wake(self: Arc<Self>) {
            self.0.lock().expect("nobody panics").wake_by_ref();
        }
    }

    async fn streams() -> Response {
        let begun = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"begun")) });
        let body = futures::StreamExt::chain(begun, futures::stream::pending());
        let mut response = Response::new(Body::from_stream(body));
        response.extensions_mut().insert(Streamed::to_anybody());
        response
    }

    /// A client, and its connection here.
    async fn connected() -> (TcpStream, ClientStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let ((socket, peer), client) = (accepted.expect("a client"), client.expect("it listens"));
        let entry = Doors::default().enter(peer.ip()).expect("there is no limit");
        let seat = Seats::new(1).take(entry).await.expect("a seat");
        (client, ClientStream::plain(Socket::new(socket, Duration::from_secs(60)), seat))
    }

    fn terms(closing: watch::Receiver<bool>) -> Terms {
        let (router, timeout) = (Router::new().fallback(streams), Duration::from_secs(60));
        Terms { head_timeout: timeout, client_timeout: timeout, router, closing }
    }

    /// Of the task of an open stream. docs/operations.md has what else one holds.
    const TASK_BYTES_MAX: usize = 1280;

    #[tokio::test]
    async fn the_task_of_an_open_stream_is_small() {
        let (_client, stream) = connected().await;
        let (_open, closing) = watch::channel(false);
        let delivery = Delivery::of(&http::Method::GET, http::Version::HTTP_11, streams().await);
        let task = deliver(delivery.expect("a stream"), stream, terms(closing));
        let bytes = size_of_val(&task);
        assert!(bytes <= TASK_BYTES_MAX, "B1: {bytes} bytes for each viewer");
    }

    #[tokio::test]
    async fn a_stream_keeps_nothing_of_the_task_that_took_its_request() {
        let (mut client, stream) = connected().await;
        let (_open, closing) = watch::channel(false);
        let terms = terms(closing);
        let relayed = Arc::new(Relayed(Mutex::new(Waker::noop().clone())));
        let waker = Waker::from(relayed.clone());
        let mut task = Box::pin(connection(stream, terms));
        let ends = poll_fn(|cx| {
            *relayed.0.lock().expect("nobody panics") = cx.waker().clone();
            task.as_mut().poll(&mut Context::from_waker(&waker))
        });
        // The connection is idle before, and can be evicted.
        let asks = async {
            tokio::task::yield_now().await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it reads");
        };
        tokio::join!(ends, asks);
        drop((task, waker));
        let mut came = vec![];
        while !came.ends_with(b"begun\r\n") {
            assert!(client.read_buf(&mut came).await.expect("it is told") > 0, "it goes on");
        }
        assert_eq!(Arc::strong_count(&relayed), 1, "B2: whoever could wake a task holds its memory");
    }
}
