//! How a generator asks over HTTP: one POST, answered by an event stream. It promises that what is no such answer is
//! told as the fault that it is, and that no fault carries a key or what somebody wrote.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url, redirect};
use serde_json::Value;
use tokio::time::timeout;

use super::fault::Fault;
use super::report::{self, Report};
use crate::limits::model::{
    CAUSE_BYTES_MAX, ERROR_BODY_BYTES_MAX, ERROR_BODY_TIMEOUT, IDLE_CONNECTION_RETENTION,
    IDLE_CONNECTIONS_MAX,
};
use crate::outbound;

/// What `Authorization: Bearer` carries. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Why there is no generator for a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the base URL is no http or https URL: give one as https://api.openai.com/v1")]
    BaseUrl,
    #[error("the agent's URL is no http or https URL: give one as http://localhost:8000/agent")]
    AgentUrl,
    #[error("the API key has characters that no HTTP header takes: check it for line ends")]
    Key,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Where is asked, and by which client.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
}

impl Endpoint {
    pub(super) fn new(url: Url, key: Option<&ApiKey>, connect_timeout: Duration) -> Result<Self, SetupError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(ApiKey(key)) = key {
            let mut bearer =
                HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| SetupError::Key)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let client = outbound::client_to(&url)
            .default_headers(headers)
            .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_RETENTION);
        Ok(Self { client: client.build().map_err(SetupError::Client)?, url })
    }

    /// Sends a body and reads the head of the answer. A success that is JSON is an error if `is_error` says so of it.
    pub(super) async fn post(&self, body: Vec<u8>, is_error: fn(&Value) -> bool) -> Result<Response, Fault> {
        let response = self.client.post(self.url.clone()).body(body).send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() && response.headers().contains_key(LOCATION) {
            return Err(Fault::Redirected(self.origin(&response)));
        }
        let head = (!status.is_success()).then_some(status.as_u16());
        let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
        let is = |name: &str| kind.as_ref().is_some_and(|kind| kind.starts_with(name.as_bytes()));
        if head.is_none() && !is("application/json") && !is("text/html") {
            return Ok(response);
        }
        let is_json = is("application/json");
        let retry_after = report::retry_after(response.headers());
        let said = serde_json::from_slice(&error_body(response).await).unwrap_or_default();
        if head.is_none() && !(is_json && is_error(&said)) {
            return Err(Fault::NotEvents);
        }
        Err(Fault::told(Report { retry_after, ..Report::of(head, &said) }))
    }

    /// Where a redirect leads, without what may be secret in its address.
    fn origin(&self, response: &Response) -> Option<String> {
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let url = self.url.join(location).ok().filter(Url::has_host)?;
        Some(url.origin().ascii_serialization())
    }
}

/// As much of the body as comes in time and is taken.
async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = vec![];
    let read = async {
        while let Ok(Some(bytes)) = response.chunk().await {
            let space = ERROR_BODY_BYTES_MAX - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(space)]);
            if body.len() == ERROR_BODY_BYTES_MAX {
                break;
            }
        }
    };
    // What came until then is enough.
    let _ = timeout(ERROR_BODY_TIMEOUT, read).await;
    body
}

/// With the whole chain of reasons, and without the address, which may hold secrets.
pub(super) fn unreachable(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        cause = format!("{cause}: {error}");
        source = error.source();
    }
    cause.truncate(cause.floor_char_boundary(CAUSE_BYTES_MAX));
    Fault::Unreachable(cause)
}
