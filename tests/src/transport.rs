//! The two transports of a stream: Server-Sent Events and WebSocket. Both yield JSON events; their framing is
//! checked here.

use std::collections::VecDeque;
use std::fmt;

use futures::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::Client;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    EventStream,
    WebSocket,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The body's end, in order.
    Body,
    /// The WebSocket was closed with this code.
    Closed(u16),
    /// The connection broke.
    Broke(String),
}

#[derive(Debug)]
pub(crate) enum Transport {
    EventStream(Box<EventStream>),
    WebSocket(Box<WebSocketStream<Box<dyn Duplex>>>, VecDeque<String>),
}

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Duplex for T {}

/// A connection to where the client's requests go.
async fn connect(client: &Client) -> Result<Box<dyn Duplex>, std::io::Error> {
    let (_, address) = client.base.split_once("://").expect("a URL");
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = &client.tls else { return Ok(Box::new(stream)) };
    let host = address.split(':').next().expect("a split has a first piece").to_owned();
    let name = ServerName::try_from(host).expect("a name");
    Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
}

#[derive(Debug)]
pub(crate) struct EventStream {
    response: reqwest::Response,
    buffer: String,
    bytes: Vec<u8>,
}

impl Transport {
    /// Opens the stream with this query. Returns the status and code if it is refused.
    pub(crate) async fn open(
        client: &Client,
        chat: &str,
        kind: Kind,
        query: &str,
    ) -> Result<Self, (u16, String)> {
        let path = format!("/v1/chats/{chat}/stream{query}");
        match kind {
            Kind::EventStream => {
                let request = client.request(reqwest::Method::GET, &path);
                // A stream has no content length.
                let request = request.timeout(std::time::Duration::from_secs(24 * 60 * 60));
                let response = request.send().await.map_err(|error| (0, format!("{error:?}")))?;
                let status = response.status().as_u16();
                if status != 200 {
                    let text = response.text().await.unwrap_or_default();
                    return Err((status, code(&text)));
                }
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                // A stream that cannot be had now is an end at once, which a browser comes back after.
                if response.content_length().is_some() {
                    return Err((503, "come_back".to_owned()));
                }
                let stream = EventStream { response, buffer: String::new(), bytes: vec![] };
                Ok(Self::EventStream(Box::new(stream)))
            }
            Kind::WebSocket => {
                let url = format!("{}{path}", client.base.replacen("http", "ws", 1));
                let mut request = url.into_client_request().expect("a URL");
                if let Some(token) = &client.token {
                    let value = format!("Bearer {token}").parse().expect("a token is ASCII");
                    request.headers_mut().insert("authorization", value);
                }
                let stream = connect(client).await.map_err(|error| (0, error.to_string()))?;
                match tokio_tungstenite::client_async(request, stream).await {
                    Ok((socket, _)) => Ok(Self::WebSocket(Box::new(socket), VecDeque::new())),
                    Err(tungstenite::Error::Http(response)) => {
                        let text = response.body().as_deref().map(String::from_utf8_lossy);
                        Err((response.status().as_u16(), code(&text.unwrap_or_default())))
                    }
                    Err(error) => Err((0, error.to_string())),
                }
            }
        }
    }

    /// The JSON of the next event as it came, or how the stream ended.
    pub(crate) async fn next_text(&mut self) -> Result<String, Ended> {
        match self {
            Self::EventStream(stream) => stream.next().await,
            Self::WebSocket(socket, pending) => loop {
                if let Some(event) = pending.pop_front() {
                    return Ok(event);
                }
                match socket.next().await {
                    None => return Err(Ended::Broke("no close came".into())),
                    Some(Err(error)) => return Err(Ended::Broke(error.to_string())),
                    Some(Ok(Message::Text(text))) => {
                        let events: Vec<&RawValue> =
                            serde_json::from_str(&text).expect("a frame is an array");
                        assert!(!events.is_empty(), "a frame has an event");
                        pending.extend(events.into_iter().map(|event| event.get().to_owned()));
                    }
                    Some(Ok(Message::Close(frame))) => {
                        return Err(Ended::Closed(frame.map_or(0, |frame| frame.code.into())));
                    }
                    Some(Ok(Message::Binary(_))) => panic!("a binary frame came"),
                    Some(Ok(_)) => {}
                }
            },
        }
    }
}

impl EventStream {
    async fn next(&mut self) -> Result<String, Ended> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let Some(data) = field("data") else {
                    assert!(block.starts_with(':'), "neither an event nor a comment: {block:?}");
                    continue;
                };
                let event: Value = serde_json::from_str(data).expect("data is JSON");
                assert_eq!(field("event"), event["type"].as_str(), "{block}");
                assert_eq!(field("id"), event["cursor"].as_str(), "{block}");
                return Ok(data.to_owned());
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.push(&chunk),
                Ok(None) => return Err(Ended::Body),
                Err(error) => return Err(Ended::Broke(format!("{error:?}"))),
            }
        }
    }

    /// A chunk may end inside a character.
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.bytes.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.bytes, rest)).expect("it was looked at");
        self.buffer.push_str(&text);
    }
}

fn code(document: &str) -> String {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    document["code"].as_str().unwrap_or_default().to_owned()
}
