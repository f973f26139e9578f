//! Requests to one server.

use std::fmt;

use mainstem_oracles::viewer::WireMessage;
use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::EventStream;
use crate::failure::Failure;
use crate::limits::client::{CALL_TIMEOUT, CONNECT_TIMEOUT, PROBLEM_BYTES_MAX, SILENCE_MAX};
use crate::outbound;

/// One server, used by one user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The server rejected it.
    Refused { status: StatusCode, code: String, detail: String },
    /// The outcome is unknown.
    Unreachable(String),
}

impl CallError {
    /// Whether retrying cannot help (S10).
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_client_error()
                    && !matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Unreachable(_) => false,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code, detail } => write!(f, "{} {code}: {detail}", status.as_u16()),
            Self::Unreachable(why) => write!(f, "the server cannot be reached: {why}"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemDocument {
    code: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Page {
    messages: Vec<WireMessage>,
    next: Option<u64>,
    reset_version: u64,
}

impl Api {
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).ok();
        let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(parsed) = parsed else {
            return Err(Failure::usage(format!("--server {url}: expected http://HOST:PORT")));
        };
        let http = outbound::client_to(&parsed)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .tcp_nodelay(true)
            .build()
            .map_err(Failure::environment)?;
        Ok(Self { http, base, token })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and returns its JSON answer, or null. With a key, it may be retried.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, CallError> {
        let mut request = self.request(method, path).timeout(CALL_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = accepted(request.send().await.map_err(unreachable)?).await?;
        let bytes = response.bytes().await.map_err(unreachable)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| CallError::Unreachable(error.to_string()))
    }

    /// The whole committed history, read again from the start if it was cut in between.
    pub async fn messages(&self, chat: &str) -> Result<Vec<WireMessage>, CallError> {
        let (mut messages, mut after, mut reset) = (vec![], 0, None);
        loop {
            let path = format!("/v1/chats/{chat}/messages?limit=100&after_id={after}");
            let page = self.call(Method::GET, &path, None, None).await?;
            let page: Page =
                serde_json::from_value(page).map_err(|e| CallError::Unreachable(e.to_string()))?;
            if reset.is_some_and(|reset| reset != page.reset_version) {
                (messages, after, reset) = (vec![], 0, None);
                continue;
            }
            reset = Some(page.reset_version);
            messages.extend(page.messages);
            match page.next {
                Some(next) => after = next,
                None => return Ok(messages),
            }
        }
    }

    /// The chat's stream, after `cursor` if there is one.
    pub async fn stream(&self, chat: &str, cursor: Option<&str>) -> Result<EventStream, CallError> {
        let mut request = self.request(Method::GET, &format!("/v1/chats/{chat}/stream"));
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(cursor) = cursor {
            request = request.query(&[("after", cursor)]);
        }
        let response = tokio::time::timeout(CALL_TIMEOUT, request.send()).await;
        let response = response.map_err(|_| CallError::Unreachable("no answer in time".into()))?;
        Ok(EventStream::new(accepted(response.map_err(unreachable)?).await?))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn accepted(mut response: Response) -> Result<Response, CallError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut body = vec![];
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > PROBLEM_BYTES_MAX {
            break;
        }
    }
    let problem: ProblemDocument = serde_json::from_slice(&body).unwrap_or_default();
    Err(CallError::Refused { status, code: problem.code, detail: problem.detail })
}

fn unreachable(error: reqwest::Error) -> CallError {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        why = error.to_string();
        cause = error.source();
    }
    CallError::Unreachable(why)
}
