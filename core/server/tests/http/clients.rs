//! Clients of the tests: both transports of a stream, as lists of events.

use std::time::Duration;

use futures::StreamExt;
use mainstem::client::{Api, EventStream};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::Server;

const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, work).await.expect("it happens in time")
}

/// Opens the stream of the chat at `path`.
pub(crate) async fn sse(server: &Server, path: &str, after: Option<&str>) -> EventStream {
    let chat = path.strip_prefix("/v1/chats/").expect("a chat's path");
    Api::new(&server.url, None).expect("a URL").stream(chat, after).await.expect("a stream")
}

/// The events up to the first for which `ends` is true, or to the end of the stream.
pub(crate) async fn read(stream: &mut EventStream, ends: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events = vec![];
    let reading = async {
        loop {
            while let Some(event) = stream.next_event() {
                let event = event.expect("an event");
                let received: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(received["cursor"], *event.id);
                events.push(received);
                if ends(events.last().expect("one")) {
                    return;
                }
            }
            if !stream.fill().await.expect("bytes") {
                return;
            }
        }
    };
    within(reading).await;
    events
}

pub(crate) async fn web_socket(server: &Server, path: &str) -> Result<Socket, u16> {
    match connect_async(format!("ws://{}{path}", server.address())).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => Err(refused.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The events up to the first for which `ends` is true, or to the close frame.
pub(crate) async fn read_socket(
    socket: &mut Socket,
    ends: impl Fn(&Value) -> bool,
) -> (Vec<Value>, Option<CloseFrame>) {
    let mut events: Vec<Value> = vec![];
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let received: Vec<Value> = serde_json::from_str(&text).expect("an array of events");
                    assert!(!received.is_empty());
                    events.extend(received);
                    if events.iter().any(&ends) {
                        return None;
                    }
                }
                Some(Ok(Message::Close(close))) => return close,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let close = within(reading).await;
    (events, close)
}

pub(crate) fn is_synced(event: &Value) -> bool {
    event["type"] == "synced"
}

pub(crate) fn is_waiting(event: &Value) -> bool {
    event["status"] == "waiting"
}

pub(crate) fn is_part(event: &Value) -> bool {
    event["type"] == "message_part"
}
