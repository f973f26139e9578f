//! One viewer: follows a chat, judges each event, and measures the latency of parts.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mainstem_oracles::viewer::{Breach, ViewerOracle, WireBody, WireEvent, WireMessage};
use tokio::sync::{Notify, Semaphore, watch};

use super::shared::Shared;
use crate::client::latencies::Latencies;
use crate::client::{Api, CallError, Follow};

/// The end of the run, for which viewers wait.
#[derive(Clone, Debug, Default)]
pub(super) enum Finale {
    #[default]
    NotYet,
    /// The chat is at rest. `None`: the history could not be read, so there is nothing to compare with.
    Now { history: Option<Arc<Vec<WireMessage>>>, deadline: Instant },
}

/// What a viewer has to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) servers: Vec<Api>,
    pub(super) at: usize,
    pub(super) chat: Arc<str>,
    /// Notified when the queue is empty.
    pub(super) hungry: Option<Arc<Notify>>,
    pub(super) connecting: Arc<Semaphore>,
    pub(super) caught_up: Arc<Semaphore>,
    pub(super) finale: watch::Receiver<Finale>,
    pub(super) shared: Arc<Shared>,
}

/// The result of a viewer.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) parts: u64,
    pub(super) latencies: Latencies,
    pub(super) reconnects: u64,
}

pub(super) async fn watch(assignment: Assignment) -> Watched {
    let chat = Arc::clone(&assignment.chat);
    let shared = Arc::clone(&assignment.shared);
    let follow = Follow::new(assignment.servers.clone(), assignment.at, &*assignment.chat, None);
    let mut viewer = Viewer { assignment, follow, oracle: ViewerOracle::new(), watched: Watched::default() };
    if let Err(error) = viewer.run().await {
        shared.found(&chat, "L1", format!("a viewer was refused: {error}"));
    }
    viewer.watched.reconnects = viewer.follow.reconnects();
    viewer.watched
}

struct Viewer {
    assignment: Assignment,
    follow: Follow,
    oracle: ViewerOracle,
    watched: Watched,
}

impl Viewer {
    async fn run(&mut self) -> Result<(), CallError> {
        let connect_permit = Arc::clone(&self.assignment.connecting).acquire_owned().await;
        let mut connecting = Some(connect_permit.expect("nobody closes it"));
        loop {
            while let Some(data) = self.follow.buffered()? {
                if self.on_event(&data) && connecting.take().is_some() {
                    self.assignment.caught_up.add_permits(1);
                }
            }
            let finale = self.assignment.finale.borrow().clone();
            match finale {
                Finale::NotYet => tokio::select! {
                    more = self.follow.more() => more?,
                    changed = self.assignment.finale.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                    }
                },
                Finale::Now { history: None, .. } => return Ok(()),
                Finale::Now { history: Some(history), deadline } => {
                    if self.has_all_of(&history) || Instant::now() >= deadline {
                        self.judge_end(&history);
                        return Ok(());
                    }
                    let more = tokio::time::timeout_at(deadline.into(), self.follow.more()).await;
                    more.unwrap_or(Ok(()))?;
                }
            }
        }
    }

    /// Whether this event ends the catch-up.
    fn on_event(&mut self, data: &str) -> bool {
        let event = match WireEvent::parse(data) {
            Ok(event) => event,
            Err(breach) => {
                self.found(vec![breach]);
                return false;
            }
        };
        let found = self.oracle.handle(&event.body);
        self.found(found);
        match &event.body {
            WireBody::Parts { first_seq, last_seq, piece, .. } if self.assignment.shared.counts() => {
                self.watched.parts += (last_seq + 1).saturating_sub(*first_seq);
                if let Some(stamp) = last_stamp(&piece.text) {
                    self.watched.latencies.add(unix_micros().saturating_sub(stamp));
                }
            }
            WireBody::QueueUpdate(queue) if queue.is_empty() => {
                if let Some(hungry) = &self.assignment.hungry {
                    hungry.notify_one();
                }
            }
            WireBody::Synced => return true,
            _ => {}
        }
        false
    }

    fn has_all_of(&self, history: &[WireMessage]) -> bool {
        self.oracle.has_shown(history) && matches!(self.oracle.status(), Some("waiting" | "error"))
    }

    fn judge_end(&mut self, history: &[WireMessage]) {
        if !self.has_all_of(history) {
            let (shown, last) = (self.oracle.last_message(), history.last().map(|message| message.id));
            let why = format!(
                "the end was not shown in time: message {shown:?} of {last:?}, {:?}",
                self.oracle.status()
            );
            self.assignment.shared.found(&self.assignment.chat, "L1", why);
        }
        let found = self.oracle.finish(history);
        self.found(found);
    }

    fn found(&self, breaches: Vec<Breach>) {
        for breach in breaches {
            self.assignment.shared.found(&self.assignment.chat, breach.guarantee.as_str(), breach.why);
        }
    }
}

/// When the last part of a frame was emitted: `i@<µs> `, perhaps padded.
fn last_stamp(text: &str) -> Option<u64> {
    let (_, stamp) = text.trim_end().rsplit(' ').next()?.split_once('@')?;
    stamp.trim_end_matches('.').parse().ok()
}

fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_that_of_the_last_part() {
        assert_eq!(last_stamp("1@10 2@20 "), Some(20));
        assert_eq!(last_stamp("7@123.... "), Some(123));
        assert_eq!(last_stamp("1 2 3 "), None);
        assert_eq!(last_stamp(""), None);
    }
}
