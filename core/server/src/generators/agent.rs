//! Any agent that speaks AG-UI (<https://docs.ag-ui.com>) as a generator: it has tools of its own, and all that it says
//! is one answer. What it calls of the tools that it is told of is carried out elsewhere, and it is asked again. It promises that a run which is dropped closes its connection, that it waits no longer than its
//! time-outs for anything, that an answer is whole or told to have failed, and that no error carries a key or what
//! somebody wrote. Trying again is left to the runner.

mod answer;
mod blocks;
mod event;
mod request;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::Completion;
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use answer::{Answer, Known};
use event::{Event, Said};

use super::events::{Events, event_bytes_max};
use super::fault::{AGENT, Fault, Peer};
use super::http::{ApiKey, Endpoint, SetupError};
use super::patience::Patience;
use super::run::{self, Phase};
use crate::limits::model::{
    CONNECT_TIMEOUT, END_TIMEOUT, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, WORDLESS_BYTES_MAX,
};
use crate::limits::settings::EPISODE_BYTES_DEFAULT;
use crate::sse::SseDecoder;

/// Where the agent is and how it is asked.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Where runs are posted to, as `http://localhost:8000/agent`.
    pub url: String,
    pub key: Option<ApiKey>,
    pub connect_timeout: Duration,
    /// How long the agent may be silent before it begins.
    pub first_byte_timeout: Duration,
    /// How long it may be silent between parts.
    pub idle_timeout: Duration,
    /// One event of the stream, beside what the agent repeats of its request.
    pub event_bytes_max: usize,
    /// What may come of the stream without a word of the answer in it.
    pub wordless_bytes_max: usize,
}

impl AgentConfig {
    /// With the usual limits.
    pub fn new(url: impl Into<String>, key: Option<ApiKey>) -> Self {
        Self {
            url: url.into(),
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
pub struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    event_bytes_max: usize,
    wordless_bytes_max: usize,
}

impl Agent {
    pub fn new(config: AgentConfig) -> Result<Self, SetupError> {
        let url = Url::parse(&config.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint =
            Endpoint::new(url.ok_or(SetupError::AgentUrl)?, config.key.as_ref(), config.connect_timeout)?;
        let shared = Shared {
            endpoint,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            event_bytes_max: config.event_bytes_max,
            wordless_bytes_max: config.wordless_bytes_max,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Generator for Agent {
    fn start(&self, conversation: Conversation) -> Generation {
        let (chat, episode) = (conversation.chat, conversation.episode);
        run::start(chat, episode, Run::Asking(self.shared.clone(), conversation))
    }
}

enum Run {
    Asking(Arc<Shared>, Conversation),
    Answering(Box<Answering>),
    /// The run is finished. A stream may have another run for the same question, or tell that it failed after all.
    Ending {
        answering: Box<Answering>,
        completion: Completion,
        until: Instant,
    },
    /// What there is was told, and then this.
    Failing(Fault),
}

/// An answer that comes.
struct Answering {
    events: Events,
    answer: Answer,
}

impl Phase for Run {
    const PEER: Peer = AGENT;

    async fn step(self) -> Result<(Vec<Generated>, Option<Self>), Fault> {
        match self {
            Self::Asking(shared, conversation) => {
                let answering = shared.ask(&conversation).await?;
                Ok((vec![], Some(Self::Answering(answering.into()))))
            }
            Self::Answering(answering) => answering.step().await,
            Self::Ending { answering, completion, until } => Ok(answering.end(completion, until).await),
            Self::Failing(fault) => Err(fault),
        }
    }
}

impl Shared {
    async fn ask(&self, conversation: &Conversation) -> Result<Answering, Fault> {
        let patience = Patience::new(
            Instant::now(),
            self.first_byte_timeout,
            self.idle_timeout,
            self.wordless_bytes_max,
        );
        let body = request::request(conversation);
        // Agents repeat what they were asked, escaped perhaps.
        let bytes_max = self.event_bytes_max.saturating_add(body.len().saturating_mul(2));
        let asked = timeout_at(patience.deadline(), self.endpoint.post(body, event::is_error)).await;
        let response = asked.map_err(|_| patience.fault())??;
        let events = Events::new(response, SseDecoder::new(bytes_max), patience, event::is_complete);
        Ok(Answering { events, answer: Answer::new(Known::of(conversation)) })
    }
}

impl Answering {
    async fn step(mut self: Box<Self>) -> Result<(Vec<Generated>, Option<Run>), Fault> {
        let event = self.events.next(false).await?.ok_or(Fault::CutShort)?;
        match event::read(&event)? {
            Event { said: Said::RunFinished(finish), .. } => {
                let (parts, completion) = self.answer.finish(finish);
                let until = Instant::now() + END_TIMEOUT;
                Ok((parts, Some(Run::Ending { answering: self, completion, until })))
            }
            Event { said: Said::RunError(report), .. } => {
                let fault = Fault::Failed { report, has_spoken: self.answer.has_spoken() };
                Ok((self.answer.rest(), Some(Run::Failing(fault))))
            }
            event => {
                let gain = self.answer.take(event)?;
                if gain.has_progress {
                    self.events.patience.progressed(Instant::now(), gain.has_text);
                }
                Ok((gain.parts, Some(Run::Answering(self))))
            }
        }
    }

    /// Waits a little for the end of the body, so that the connection ends in order or is used again.
    async fn end(
        mut self: Box<Self>,
        completion: Completion,
        until: Instant,
    ) -> (Vec<Generated>, Option<Run>) {
        while let Ok(Ok(Some(event))) = timeout_at(until, self.events.next(true)).await {
            match event::read(&event) {
                Ok(Event { said: Said::RunStarted, .. }) => return (vec![], Some(Run::Answering(self))),
                Ok(Event { said: Said::RunError(report), .. }) => {
                    let fault = Fault::Failed { report, has_spoken: self.answer.has_spoken() };
                    return (vec![], Some(Run::Failing(fault)));
                }
                // Nothing else counts any longer.
                Ok(_) | Err(_) => {}
            }
        }
        let mut parts = self.answer.unanswered(completion);
        parts.push(Generated::Done(completion));
        (parts, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_url_is_an_agents() {
        for url in ["", "localhost:1234", "ftp://a.example", "data:text/plain,x"] {
            assert!(matches!(Agent::new(AgentConfig::new(url, None)), Err(SetupError::AgentUrl)), "{url}");
        }
        let config = AgentConfig::new("http://localhost:1/a?b=c", Some(ApiKey::new("sk-secret")));
        let shown = format!("{config:?} {:?}", Agent::new(config.clone()).unwrap());
        assert!(!shown.contains("sk-secret"), "{shown}");
    }
}
