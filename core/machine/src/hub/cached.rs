//! The cached state of the chat: the newest row that was read, the queue, and a bounded tail of the history.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::event::Noticed;
use crate::limits::{TAIL_BYTES_MAX, TAIL_MESSAGES_MAX};
use crate::marks::sometimes;
use crate::{
    CachedVersions, ChatState, Fingerprint, Message, MessageId, OpenCall, QueuedMessage, Snapshot, Tail,
    Version,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CachedChat {
    pub(super) state: Arc<ChatState>,
    pub(super) queue: Arc<[QueuedMessage]>,
    /// Of `state`.
    pub(super) fingerprints: Fingerprints,
    tail: VecDeque<Arc<Message>>,
    tail_bytes: usize,
    /// The tail is the whole history.
    from_start: bool,
}

/// What a viewer's cursor keeps of a row's status, error and retry. They are compared for every part that a viewer
/// gets, and computed once for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprints {
    pub(super) status: Fingerprint,
    pub(super) error: Fingerprint,
    pub(super) retry: Fingerprint,
}

/// Whether a message is in the history, as far as the cache can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// The message is in the history.
    Present,
    /// The message is not in the history, or not any more.
    Gone,
    /// The message would be older than the tail: only the database can tell.
    Unknown,
}

/// The message that follows another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextMessage {
    None,
    Here(Arc<Message>),
    /// The next message is older than the tail.
    InDatabase,
}

impl Fingerprints {
    fn of(state: &ChatState) -> Self {
        let worker = state.worker.as_ref().map(|worker| worker.as_str());
        let status = (state.status.as_str(), worker, state.history_version, state.attempt);
        let waits = |(at, call): (usize, &OpenCall)| call.waits_for_client().then_some(at);
        let pending: Vec<_> = state.calls.iter().enumerate().filter_map(waits).collect();
        Self {
            status: match pending.is_empty() {
                true => Fingerprint::of(&status),
                // Which of them wait for a result may change alone. What they are does not: the history has them.
                false => Fingerprint::of(&(status, pending)),
            },
            error: state.error.as_ref().map_or(Fingerprint::NOTHING, Fingerprint::of),
            retry: state.retry.as_ref().map_or(Fingerprint::NOTHING, Fingerprint::of),
        }
    }
}

impl CachedChat {
    /// The result of the first read. Nothing was cached then, so it has the newest messages.
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let queue = snapshot.state.queue.as_slice().into();
        let fingerprints = Fingerprints::of(&snapshot.state);
        let (state, tail) = (snapshot.state, VecDeque::new());
        let mut cached = Self { state, queue, fingerprints, tail, tail_bytes: 0, from_start: false };
        cached.take_tail(snapshot.tail);
        cached
    }

    /// Takes the result of a later read, if it is newer.
    pub(super) fn merge(&mut self, snapshot: Snapshot) -> bool {
        if snapshot.state.snapshot_version <= self.state.snapshot_version {
            return false;
        }
        let (old, new) = (&self.state, &snapshot.state);
        assert!(
            old.history_version <= new.history_version && old.lease <= new.lease,
            "S3: no newer row names an older history or an older worker's lease"
        );
        if snapshot.state.queue_version != self.state.queue_version {
            self.queue = snapshot.state.queue.as_slice().into();
        }
        self.fingerprints = Fingerprints::of(&snapshot.state);
        self.state = snapshot.state;
        self.take_tail(snapshot.tail);
        true
    }

    /// Takes a newer row that was committed here, if the messages of its history are the cached ones, or these with what
    /// the change `appended` to them.
    pub(super) fn merge_committed(
        &mut self,
        state: &Arc<ChatState>,
        appended: Option<&[Arc<Message>]>,
    ) -> bool {
        let messages = match appended {
            _ if state.history_version == self.state.history_version => Vec::new(),
            Some(messages) if self.goes_on_with(state, messages) => {
                sometimes!("a commit's messages are told without a read");
                messages.to_vec()
            }
            Some(_) => {
                sometimes!("a version is missing before a commit's messages");
                return false;
            }
            None => return false,
        };
        self.merge(Snapshot { state: state.clone(), tail: Tail::After(messages) })
    }

    /// Takes the row that a notice brought, if the cached one is the version before. Of any other the notice lacks what came between:
    /// messages, and what of the row it does not have (S1, S3).
    pub(super) fn merge_noticed(&mut self, noticed: &Noticed) -> bool {
        let Noticed { snapshot_version, history_version, queue_version, row } = noticed;
        let is_next = self.state.snapshot_version.next() == *snapshot_version;
        let is_alone =
            (self.state.history_version, self.state.queue_version) == (*history_version, *queue_version);
        if !(is_next && is_alone && row.fits(&self.state)) {
            return false;
        }
        sometimes!("a notice is taken without a read");
        self.merge(Snapshot { state: row.after(&self.state).into(), tail: Tail::After(Vec::new()) })
    }

    /// Whether this row's history is the cached one with these messages behind it. A change in between may have
    /// appended others, or have cut some off (S1).
    fn goes_on_with(&self, state: &ChatState, messages: &[Arc<Message>]) -> bool {
        let is_next = state.snapshot_version == self.state.snapshot_version.next();
        let mut end = self.state.last_message;
        let in_order = messages.iter().all(|message| core::mem::replace(&mut end, message.id) < message.id);
        is_next && in_order && end == state.last_message
    }

    fn take_tail(&mut self, tail: Tail) {
        match tail {
            Tail::After(mut messages) => {
                let newest = self.newest();
                if messages.first().is_some_and(|first| first.id <= newest) {
                    // They were committed here after the read was asked for.
                    sometimes!("a read has messages that were told meanwhile");
                    messages.retain(|message| message.id > newest);
                }
                self.append(messages);
            }
            Tail::Newest { messages, from_start } => {
                self.tail.clear();
                self.tail_bytes = 0;
                self.from_start = from_start;
                self.append(messages);
            }
        }
        assert_eq!(
            self.newest(),
            self.state.last_message,
            "S1: a snapshot's tail ends with its last message"
        );
    }

    fn newest(&self) -> MessageId {
        self.tail.back().map_or(MessageId(0), |message| message.id)
    }

    fn append(&mut self, messages: impl IntoIterator<Item = Arc<Message>>) {
        for message in messages {
            if let Some(last) = self.tail.back() {
                assert!(last.id < message.id, "S1: messages come in the order of their ids");
            }
            self.tail_bytes += message.content.as_json().len();
            self.tail.push_back(message);
        }
        while self.tail.len() > 1 && (self.tail.len() > TAIL_MESSAGES_MAX || self.tail_bytes > TAIL_BYTES_MAX)
        {
            let dropped = self.tail.pop_front().expect("the tail has more than one message");
            self.tail_bytes -= dropped.content.as_json().len();
            self.from_start = false;
        }
    }

    pub(super) fn cached_versions(&self) -> CachedVersions {
        CachedVersions {
            snapshot_version: self.state.snapshot_version,
            reset_version: self.state.reset_version,
            last_message: self.state.last_message,
        }
    }

    /// All messages of this version of the history, if they are here.
    pub(super) fn history(&self, version: Version) -> Option<Vec<Arc<Message>>> {
        let is_whole = self.from_start && self.state.history_version == version;
        is_whole.then(|| self.tail.iter().cloned().collect())
    }

    pub(super) fn presence(&self, id: MessageId) -> Presence {
        let first = self.tail.front().map_or(MessageId(0), |message| message.id);
        if id == MessageId(0) || self.position(id).is_some() {
            Presence::Present
        } else if id > first || self.from_start {
            Presence::Gone
        } else {
            Presence::Unknown
        }
    }

    /// The message after `id`. `id` must be in the history.
    pub(super) fn next_after(&self, id: MessageId) -> NextMessage {
        if id >= self.state.last_message {
            return NextMessage::None;
        }
        if let Some(at) = self.position(id) {
            return NextMessage::Here(self.tail[at + 1].clone());
        }
        if id == MessageId(0) && self.from_start {
            return NextMessage::Here(self.tail[0].clone());
        }
        NextMessage::InDatabase
    }

    /// The cached copy of the message, if there is one, so that all viewers share it (B1).
    pub(super) fn shared(&self, message: Arc<Message>) -> Arc<Message> {
        self.position(message.id).map_or(message, |at| self.tail[at].clone())
    }

    fn position(&self, id: MessageId) -> Option<usize> {
        self.tail.binary_search_by_key(&id, |message| message.id).ok()
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.tail.len() <= TAIL_MESSAGES_MAX, "B1: the tail is bounded");
        let bytes: usize = self.tail.iter().map(|message| message.content.as_json().len()).sum();
        assert_eq!(bytes, self.tail_bytes);
        assert!(self.tail.len() <= 1 || bytes <= TAIL_BYTES_MAX, "B1: the tail is bounded");
        assert_eq!(
            self.fingerprints,
            Fingerprints::of(&self.state),
            "S9: what was told is compared with the row"
        );
    }
}

#[cfg(test)]
mod tests;
