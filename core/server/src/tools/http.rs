//! A tool behind an HTTP endpoint. It promises that a call takes no longer and brings no more than it may, that it
//! follows no redirect, and that no error carries a secret. A dropped call closes its connection.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mainstem_machine::CallResult;
use mainstem_runtime::ports::ToolCall;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Response, redirect};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::file::HttpEntry;
use super::output;
use super::secrets::Secrets;
use crate::limits::tools::{
    CALL_ID_BYTES_MAX, CONNECT_TIMEOUT, EXCERPT_BYTES_MAX, EXCERPT_TIMEOUT, IDLE_CONNECTION_RETENTION,
    IDLE_CONNECTIONS_MAX,
};
use crate::outbound;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug)]
pub(super) struct HttpTool {
    client: Client,
    entry: HttpEntry,
    result_bytes_max: usize,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the tool's server could not be reached, or the connection broke: {0}")]
    Unreachable(String),
    #[error("{}", output::too_large(*.0, *.1))]
    TooLarge(usize, usize),
    #[error("the tool's server answered {status}{said}")]
    Status { status: reqwest::StatusCode, said: String },
}

impl HttpTool {
    pub(super) fn new(entry: HttpEntry, result_bytes_max: usize) -> reqwest::Result<Self> {
        let client = outbound::client_to(&entry.url.0)
            .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_RETENTION)
            .build()?;
        Ok(Self { client, entry, result_bytes_max })
    }

    pub(super) fn entry(&self) -> &HttpEntry {
        &self.entry
    }

    pub(super) async fn call(self: Arc<Self>, call: ToolCall) -> CallResult {
        let bytes_max = self.result_bytes_max;
        let result = match timeout(self.entry.timeout, self.ask(&call)).await {
            Ok(Ok(body)) => output::of_body(&body, bytes_max),
            Ok(Err(fault)) => output::error(&fault.to_string(), bytes_max),
            Err(_) => {
                let after = humantime::format_duration(self.entry.timeout);
                output::error(&format!("the tool did not answer within {after}"), bytes_max)
            }
        };
        output::without(&self.entry.secrets, result, bytes_max)
    }

    async fn ask(&self, call: &ToolCall) -> Result<Vec<u8>, Fault> {
        let request = self.client.post(self.entry.url.0.clone());
        let request = request
            .header(ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1")
            .headers(self.entry.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, idempotency_key(call))
            .body(body_of(call));
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let said = match redirected_to(&response) {
                Some(origin) => format!(", a redirect to {origin}, which is not followed"),
                None => told(response, &self.entry.secrets).await,
            };
            return Err(Fault::Status { status, said });
        }
        self.body(response).await
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Fault> {
        let bytes_max = self.result_bytes_max;
        let announced =
            response.content_length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if announced > bytes_max {
            return Err(Fault::TooLarge(announced, bytes_max));
        }
        let mut body = vec![];
        while let Some(bytes) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&bytes);
            if body.len() > bytes_max {
                return Err(Fault::TooLarge(body.len(), bytes_max));
            }
        }
        Ok(body)
    }
}

/// The call's name among all calls of all chats. Models name calls as they like, and headers do not take everything.
fn idempotency_key(call: &ToolCall) -> HeaderValue {
    // A turn that is answered again may name another call so.
    let (chat, of) = (&call.chat, &call.of);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let id = match &*call.id {
        id if id.len() <= CALL_ID_BYTES_MAX && id.bytes().all(is_plain) => id.to_owned(),
        id => format!("sha256:{}", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(id))),
    };
    HeaderValue::from_str(&format!("{chat}/{of}/{id}")).expect("visible ASCII is a header")
}

fn body_of(call: &ToolCall) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        chat: String,
        turn: u64,
        tool_call_id: &'a str,
        name: &'a str,
        input: &'a RawValue,
    }
    // What is no JSON goes as a text: the tool is to say what is wrong with it.
    let as_text = || serde_json::value::to_raw_value(&*call.input).expect("a text is JSON");
    let input = serde_json::from_str::<Box<RawValue>>(&call.input).unwrap_or_else(|_| as_text());
    let (chat, turn) = (call.chat.to_string(), call.turn.0);
    let body = Body { chat, turn, tool_call_id: &call.id, name: &call.name, input: &input };
    serde_json::to_string(&body).expect("a body is JSON")
}

/// Without the address, which may hold secrets.
fn unreachable(error: reqwest::Error) -> Fault {
    Fault::Unreachable(output::cause_of(&error.without_url()))
}

/// Where a redirect leads, without what may be secret in its address.
fn redirected_to(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = response.url().join(location).ok().filter(|url| url.has_host())?;
    let origin = url.origin().ascii_serialization();
    response.status().is_redirection().then(|| output::excerpt(&origin, EXCERPT_BYTES_MAX))
}

/// The begin of what came with an error, as much as comes in time.
async fn told(mut response: Response, secrets: &Secrets) -> String {
    let bytes_max = EXCERPT_BYTES_MAX + 1 + secrets.longest();
    let mut body = vec![];
    let read = async {
        while body.len() < bytes_max
            && let Ok(Some(bytes)) = response.chunk().await
        {
            body.extend_from_slice(&bytes[..bytes.len().min(bytes_max - body.len())]);
        }
    };
    let _ = timeout(EXCERPT_TIMEOUT, read).await;
    match String::from_utf8_lossy(&body).trim() {
        "" => String::new(),
        said => format!(": {}", secrets.excerpt(said, EXCERPT_BYTES_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, input: &str) -> ToolCall {
        ToolCall {
            chat: mainstem_machine::ChatId(uuid::Uuid::nil()),
            turn: mainstem_machine::MessageId(7),
            of: mainstem_machine::Version(9),
            id: id.into(),
            name: "find".into(),
            input: input.into(),
            is_repeatable: false,
        }
    }

    #[test]
    fn a_key_is_short_and_one_calls_alone() {
        let key = |id: &str| idempotency_key(&call(id, "{}")).to_str().expect("ASCII").to_owned();
        assert_eq!(key("call_1"), "00000000-0000-0000-0000-000000000000/9/call_1");
        for odd in ["a b", "a\n", "ж", &"x".repeat(500)] {
            assert!(key(odd).contains("/9/sha256:") && key(odd).len() < 128, "{odd}");
        }
        assert_ne!(key("a b"), key("a  b"));
    }

    #[test]
    fn input_goes_as_it_is_or_as_a_text() {
        assert!(body_of(&call("c", r#"{"n": 1.50}"#)).ends_with(r#""input":{"n": 1.50}}"#));
        assert!(body_of(&call("c", r#"{"n": "#)).ends_with(r#""input":"{\"n\": "}"#));
    }
}
