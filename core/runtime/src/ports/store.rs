//! The database. The meaning of commands is decided in `machine`: an adapter loads the row, applies the
//! command and writes the change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::store::{
    HeartbeatReport, Held, Listed, Listing, ReplicaRow, Request, Stale, SyncReport, SyncRequest, Ticket,
};
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, KnownRow, MessageId, Page, Snapshot, Turn, Write,
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

/// The database. Each call is one transaction, whose reads are consistent. If a call is dropped before it
/// returns, its outcome is unknown.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Locks the chat's row, applies the command with [`Command::apply_to`](mainstem_machine::Command::apply_to), writes the change, and returns
    /// what was applied once it is committed. With an idempotency key, the answer is recorded in the same
    /// transaction, unique by caller and key, and kept for 24 h even if the chat is deleted; a request that is
    /// in flight under the same key is waited for. If there is a record, nothing is applied: its answer is
    /// replayed, and a request with another body is rejected ([`KeyReused`](mainstem_machine::Rejection::KeyReused)).
    /// Announces nothing.
    async fn apply(&self, request: &Request) -> Result<Applied, Fault>;

    /// The same, for somebody who knows the chat's row, perhaps not its newest: it may save the store a look.
    async fn apply_knowing(&self, request: &Request, _known: Arc<ChatState>) -> Result<Applied, Fault> {
        self.apply(request).await
    }

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

    /// A turn that has ended; `None` if none of that name has, or it was cut off.
    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault>;

    /// The ids of the messages from `first` to `last`, in order.
    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault>;

    /// The chats of a user, or those that others share with the user, newest first (by id, which grows with time),
    /// before `before`; up to `limit` and
    /// `limits::LIST_BYTES_MAX` (at least one, if there is any).
    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault>;

    /// Looks at up to `limit` chats behind `after`, in the order of their ids, for those that are idle and have not
    /// changed for `idle_for`.
    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault>;

    /// The chat of an owner that has this name of the owner's own.
    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault>;

    /// Renews leases and membership, and claims the replica's name: it belongs to the process that was heard of
    /// last, until it deregisters or was silent for `lease_ttl`.
    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault>;

    /// The replica is gone from membership, and its name free, unless that is another process's.
    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault>;

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault>;

    /// The cluster's secret: the stored one, or `fresh`, which is stored if there was none.
    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault>;

    /// Keeps a ticket, unless its owner has as many as may be, but for those that are kept at the same moment. What has run
    /// out goes, a bounded number of them at a time. To keep one again changes nothing.
    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault>;

    /// Takes the ticket of this digest, if it is there and has not run out: of all that ask, one is given what was
    /// kept with it, and from then on nobody.
    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Fault>;
}

/// A database of which many things can be asked at once, each for another chat. What becomes of one of them says nothing of
/// the others, and none waits for a chat that somebody has locked. [`Batching`](crate::Batching) makes commands of them.
#[async_trait]
pub trait BatchStore: Send + Sync + 'static {
    /// Applies a command under the lock of its chat, as [`Store::apply`] says.
    async fn apply_locked(&self, request: &Request) -> Result<Applied, Fault>;

    /// What a reader lacks of a chat, as [`Store::snapshot`] says.
    async fn snapshot_alone(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault>;

    /// The same of many, in this order. One that is refused may be had alone.
    async fn snapshots(
        &self,
        asked: &[(ChatId, Option<CachedVersions>)],
    ) -> Vec<Result<Option<Snapshot>, Fault>>;

    /// The rows of these chats as they are now, in this order.
    async fn rows(&self, chats: &[ChatId]) -> Vec<Result<KnownRow, Fault>>;

    /// Writes each of these changes whose chat is still what it was made of, with the answer that is kept of it, and says of
    /// each whether it was written. One that was not has changed nothing: the chat has moved on, or is locked, or there is
    /// something under the key.
    async fn write(&self, writes: &[Write]) -> Vec<Result<bool, Fault>>;
}
