//! One chat: its state, its history, and who may take it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    AnswerRecord, Change, ChatState, Found, LeaseTerm, Message, MessageId, Role, Sought, Time, Turn,
};

/// One chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// With its queue.
    pub state: Arc<ChatState>,
    /// Oldest first.
    pub history: Vec<Arc<Message>>,
    /// What was answered to whoever sent a message under a name first.
    pub sends: BTreeMap<Arc<str>, AnswerRecord>,
    /// Those that have ended.
    pub turns: BTreeMap<MessageId, Turn>,
    /// The end of the lease, if the chat is held.
    pub lease_until: Option<Time>,
    /// Since when nobody has held the chat.
    free_since: Time,
}

impl Row {
    pub(crate) fn new(now: Time, state: &Arc<ChatState>) -> Self {
        Self {
            state: state.clone(),
            history: vec![],
            sends: BTreeMap::new(),
            turns: BTreeMap::new(),
            lease_until: None,
            free_since: now,
        }
    }

    /// Whether it is runnable and whoever asks may have it.
    pub fn is_free(&self, now: Time) -> bool {
        self.state.status.is_runnable() && (self.state.worker.is_none() || self.lease_expired(now))
    }

    pub(crate) fn lease_expired(&self, now: Time) -> bool {
        self.lease_until.is_some_and(|until| until <= now)
    }

    pub(crate) fn waiting_since(&self) -> Time {
        match self.lease_until {
            Some(until) if self.state.worker.is_some() => until,
            _ => self.free_since,
        }
    }

    pub(crate) fn has(&self, message: MessageId) -> bool {
        self.find(Sought::Message(message)).is_some()
    }

    pub(crate) fn find(&self, sought: Sought) -> Option<Found> {
        let found = match sought {
            Sought::Message(id) => {
                let at = self.history.binary_search_by_key(&id, |message| message.id).ok()?;
                &self.history[at]
            }
            Sought::LastOfUser => self.history.iter().rfind(|message| message.role == Role::User)?,
        };
        Some((&**found).into())
    }

    /// The messages behind this one.
    pub(crate) fn after(&self, message: MessageId) -> &[Arc<Message>] {
        &self.history[self.history.partition_point(|other| other.id <= message)..]
    }

    pub(crate) fn write(&mut self, now: Time, lease_ttl: Duration, change: &Change) {
        let was_free = self.is_free(now);
        self.state = change.state.clone();
        if let Some(from) = change.cut_from {
            self.history.retain(|message| message.id < from);
            self.turns.retain(|_, turn| turn.message < from);
        }
        if let Some(turn) = change.reopened {
            self.turns.remove(&turn);
        }
        self.sends.extend(change.named.iter().cloned());
        self.turns.extend(change.ended.iter().map(|turn| (turn.id, turn.clone())));
        self.history.extend(change.inserted.iter().cloned().map(Arc::new));
        match change.lease {
            LeaseTerm::Keep => {}
            LeaseTerm::Start => self.lease_until = Some(now + lease_ttl),
            LeaseTerm::End => self.lease_until = None,
        }
        if self.is_free(now) && !was_free {
            self.free_since = now;
        }
    }
}
