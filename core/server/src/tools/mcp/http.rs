//! An MCP server behind a URL: streamable HTTP, over the client that this program calls others with. It bounds what
//! it reads, follows no redirect, and no error carries an address or a header.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
    StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use tokio::time::{Instant, sleep_until};

use super::gate::{End, Gate};
use super::pace::{Pace, StreamEnd};
use crate::limits::mcp::{CALLS_MAX, MESSAGE_BYTES_MAX, RESUME_DELAY_MAX};
use crate::limits::tools::{CONNECT_TIMEOUT, IDLE_CONNECTION_RETENTION, IDLE_CONNECTIONS_MAX};
use crate::outbound;
use crate::tools::output;
use crate::tools::secrets::Headers;

const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

type Events = BoxStream<'static, Result<Sse, SseError>>;
type Fault = StreamableHttpError<HttpFault>;

/// What went wrong with one request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpFault {
    #[error("it could not be reached, or the connection broke: {0}")]
    Unreachable(String),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered with what is no message of the protocol: {0}")]
    Malformed(String),
    #[error("it sent a message of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("it sent too many messages")]
    TooMany,
}

#[derive(Clone, Debug)]
pub(super) struct HttpClient {
    client: Client,
    headers: Headers,
    gate: Arc<Gate>,
    /// Of the streams that stand for themselves.
    standing: Arc<Mutex<Pace>>,
    /// Of those that go on where another one ended, such as that of a call.
    resumed: Arc<Mutex<Pace>>,
}

/// The way to the server. Nothing is sent yet.
pub(super) fn transport(
    url: &Url,
    headers: &Headers,
    gate: Arc<Gate>,
) -> reqwest::Result<StreamableHttpClientTransport<HttpClient>> {
    let client = outbound::client_to(url)
        .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_CONNECTION_RETENTION)
        .build()?;
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    let mut config = config.max_concurrent_requests(CALLS_MAX);
    let mut backoff = ExponentialBackoff::default();
    backoff.max_delay = Some(RESUME_DELAY_MAX);
    config.retry_config = Arc::new(backoff);
    let (standing, resumed) = (Arc::default(), Arc::default());
    let client = HttpClient { client, headers: headers.clone(), gate, standing, resumed };
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

impl HttpClient {
    async fn send(
        &self,
        request: RequestBuilder,
        session: Option<Arc<str>>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Response, Fault> {
        let mut request = request.headers(self.headers.clone()).headers(headers.into_iter().collect());
        if let Some(session) = session {
            request = request.header(SESSION, &*session);
        }
        request.send().await.map_err(|error| StreamableHttpError::Client(unreachable(error)))
    }

    fn events(&self, response: Response) -> Events {
        let mut limit = Limit { gate: self.gate.clone(), event_bytes: 0, line_bytes: 0, is_comment: false };
        let mut is_over = false;
        let bytes = response.bytes_stream().map(move |bytes| {
            let bytes = bytes.map_err(unreachable)?;
            limit.observe(&bytes).map(|()| bytes)
        });
        // A stream that failed has ended.
        let bytes = bytes.take_while(move |read| {
            let goes_on = !is_over;
            is_over = read.is_err();
            std::future::ready(goes_on)
        });
        SseStream::from_bytes_stream(bytes).boxed()
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = HttpFault;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let asks = matches!(message, ClientJsonRpcMessage::Request(_));
        let has_session = session.is_some();
        let request = self.client.post(&*uri).header(ACCEPT, format!("{JSON}, {EVENTS}")).json(&message);
        let response = self.send(request, session, headers).await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && has_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let new_session = response.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let (is_json, is_events) = (is_of(&response, JSON), is_of(&response, EVENTS));
        if !asks {
            return match status.is_success() {
                true => Ok(StreamableHttpPostResponse::Accepted),
                false => Err(StreamableHttpError::Client(HttpFault::Status(status))),
            };
        }
        if status.is_success() && is_events {
            return Ok(StreamableHttpPostResponse::Sse(self.events(response), new_session));
        }
        if !status.is_success() && !is_json {
            return Err(StreamableHttpError::Client(HttpFault::Status(status)));
        }
        let body = body_of(response).await.map_err(StreamableHttpError::Client)?;
        match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
            Ok(error @ ServerJsonRpcMessage::Error(_)) => {
                Ok(StreamableHttpPostResponse::Json(error, new_session))
            }
            Ok(message) if status.is_success() => Ok(StreamableHttpPostResponse::Json(message, new_session)),
            Err(error) if status.is_success() => {
                // What it said instead may hold what it was sent.
                let fault = HttpFault::Malformed(error.to_string());
                Err(StreamableHttpError::Client(fault))
            }
            _ => Err(StreamableHttpError::Client(HttpFault::Status(status))),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Fault> {
        self.send(self.client.delete(&*uri), Some(session), headers).await.map(|_| ())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Fault> {
        let pace = if last_event.is_some() { &self.resumed } else { &self.standing };
        let next = pace.lock().unwrap_or_else(PoisonError::into_inner).next();
        if let Some(next) = next {
            sleep_until(next).await;
        }
        let mut request = self.client.get(&*uri).header(ACCEPT, EVENTS);
        if let Some(id) = last_event {
            request = request.header(LAST_EVENT, id);
        }
        let response = self.send(request, session, headers).await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => Err(StreamableHttpError::Client(HttpFault::Status(status))),
            _ if is_of(&response, EVENTS) => Ok(paced(self.events(response), pace.clone())),
            _ => Err(StreamableHttpError::ServerDoesNotSupportSse),
        }
    }
}

/// The events, and how the stream came to its end.
fn paced(events: Events, pace: Arc<Mutex<Pace>>) -> Events {
    let begun = Instant::now();
    let ended = move |end| {
        pace.lock().unwrap_or_else(PoisonError::into_inner).ended(begun, Instant::now(), end);
    };
    let paced = stream::unfold(Some((events, ended)), async |open| {
        let (mut events, ended) = open?;
        match events.next().await {
            Some(Ok(event)) => Some((Ok(event), Some((events, ended)))),
            Some(Err(error)) => {
                ended(StreamEnd::Broken);
                Some((Err(error), None))
            }
            None => {
                ended(StreamEnd::Over);
                None
            }
        }
    });
    paced.boxed()
}

fn is_of(response: &Response, media_type: &str) -> bool {
    let given = response.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let given = given.and_then(|given| given.split(';').next());
    given.is_some_and(|given| given.trim().eq_ignore_ascii_case(media_type))
}

fn unreachable(error: reqwest::Error) -> HttpFault {
    HttpFault::Unreachable(output::cause_of(&error.without_url()))
}

async fn body_of(mut response: Response) -> Result<Vec<u8>, HttpFault> {
    let mut body = vec![];
    while let Some(bytes) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&bytes);
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(HttpFault::TooLong);
        }
    }
    Ok(body)
}

/// Bounds the events of one stream.
struct Limit {
    gate: Arc<Gate>,
    event_bytes: usize,
    line_bytes: usize,
    is_comment: bool,
}

impl Limit {
    fn observe(&mut self, bytes: &Bytes) -> Result<(), HttpFault> {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' if self.line_bytes == 0 => {
                    let has_event = self.event_bytes > 0;
                    self.event_bytes = 0;
                    if has_event && !self.gate.admit() {
                        return Err(HttpFault::TooMany);
                    }
                }
                b'\n' => {
                    self.event_bytes += if self.is_comment { 0 } else { self.line_bytes };
                    self.line_bytes = 0;
                }
                byte => {
                    if self.line_bytes == 0 {
                        self.is_comment = *byte == b':';
                    }
                    self.line_bytes += 1;
                }
            }
            if self.event_bytes + self.line_bytes > MESSAGE_BYTES_MAX {
                self.gate.close(End::TooLong);
                return Err(HttpFault::TooLong);
            }
        }
        Ok(())
    }
}
