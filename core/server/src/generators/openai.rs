//! Any OpenAI-compatible Chat Completions endpoint as a generator. It promises that a run which is dropped
//! closes its connection, that it waits no longer than its time-outs for anything, that an answer is whole or
//! told to have failed, and that no error carries a key or what somebody wrote. Trying again is left to the
//! runner.

mod answer;
mod blocks;
mod call;
mod extra;
mod habits;
mod messages;
mod piece;
mod request;
mod said;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout_at};

use answer::Answer;
use habits::Habits;
use request::request;
use wire::Said;

use super::events::{Events, event_bytes_max};
use super::fault::{Fault, PROVIDER, Peer};
use super::http::{ApiKey, Endpoint, SetupError};
use super::patience::Patience;
use super::run::{self, Phase};
use crate::limits::model::{CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, WORDLESS_BYTES_MAX};
use crate::limits::settings::EPISODE_BYTES_DEFAULT;
use crate::sse::SseDecoder;

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

/// A generator that asks over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenAi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    model: String,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    event_bytes_max: usize,
    wordless_bytes_max: usize,
    habits: Habits,
}

impl OpenAi {
    pub fn new(config: OpenAiConfig) -> Result<Self, SetupError> {
        let url = completions_url(&config.base_url).ok_or(SetupError::BaseUrl)?;
        let endpoint = Endpoint::new(url, config.key.as_ref(), config.connect_timeout)?;
        let shared = Shared {
            endpoint,
            model: config.model,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            event_bytes_max: config.event_bytes_max,
            wordless_bytes_max: config.wordless_bytes_max,
            habits: Habits::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Generator for OpenAi {
    fn start(&self, conversation: Conversation) -> Generation {
        let (chat, episode) = (conversation.chat, conversation.episode);
        run::start(chat, episode, Run::Asking(self.shared.clone(), conversation))
    }
}

enum Run {
    Asking(Arc<Shared>, Conversation),
    Answering(Box<Answering>),
}

/// An answer that comes.
struct Answering {
    events: Events,
    answer: Answer,
}

impl Phase for Run {
    const PEER: Peer = PROVIDER;

    async fn step(self) -> Result<(Vec<Generated>, Option<Self>), Fault> {
        match self {
            Self::Asking(shared, conversation) => {
                let patience = shared.patience();
                let asked = timeout_at(patience.deadline(), shared.ask(&conversation)).await;
                let response = asked.map_err(|_| patience.fault())??;
                let sse = SseDecoder::lenient(shared.event_bytes_max, wire::is_whole);
                let events = Events::new(response, sse, patience, wire::is_complete);
                let model = shared.model(&conversation).into();
                let taken = BTreeSet::clone(&conversation.history.call_ids);
                let answer = Answer::new(conversation.episode, model, taken);
                Ok((vec![], Some(Self::Answering(Answering { events, answer }.into()))))
            }
            Self::Answering(mut answering) => {
                let Answering { events, answer } = &mut *answering;
                let Some(event) = events.next(answer.is_whole()).await? else {
                    return Ok((answer.end(false)?, None));
                };
                match wire::read(&event)? {
                    Said::Done => {
                        let last = answer.end(true)?;
                        events.let_end().await;
                        Ok((last, None))
                    }
                    Said::Piece(piece) => {
                        let has_progress = piece.says();
                        let gain = answer.take(piece)?;
                        if has_progress {
                            events.patience.progressed(Instant::now(), gain.has_text);
                        }
                        Ok((gain.parts, Some(Self::Answering(answering))))
                    }
                }
            }
        }
    }
}

impl Shared {
    fn patience(&self) -> Patience {
        Patience::new(Instant::now(), self.first_byte_timeout, self.idle_timeout, self.wordless_bytes_max)
    }

    /// The one that is asked.
    fn model<'a>(&'a self, conversation: &'a Conversation) -> &'a str {
        conversation.model.as_deref().unwrap_or(&self.model)
    }

    /// Sends the request and reads the head of the answer. Some endpoints refuse to be asked what a run costs, or
    /// to be told what the model thought, or not to be told, in whatever words: then it is asked again in other ways,
    /// and so is the same model later.
    async fn ask(&self, conversation: &Conversation) -> Result<Response, Fault> {
        let model = self.model(conversation);
        let habit = self.habits.of(model);
        let mut asked = habit.first();
        let mut first = request(model, conversation, asked);
        let mut others = habit.others(&first).into_iter();
        let mut json = std::mem::take(&mut first.json);
        loop {
            match self.endpoint.post(json, wire::is_error).await {
                Err(Fault::Told(report)) if report.is_vague() => {
                    let Some(next) = others.next() else { return Err(Fault::Told(report)) };
                    asked = next;
                    json = request(model, conversation, asked).json;
                }
                Err(fault) => return Err(fault),
                Ok(response) => {
                    self.habits.learn(model, asked, &first);
                    return Ok(response);
                }
            }
        }
    }
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
