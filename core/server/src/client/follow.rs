//! A chat's stream that resumes by cursor when it breaks, on the next server if there are several.

use mainstem_machine::backoff::Backoff;
use rand::rngs::OsRng;
use rand::{RngCore, TryRngCore};

use super::{Api, CallError, EventStream};
use crate::limits::client::{RETRY_DELAY_MAX, RETRY_DELAY_MIN};

#[derive(Debug)]
pub struct Follow {
    servers: Vec<Api>,
    at: usize,
    chat: String,
    cursor: Option<String>,
    stream: Option<EventStream>,
    backoff: Backoff,
    /// Streams that told something.
    started: u64,
    /// The present one did.
    has_told: bool,
}

impl Follow {
    /// Follows `chat` from `cursor`, first on the server at index `at`, then on the others in turn.
    pub fn new(servers: Vec<Api>, at: usize, chat: impl Into<String>, cursor: Option<String>) -> Self {
        assert!(!servers.is_empty(), "there is a server to follow on");
        let backoff = Backoff::between(RETRY_DELAY_MIN, RETRY_DELAY_MAX);
        Self { servers, at, chat: chat.into(), cursor, stream: None, backoff, started: 0, has_told: false }
    }

    /// How often the stream was resumed.
    pub fn reconnects(&self) -> u64 {
        self.started.saturating_sub(1)
    }

    /// The next event's JSON. An error is final. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, CallError> {
        loop {
            if let Some(data) = self.buffered()? {
                return Ok(data);
            }
            self.more().await?;
        }
    }

    /// The JSON of the next event in the buffer.
    pub fn buffered(&mut self) -> Result<Option<String>, CallError> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        match stream.next_event() {
            None => Ok(None),
            Some(event) => {
                let event = event?;
                self.backoff.reset();
                if !std::mem::replace(&mut self.has_told, true) {
                    self.started += 1;
                }
                if !event.id.is_empty() {
                    let cursor = self.cursor.get_or_insert_default();
                    cursor.clear();
                    cursor.push_str(&event.id);
                }
                Ok(Some(event.data))
            }
        }
    }

    /// Waits for more bytes, resuming if need be. Cancel-safe.
    pub async fn more(&mut self) -> Result<(), CallError> {
        let broke = match &mut self.stream {
            Some(stream) => match stream.fill().await {
                Ok(true) => return Ok(()),
                Ok(false) if self.has_told => None,
                // A server that cannot tell anything now says so by an end.
                Ok(false) => Some(CallError::Unreachable("a stream had no events".into())),
                Err(error) => Some(error),
            },
            None => match self.servers[self.at].stream(&self.chat, self.cursor.as_deref()).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.has_told = false;
                    return Ok(());
                }
                Err(error) if error.is_final() => return Err(error),
                Err(error) => Some(error),
            },
        };
        if let Some(error) = broke {
            let server = self.servers[self.at].base();
            if !self.backoff.is_at_max() {
                tracing::debug!(%error, server, "a stream broke: resuming it");
            } else {
                tracing::warn!(%error, server, "still cannot resume a stream");
            }
        }
        self.stream = None;
        self.at = (self.at + 1) % self.servers.len();
        let delay = self.backoff.next_delay_spread(OsRng.unwrap_err().next_u64());
        tokio::time::sleep(delay).await;
        Ok(())
    }
}
