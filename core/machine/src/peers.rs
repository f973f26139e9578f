//! Where the other replicas are reached. Each answer to a heartbeat says so for all of them, and the newest one counts.
//! An address that it does not have is looked up once for all chats that ask at the same time.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::store::Peer;
use crate::{ChatId, OpId, ReplicaId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peers {
    addresses: BTreeMap<ReplicaId, Arc<str>>,
    /// The operation that they are from.
    as_of: OpId,
    /// The look-up under way.
    look_up: Option<OpId>,
    /// One for each chat: what a hub asked before it does not want to know any more.
    questions: BTreeMap<ChatId, Question>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    replica: ReplicaId,
    /// The last operation that had been requested when it was asked.
    since: OpId,
}

/// What a chat's hub is told: where the replica is reached, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) chat: ChatId,
    pub(crate) replica: ReplicaId,
    pub(crate) address: Option<Arc<str>>,
}

impl Peers {
    /// Takes a question, and answers it if the address is known. `last` is the last operation that was requested.
    pub(crate) fn ask(&mut self, chat: ChatId, replica: ReplicaId, last: OpId) -> Option<Located> {
        match self.addresses.get(&replica).cloned() {
            Some(address) => {
                self.questions.remove(&chat);
                Some(Located { chat, replica, address: Some(address) })
            }
            None => {
                self.questions.insert(chat, Question { replica, since: last });
                None
            }
        }
    }

    /// Whether an operation has to be requested that looks them up.
    pub(crate) fn wants_look_up(&self) -> bool {
        self.look_up.is_none() && !self.questions.is_empty()
    }

    pub(crate) fn begin(&mut self, op: OpId) {
        self.look_up = Some(op);
    }

    /// Takes the answer to a look-up or to another heartbeat, `None` if it failed. An answer that began later than a
    /// question is the answer to it, also if it does not name the replica.
    pub(crate) fn on_answer(&mut self, op: OpId, peers: Option<&[Peer]>) -> Vec<Located> {
        let was_look_up = self.look_up.take_if(|look_up| *look_up == op).is_some();
        match peers {
            Some(peers) if op >= self.as_of => {
                self.as_of = op;
                self.learn(peers);
            }
            // An overdue one: the addresses are from a newer one.
            Some(_) => {}
            None if was_look_up => {}
            // Another heartbeat failed: the look-up has yet to answer.
            None => return Vec::new(),
        }
        let mut located = Vec::new();
        self.questions.retain(|chat, Question { replica, since }| {
            let address = self.addresses.get(replica).cloned();
            let is_answered = address.is_some() || *since < op;
            if is_answered {
                located.push(Located { chat: *chat, replica: replica.clone(), address });
            }
            !is_answered
        });
        located
    }

    fn learn(&mut self, peers: &[Peer]) {
        let is_known =
            |peer: &Peer| self.addresses.get(&peer.replica).map(|at| &**at) == Some(&*peer.address);
        if peers.len() != self.addresses.len() || !peers.iter().all(is_known) {
            let address = |peer: &Peer| (peer.replica.clone(), peer.address.as_str().into());
            self.addresses = peers.iter().map(address).collect();
        }
    }
}
