//! What a viewer's screen shows: the plain client that docs/protocol.md says is always right.

use std::sync::Arc;

use mainstem_machine::{
    Body, ChatState, Episode, Message, QueuedMessage, ReplicaId, Retry, RunError, Seq, Status, Version,
};

use crate::{Begin, Blocks};

/// The state that results from the events of a viewer's streams, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    pub messages: Vec<Arc<Message>>,
    pub queue: Vec<QueuedMessage>,
    pub status: Option<ShownStatus>,
    pub error: Option<RunError>,
    pub retry: Option<Retry>,
    pub preview: Option<Preview>,
    pub synced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShownStatus {
    pub status: Status,
    pub worker: Option<ReplicaId>,
    pub episode: Episode,
}

/// The parts of an episode whose answer has not come yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Preview {
    pub episode: Episode,
    pub last_seq: Seq,
    pub blocks: Blocks,
}

impl View {
    /// A stream begins. One that resumes continues from the current screen.
    pub fn begin(&mut self, from: Begin) {
        match from {
            Begin::Fresh => *self = Self::default(),
            Begin::After(last) => {
                let mut messages = std::mem::take(&mut self.messages);
                messages.retain(|message| message.id <= last);
                *self = Self { messages, ..Self::default() };
            }
            Begin::At(_) => self.synced = false,
        }
    }

    pub fn apply(&mut self, body: &Body) {
        match body {
            Body::Message(message) => {
                self.messages.push(message.clone());
                self.preview = None;
            }
            Body::QueueUpdate(queue) => self.queue = queue.to_vec(),
            Body::Status { status, worker, history_version, attempt, .. } => {
                let episode = Episode { history_version: *history_version, attempt: *attempt };
                self.status = Some(ShownStatus { status: *status, worker: worker.clone(), episode });
                if *status != Status::Error {
                    self.error = None;
                }
            }
            Body::Error(error) => self.error = Some(error.clone()),
            Body::Retry(retry) => self.retry = retry.clone(),
            Body::Parts { episode, last_seq, place, block, text, .. } => {
                if self.preview.as_ref().is_none_or(|preview| preview.episode != *episode) {
                    let blocks = Blocks::default();
                    self.preview = Some(Preview { episode: *episode, last_seq: Seq(0), blocks });
                }
                let preview = self.preview.as_mut().expect("it was put there");
                let begins = preview.blocks.last_place() != Some(*place as usize);
                preview.blocks.add(begins.then_some(block), &String::from_utf8_lossy(text));
                preview.last_seq = *last_seq;
            }
            Body::PreviewReset { .. } => self.preview = None,
            Body::HistoryReset => {
                self.messages.clear();
                self.preview = None;
            }
            Body::Synced => self.synced = true,
        }
    }

    /// The revision of the newest message shown.
    pub(crate) fn newest_revision(&self) -> Version {
        self.messages.last().map(|message| message.revision).unwrap_or_default()
    }

    /// What differs between the screen and the database, if anything (L1, S9).
    pub fn difference(&self, state: &ChatState, history: &[Arc<Message>]) -> Option<String> {
        let ids = |messages: &[Arc<Message>]| messages.iter().map(|m| m.id).collect::<Vec<_>>();
        if self.messages != history {
            return Some(format!(
                "it shows the messages {:?}, the history is {:?}",
                ids(&self.messages),
                ids(history)
            ));
        }
        if self.queue != state.queue {
            return Some(format!("it shows {} queued, there are {}", self.queue.len(), state.queue.len()));
        }
        let episode = state.present_episode();
        let status = ShownStatus { status: state.status, worker: state.worker.clone(), episode };
        if self.status.as_ref() != Some(&status) {
            return Some(format!("it shows {:?}, the chat is {status:?}", self.status));
        }
        if self.error != state.error || self.retry != state.retry {
            return Some(format!(
                "it shows error {:?} and retry {:?}, the chat has {:?} and {:?}",
                self.error, self.retry, state.error, state.retry
            ));
        }
        None
    }
}
