//! The WebSocket transport: many requests on one socket, each with an id of the client's. Here, and only here, stopping is
//! another thing than leaving: the client says `abort`.
//!
//! A request whose answer is cut closes the socket (1001): the client resumes all that was under way there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{pending, select_all};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use mainstem_runtime::EdgeError;
use mainstem_runtime::ports::Env;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::super::super::auth::{Grant, StreamCaller};
use super::super::super::request::wants_web_socket;
use super::super::super::sse::pings;
use super::super::super::web_socket::{Left, Line, REVOKED, Upgrade, switching};
use super::super::super::{App, Problem, Requester};
use super::super::stop::stop;
use super::super::turn::From;
use super::super::words::{error_text, refuse_others};
use super::asked::Asker;
use super::dialect::{Dialect, Options};
use super::request::ChatRequest;
use super::resumed;
use super::stream::Told;
use super::told::Then;
use crate::insight::{Closed, Transport};
use crate::limits::edge::{
    CLIENT_NAME_BYTES_MAX, RESUME_AGAIN_MAX, SOCKET_READ_BYTES, SOCKET_REQUEST_BYTES_MAX,
    SOCKET_REQUESTS_BYTES_MAX, SOCKET_REQUESTS_MAX, SOCKET_STALLED_GRACE,
};
use crate::listener::Progress;

/// What the client says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    r#type: String,
    request_id: String,
    id: Option<String>,
    trigger: Option<Value>,
    message_id: Option<Value>,
    messages: Option<Box<RawValue>>,
    body: Option<Map<String, Value>>,
    headers: Option<Map<String, Value>>,
    /// That of the request, which the client's own code hands to its transport.
    metadata: Option<Value>,
}

impl Frame {
    /// The socket is open as somebody, by the headers with which it was opened.
    fn check(&self) -> Result<(), Problem> {
        if let Some(name) = self.headers.iter().flat_map(Map::keys).next() {
            let why = format!(
                "the header {name:.80?} of a frame is not taken here: who asks, the socket's own URL says, by \
                 `access_token` in `params`"
            );
            return Err(Problem::malformed(why));
        }
        let metadata =
            Map::from_iter(self.metadata.clone().map(|metadata| ("metadata".to_owned(), metadata)));
        refuse_others(&metadata, "of a frame")
    }
}

/// What it is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Reply<'a> {
    Start { request_id: &'a str },
    Chunk { request_id: &'a str, sequence: u64, chunk: &'a RawValue },
    End { request_id: &'a str },
    NoActive { request_id: &'a str },
    Error { request_id: &'a str, error_text: &'a str },
}

/// A request that is being answered.
struct Open<E: Env> {
    request_id: String,
    resumes: bool,
    from: From,
    told: Told<E>,
    sequence: u64,
}

pub(super) async fn open<E: Env>(
    State(app): State<Arc<App<E>>>,
    StreamCaller(by, grant): StreamCaller,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let mut options = Options::of(&parts.uri)?;
    if options.dialect == Dialect::Any {
        // No earlier one has this transport.
        options.dialect = Dialect::Seven;
    }
    if options.stops_on_close {
        return Err(Problem::malformed("`on_close` is not for a socket, on which `abort` stops a turn"));
    }
    if !wants_web_socket(&parts.headers) {
        return Err(Problem::malformed("this path is a WebSocket's"));
    }
    let slot = app.request_sockets.clone().try_acquire_owned();
    let slot = slot.map_err(|_| EdgeError::Overloaded("too many sockets are open here"))?;
    let Upgrade { accept, upgraded } = Upgrade::of(&mut parts)?;
    let progress = parts.extensions.get::<Arc<Progress>>().cloned().unwrap_or_default();
    tokio::spawn(async move {
        let _slot = slot;
        match upgraded.await {
            Ok(upgraded) => serve(upgraded, Session::new(app, by, grant, options), progress).await,
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
    Ok(switching(accept))
}

async fn serve<E: Env>(upgraded: Upgraded, mut session: Session<E>, progress: Arc<Progress>) {
    progress.grant_grace(SOCKET_STALLED_GRACE);
    let config = WebSocketConfig::default()
        .read_buffer_size(SOCKET_READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(SOCKET_REQUEST_BYTES_MAX))
        .max_frame_size(Some(SOCKET_REQUEST_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let client_timeout: Duration = session.app.client_timeout;
    let mut line = Line::new(socket, &progress, client_timeout);
    let left = session.answer(&mut line).await;
    line.leave(left).await;
}

struct Session<E: Env> {
    app: Arc<App<E>>,
    by: Requester,
    grant: Grant,
    options: Options,
    open: Vec<Open<E>>,
    /// Which of them is told of first: not always the same, or the others might never be (B3).
    first: usize,
    /// Turns that stop soon, unless they are resumed before.
    stopping: Vec<(From, JoinHandle<()>)>,
}

impl<E: Env> Session<E> {
    fn new(app: Arc<App<E>>, by: Requester, grant: Grant, options: Options) -> Self {
        Self { app, by, grant, options, open: vec![], first: 0, stopping: vec![] }
    }

    async fn answer(&mut self, line: &mut Line<'_>) -> Left {
        let mut pings = pings();
        let mut received = 0;
        loop {
            let done = tokio::select! {
                biased;
                () = self.grant.revoked() => {
                    self.open.iter_mut().for_each(|open| open.told.closes(Closed::Revoked));
                    Err(REVOKED)
                }
                _ = pings.tick() => {
                    received = 0;
                    line.send(Message::Ping(Bytes::new()), &self.grant).await
                }
                incoming = line.socket.next() => match incoming {
                    None | Some(Ok(Message::Close(_))) => Err(Left::Gone),
                    Some(Err(WsError::Capacity(_))) => Err(Left::Close(CloseCode::Size, "what came is too large: send the last message alone")),
                    Some(Err(_)) => Err(Left::Close(CloseCode::Protocol, "what came makes no sense here")),
                    Some(Ok(Message::Text(text))) => {
                        received += text.len() + 1;
                        if received > SOCKET_REQUESTS_BYTES_MAX {
                            Err(Left::Close(CloseCode::Policy, "too much came at once"))
                        } else {
                            self.hear(line, &text).await
                        }
                    }
                    Some(Ok(message)) => {
                        received += message.len() + 1;
                        if received > SOCKET_REQUESTS_BYTES_MAX {
                            Err(Left::Close(CloseCode::Policy, "too much came at once"))
                        } else {
                            Ok(())
                        }
                    }
                },
                (at, told) = next(&mut self.open, self.first) => {
                    self.first = at + 1;
                    self.tell(line, at, told).await
                }
            };
            if let Err(left) = done {
                return left;
            }
        }
    }

    async fn say(&self, line: &mut Line<'_>, reply: &Reply<'_>) -> Result<(), Left> {
        let text = serde_json::to_string(reply).expect("a frame is written");
        line.send(Message::text(text), &self.grant).await
    }

    async fn tell(
        &mut self,
        line: &mut Line<'_>,
        at: usize,
        told: Option<(Vec<Box<RawValue>>, Then)>,
    ) -> Result<(), Left> {
        let (chunks, then) = told.unwrap_or((vec![], Then::Cut));
        let request_id = self.open[at].request_id.clone();
        for chunk in &chunks {
            let sequence = self.open[at].sequence;
            self.open[at].sequence += 1;
            self.say(line, &Reply::Chunk { request_id: &request_id, sequence, chunk }).await?;
        }
        match then {
            Then::GoOn => Ok(()),
            Then::Finish => {
                self.open.swap_remove(at);
                self.say(line, &Reply::End { request_id: &request_id }).await
            }
            Then::Cut => Err(Left::Close(CloseCode::Away, "resume: the rest is told elsewhere")),
        }
    }

    async fn hear(&mut self, line: &mut Line<'_>, text: &str) -> Result<(), Left> {
        let no_frame = Left::Close(CloseCode::Policy, "a frame is {type, requestId, …}");
        let Ok(frame) = serde_json::from_str::<Frame>(text) else { return Err(no_frame) };
        if !(1..=CLIENT_NAME_BYTES_MAX).contains(&frame.request_id.len()) {
            return Err(no_frame);
        }
        let request_id = frame.request_id.clone();
        let done = match &*frame.r#type {
            "abort" => {
                self.abort(&request_id);
                return Ok(());
            }
            "send" | "resume" => self.begin(line, frame).await,
            other => Ok(Err(Problem::malformed(format!("the frame {other:.80?} is not taken here")))),
        };
        match done? {
            Ok(()) => Ok(()),
            Err(problem) => {
                let error_text = error_text(&problem);
                self.say(line, &Reply::Error { request_id: &request_id, error_text: &error_text }).await
            }
        }
    }

    async fn begin(&mut self, line: &mut Line<'_>, frame: Frame) -> Result<Result<(), Problem>, Left> {
        let is_open = |open: &Open<E>| open.request_id == frame.request_id;
        if self.open.len() >= SOCKET_REQUESTS_MAX || self.open.iter().any(is_open) {
            let why = "this socket has too many requests open, or one of this `requestId`";
            return Ok(Err(EdgeError::Overloaded(why).into()));
        }
        if let Err(problem) = frame.check() {
            return Ok(Err(problem));
        }
        // Each is a request, as if it had come by itself.
        if let Err(limited) = self.app.rates.request(&self.by.payer) {
            return Ok(Err(limited.into()));
        }
        let (request_id, resumes) = (frame.request_id.clone(), frame.r#type == "resume");
        let from = match self.asked(frame).await {
            Ok(Some(from)) => from,
            Ok(None) => {
                self.say(line, &Reply::NoActive { request_id: &request_id }).await?;
                return Ok(Ok(()));
            }
            Err(problem) => return Ok(Err(problem)),
        };
        let opening = Told::open(&self.app, &self.by, from.clone(), self.options, Transport::WebSocket);
        let told = match opening.await {
            Ok(opened) => opened,
            Err(problem) => return Ok(Err(problem)),
        };
        if resumes {
            self.say(line, &Reply::Start { request_id: &request_id }).await?;
        }
        self.open.push(Open { request_id, resumes, from, told, sequence: 0 });
        Ok(Ok(()))
    }

    /// The turn that answers; `None` if nothing runs that could be resumed.
    async fn asked(&mut self, frame: Frame) -> Result<Option<From>, Problem> {
        let chat = frame.id.ok_or_else(|| Problem::malformed("`id`, the chat's, is missing"))?;
        if frame.r#type == "resume" {
            let from = resumed(&self.app, &self.by, &chat, self.options).await?;
            if let Some(from) = &from {
                self.stopping.retain(|(stopping, task)| {
                    let is_it = (stopping.chat, stopping.turn) == (from.chat, from.turn);
                    if is_it {
                        task.abort();
                    }
                    !is_it
                });
            }
            return Ok(from);
        }
        let mut body = frame.body.unwrap_or_default();
        let messages =
            frame.messages.map(|messages| serde_json::from_str(messages.get()).unwrap_or(Value::Null));
        body.insert("id".into(), chat.into());
        let members = [("messages", messages), ("trigger", frame.trigger), ("messageId", frame.message_id)];
        for (name, value) in members {
            body.remove(name);
            body.extend(value.map(|value| (name.to_owned(), value)));
        }
        let request = ChatRequest::parse(Value::Object(body).to_string().as_bytes())?;
        let asker = Asker { app: &self.app, by: &self.by, key: None };
        asker.carry_out(&request).await.map(Some)
    }

    /// The client stops the turn. One that resumes anew ends its request in the same way first.
    fn abort(&mut self, request_id: &str) {
        self.stopping.retain(|(_, task)| !task.is_finished());
        let Some(at) = self.open.iter().position(|open| open.request_id == request_id) else { return };
        let Open { from, resumes, .. } = self.open.swap_remove(at);
        let delay = if resumes { RESUME_AGAIN_MAX } else { Duration::ZERO };
        let (node, by, of) = (self.app.node.clone(), self.by.clone(), from.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if let Err(error) = stop(&node, &by, of.chat, of.turn).await {
                tracing::debug!(%error, "a turn was not stopped");
            }
        });
        self.stopping.push((from, task));
    }
}

/// The next chunks of any request, those from the `first` on before those before it. Cancel-safe.
async fn next<E: Env>(open: &mut [Open<E>], first: usize) -> (usize, Option<(Vec<Box<RawValue>>, Then)>) {
    if open.is_empty() {
        return pending().await;
    }
    let first = first % open.len();
    let all = open.iter_mut().enumerate();
    let mut all: Vec<_> =
        all.map(|(at, open)| Box::pin(async move { (at, open.told.next().await) })).collect();
    all.rotate_left(first);
    select_all(all).await.0
}
