//! HTTP/2 as frames (RFC 9113), over TLS: what no library of clients would send, and what comes back. Fields are literals of
//! HPACK (RFC 7541, section 6.2.2), so nothing has to be remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstem_tests::authority::Authority;
use mainstem_tests::deadline::within;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What each connection begins with, before its settings.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A setting and its value.
pub(super) fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn integer(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

pub(super) fn field(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0], &*integer(name.len()), name.as_bytes(), &integer(value.len()), value].concat()
}

/// The fields of a request of this user's.
pub(super) fn head(method: &str, path: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", &bearer),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value.as_bytes())).collect()
}

/// A request without a body.
pub(super) fn get(stream: u32, path: &str, token: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path, token))
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

pub(super) struct Connection {
    stream: Box<dyn Duplex>,
    came: Vec<u8>,
}

impl Connection {
    /// One that has said its preface and these settings.
    pub(super) async fn open(address: &str, authority: &Authority, settings: &[u8]) -> Self {
        let mut config = (*authority.trusting()).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let securing = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = within("TLS stands", securing).await.expect("it speaks TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut connection = Self::over(stream);
        connection.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await;
        connection
    }

    /// One that has said nothing.
    pub(super) fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), came: vec![] }
    }

    /// Sends as much as the other side takes before it closes, or for as long as it has room.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        within("the server reads or closes", sending).await.ok();
    }

    /// The next frame, `None` at the end. What asks for an answer of a living client gets it.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = self.came.first_chunk::<9>() {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                let (kind, flags) = (head[3], head[4]);
                if self.came.len() >= 9 + length {
                    let payload = self.came[9..9 + length].to_vec();
                    self.came.drain(..9 + length);
                    if kind == PING && flags & ACK == 0 {
                        self.send(&frame(PING, ACK, 0, &payload)).await;
                    }
                    return Some(Frame { kind, payload });
                }
            }
            let mut chunk = [0; 16384];
            match within("the server says something", self.stream.read(&mut chunk)).await {
                Ok(length @ 1..) => self.came.extend_from_slice(&chunk[..length]),
                _ => return None,
            }
        }
    }

    /// Lives on until the other side ends, and says how long that took.
    pub(super) async fn until_cut(mut self) -> Duration {
        let begun = Instant::now();
        while self.next().await.is_some() {}
        begun.elapsed()
    }
}
