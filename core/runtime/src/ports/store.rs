//! The database. The meaning of commands is decided in `machine`: an adapter loads the row, applies the
//! command and writes the change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, Command, Keep, Lease, MessageId, Page, ReplicaId, Snapshot,
    Status, Version,
};

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The operation did not happen.
    #[error("the database refused: {0}")]
    Refused(String),
    /// It did not happen: everything that could have carried it is in use.
    #[error("the database is busy: {0}")]
    Full(String),
    /// It may have happened.
    #[error("the database did not answer: {0}")]
    Unknown(String),
}

/// A command for a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub chat: ChatId,
    pub command: Command,
    /// The user who asks: for anybody but its owner, a chat does not exist (S10). `None` for the server
    /// itself.
    pub by: Option<Arc<str>>,
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Identifies a request, so that it takes effect only once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The user who asks.
    pub caller: Arc<str>,
    /// Method, path, and the value of the `Idempotency-Key` header.
    pub key: Arc<str>,
    /// A digest of the request's body.
    pub body: [u8; 32],
    /// How much of the answer is kept.
    pub keep: Keep,
}

/// A chat held under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    pub chat: ChatId,
    pub lease: Lease,
}

/// A replica's entry in the table of members, which it writes with each heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRow {
    pub replica: ReplicaId,
    /// Where peers reach its relay, `host:port`; empty if it has none (yet), and then it is nobody's peer.
    pub address: String,
    /// Which process of this name it is; two at the same time differ.
    pub incarnation: u64,
}

/// Another process that has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    pub address: String,
    /// How long it has not been heard of, by the database's clock.
    pub silent_for: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub replica: ReplicaId,
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReport {
    /// The chats whose lease this replica still holds. They now expire one `lease_ttl` after this heartbeat.
    pub confirmed: Vec<Held>,
    /// The other replicas that sent a heartbeat within three times `lease_ttl`.
    pub peers: Vec<Peer>,
    /// The name is another's, who was heard of within `lease_ttl`: nothing was renewed or written.
    pub rival: Option<Rival>,
}

/// One page of a user's chats. A list carries no queues: those of its chats are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub chats: Vec<ChatState>,
    /// There are more behind the last one.
    pub more: bool,
}

/// The request of a periodic sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The open hubs' chats.
    pub chats: Vec<ChatId>,
    /// The maximum number of runnable chats to report.
    pub runnable_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The current versions of the requested chats that exist.
    pub versions: Vec<(ChatId, Version)>,
    /// Runnable chats that nobody holds, or whose lease has expired: interruptions first, then those that
    /// have waited longest.
    pub runnable: Vec<(ChatId, Status)>,
    /// Time, by the database's clock, until the next lease of a runnable chat expires.
    pub soonest_expiry: Option<Duration>,
}

/// The database. Each call is one transaction, whose reads are consistent. If a call is dropped before it
/// returns, its outcome is unknown.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Locks the chat's row, applies the command with [`Command::apply_to`], writes the change, and returns
    /// what was applied once it is committed. With an idempotency key, the answer is recorded in the same
    /// transaction, unique by caller and key, and kept for 24 h even if the chat is deleted; a request that is
    /// in flight under the same key is waited for. If there is a record, nothing is applied: its answer is
    /// replayed, and a request with another body is rejected ([`KeyReused`](mainstem_machine::Rejection::KeyReused)).
    /// Announces nothing.
    async fn apply(&self, request: &Request) -> Result<Applied, Fault>;

    /// `None` if there is no such chat.
    async fn snapshot(&self, chat: ChatId, cached: Option<CachedVersions>)
    -> Result<Option<Snapshot>, Fault>;

    /// The row without messages. `None` if there is no such chat.
    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        Ok(self.snapshot(chat, None).await?.map(|snapshot| snapshot.state))
    }

    /// The messages after `after`, up to and including `until` if it is given. `None` if there is no such
    /// chat.
    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault>;

    /// The chats of a user, newest first (by id, which grows with time), before `before`; up to `limit` and
    /// `limits::LIST_BYTES_MAX` (at least one, if there is any).
    async fn list(&self, owner: &str, before: Option<ChatId>, limit: usize) -> Result<Listed, Fault>;

    /// Renews leases and membership, and claims the replica's name: it belongs to the process that was heard of
    /// last, until it deregisters or was silent for `lease_ttl`.
    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault>;

    /// The replica is gone from membership, and its name free, unless that is another process's.
    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault>;

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault>;

    /// The cluster's secret: the stored one, or `fresh`, which is stored if there was none.
    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Fault>;
}
