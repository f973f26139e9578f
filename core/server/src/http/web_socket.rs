//! A stream as a WebSocket. What the client says is read, bounded, and ignored; it is told when it stalls.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::Bytes;
use mainstem_machine::Ending;
use mainstem_runtime::ports::Env;
use mainstem_runtime::{Next, Viewer, encode};
use tokio::time::{sleep, timeout};

use super::limits::{
    SOCKET_CLOSE_TIMEOUT, SOCKET_MESSAGE_BYTES_MAX, SOCKET_READ_BYTES, SOCKET_RECEIVED_BYTES_MAX,
    SOCKET_STALLED_GRACE,
};
use super::sse::pings;
use crate::listener::Progress;

/// The chat was deleted.
const CLOSED_DELETED: u16 = 4404;

/// Why the socket is left.
#[derive(Debug)]
enum Left {
    /// The other side has gone, or closes.
    Gone,
    /// The other side accepts nothing.
    Stalled,
    /// With this to say.
    Close(u16, &'static str),
}

pub(super) fn answer<E: Env>(
    upgrade: WebSocketUpgrade,
    viewer: Viewer<E>,
    progress: Arc<Progress>,
    client_timeout: Duration,
) -> Response {
    upgrade
        .read_buffer_size(SOCKET_READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(SOCKET_MESSAGE_BYTES_MAX)
        .max_frame_size(SOCKET_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| tell(socket, viewer, progress, client_timeout))
}

async fn tell<E: Env>(
    mut socket: WebSocket,
    viewer: Viewer<E>,
    progress: Arc<Progress>,
    client_timeout: Duration,
) {
    progress.grant_grace(SOCKET_STALLED_GRACE);
    let mut line = Line { socket: &mut socket, progress: &progress, client_timeout };
    let left = line.tell(viewer).await;
    match left {
        Left::Gone => {}
        Left::Stalled => {
            let close = close_frame(close_code::AGAIN, "nothing was accepted for too long");
            match timeout(SOCKET_STALLED_GRACE, socket.send(close)).await {
                Ok(Ok(())) => wait_for_close(&mut socket).await,
                _ => progress.demand_reset(),
            }
        }
        Left::Close(code, reason) => {
            let close = close_frame(code, reason);
            if timeout(SOCKET_CLOSE_TIMEOUT, socket.send(close)).await.is_ok_and(|sent| sent.is_ok()) {
                wait_for_close(&mut socket).await;
            }
        }
    }
}

/// Closing at once, with something unread, would reset the connection before the close was read.
async fn wait_for_close(socket: &mut WebSocket) {
    let closed = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = timeout(SOCKET_CLOSE_TIMEOUT, closed).await;
}

fn close_frame(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))
}

struct Line<'a> {
    socket: &'a mut WebSocket,
    progress: &'a Progress,
    client_timeout: Duration,
}

impl Line<'_> {
    async fn tell<E: Env>(&mut self, mut viewer: Viewer<E>) -> Left {
        let mut pings = pings();
        let mut received = 0;
        loop {
            let sent = tokio::select! {
                biased;
                _ = pings.tick() => {
                    received = 0;
                    self.send(Message::Ping(Bytes::new())).await
                }
                incoming = self.socket.recv() => match incoming {
                    None | Some(Ok(Message::Close(_))) => Err(Left::Gone),
                    Some(Err(_)) => Err(Left::Close(close_code::PROTOCOL, "what came makes no sense here")),
                    Some(Ok(message)) => {
                        received += message.into_data().len() + 1;
                        if received > SOCKET_RECEIVED_BYTES_MAX {
                            Err(Left::Close(close_code::POLICY, "a stream's client has little to say"))
                        } else {
                            Ok(())
                        }
                    }
                },
                next = viewer.next() => match next {
                    Next::Events(events) => self.send(text(encode::json_array(&events))).await,
                    Next::End(Ending::Deleted) => Err(Left::Close(CLOSED_DELETED, "the chat was deleted")),
                    Next::End(Ending::Leaving) => {
                        Err(Left::Close(close_code::AWAY, "this replica goes; resume on another"))
                    }
                },
            };
            if let Err(left) = sent {
                return left;
            }
        }
    }

    /// Sends, for as long as the other side takes something now and then.
    async fn send(&mut self, message: Message) -> Result<(), Left> {
        let mut sending = std::pin::pin!(self.socket.send(message));
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|_| Left::Gone),
                () = sleep(self.client_timeout / 8) => {
                    if self.progress.stalled_for() >= self.client_timeout {
                        return Err(Left::Stalled);
                    }
                }
            }
        }
    }
}

fn text(frame: encode::Frame) -> Message {
    let text = Utf8Bytes::try_from(frame.into_bytes()).expect("JSON is UTF-8");
    Message::Text(text)
}
