//! A client's socket that detects stalled writes.
//!
//! Only writes show that a client has stopped reading, once all buffers in between are full. If a write makes
//! no progress for the client time-out, the connection ends with a reset. Progress is also checked with the
//! kernel from time to time, because the kernel reports a socket as writable only when a third of its buffer
//! is free again, and a slow reader is not a stalled one (B3).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::length::LengthWatch;
use super::seats::{Occupant, Seat};

/// The progress of a connection's writes, for code that has no access to the socket.
#[derive(Debug)]
pub struct Progress {
    born: Instant,
    /// When a write last began or made progress, in microseconds since `born`.
    moved_at: AtomicU64,
    /// A write waits for the client.
    waiting: AtomicBool,
    /// Additional time beyond the client time-out, in microseconds.
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
    /// How long the current write has made no progress.
    pub fn stalled_for(&self) -> Duration {
        if !self.waiting.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.born.elapsed().saturating_sub(Duration::from_micros(self.moved_at.load(Ordering::Relaxed)))
    }

    /// Gives a stalled connection more time, so that it can be closed with a reason.
    pub fn grant_grace(&self, grace: Duration) {
        self.grace.store(micros(grace), Ordering::Relaxed);
    }

    /// Ends the connection with a reset, dropping unsent data.
    pub fn demand_reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn moves(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Whether a write waits for the client.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
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

#[derive(Debug)]
pub(super) struct ClientStream {
    inner: TcpStream,
    client_timeout: Duration,
    pub(super) progress: Arc<Progress>,
    /// When to check with the kernel again. `None` while no write waits.
    check: Option<Pin<Box<Sleep>>>,
    /// The status of a response that hyper generated, which was suppressed because it has no body.
    pub(super) refused: Option<StatusCode>,
    pub(super) length: LengthWatch,
    seat: Seat,
}

impl ClientStream {
    pub(super) fn new(inner: TcpStream, client_timeout: Duration, seat: Seat) -> Self {
        Self {
            inner,
            client_timeout,
            progress: Arc::default(),
            check: None,
            refused: None,
            length: LengthWatch::default(),
            seat,
        }
    }

    pub(super) fn occupant(&self) -> Occupant {
        self.seat.occupant()
    }

    /// Withholds hyper's own answer to a head that it does not understand. Every answer of ours that refuses
    /// something has a body. No answer is begun in the midst of another, and none is ever split before its end
    /// of head, so the first bytes of a write tell.
    fn withholds(&mut self, data: &[u8]) -> bool {
        if !data.starts_with(b"HTTP/1.") || data.get(9) != Some(&b'4') {
            return false;
        }
        let is_bare = data.ends_with(b"\r\n\r\n") && contains(data, b"\r\ncontent-length: 0\r\n");
        if is_bare {
            self.refused = data.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
        }
        is_bare && self.refused.is_some()
    }

    fn wrote(&mut self, wrote: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.check = None;
        self.progress.moves();
        Poll::Ready(wrote)
    }

    /// `data` could not be written now.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.waits();
        loop {
            let interval = self.client_timeout / 8;
            let check = self.check.get_or_insert_with(|| Box::pin(sleep(interval)));
            ready!(check.as_mut().poll(cx));
            self.check = None;
            match SockRef::from(&self.inner).send(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return self.wrote(sent),
            }
            let grace = Duration::from_micros(self.progress.grace.load(Ordering::Relaxed));
            if self.progress.stalled_for() >= self.client_timeout + grace {
                tracing::debug!("a client read nothing for too long: closing its connection");
                self.progress.demand_reset();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

fn contains(data: &[u8], searched: &[u8]) -> bool {
    data.windows(searched.len()).any(|window| window.eq_ignore_ascii_case(searched))
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
        let begin = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.length.read(&buf.filled()[begin..]);
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.withholds(data) {
            return Poll::Ready(Ok(data.len()));
        }
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
        let first = data.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
        if self.withholds(first) {
            return Poll::Ready(Ok(first.len()));
        }
        match Pin::new(&mut self.inner).poll_write_vectored(cx, data) {
            Poll::Ready(wrote) => self.wrote(wrote),
            Poll::Pending => self.poll_stalled(cx, first),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            // The problem document is written later.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
