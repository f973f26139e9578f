//! A stream as a WebSocket. Messages of the client are read, bounded, and ignored. A stalled client gets a
//! close frame.
//!
//! The library reads, and writes small frames. Frames with events are written past it, as shared bytes: it
//! would copy a large message for every viewer (B1).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use mainstem_machine::Ending;
use mainstem_runtime::Next;
use mainstem_runtime::ports::Env;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::Problem;
use super::auth::Grant;
use super::chunks::Chunks;
use super::encode;
use super::sse::pings;
use super::viewing::{Place, Viewing};
use crate::insight::Closed;
use crate::limits::edge::{
    SOCKET_CLOSE_TIMEOUT, SOCKET_MESSAGE_BYTES_MAX, SOCKET_READ_BYTES, SOCKET_RECEIVED_BYTES_MAX,
    SOCKET_STALLED_GRACE,
};
use crate::listener::Progress;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The chat was deleted.
const CLOSED_DELETED: CloseCode = CloseCode::Library(4404);

/// The caller may not see the chat any more.
const CLOSED_UNSHARED: CloseCode = CloseCode::Library(4403);

/// The caller's token is not known any more, or another's.
const CLOSED_REVOKED: CloseCode = CloseCode::Library(4401);

pub(super) const REVOKED: Left = Left::Close(CLOSED_REVOKED, "the token is not valid any more");

/// Why the socket is closed.
#[derive(Debug)]
pub(super) enum Left {
    /// The client has gone, or closes.
    Gone,
    /// The client accepts no data.
    Stalled,
    /// With this to say.
    Close(CloseCode, &'static str),
}

impl Left {
    fn closed(&self) -> Closed {
        match self {
            Self::Gone => Closed::Gone,
            Self::Stalled => Closed::Stalled,
            Self::Close(CLOSED_DELETED, _) => Closed::Deleted,
            Self::Close(CLOSED_UNSHARED, _) => Closed::Unshared,
            Self::Close(CLOSED_REVOKED, _) => Closed::Revoked,
            Self::Close(CloseCode::Away, _) => Closed::Leaving,
            Self::Close(..) => Closed::Nonsense,
        }
    }
}

/// A request to become a WebSocket (RFC 6455, section 4.2.1).
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) accept: HeaderValue,
    pub(super) upgraded: OnUpgrade,
}

impl Upgrade {
    pub(super) fn of(parts: &mut Parts) -> Result<Self, Problem> {
        let connection = parts.headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
        let mut asked = connection.unwrap_or_default().split(',').map(str::trim);
        if parts.method != Method::GET || !asked.any(|asked| asked.eq_ignore_ascii_case("upgrade")) {
            return Err(Problem::malformed("a WebSocket is asked for by GET with `connection: upgrade`"));
        }
        if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Problem::malformed("`sec-websocket-version` has to be 13"));
        }
        let Some(key) = parts.headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(Problem::malformed("`sec-websocket-key` is missing"));
        };
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::try_from(accept).expect("base64 is a header's value");
        let upgraded = parts.extensions.remove::<OnUpgrade>();
        let upgraded = upgraded.ok_or(Problem::malformed("this version of HTTP has no upgrades"))?;
        Ok(Self { accept, upgraded })
    }
}

pub(super) fn answer<E: Env>(
    upgrade: Upgrade,
    viewer: Viewing<E>,
    grant: Grant,
    mut place: Place,
    progress: Arc<Progress>,
    client_timeout: Duration,
) -> Response {
    let Upgrade { accept, upgraded } = upgrade;
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let closed = send_events(upgraded, viewer, grant, progress, client_timeout).await;
                place.closes(closed);
            }
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
    switching(accept)
}

/// The answer to a request that becomes a WebSocket.
pub(super) fn switching(accept: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn send_events<E: Env>(
    upgraded: Upgraded,
    viewer: Viewing<E>,
    grant: Grant,
    progress: Arc<Progress>,
    client_timeout: Duration,
) -> Closed {
    progress.grant_grace(SOCKET_STALLED_GRACE);
    let config = WebSocketConfig::default()
        .read_buffer_size(SOCKET_READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mut line = Line::new(socket, &progress, client_timeout);
    let left = line.send_events(viewer, grant).await;
    let closed = left.closed();
    line.leave(left).await;
    closed
}

/// Waits for the client to close: closing with unread data would reset the connection before the client has
/// read the close frame.
async fn wait_for_close(socket: &mut Socket) {
    let closed = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = timeout(SOCKET_CLOSE_TIMEOUT, closed).await;
}

fn close_frame(code: CloseCode, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))
}

pub(super) struct Line<'a> {
    pub(super) socket: Socket,
    /// What is left of the frame that is being written.
    frame: Chunks,
    progress: &'a Progress,
    client_timeout: Duration,
}

impl<'a> Line<'a> {
    pub(super) fn new(socket: Socket, progress: &'a Progress, client_timeout: Duration) -> Self {
        Self { socket, frame: Chunks::default(), progress, client_timeout }
    }
}

impl Line<'_> {
    /// Says why it is left, if that can be said.
    pub(super) async fn leave(&mut self, left: Left) {
        match left {
            // The client's last frame may need an answer.
            Left::Gone => drop(timeout(SOCKET_CLOSE_TIMEOUT, self.socket.flush()).await),
            Left::Stalled => {
                let close = close_frame(CloseCode::Again, "nothing was accepted for too long");
                match timeout(SOCKET_STALLED_GRACE, self.write(close)).await {
                    Ok(Ok(())) => wait_for_close(&mut self.socket).await,
                    _ => self.progress.demand_reset(),
                }
            }
            Left::Close(code, reason) => {
                let close = close_frame(code, reason);
                if timeout(SOCKET_CLOSE_TIMEOUT, self.write(close)).await.is_ok_and(|sent| sent.is_ok()) {
                    wait_for_close(&mut self.socket).await;
                } else if [CLOSED_REVOKED, CLOSED_UNSHARED].contains(&code) {
                    // It gets nothing more, not even what was written and not sent (S10).
                    self.progress.demand_reset();
                }
            }
        }
    }

    async fn send_events<E: Env>(&mut self, mut viewer: Viewing<E>, grant: Grant) -> Left {
        let mut pings = pings();
        let mut received = 0;
        loop {
            let sent = tokio::select! {
                biased;
                () = grant.revoked() => Err(REVOKED),
                _ = pings.tick() => {
                    received = 0;
                    self.send(Message::Ping(Bytes::new()), &grant).await
                }
                incoming = self.socket.next() => match incoming {
                    None | Some(Ok(Message::Close(_))) => Err(Left::Gone),
                    Some(Err(_)) => Err(Left::Close(CloseCode::Protocol, "what came makes no sense here")),
                    Some(Ok(message)) => {
                        received += message.len() + 1;
                        if received > SOCKET_RECEIVED_BYTES_MAX {
                            Err(Left::Close(CloseCode::Policy, "a stream's client has little to say"))
                        } else {
                            Ok(())
                        }
                    }
                },
                next = viewer.next() => match next {
                    Next::Events(events) => self.send_text(encode::json_array(&events), &grant).await,
                    Next::End(Ending::Deleted) => Err(Left::Close(CLOSED_DELETED, "the chat was deleted")),
                    Next::End(Ending::Unshared) => {
                        Err(Left::Close(CLOSED_UNSHARED, "the chat is not shared with this user any more"))
                    }
                    Next::End(Ending::Leaving) => {
                        Err(Left::Close(CloseCode::Away, "this replica goes; resume on another"))
                    }
                },
            };
            if let Err(left) = sent {
                return left;
            }
        }
    }

    pub(super) async fn send(&mut self, message: Message, grant: &Grant) -> Result<(), Left> {
        let (progress, client_timeout) = (self.progress, self.client_timeout);
        patiently(progress, client_timeout, grant, self.write(message)).await
    }

    /// Sends one text frame.
    async fn send_text(&mut self, text: encode::Frame, grant: &Grant) -> Result<(), Left> {
        let chunks = text.into_chunks();
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut header = Vec::with_capacity(10);
        FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() }
            .format(length, &mut header)
            .expect("a vector takes what is written");
        self.frame = Chunks::new([header.into()].into_iter().chain(chunks));
        let (progress, client_timeout) = (self.progress, self.client_timeout);
        patiently(progress, client_timeout, grant, self.write_frame()).await
    }

    /// Writes a message, after what is left of a frame.
    async fn write(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.write_frame().await?;
        self.socket.send(message).await
    }

    /// Writes the rest of the frame, after what the library still has to write. Cancel-safe: the next call
    /// continues where this one stopped.
    async fn write_frame(&mut self) -> Result<(), tungstenite::Error> {
        self.socket.flush().await?;
        self.socket.get_mut().write_all_buf(&mut self.frame).await?;
        // What TLS took is not written yet.
        Ok(self.socket.get_mut().flush().await?)
    }
}

/// Waits while the client makes progress, and is let in.
async fn patiently(
    progress: &Progress,
    client_timeout: Duration,
    grant: &Grant,
    sending: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), Left> {
    let mut sending = std::pin::pin!(sending);
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return sent.map_err(|_| Left::Gone),
            () = grant.revoked() => return Err(REVOKED),
            () = sleep(client_timeout / 8) => {
                if progress.stalled_for() >= client_timeout {
                    return Err(Left::Stalled);
                }
            }
        }
    }
}
