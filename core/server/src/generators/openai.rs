//! Any OpenAI-compatible Chat Completions endpoint as a generator. It promises that a run which is dropped
//! closes its connection, that it waits no longer than its time-outs for anything, and that no error carries
//! a key or what somebody wrote. Trying again is left to the runner.

mod fault;
mod sse;
mod wire;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url, redirect};
use tokio::time::timeout;

use fault::Fault;
use sse::SseDecoder;

/// Until a connection stands.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the request and the head of its answer, and between two pieces of its body.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Of the body of an answer that is an error.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;
/// How long that body is waited for: it only tells more of what is known already.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that are kept for the next runs, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 16;
const IDLE_CONNECTION_RETENTION: Duration = Duration::from_secs(30);

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

/// Where the model is and how it is asked.
#[derive(Clone, Debug)]
pub struct OpenAiConfig {
    /// What `/chat/completions` is put behind, as `https://api.openai.com/v1`. A query is kept.
    pub base_url: String,
    /// Asked when a chat names no model.
    pub model: String,
    pub key: Option<ApiKey>,
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
}

impl OpenAiConfig {
    /// With the usual time-outs.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>, key: Option<ApiKey>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            key,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// Why there is no generator for a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the base URL is no http or https URL: give one as https://api.openai.com/v1")]
    BaseUrl,
    #[error("the API key has characters that no HTTP header takes: check it for line ends")]
    Key,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// A generator that asks over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenAi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    url: Url,
    model: String,
    idle_timeout: Duration,
}

impl OpenAi {
    pub fn new(config: OpenAiConfig) -> Result<Self, SetupError> {
        let url = completions_url(&config.base_url).ok_or(SetupError::BaseUrl)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(ApiKey(key)) = &config.key {
            let mut bearer =
                HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| SetupError::Key)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let mut client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_RETENTION);
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(SetupError::Client)?;
        let shared = Shared { client, url, model: config.model, idle_timeout: config.idle_timeout };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Generator for OpenAi {
    fn start(&self, conversation: Conversation) -> Generation {
        let run = Run { shared: self.shared.clone(), phase: Phase::Asking(conversation) };
        stream::unfold(run, |mut run| async move { run.next().await.map(|generated| (generated, run)) })
            .fuse()
            .boxed()
    }
}

/// One request. Whatever it holds of the connection goes when it is dropped.
struct Run {
    shared: Arc<Shared>,
    phase: Phase,
}

enum Phase {
    Asking(Conversation),
    Answering { response: Box<Response>, sse: SseDecoder },
    Ending(Generated),
    Ended,
}

impl Run {
    async fn next(&mut self) -> Option<Generated> {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(generated)) => return Some(generated),
                Err(fault) => return Some(fault.into()),
            }
            if matches!(self.phase, Phase::Ended) {
                return None;
            }
        }
    }

    /// Takes the run one phase or one event further. After an error it has ended.
    async fn step(&mut self) -> Result<Option<Generated>, Fault> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Asking(conversation) => {
                let response = Box::new(self.shared.ask(&conversation).await?);
                self.phase = Phase::Answering { response, sse: SseDecoder::default() };
                Ok(None)
            }
            Phase::Answering { mut response, mut sse } => {
                let Some(data) = sse.next_data().map_err(|sse::TooLong| Fault::TooLong)? else {
                    let read = timeout(self.shared.idle_timeout, response.chunk());
                    let bytes = read.await.map_err(|_| Fault::Silent)?.map_err(unreachable)?;
                    sse.feed(bytes.ok_or(Fault::CutShort)?);
                    self.phase = Phase::Answering { response, sse };
                    return Ok(None);
                };
                let said = wire::read(&data)?;
                self.phase = match said.end {
                    None => Phase::Answering { response, sse },
                    Some(Ok(())) => Phase::Ending(Generated::Done),
                    Some(Err(fault)) => Phase::Ending(fault.into()),
                };
                Ok(Some(said.text).filter(|text| !text.is_empty()).map(Generated::Text))
            }
            Phase::Ending(end) => Ok(Some(end)),
            Phase::Ended => Ok(None),
        }
    }
}

impl Shared {
    /// Sends the request and reads the head of the answer.
    async fn ask(&self, conversation: &Conversation) -> Result<Response, Fault> {
        let model = conversation.model.as_deref().unwrap_or(&self.model);
        let body = wire::request(model, conversation);
        let sent = self.client.post(self.url.clone()).body(body).send();
        let response = timeout(self.idle_timeout, sent).await.map_err(|_| Fault::Silent)?;
        let response = response.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let body = error_body(response).await;
            return Err(Fault::of_status(status.as_u16(), &body));
        }
        let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        let is_events = kind.is_none_or(|kind| {
            kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
        });
        if is_events { Ok(response) } else { Err(Fault::NotEvents) }
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

fn unreachable(error: reqwest::Error) -> Fault {
    tracing::debug!(error = ?error.without_url(), "the connection to the model's provider failed");
    Fault::Unreachable
}

fn completions_url(base: &str) -> Option<Url> {
    let mut url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(["chat", "completions"]);
    Some(url)
}

/// A proxy of the environment's is not for what runs on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_behind_any_base() {
        for (base, wanted) in [
            ("https://a.example/v1", "https://a.example/v1/chat/completions"),
            ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1/chat/completions"),
            ("https://a.example/x?api-version=1", "https://a.example/x/chat/completions?api-version=1"),
        ] {
            assert_eq!(completions_url(base).unwrap().as_str(), wanted);
        }
        for base in ["", "localhost:1234", "ftp://a.example", "data:text/plain,x"] {
            assert_eq!(completions_url(base), None, "{base}");
        }
    }

    #[test]
    fn a_key_is_never_shown_and_a_bad_one_is_refused() {
        let config = OpenAiConfig::new("http://localhost:1/v1", "m", Some(ApiKey::new("sk-secret")));
        let shown = format!("{config:?} {:?}", OpenAi::new(config.clone()).unwrap());
        assert!(!shown.contains("sk-secret"), "{shown}");
        let config = OpenAiConfig { key: Some(ApiKey::new("a\nb")), ..config };
        assert!(matches!(OpenAi::new(config), Err(SetupError::Key)));
    }

    #[test]
    fn what_runs_here_is_asked_without_a_proxy() {
        for (url, wanted) in [
            ("http://localhost:1", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:8", true),
            ("http://10.0.0.1", false),
            ("http://a.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), wanted, "{url}");
        }
    }
}
