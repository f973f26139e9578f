//! Checks accepted sends against every version of the database: each send is in the history or the queue
//! exactly once until a user removes it, and the queue is first in, first out (S6).

use std::collections::BTreeMap;

use mainstem_machine::{Command, MessageId, Role, SendMode};

use crate::database::Entry;

#[derive(Debug)]
pub(crate) struct Sends {
    /// By the id under which it was accepted, whether it keeps its turn.
    accepted: BTreeMap<MessageId, Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    InOrder,
    /// It was an interrupting send, or was promoted.
    Ahead,
}

impl Sends {
    pub(crate) fn new(first: &Entry) -> Self {
        let accepted = users(first).map(|id| (id, Turn::InOrder)).collect();
        Self { accepted }
    }

    /// Records an accepted command.
    pub(crate) fn take(&mut self, command: &Command, before: &Entry, after: &Entry) {
        let is_new = |id: &MessageId| *id > before.state.last_id;
        match command {
            Command::Send { mode, .. } => {
                let turn = if *mode == SendMode::Interrupt { Turn::Ahead } else { Turn::InOrder };
                let new: Vec<_> = present(after).filter(is_new).collect();
                assert_eq!(new.len(), 1, "S6: a send adds one message: {new:?}");
                self.accepted.insert(new[0], turn);
            }
            Command::Edit { message, .. } => {
                let kept = before.messages.iter().filter(|kept| kept.id < *message);
                let kept: Vec<_> = kept.map(|kept| kept.queued_as.unwrap_or(kept.id)).collect();
                self.accepted.retain(|id, _| kept.contains(id));
                self.accepted.extend(present(after).filter(is_new).map(|id| (id, Turn::InOrder)));
            }
            Command::Promote { queued } => drop(self.accepted.insert(*queued, Turn::Ahead)),
            Command::DeleteQueued { queued } => drop(self.accepted.remove(queued)),
            Command::Delete => self.accepted.clear(),
            _ => {}
        }
    }

    /// Checks a version against the accepted sends.
    pub(crate) fn check(&self, entry: &Entry, deleted: bool) {
        if deleted {
            return;
        }
        let there: Vec<_> = present(entry).collect();
        for id in self.accepted.keys() {
            let times = there.iter().filter(|there| *there == id).count();
            assert_eq!(times, 1, "S6: {id} was accepted, and is there {times} times");
        }
        assert_eq!(there.len(), self.accepted.len(), "S6: nobody sent one of {there:?}");
        let in_order: Vec<_> = there.iter().filter(|id| self.accepted[id] == Turn::InOrder).collect();
        assert!(in_order.is_sorted(), "S6: first in, first out: {there:?}");
    }
}

/// The users' messages of the history, by the ids under which they were accepted.
fn users(entry: &Entry) -> impl Iterator<Item = MessageId> {
    let users = entry.messages.iter().filter(|message| message.role == Role::User);
    users.map(|message| message.queued_as.unwrap_or(message.id))
}

fn present(entry: &Entry) -> impl Iterator<Item = MessageId> {
    users(entry).chain(entry.state.queue.iter().map(|queued| queued.id))
}
