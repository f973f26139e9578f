//! The clients' listener: bounded connections, and a bounded time for those that do not read.
//!
//! A client that stops reading is noticed by its writes alone, and only when all buffers between are full.
//! So the kernel's send buffer is small (B1), and a write that has not moved for the client time-out ends the
//! connection with a reset. Whether it has moved is also asked of the kernel directly now and then, because
//! the kernel reports a socket as writable only when a third of its buffer is free again: a slow reader is
//! not a stalled one (B3).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::answer;
use crate::http::limits::{
    ACCEPT_RETRY_DELAY, BACKLOG, CLOSE_TIMEOUT, CONNECTION_BUFFER_BYTES, CONNECTIONS_MAX, HEAD_TIMEOUT,
    HEADERS_MAX, SEND_BUFFER_BYTES, SOCKET_STALLED_GRACE,
};

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    client_timeout: Duration,
}

impl Listener {
    /// Binds the first of `addresses` that can be had.
    pub fn bind(addresses: &[SocketAddr], client_timeout: Duration) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match bind(*address) {
                Ok(inner) => return Ok(Self { inner, client_timeout }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Serves until `closing` turns true; then lets what is being answered finish, for a while.
    pub async fn serve(self, router: Router, mut closing: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = closes(&mut closing) => break,
                accepted = self.accept(&places) => accepted,
            };
            match accepted {
                Ok(stream) => drop(tokio::spawn(connection(stream, router.clone(), closing.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        drop(self.inner);
        let all = u32::try_from(CONNECTIONS_MAX).expect("a bound");
        if tokio::time::timeout(CLOSE_TIMEOUT, places.acquire_many(all)).await.is_err() {
            tracing::warn!("connections were cut: they did not end in time");
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<ClientStream> {
        let place = Arc::clone(places).acquire_owned().await.expect("nobody closes it");
        let (stream, _) = self.inner.accept().await?;
        // A peer that vanished is noticed as well: soon after one that stalls, whose end is told better.
        let vanished_after = self.client_timeout + 2 * SOCKET_STALLED_GRACE;
        let set = stream.set_nodelay(true);
        if let Err(error) =
            set.and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(vanished_after)))
        {
            tracing::debug!(%error, "a connection was lost as soon as it was made");
        }
        Ok(ClientStream::new(stream, self.client_timeout, place))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is accepted inherits it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Waits until it turns true, or nobody is left who could tell.
async fn closes(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn connection(stream: ClientStream, router: Router, mut closing: watch::Receiver<bool>) {
    let progress = Arc::clone(&stream.progress);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&progress));
        answer(router.clone(), request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(CONNECTION_BUFFER_BYTES)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = closes(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// How a connection's writes get on, for those who cannot see its socket.
#[derive(Debug)]
pub struct Progress {
    born: Instant,
    /// When writing was last seen to move or to begin, in microseconds since `born`.
    moved_at: AtomicU64,
    /// A write waits for the other side.
    waiting: AtomicBool,
    /// What is granted beyond the client time-out, in microseconds.
    grace: AtomicU64,
    reset: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            moved_at: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            grace: AtomicU64::new(0),
            reset: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// How long the present write has not moved.
    pub fn stalled_for(&self) -> Duration {
        if !self.waiting.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.born.elapsed().saturating_sub(Duration::from_micros(self.moved_at.load(Ordering::Relaxed)))
    }

    /// Leaves a stalled connection some more time, to be ended in better ways.
    pub fn grant_grace(&self, grace: Duration) {
        self.grace.store(micros(grace), Ordering::Relaxed);
    }

    /// The connection is to end with a reset, and what it was still to carry is dropped.
    pub fn demand_reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn moves(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    fn waits(&self) {
        if !self.waiting.swap(true, Ordering::Relaxed) {
            self.moved_at.store(micros(self.born.elapsed()), Ordering::Relaxed);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A client's socket, with an eye on its writes.
#[derive(Debug)]
struct ClientStream {
    inner: TcpStream,
    client_timeout: Duration,
    progress: Arc<Progress>,
    /// When to ask the kernel again. Absent while nothing waits.
    look: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl ClientStream {
    fn new(inner: TcpStream, client_timeout: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { inner, client_timeout, progress: Arc::default(), look: None, _place: place }
    }

    fn wrote(&mut self, wrote: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.look = None;
        self.progress.moves();
        Poll::Ready(wrote)
    }

    /// `data` could not be written now.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.waits();
        loop {
            let interval = self.client_timeout / 8;
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(interval)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
            match SockRef::from(&self.inner).send(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return self.wrote(sent),
            }
            let grace = Duration::from_micros(self.progress.grace.load(Ordering::Relaxed));
            if self.progress.stalled_for() >= self.client_timeout + grace {
                tracing::debug!("a client accepted nothing for too long");
                self.progress.demand_reset();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.progress.reset.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.inner).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, data) {
            Poll::Ready(wrote) => self.wrote(wrote),
            Poll::Pending => self.poll_stalled(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, data) {
            Poll::Ready(wrote) => self.wrote(wrote),
            Poll::Pending => {
                let first = data.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
                self.poll_stalled(cx, first)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
