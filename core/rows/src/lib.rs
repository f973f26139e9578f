//! The rows of a database in memory, and the operations on them: all that a store of the product's port means, as one
//! value of plain data. Each operation happens at one moment, which is handed in.
//!
//! The one store of this kind: the contract of the port measures every adapter by it, the pure world and the simulated
//! database answer with it, and the laws of the machines are tried on it. It is cheap to clone: rows are shared until
//! one of them is written.

mod commands;
mod members;
mod reads;
mod row;
mod tickets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{ChatId, ChatState, Message, ReplicaId, limits};

use commands::{Caller, IdempotencyRecord};
use members::Member;
pub use row::Row;

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    lease_ttl: Duration,
    tail_messages_max: usize,
    chats: BTreeMap<ChatId, Arc<Row>>,
    idempotency_records: Arc<BTreeMap<Caller, IdempotencyRecord>>,
    members: BTreeMap<ReplicaId, Member>,
    /// The newest process of each name.
    started: BTreeMap<ReplicaId, u64>,
    secret: Option<Vec<u8>>,
    tickets: BTreeMap<[u8; 32], tickets::Kept>,
}

impl Rows {
    /// An empty database.
    pub fn new(lease_ttl: Duration) -> Self {
        Self {
            lease_ttl,
            tail_messages_max: limits::TAIL_MESSAGES_MAX,
            chats: BTreeMap::new(),
            idempotency_records: Arc::default(),
            members: BTreeMap::new(),
            started: BTreeMap::new(),
            secret: None,
            tickets: BTreeMap::new(),
        }
    }

    /// Sets how many messages a snapshot carries at most; the rest is read in pages.
    pub fn set_tail_messages_max(&mut self, max: usize) {
        self.tail_messages_max = max.clamp(1, limits::TAIL_MESSAGES_MAX);
    }

    /// All chats, by their ids.
    pub fn rows(&self) -> impl Iterator<Item = (ChatId, &Arc<Row>)> {
        self.chats.iter().map(|(chat, row)| (*chat, row))
    }

    /// A chat as it is committed.
    pub fn row(&self, chat: ChatId) -> Option<&Arc<Row>> {
        self.chats.get(&chat)
    }

    /// The committed state of a chat.
    pub fn state(&self, chat: ChatId) -> Option<&Arc<ChatState>> {
        self.row(chat).map(|row| &row.state)
    }

    /// The committed history of a chat.
    pub fn history(&self, chat: ChatId) -> &[Arc<Message>] {
        self.row(chat).map_or(&[], |row| &row.history)
    }
}

#[cfg(test)]
mod tests;
