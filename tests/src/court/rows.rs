//! The rows of a PostgreSQL database as values. A column that holds JSON is text, which is kept as it is.

use std::sync::Arc;

use mainstem_machine::{
    ChatId, ChatState, Content, Episode, FinishReason, Lease, Message, MessageId, ReplicaId, Role, Status,
    Turn, Usage, Version, WallTime,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The row of this JSON.
pub(super) fn read<T: DeserializeOwned>(row: &str) -> T {
    serde_json::from_str(row).unwrap_or_else(|why| panic!("{why}: {row}"))
}

/// Of `chats`.
#[derive(Deserialize)]
pub(super) struct ChatRow {
    pub(super) id: ChatId,
    owner: Arc<str>,
    title: Option<Arc<str>>,
    model: Option<Arc<str>>,
    status: Status,
    pub(super) worker: Option<ReplicaId>,
    pub(super) lease: Lease,
    pub(super) lease_expires_at: Option<i64>,
    begun: Option<Lease>,
    snapshot_version: Version,
    history_version: Version,
    queue_version: Version,
    reset_version: Version,
    attempt: u64,
    error: Option<String>,
    retry: Option<String>,
    queue: String,
    last_message: MessageId,
    last_id: MessageId,
    created_at: WallTime,
    updated_at: WallTime,
    turn: Option<String>,
    last_told: MessageId,
    external_id: Option<Arc<str>>,
    instructions: Option<Arc<str>>,
    tools: Option<String>,
    calls: Option<String>,
    shares: Option<String>,
}

impl ChatRow {
    pub(super) fn state(self) -> ChatState {
        ChatState {
            id: self.id,
            owner: self.owner,
            title: self.title,
            model: self.model,
            status: self.status,
            worker: self.worker,
            lease: self.lease,
            attempt_lease: self.begun,
            snapshot_version: self.snapshot_version,
            history_version: self.history_version,
            queue_version: self.queue_version,
            reset_version: self.reset_version,
            attempt: self.attempt,
            error: self.error.as_deref().map(read),
            retry: self.retry.as_deref().map(read),
            queue: read(&self.queue),
            last_message: self.last_message,
            last_id: self.last_id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            turn: self.turn.as_deref().map(read),
            last_told: self.last_told,
            external_id: self.external_id,
            instructions: self.instructions,
            tools: self.tools.as_deref().map(read).unwrap_or_default(),
            shares: self.shares.as_deref().map(read).unwrap_or_default(),
            calls: self.calls.as_deref().map(read).unwrap_or_default(),
        }
    }
}

/// Of `messages`.
#[derive(Deserialize)]
pub(super) struct MessageRow {
    id: MessageId,
    revision: Version,
    role: Role,
    content: String,
    interrupted: bool,
    history_version: Option<Version>,
    attempt: Option<u64>,
    queued_as: Option<MessageId>,
    created_at: WallTime,
    finish_reason: Option<FinishReason>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    turn: Option<MessageId>,
    client_id: Option<Arc<str>>,
}

impl MessageRow {
    pub(super) fn message(self) -> Message {
        let episode = self.history_version.zip(self.attempt);
        let usage = self.input_tokens.zip(self.output_tokens);
        Message {
            id: self.id,
            revision: self.revision,
            role: self.role,
            content: Content::from_stored(self.content),
            interrupted: self.interrupted,
            episode: episode.map(|(history_version, attempt)| Episode { history_version, attempt }),
            finish_reason: self.finish_reason,
            usage: usage.map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens }),
            queued_as: self.queued_as,
            client_id: self.client_id,
            turn: self.turn,
            created_at: self.created_at,
        }
    }
}

/// Of `turns`.
#[derive(Deserialize)]
pub(super) struct TurnRow {
    turn: String,
}

impl TurnRow {
    pub(super) fn turn(&self) -> Turn {
        read(&self.turn)
    }
}

/// Of `receipts`.
#[derive(Deserialize)]
pub(super) struct ReceiptRow {
    key: String,
}

impl ReceiptRow {
    /// The key as the client gave it: it is kept behind the method and the path.
    pub(super) fn given(&self) -> &str {
        self.key.rsplit(' ').next().unwrap_or_default()
    }
}
