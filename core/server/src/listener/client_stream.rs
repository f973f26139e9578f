//! What a client sends and is sent, on its socket or in TLS: the bytes of HTTP, with what hyper's own answers to malformed
//! heads are held back for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::length::LengthWatch;
use super::seats::{Occupant, Seat};
use super::socket::{Progress, Socket, first};
use crate::rates::Peer;

#[derive(Debug)]
enum Transport {
    Plain(Socket),
    Secure(Box<TlsStream<Socket>>),
}

#[derive(Debug)]
pub(super) struct ClientStream {
    inner: Transport,
    pub(super) progress: Arc<Progress>,
    /// The status of a response that hyper generated, which was suppressed because it has no body.
    pub(super) refused: Option<StatusCode>,
    pub(super) length: LengthWatch,
    seat: Seat,
}

impl ClientStream {
    pub(super) fn plain(socket: Socket, seat: Seat) -> Self {
        let progress = socket.progress.clone();
        Self::new(Transport::Plain(socket), progress, seat)
    }

    pub(super) fn secure(stream: TlsStream<Socket>, seat: Seat) -> Self {
        let progress = stream.get_ref().0.progress.clone();
        Self::new(Transport::Secure(Box::new(stream)), progress, seat)
    }

    fn new(inner: Transport, progress: Arc<Progress>, seat: Seat) -> Self {
        Self { inner, progress, refused: None, length: LengthWatch::default(), seat }
    }

    /// The protocol that the client has chosen, if it was offered any.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        match &self.inner {
            Transport::Plain(_) => None,
            Transport::Secure(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.seat.peer()
    }

    pub(super) fn occupant(&self) -> Occupant {
        self.seat.occupant()
    }

    fn transport(&mut self) -> Pin<&mut (dyn Duplex + Send)> {
        match &mut self.inner {
            Transport::Plain(socket) => Pin::new(socket),
            Transport::Secure(stream) => Pin::new(&mut **stream),
        }
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
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

fn contains(data: &[u8], searched: &[u8]) -> bool {
    data.windows(searched.len()).any(|window| window.eq_ignore_ascii_case(searched))
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = buf.filled().len();
        let polled = self.transport().poll_read(cx, buf);
        self.length.read(&buf.filled()[begin..]);
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.withholds(data) {
            return Poll::Ready(Ok(data.len()));
        }
        self.transport().poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let begin = first(data);
        if self.withholds(begin) {
            return Poll::Ready(Ok(begin.len()));
        }
        self.transport().poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            // The problem document is written later.
            return Poll::Ready(Ok(()));
        }
        self.transport().poll_shutdown(cx)
    }
}
