//! The database: rows, kept. What a command means is decided by `machine`; an adapter loads, applies,
//! writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::{
    Accepted, CachedVersions, ChatId, ChatState, Command, Keep, Lease, MessageId, Page, Rejection, ReplicaId,
    Snapshot, Status, Version,
};

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not happen.
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
    /// The user who asks: to anybody but its owner a chat does not exist (S10). `None` for the server itself.
    pub by: Option<Arc<str>>,
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Makes a command happen once, however often it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Who asks.
    pub caller: Arc<str>,
    /// Method, path and key.
    pub key: Arc<str>,
    /// A digest of the request's body.
    pub body: [u8; 32],
    /// How much of the answer is kept.
    pub keep: Keep,
}

/// What is kept with a receipt and answered again.
pub type Answer = Result<Accepted, Rejection>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Committed just now. `state` is after it; of a deleted chat, as it was last with `deleted` set.
    Changed {
        answer: Accepted,
        state: Arc<ChatState>,
        deleted: bool,
    },
    /// Accepted, and nothing to change.
    Unchanged {
        answer: Accepted,
    },
    Rejected(Rejection),
    /// The receipt was there: this is what was answered.
    Replayed(Answer),
    /// The receipt was there, for another body.
    Mismatch,
}

/// A chat held under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    pub chat: ChatId,
    pub lease: Lease,
}

/// What a replica tells of itself with each heartbeat.
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
    /// Those whose lease this replica still holds; it now runs out one `lease_ttl` from then.
    pub confirmed: Vec<Held>,
    /// The other replicas that were heard of within three times `lease_ttl`.
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

/// What a replica asks in its periodic look at everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The open hubs' chats.
    pub chats: Vec<ChatId>,
    /// How many runnable chats to report at the most.
    pub runnable_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The present versions of those asked for that exist.
    pub versions: Vec<(ChatId, Version)>,
    /// Runnable chats that are nobody's, or whose lease has run out: interruptions first, then what
    /// has waited longest.
    pub runnable: Vec<(ChatId, Status)>,
    /// By the database's clock, until the soonest lease of a runnable chat runs out that has not yet.
    pub soonest_expiry: Option<Duration>,
}

/// The database. Each call is one transaction, and its reads see one view. A call that was dropped before
/// it answered is of unknown outcome.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Locks the chat's row, applies [`Command::apply_to`], writes. With a receipt, the answer (a rejection
    /// too) is kept in the same transaction, 24 h long even if the chat goes, unique by caller and key; one
    /// that is in flight is waited for. Announces nothing.
    async fn apply(&self, request: &Request) -> Result<Applied, Fault>;

    /// `None` if there is no such chat.
    async fn snapshot(&self, chat: ChatId, cached: Option<CachedVersions>)
    -> Result<Option<Snapshot>, Fault>;

    /// The row alone. `None` if there is no such chat.
    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        Ok(self.snapshot(chat, None).await?.map(|snapshot| snapshot.state))
    }

    /// The messages after `after`, up to and with `until` if it is given. `None` if there is no such chat.
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

    /// The cluster's secret: the one kept, or else `fresh`, kept from now on.
    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Fault>;
}
