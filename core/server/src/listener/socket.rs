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

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

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
pub(super) struct Socket {
    inner: TcpStream,
    client_timeout: Duration,
    pub(super) progress: Arc<Progress>,
    /// When to check with the kernel again. `None` while no write waits.
    check: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(inner: TcpStream, client_timeout: Duration) -> Self {
        Self { inner, client_timeout, progress: Arc::default(), check: None }
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

impl Drop for Socket {
    fn drop(&mut self) {
        if self.progress.reset.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.inner).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
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
            Poll::Pending => self.poll_stalled(cx, first(data)),
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

/// What of several slices is written first.
pub(super) fn first<'a>(data: &'a [IoSlice<'_>]) -> &'a [u8] {
    data.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..])
}
