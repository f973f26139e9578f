//! Keeps one chat busy, with one message running and one queued, and judges that each send happened once
//! (S6).

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_oracles::viewer::WireMessage;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::shared::Shared;
use crate::client::{Api, CallError};
use crate::limits::load::{POLL_INTERVAL, RETRY_DELAY};

/// The length of one answer: seconds at the given rate, or parts at full speed.
const ANSWER_SECONDS: u64 = 5;
const FULL_SPEED_PARTS: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Driver {
    servers: Vec<Api>,
    chat: Arc<str>,
    /// The queue is empty.
    hungry: Arc<Notify>,
    /// The text of the first messages, and of the later ones.
    first_text: Option<String>,
    text: String,
    /// The ids of acknowledged sends.
    acknowledged: Vec<u64>,
}

impl Driver {
    /// `share` is the position of the chat among all, above 0 and up to 1. It determines the length of the
    /// first answers, so that chats that begin together do not end all their turns together.
    pub(super) fn new(servers: Vec<Api>, chat: Arc<str>, hungry: Arc<Notify>, rate: u64, share: f64) -> Self {
        let (parts, interval) = match rate {
            0 => (FULL_SPEED_PARTS, "0".to_owned()),
            rate if 1000 % rate == 0 => (rate * ANSWER_SECONDS, format!("{}ms", 1000 / rate)),
            rate => (rate * ANSWER_SECONDS, format!("{}us", 1_000_000 / rate)),
        };
        let text = |parts| format!("/demo parts={parts} interval={interval} stamp=1");
        let first_text = Some(text((parts as f64 * share).ceil() as u64));
        Self { servers, chat, hungry, first_text, text: text(parts), acknowledged: vec![] }
    }

    pub(super) fn chat(&self) -> &str {
        &self.chat
    }

    pub(super) async fn drive(&mut self, mut stopped: watch::Receiver<bool>, shared: &Shared) {
        // The first runs at once, the second waits for it; from then on one is sent for each that is
        // promoted.
        for _ in 0..2 {
            self.send(&stopped, shared).await;
        }
        let hungry = Arc::clone(&self.hungry);
        loop {
            let goes_on = tokio::select! {
                () = hungry.notified() => true,
                _ = async { stopped.wait_for(|stopped| *stopped).await.is_ok() } => false,
            };
            if !goes_on {
                return;
            }
            self.send(&stopped, shared).await;
        }
    }

    async fn send(&mut self, stopped: &watch::Receiver<bool>, shared: &Shared) {
        let text = self.first_text.take().unwrap_or_else(|| self.text.clone());
        let body = json!({"content": text});
        let key = Uuid::now_v7().to_string();
        let path = format!("/v1/chats/{}/messages", self.chat);
        for server in self.servers.iter().cycle() {
            match server.call(Method::POST, &path, Some(&body), Some(&key)).await {
                Ok(answer) => {
                    let id = answer["message"]["id"].as_u64().or_else(|| answer["queued"]["id"].as_u64());
                    self.acknowledged.extend(id);
                    return;
                }
                Err(error) if error.is_final() => {
                    shared.found(&self.chat, "S6", format!("a send was refused: {error}"));
                    return;
                }
                // The outcome is unknown, so no guarantee is broken either way.
                Err(_) if *stopped.borrow() => return,
                Err(_) => tokio::time::sleep(RETRY_DELAY).await,
            }
        }
    }

    /// Withdraws queued messages, interrupts the run, and reads the history once the chat is idle.
    pub(super) async fn rest(&self) -> Result<Vec<WireMessage>, CallError> {
        for server in self.servers.iter().cycle() {
            match self.rest_at(server).await {
                Ok(Some(history)) => return Ok(history),
                Err(error) if error.is_final() => return Err(error),
                Ok(None) | Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
        unreachable!("the servers go round for ever")
    }

    async fn rest_at(&self, server: &Api) -> Result<Option<Vec<WireMessage>>, CallError> {
        let path = format!("/v1/chats/{}", self.chat);
        let chat = server.call(Method::GET, &path, None, None).await?;
        let queue = chat["queue"].as_array().map(Vec::as_slice).unwrap_or_default();
        if matches!(chat["status"].as_str(), Some("waiting" | "error")) && queue.is_empty() {
            return server.messages(&self.chat).await.map(Some);
        }
        for id in queue.iter().filter_map(|queued| queued["id"].as_u64()) {
            // Its turn may have begun in between.
            but_for(404, server.call(Method::DELETE, &format!("{path}/queue/{id}"), None, None).await)?;
        }
        but_for(409, server.call(Method::POST, &format!("{path}/interrupt"), Some(&json!({})), None).await)?;
        Ok(None)
    }

    /// Judges that no send happened twice, and that only withdrawn ones are missing.
    pub(super) fn judge(&self, history: &[WireMessage], shared: &Shared) {
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        for message in history.iter().filter(|message| message.role == "user") {
            *times.entry(message.queued_as.unwrap_or(message.id)).or_default() += 1;
        }
        let newest = times.keys().next_back().copied().unwrap_or_default();
        for id in &self.acknowledged {
            match times.get(id) {
                Some(1) => {}
                Some(n) => shared.found(&self.chat, "S6", format!("send {id} is in the history {n} times")),
                // First in, first out: messages withdrawn at the end were sent after all that had their turn.
                None if *id > newest => {}
                None => shared.found(&self.chat, "S6", format!("send {id} was acknowledged and is gone")),
            }
        }
    }

    pub(super) async fn delete(&self) {
        let path = format!("/v1/chats/{}", self.chat);
        let _: Result<Value, CallError> = self.servers[0].call(Method::DELETE, &path, None, None).await;
    }
}

fn but_for(status: u16, answer: Result<Value, CallError>) -> Result<(), CallError> {
    match answer {
        Err(CallError::Refused { status: refused, .. }) if refused.as_u16() == status => Ok(()),
        answer => answer.map(|_| ()),
    }
}
