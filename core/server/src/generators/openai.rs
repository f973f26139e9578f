//! Any OpenAI-compatible Chat Completions endpoint as a generator. It promises that a run which is dropped
//! closes its connection, that it waits no longer than its time-outs for anything, that an answer is whole or
//! told to have failed, and that no error carries a key or what somebody wrote. Trying again is left to the
//! runner.

mod answer;
mod blocks;
mod fault;
mod json;
mod patience;
mod piece;
mod report;
mod request;
mod wire;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use futures::{StreamExt, stream};
use mainstem_machine::{ChatId, Episode};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url, redirect};
use tokio::time::{Instant, timeout, timeout_at};

use answer::Answer;
use fault::Fault;
use patience::Patience;
use report::Report;
use request::{Extras, call_ids};
use wire::Said;

use crate::limits::model::{
    CAUSE_BYTES_MAX, CONNECT_TIMEOUT, END_TIMEOUT, ERROR_BODY_BYTES_MAX, ERROR_BODY_TIMEOUT,
    FIRST_BYTE_TIMEOUT, IDLE_CONNECTION_RETENTION, IDLE_CONNECTIONS_MAX, IDLE_TIMEOUT, WORDLESS_BYTES_MAX,
};
use crate::limits::settings::EPISODE_BYTES_DEFAULT;
use crate::outbound;
use crate::sse::{SseDecoder, SseEvent, TooLong};

/// The longest event that is taken where an answer holds at most so much text: all of it may come in one
/// event, escaped to three times its length.
pub const fn event_bytes_max(episode_bytes_max: usize) -> usize {
    episode_bytes_max.saturating_mul(3).saturating_add(64 * 1024)
}

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
    /// How long the model may be silent before it begins.
    pub first_byte_timeout: Duration,
    /// How long it may be silent between parts.
    pub idle_timeout: Duration,
    /// One event of the stream. What is longer can be no answer.
    pub event_bytes_max: usize,
    /// What may come of the stream without a word of the answer in it.
    pub wordless_bytes_max: usize,
}

impl OpenAiConfig {
    /// With the usual limits.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>, key: Option<ApiKey>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            key,
            connect_timeout: CONNECT_TIMEOUT,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            event_bytes_max: event_bytes_max(EPISODE_BYTES_DEFAULT),
            wordless_bytes_max: WORDLESS_BYTES_MAX,
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
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    event_bytes_max: usize,
    wordless_bytes_max: usize,
    /// Whether the endpoint can be asked to tell what a run cost.
    usage: Habit,
    /// Whether it takes the model's reasoning back.
    reasoning: Habit,
}

/// Whether an endpoint takes what not all take, as far as it is known.
#[derive(Debug, Default)]
struct Habit(AtomicU8);

impl Habit {
    const TAKEN: u8 = 1;
    const REFUSED: u8 = 2;

    fn is_asked(&self) -> bool {
        self.0.load(Relaxed) != Self::REFUSED
    }

    /// Whether a refusal may be because it was asked.
    fn may_be_refused(&self) -> bool {
        self.0.load(Relaxed) != Self::TAKEN
    }

    fn learn(&self, taken: bool) {
        self.0.store(if taken { Self::TAKEN } else { Self::REFUSED }, Relaxed);
    }
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
        let client = outbound::client_to(&url)
            .default_headers(headers)
            .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_RETENTION);
        let client = client.build().map_err(SetupError::Client)?;
        let shared = Shared {
            client,
            url,
            model: config.model,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            event_bytes_max: config.event_bytes_max,
            wordless_bytes_max: config.wordless_bytes_max,
            usage: Habit::default(),
            reasoning: Habit::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Generator for OpenAi {
    fn start(&self, conversation: Conversation) -> Generation {
        let (chat, episode) = (conversation.chat, conversation.episode);
        let run = Run {
            shared: self.shared.clone(),
            chat,
            episode,
            ready: VecDeque::new(),
            phase: Phase::Asking(conversation),
        };
        stream::unfold(run, |mut run| async move { run.next().await.map(|generated| (generated, run)) })
            .fuse()
            .boxed()
    }
}

/// One request. Whatever it holds of the connection goes when it is dropped.
struct Run {
    shared: Arc<Shared>,
    chat: ChatId,
    episode: Episode,
    /// What is to be told next: an event may say many things.
    ready: VecDeque<Generated>,
    phase: Phase,
}

enum Phase {
    Asking(Conversation),
    Answering(Box<Answering>),
    Ended,
}

/// An answer that comes.
struct Answering {
    response: Response,
    sse: SseDecoder,
    answer: Answer,
    patience: Patience,
}

impl Run {
    async fn next(&mut self) -> Option<Generated> {
        loop {
            if let Some(generated) = self.ready.pop_front() {
                return Some(generated);
            }
            if matches!(self.phase, Phase::Ended) {
                return None;
            }
            match self.step().await {
                Ok(parts) => self.ready.extend(parts),
                Err(fault) => return Some(self.fail(fault)),
            }
        }
    }

    /// Takes the run one phase or one event further. After an error it has ended.
    async fn step(&mut self) -> Result<Vec<Generated>, Fault> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Asking(conversation) => {
                let patience = self.shared.patience();
                let asked = timeout_at(patience.deadline(), self.shared.ask(&conversation)).await;
                let response = asked.map_err(|_| patience.fault())??;
                let sse = SseDecoder::lenient(self.shared.event_bytes_max, wire::is_whole);
                let answer = Answer::new(self.episode, call_ids(&conversation));
                let answering = Answering { response, sse, answer, patience };
                self.phase = Phase::Answering(answering.into());
                Ok(vec![])
            }
            Phase::Answering(mut answering) => {
                let Some(event) = answering.next_event().await? else {
                    return answering.answer.end(false);
                };
                match wire::read(&event)? {
                    Said::Done => {
                        let last = answering.answer.end(true)?;
                        answering.let_end().await;
                        Ok(last)
                    }
                    Said::Piece(piece) => {
                        let has_progress = piece.says();
                        let gain = answering.answer.take(piece)?;
                        if has_progress {
                            answering.patience.progressed(Instant::now(), gain.has_text);
                        }
                        self.phase = Phase::Answering(answering);
                        Ok(gain.parts)
                    }
                }
            }
            Phase::Ended => Ok(vec![]),
        }
    }

    fn fail(&self, fault: Fault) -> Generated {
        let attempt = self.episode.attempt;
        tracing::warn!(
            chat = %self.chat,
            attempt,
            code = fault.code(),
            reason = fault.message(),
            cause = fault.cause(),
            is_retryable = fault.is_retryable(attempt),
            "the model's run failed"
        );
        fault.into_generated(attempt)
    }
}

impl Answering {
    /// The next event; `None` at the end of the body.
    async fn next_event(&mut self) -> Result<Option<SseEvent>, Fault> {
        let too_long = |TooLong| Fault::TooLong;
        loop {
            if let Some(event) = self.sse.next_event().map_err(too_long)? {
                return Ok(Some(event));
            }
            let read = timeout_at(self.patience.deadline(), self.response.chunk()).await;
            let is_whole = self.answer.is_whole();
            match read {
                Ok(Ok(Some(bytes))) => match self.patience.came(Instant::now(), bytes.len(), is_whole) {
                    Ok(()) => self.sse.feed(bytes),
                    Err(_) if is_whole => return Ok(None),
                    Err(fault) => return Err(fault),
                },
                Ok(Ok(None)) => {
                    let last = self.sse.finish().map_err(too_long)?;
                    let is_cut = last.as_ref().is_some_and(|last| !wire::is_complete(last));
                    return match is_cut {
                        false => Ok(last),
                        // What was cut tells the cost, or that this is the end.
                        true if is_whole => Ok(None),
                        true => Err(Fault::CutShort),
                    };
                }
                // Nothing was missing.
                Ok(Err(_)) | Err(_) if is_whole => return Ok(None),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) => return Err(self.patience.fault()),
            }
        }
    }

    /// Waits a little for the end of the body, so that the connection ends in order or is used again.
    async fn let_end(&mut self) {
        let end = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        let _ = timeout(END_TIMEOUT, end).await;
    }
}

impl Shared {
    fn patience(&self) -> Patience {
        Patience::new(Instant::now(), self.first_byte_timeout, self.idle_timeout, self.wordless_bytes_max)
    }

    /// Sends the request and reads the head of the answer. Some endpoints refuse to be asked what a run costs, or
    /// to be told what the model thought, in whatever words: then it is asked again without, and so is every later
    /// run of this process.
    async fn ask(&self, conversation: &Conversation) -> Result<Response, Fault> {
        let first = Extras { usage: self.usage.is_asked(), reasoning: self.reasoning.is_asked() };
        let (mut body, has_reasoning) = self.body(conversation, first);
        let first = Extras { reasoning: has_reasoning, ..first };
        let without_reasoning = has_reasoning && self.reasoning.may_be_refused();
        let without_usage = first.usage && self.usage.may_be_refused();
        let others = [
            (without_reasoning, Extras { reasoning: false, ..first }),
            (without_usage, Extras { usage: false, ..first }),
            (without_reasoning && without_usage, Extras { usage: false, reasoning: false }),
        ];
        let mut others = others.into_iter().filter_map(|(is_worth_it, extras)| is_worth_it.then_some(extras));
        let mut asked = first;
        loop {
            match self.ask_once(body).await {
                Err(Fault::Told(report)) if report.is_vague() => {
                    let Some(next) = others.next() else { return Err(Fault::Told(report)) };
                    asked = next;
                    body = self.body(conversation, asked).0;
                }
                Err(fault) => return Err(fault),
                Ok(response) => {
                    if first.usage {
                        self.usage.learn(asked.usage);
                    }
                    if first.reasoning {
                        self.reasoning.learn(asked.reasoning);
                    }
                    return Ok(response);
                }
            }
        }
    }

    fn body(&self, conversation: &Conversation, extras: Extras) -> (Vec<u8>, bool) {
        request::request(conversation.model.as_deref().unwrap_or(&self.model), conversation, extras)
    }

    async fn ask_once(&self, body: Vec<u8>) -> Result<Response, Fault> {
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
        if head.is_none() && !(is_json && wire::is_error(&said)) {
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
fn unreachable(error: reqwest::Error) -> Fault {
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

fn completions_url(base: &str) -> Option<Url> {
    let mut url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(["chat", "completions"]);
    Some(url)
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
}
