//! Writes the response of a stream without hyper. From its first byte on, nothing is read from the
//! connection, so hyper's buffers and state are not needed (B1: they would be most of the memory of an idle
//! stream). The connection is closed after it, unless the client would take that for the end of what is cut: Node's takes any
//! end of a connection that was to be closed for the end of its body, also that of a server that was killed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, Version, response};
use hyper::body::{Body as _, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::sleep;

use super::client_stream::ClientStream;
use super::outgoing::Outgoing;
use super::request_body::RequestBody;
use crate::http::Streamed;
use crate::limits::edge::{REVOKED_GRACE, SOCKET_RECEIVED_BYTES_MAX};

/// What a connection's service leaves to the connection: a streaming response, and whether its request was read whole.
#[derive(Debug, Default)]
pub(super) struct Handover {
    delivery: Mutex<Option<Delivery>>,
    body_is_over: Arc<AtomicBool>,
}

impl Handover {
    pub(super) fn give(&self, delivery: Delivery) {
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery);
    }

    pub(super) fn take(&self) -> Option<Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The connection's next request, whose body is watched.
    pub(super) fn watch(&self, request: Request<Incoming>) -> Request<Body> {
        self.body_is_over.store(request.body().is_end_stream(), Ordering::Release);
        request.map(|body| Body::new(RequestBody::new(body, Arc::clone(&self.body_is_over))))
    }

    /// Whether all of the last request's body was read.
    pub(super) fn body_is_over(&self) -> bool {
        self.body_is_over.load(Ordering::Acquire)
    }
}

/// A response that is to be written.
#[derive(Debug)]
pub(super) struct Delivery {
    head: Vec<u8>,
    body: Body,
    streamed: Streamed,
    /// With chunked encoding, so that its end can be told from a broken connection. HTTP/1.0 does not have
    /// it.
    chunked: bool,
    /// Whether the connection serves further requests behind it.
    keeps: bool,
}

impl Delivery {
    /// Takes over the response to a request of this method and version, or returns it if hyper is to write
    /// it.
    #[expect(clippy::result_large_err, reason = "the answer is handed on, not passed up")]
    pub(super) fn of(method: &Method, version: Version, response: Response) -> Result<Self, Response> {
        let Some(streamed) =
            response.extensions().get::<Streamed>().filter(|_| method != Method::HEAD).cloned()
        else {
            return Err(response);
        };
        let chunked = version == Version::HTTP_11;
        let (parts, body) = response.into_parts();
        let keeps = chunked && streamed.keeps_connection();
        let framing = match (chunked, keeps) {
            (true, true) => "transfer-encoding: chunked\r\n",
            (true, false) => "connection: close\r\ntransfer-encoding: chunked\r\n",
            (false, _) => "connection: close\r\n",
        };
        Ok(Self { head: head(&parts, framing), body, streamed, chunked, keeps })
    }

    /// The connection is closed behind it, which is not announced where it would be taken for an end.
    pub(super) fn then_closes(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Writes the response while the client is connected, and may be. A body ends by itself when its caller is
    /// not let in any more, but what is being written then may take for ever (S10). Whether the connection can serve
    /// further requests.
    pub(super) async fn carry_out(&mut self, stream: &mut ClientStream) -> bool {
        let Self { head, body, streamed, chunked, keeps } = self;
        let progress = stream.progress.clone();
        let overdue = async {
            streamed.revoked().await;
            Box::pin(sleep(REVOKED_GRACE)).await;
        };
        let out = Outgoing::new(std::mem::take(head), *chunked);
        let writing = Writing { body, out, ended: None, received: 0 };
        tokio::select! {
            biased;
            written = write(writing, stream, *keeps) => match written {
                Ok(goes_on) => return goes_on,
                Err(error) => tracing::debug!(%error, "a stream's connection ended"),
            },
            () = overdue => {
                tracing::debug!("a stream was cut off: its token was revoked");
                progress.demand_reset();
            }
        }
        false
    }
}

/// Whether the connection can go on.
async fn write(mut writing: Writing<'_>, stream: &mut ClientStream, keeps: bool) -> io::Result<bool> {
    match poll_fn(|cx| writing.poll(stream, cx)).await? {
        Written::All => {}
        Written::UntilGone => return Ok(false),
        Written::UntilFailure(error) => {
            // No proxy is to take it for an end.
            stream.progress.demand_reset();
            return Err(error);
        }
    }
    // What came meanwhile was not kept.
    if keeps && writing.received == 0 {
        return Ok(true);
    }
    stream.shutdown().await.map(|()| false)
}

/// How far a body was written.
#[derive(Debug)]
enum Written {
    All,
    /// The client has gone.
    UntilGone,
    /// The rest cannot be had.
    UntilFailure(io::Error),
}

/// A body that is being written.
struct Writing<'a> {
    body: &'a mut Body,
    out: Outgoing,
    /// How, once it has.
    ended: Option<Written>,
    /// Bytes that the client sent meanwhile.
    received: usize,
}

impl Writing<'_> {
    /// Writes whatever of the body is there at once by one write. While a write waits for the client, nothing is asked of
    /// the body (B1).
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Written>> {
        loop {
            let waits = self.gather(cx);
            if !self.out.is_empty() {
                ready!(self.out.poll_write(stream, cx))?;
            }
            // What TLS took is not written yet.
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            if let Some(ended) = self.ended.take() {
                return Poll::Ready(Ok(ended));
            }
            if waits {
                return poll_gone(stream, cx, &mut self.received).map_ok(|()| Written::UntilGone);
            }
        }
    }

    /// Whether more comes later, of which the task will be woken.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while self.ended.is_none() && self.out.takes_more() {
            match Pin::new(&mut *self.body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(frame))) => drop(frame.into_data().map(|data| self.out.push(data))),
                Poll::Ready(Some(Err(error))) => {
                    self.ended = Some(Written::UntilFailure(io::Error::other(error)));
                }
                Poll::Ready(None) => {
                    self.out.end();
                    self.ended = Some(Written::All);
                }
            }
        }
        false
    }
}

/// Ready when the client has gone, or sends more than the reader of a stream may send.
fn poll_gone<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    received: &mut usize,
) -> Poll<io::Result<()>> {
    let mut space = [0; 256];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        *received += buf.filled().len();
        if buf.filled().is_empty() || *received > SOCKET_RECEIVED_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
    }
}

/// The head of a response (RFC 9112), with the lines about the body's length and the connection.
pub(super) fn head(parts: &response::Parts, framing: &str) -> Vec<u8> {
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).into_bytes();
    for (name, value) in &parts.headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend_from_slice(format!("date: {date}\r\n{framing}\r\n").as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Waker;
    use std::time::Duration;

    use bytes::Bytes;
    use futures::StreamExt;
    use futures::channel::mpsc;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpSocket;
    use tokio::time::timeout;
    use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::super::seats::Seats;
    use super::super::socket::Socket;
    use super::*;
    use crate::limits::edge::GATHERED_BYTES_MAX;
    use crate::rates::Doors;

    /// More than the socket takes at once, and less than what TLS keeps of it.
    const CHUNK_BYTES: usize = 48 * 1024;

    #[tokio::test]
    async fn what_tls_took_of_a_chunk_is_written_before_the_next_one_comes() {
        let CertifiedKey { cert, key_pair } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config =
            config.with_single_cert(vec![cert.der().clone()], key.into()).expect("it is of this key");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a certificate");
        let trusts = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

        let listening = TcpSocket::new_v4().expect("a socket");
        listening.set_send_buffer_size(4 * 1024).expect("a size");
        listening.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let listener = listening.listen(1).expect("it listens");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpSocket::new_v4().expect("a socket");
        client.set_recv_buffer_size(4 * 1024).expect("a size");
        let client = client.connect(address).await.expect("it listens");
        let (stream, peer) = listener.accept().await.expect("a client");
        let seat = Seats::new(1).take(Doors::default().enter(peer.ip()).expect("there is no limit")).await;
        let socket = Socket::new(stream, Duration::from_secs(3600));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(trusts)).connect(name, client);
        let (client, stream) = tokio::join!(connecting, acceptor.accept(socket));
        let mut stream = ClientStream::secure(stream.expect("TLS"), seat.expect("a seat"));

        let chunk = Bytes::from(vec![b'x'; CHUNK_BYTES]);
        let coming = futures::stream::iter([Ok::<_, io::Error>(chunk)]).chain(futures::stream::pending());
        let mut body = Body::from_stream(coming);
        let out = Outgoing::new(vec![], false);
        let mut writing = Writing { body: &mut body, out, ended: None, received: 0 };
        let writing = poll_fn(|cx| writing.poll(&mut stream, cx));
        let mut came = vec![0; CHUNK_BYTES];
        let reading = async { client.expect("TLS").read_exact(&mut came).await };
        tokio::select! {
            ended = writing => panic!("the body goes on: {ended:?}"),
            read = timeout(Duration::from_secs(20), reading) => {
                assert!(read.is_ok_and(|read| read.is_ok()), "L1: the rest waits for the next chunk");
            }
        }
    }

    /// A client who says nothing. It takes so many bytes more, and has the writes.
    struct Taking {
        room: usize,
        writes: Vec<String>,
    }

    impl AsyncRead for Taking {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Taking {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            let count = data.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.writes.push(String::from_utf8(data[..count].to_vec()).expect("ASCII"));
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    type Coming = mpsc::UnboundedSender<Result<Bytes, io::Error>>;

    fn body() -> (Coming, Body) {
        let (coming, body) = mpsc::unbounded();
        (coming, Body::from_stream(body))
    }

    fn come(coming: &Coming, data: impl Into<Bytes>) {
        coming.unbounded_send(Ok(data.into())).expect("the body is there");
    }

    #[test]
    fn what_is_there_at_once_is_one_write() {
        let (coming, mut body) = body();
        let out = Outgoing::new(b"head\r\n\r\n".to_vec(), true);
        let mut writing = Writing { body: &mut body, out, ended: None, received: 0 };
        let mut client = Taking { room: usize::MAX, writes: vec![] };
        let cx = &mut Context::from_waker(Waker::noop());
        for said in ["a", "bc"] {
            come(&coming, said);
        }
        assert!(writing.poll(&mut client, cx).is_pending());
        assert_eq!(client.writes, ["head\r\n\r\n1\r\na\r\n2\r\nbc\r\n"]);
        for at in 1..=3 {
            come(&coming, "d");
            assert!(writing.poll(&mut client, cx).is_pending());
            assert_eq!(client.writes[at..], ["1\r\nd\r\n"], "each wake is one write, and no part waits");
        }
        assert!(writing.poll(&mut client, cx).is_pending());
        assert_eq!(client.writes.len(), 4, "nothing is written where nothing came");
        come(&coming, "e");
        drop(coming);
        assert!(matches!(writing.poll(&mut client, cx), Poll::Ready(Ok(Written::All))));
        assert_eq!(client.writes[4..], ["1\r\ne\r\n0\r\n\r\n"]);
    }

    #[test]
    fn a_body_is_not_asked_for_more_than_a_write_before_its_client_has_taken_that() {
        let (coming, mut body) = body();
        let out = Outgoing::new(vec![], false);
        let mut writing = Writing { body: &mut body, out, ended: None, received: 0 };
        let mut client = Taking { room: 0, writes: vec![] };
        let cx = &mut Context::from_waker(Waker::noop());
        let half = "x".repeat(GATHERED_BYTES_MAX / 2);
        for _ in 0..3 {
            come(&coming, half.clone());
        }
        drop(coming);
        for _ in 0..2 {
            assert!(writing.poll(&mut client, cx).is_pending());
            assert_eq!(writing.out.len(), GATHERED_BYTES_MAX, "B1: no more is gathered");
        }
        client.room = 10;
        assert!(writing.poll(&mut client, cx).is_pending());
        assert_eq!(writing.out.len(), GATHERED_BYTES_MAX - 10, "B1: nor to what is being written");
        client.room = usize::MAX;
        assert!(matches!(writing.poll(&mut client, cx), Poll::Ready(Ok(Written::All))));
        assert_eq!(client.writes.concat(), half.repeat(3));
    }

    #[test]
    fn an_end_that_waits_for_its_client_is_not_asked_for_again() {
        let (coming, mut body) = body();
        let out = Outgoing::new(vec![], true);
        let mut writing = Writing { body: &mut body, out, ended: None, received: 0 };
        let mut client = Taking { room: 3, writes: vec![] };
        let cx = &mut Context::from_waker(Waker::noop());
        come(&coming, "a");
        coming.unbounded_send(Err(io::ErrorKind::Other.into())).expect("the body is there");
        assert!(writing.poll(&mut client, cx).is_pending());
        client.room = usize::MAX;
        assert!(matches!(writing.poll(&mut client, cx), Poll::Ready(Ok(Written::UntilFailure(_)))));
        assert_eq!(client.writes.concat(), "1\r\na\r\n", "what came before the failure was told");
    }
}
