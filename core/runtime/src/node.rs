//! What a replica offers to those who put it on a wire: commands, reads, streams.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, ChatId, ChatState, Command, Ending, MessageId, Rejection, ReplicaId, Resume, StreamEvent,
};

use crate::ports::{Bus, Env, Generator, Page, Receipt, Store};

/// How a replica is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub replica: ReplicaId,
    /// Chats this replica generates at once.
    pub workers: usize,
    pub lease_ttl: Duration,
    pub heartbeat: Duration,
    pub poll_interval: Duration,
    pub drain_timeout: Duration,
    pub episode_bytes_max: usize,
    /// Without it the replica is alone: no relay, no peers.
    pub relay: Option<RelayConfig>,
}

#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where the relay listens, `host:port`.
    pub listen: String,
    /// Where peers reach it; the bound address if `None`.
    pub advertise: Option<String>,
    /// What peers authenticate by.
    pub secret: Arc<[u8]>,
}

/// Why a request was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The key came with another body before.
    #[error("this key was used for another request")]
    Mismatch,
    /// The database cannot be reached now, or the outcome is not known yet. Asking again is safe with a key.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// This replica is going away or takes no more.
    #[error("this replica takes no more: {0}")]
    Overloaded(&'static str),
}

/// One replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node<E: Env> {
    env: E,
}

impl<E: Env> Node<E> {
    /// Joins: listens for peers, begins to work. Fails if the relay's address cannot be had.
    pub async fn start(
        _env: E,
        _config: NodeConfig,
        _store: Arc<dyn Store>,
        _bus: Arc<dyn Bus>,
        _generator: Arc<dyn Generator>,
    ) -> std::io::Result<Self> {
        todo!()
    }

    /// Carries out a user's command: applies, commits, announces. Without a key of the caller's it is made
    /// safe to ask the database again by a key of our own.
    pub async fn execute(
        &self,
        _by: &Arc<str>,
        _chat: ChatId,
        _command: Command,
        _receipt: Option<Receipt>,
    ) -> Result<Accepted, EdgeError> {
        todo!()
    }

    pub async fn chat(&self, _by: &Arc<str>, _chat: ChatId) -> Result<Arc<ChatState>, EdgeError> {
        todo!()
    }

    pub async fn chats(
        &self,
        _by: &Arc<str>,
        _before: Option<ChatId>,
        _limit: usize,
    ) -> Result<Vec<ChatState>, EdgeError> {
        todo!()
    }

    pub async fn messages(
        &self,
        _by: &Arc<str>,
        _chat: ChatId,
        _after: MessageId,
        _limit: usize,
    ) -> Result<Page, EdgeError> {
        todo!()
    }

    /// A stream of the chat. It may be dropped at any moment.
    pub async fn subscribe(
        &self,
        _by: &Arc<str>,
        _chat: ChatId,
        _from: Resume,
    ) -> Result<Viewer<E>, EdgeError> {
        todo!()
    }

    /// Whether traffic is welcome: the database answers and nobody drains.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Hands over: takes no more, lets what runs finish within the drain time-out or releases it, then ends
    /// all streams. Returns when nothing is left.
    pub async fn drain(&self) {
        todo!()
    }
}

/// What a viewer is told next.
#[derive(Debug)]
pub enum Next {
    /// At least one event, in order. Computed now: ask only when the socket can take it.
    Events(Vec<StreamEvent>),
    /// Nothing follows.
    End(Ending),
}

/// One viewer's stream.
#[derive(Debug)]
pub struct Viewer<E: Env> {
    node: Node<E>,
}

impl<E: Env> Viewer<E> {
    /// Waits for what comes next. Cancel-safe: what was not returned is not told.
    pub async fn next(&mut self) -> Next {
        todo!()
    }
}
