//! Conversion between rows and values, the same for both databases, which differ only in how a column is
//! decoded.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    AnswerRecord, Change, ChatId, ChatState, Content, Episode, FinishReason, Found, Known, Lease, Message,
    MessageId, Rejection, ReplicaId, Role, Sought, Status, Turn, Usage, Version, WallTime,
};
use mainstem_runtime::ports::{Held, Peer, ReplicaRow, Rival};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

/// The columns of a row by name, in types that both databases have.
pub(super) trait Fields {
    fn int(&self, column: &'static str) -> sqlx::Result<Option<i64>>;
    fn flag(&self, column: &'static str) -> sqlx::Result<bool>;
    fn text(&self, column: &'static str) -> sqlx::Result<Option<String>>;
    fn bytes(&self, column: &'static str) -> sqlx::Result<Vec<u8>>;

    fn number(&self, column: &'static str) -> sqlx::Result<u64> {
        Ok(self.int(column)?.map(unsigned).unwrap_or_default())
    }

    fn name(&self, column: &'static str) -> sqlx::Result<String> {
        self.text(column)?.ok_or_else(|| unreadable(column, "nothing"))
    }
}

macro_rules! fields {
    ($row:ty) => {
        impl Fields for $row {
            fn int(&self, column: &'static str) -> sqlx::Result<Option<i64>> {
                self.try_get(column)
            }

            fn flag(&self, column: &'static str) -> sqlx::Result<bool> {
                self.try_get(column)
            }

            fn text(&self, column: &'static str) -> sqlx::Result<Option<String>> {
                self.try_get(column)
            }

            fn bytes(&self, column: &'static str) -> sqlx::Result<Vec<u8>> {
                self.try_get(column)
            }
        }
    };
}

fields!(sqlx::postgres::PgRow);
fields!(sqlx::sqlite::SqliteRow);

/// The columns of `chats c`; `$text` makes text of an id. `$queue` may stand for a queue that is not read.
macro_rules! chat_columns {
    ($text:literal) => {
        $crate::adapters::rows::chat_columns!($text, "c.queue")
    };
    ($text:literal, $queue:literal) => {
        concat!(
            "c.id",
            $text,
            " AS id, c.owner, c.title, c.model, c.status, c.worker, c.lease, c.begun, c.snapshot_version, \
             c.history_version, c.queue_version, c.reset_version, c.attempt, c.error, c.retry, \
             c.last_message, c.last_id, c.created_at, c.updated_at, c.turn, c.last_told, \
             c.external_id, c.instructions, c.tools, \
             c.calls, c.shares, ",
            $queue,
            " AS queue"
        )
    };
}

/// The columns of `messages m`, with names that do not clash with a chat's.
macro_rules! message_columns {
    ($content:expr) => {
        concat!(
            "m.id AS message_id, m.revision, m.role, ",
            $content,
            " AS content, m.interrupted, m.finish_reason, m.input_tokens, m.output_tokens, \
         m.history_version AS episode_version, m.attempt AS episode_attempt, m.queued_as, \
         m.turn AS message_turn, m.client_id, m.created_at AS message_at"
        )
    };
}

/// Binds a chat's columns as `$1` to `$26`, in the order of [`chat_columns`]. The queue is bound as NULL if
/// it did not change.
macro_rules! bind_chat {
    ($query:expr, $state:expr, $queue_changed:expr) => {{
        use $crate::adapters::rows::{json, signed};
        let state: &mainstem_machine::ChatState = $state;
        $query
            .bind(state.id.to_string())
            .bind(state.owner.to_string())
            .bind(state.title.as_deref().map(str::to_owned))
            .bind(state.model.as_deref().map(str::to_owned))
            .bind(state.status.as_str())
            .bind(state.worker.as_ref().map(|worker| worker.as_str().to_owned()))
            .bind(signed(state.lease.0))
            .bind(state.attempt_lease.map(|lease| signed(lease.0)))
            .bind(signed(state.snapshot_version.0))
            .bind(signed(state.history_version.0))
            .bind(signed(state.queue_version.0))
            .bind(signed(state.reset_version.0))
            .bind(signed(state.attempt))
            .bind(state.error.as_ref().map(json))
            .bind(state.retry.as_ref().map(json))
            .bind($queue_changed.then(|| json(&state.queue)))
            .bind(signed(state.last_message.0))
            .bind(signed(state.last_id.0))
            .bind(state.created_at.0)
            .bind(state.updated_at.0)
            .bind(state.turn.as_ref().map(json))
            .bind(signed(state.last_told.0))
            .bind(state.external_id.as_deref().map(str::to_owned))
            .bind(state.instructions.as_deref().map(str::to_owned))
            .bind((!state.tools.is_empty()).then(|| json(&state.tools)))
            .bind((!state.calls.is_empty()).then(|| json(&state.calls)))
    }};
}

/// Writes a new chat, bound by [`bind_chat`]; `$27`, `$28` and `$shares` are as for [`update_chat`].
macro_rules! insert_chat {
    ($id:literal, $shares:literal) => {
        concat!(
            "INSERT INTO chats (id, owner, title, model, status, worker, lease, begun, snapshot_version, \
             history_version, queue_version, reset_version, attempt, error, retry, queue, last_message, \
             last_id, created_at, updated_at, turn, last_told, external_id, instructions, tools, calls, \
             lease_expires_at, shares) VALUES ($1",
            $id,
            ", $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
             $21, $22, $23, $24, $25, $26, CASE WHEN $27 THEN NULL ELSE $28 END, ",
            $shares,
            ")"
        )
    };
}

/// Updates a chat, bound by [`bind_chat`]. If `$27` is true, the lease's expiry stays as it is; otherwise it
/// becomes `$28`. `$shares` is bound as NULL if it did not change with whom the chat is shared.
macro_rules! update_chat {
    ($id:literal, $shares:literal) => {
        concat!(
            "UPDATE chats SET owner = $2, title = $3, model = $4, status = $5, worker = $6, lease = $7, \
             begun = $8, snapshot_version = $9, history_version = $10, queue_version = $11, \
             reset_version = $12, attempt = $13, error = $14, retry = $15, queue = coalesce($16, queue), \
             last_message = $17, last_id = $18, created_at = $19, updated_at = $20, \
             turn = $21, last_told = $22, external_id = $23, instructions = $24, tools = $25, calls = $26, \
             lease_expires_at = CASE WHEN $27 THEN lease_expires_at ELSE $28 END, shares = coalesce(",
            $shares,
            ", shares) WHERE id = $1",
            $id
        )
    };
}

pub(super) const KEPT: &str = "SELECT body, answer FROM receipts WHERE caller = $1 AND key = $2";
pub(super) const DEREGISTER: &str = "DELETE FROM replicas WHERE id = $1 AND incarnation = $2";
/// Answers what is kept, whoever came first.
pub(super) const SECRET: &str = "INSERT INTO secrets (name, value) VALUES ('cluster', $1) \
                                 ON CONFLICT (name) DO UPDATE SET value = secrets.value RETURNING value";

/// Keeps the ticket of `$1` for `$2` with `$3`, for `$4` from `$now` on, unless `$2` has `$5`.
macro_rules! keep_ticket {
    ($now:expr) => {
        concat!(
            "INSERT INTO tickets (digest, owner, body, expires_at) SELECT $1, $2, $3, ",
            $now,
            " + $4 WHERE (SELECT count(*) FROM tickets WHERE owner = $2 AND digest <> $1 AND expires_at > ",
            $now,
            ") < $5 ON CONFLICT (digest) DO UPDATE SET body = excluded.body RETURNING body"
        )
    };
}

/// Takes the ticket of `$1`, and tells whether it was good.
macro_rules! take_ticket {
    ($now:expr) => {
        concat!("DELETE FROM tickets WHERE digest = $1 RETURNING body, expires_at > ", $now, " AS good")
    };
}

/// Up to `$1` tickets that have run out; `$lock` leaves out those that others are removing.
macro_rules! sweep_tickets {
    ($now:expr, $lock:literal) => {
        concat!(
            "DELETE FROM tickets WHERE digest IN (SELECT digest FROM tickets WHERE expires_at <= ",
            $now,
            " ORDER BY expires_at LIMIT $1 ",
            $lock,
            ")"
        )
    };
}

/// What was kept with a ticket that was taken and was good.
pub(super) fn ticket(row: &impl Fields) -> sqlx::Result<Option<Arc<str>>> {
    Ok(if row.flag("good")? { Some(row.name("body")?.into()) } else { None })
}

/// The chat of `$1` that its owner calls `$2`; `$text` makes text of an id.
macro_rules! named_chat {
    ($text:literal) => {
        concat!("SELECT id", $text, " AS id FROM chats WHERE owner = $1 AND external_id = $2")
    };
}

/// What was answered when the message of `$1` was sent that its sender calls `$2`, and what it says, if it is in the history.
macro_rules! named_message {
    ($id:literal) => {
        concat!(
            "SELECT s.answer, m.content FROM sends s LEFT JOIN messages m \
             ON m.chat_id = s.chat_id AND m.client_id = s.client_id WHERE s.chat_id = ",
            $id,
            " AND s.client_id = $2"
        )
    };
}

/// Lists the chat of `$1` with the shares of `$2` from now on.
macro_rules! list_share {
    ($id:literal) => {
        concat!("INSERT INTO shares (chat_id, recipient) VALUES (", $id, ", $2) ON CONFLICT DO NOTHING")
    };
}

/// Lists it with them no more.
macro_rules! unlist_share {
    ($id:literal) => {
        concat!("DELETE FROM shares WHERE chat_id = ", $id, " AND recipient = $2")
    };
}

/// With whom a chat is shared, if that is to be written.
pub(super) fn shares(change: &Change) -> Option<String> {
    change.shares_changed.then(|| json(&change.state.shares))
}

/// A row of [`named_message`].
pub(super) fn known(row: &impl Fields) -> sqlx::Result<Known> {
    let answer = from_json("answer", &row.name("answer")?)?;
    Ok(Known { answer, content: row.text("content")?.map(Content::from_stored) })
}

/// A turn that has ended.
pub(super) fn turn(row: &impl Fields) -> sqlx::Result<Turn> {
    from_json("turn", &row.name("turn")?)
}

/// The message that a command is about, by its id (`$2`), or the last one of a user where that is NULL.
macro_rules! find {
    ($chat:literal) => {
        concat!(
            "SELECT id AS message_id, role, queued_as FROM messages WHERE chat_id = ",
            $chat,
            " AND id = coalesce($2, (SELECT max(id) FROM messages WHERE chat_id = ",
            $chat,
            " AND role = 'user'))"
        )
    };
}

pub(super) use {
    bind_chat, chat_columns, find, insert_chat, keep_ticket, list_share, message_columns, named_chat,
    named_message, sweep_tickets, take_ticket, unlist_share, update_chat,
};

pub(super) fn chat(row: &impl Fields) -> sqlx::Result<ChatState> {
    let status = row.name("status")?;
    let worker = row
        .text("worker")?
        .map(|worker| ReplicaId::new(worker.as_str()).map_err(|_| unreadable("worker", &worker)));
    let state = ChatState {
        id: chat_id(row, "id")?,
        owner: row.name("owner")?.into(),
        title: row.text("title")?.map(Into::into),
        model: row.text("model")?.map(Into::into),
        status: Status::from_name(&status).ok_or_else(|| unreadable("status", &status))?,
        worker: worker.transpose()?,
        lease: Lease(row.number("lease")?),
        attempt_lease: row.int("begun")?.map(|lease| Lease(unsigned(lease))),
        snapshot_version: Version(row.number("snapshot_version")?),
        history_version: Version(row.number("history_version")?),
        queue_version: Version(row.number("queue_version")?),
        reset_version: Version(row.number("reset_version")?),
        attempt: row.number("attempt")?,
        error: row.text("error")?.map(|text| from_json("error", &text)).transpose()?,
        retry: row.text("retry")?.map(|text| from_json("retry", &text)).transpose()?,
        queue: from_json("queue", &row.name("queue")?)?,
        last_message: MessageId(row.number("last_message")?),
        last_id: MessageId(row.number("last_id")?),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        turn: row.text("turn")?.map(|text| from_json("turn", &text)).transpose()?,
        last_told: MessageId(row.number("last_told")?),
        external_id: row.text("external_id")?.map(Into::into),
        instructions: row.text("instructions")?.map(Into::into),
        calls: row.text("calls")?.map_or(Ok([].into()), |text| from_json("calls", &text))?,
        shares: row.text("shares")?.map_or(Ok([].into()), |text| from_json("shares", &text))?,
        tools: row.text("tools")?.map_or(Ok([].into()), |text| from_json("tools", &text))?,
    };
    Ok(state.as_read())
}

/// The message of a row, if it has one.
pub(super) fn message(row: &impl Fields) -> sqlx::Result<Option<Message>> {
    let Some(id) = row.int("message_id")? else { return Ok(None) };
    let episode = match row.int("episode_version")? {
        Some(version) => Some(Episode {
            history_version: Version(unsigned(version)),
            attempt: row.number("episode_attempt")?,
        }),
        None => None,
    };
    let finish_reason = row
        .text("finish_reason")?
        .map(|name| FinishReason::from_name(&name).ok_or_else(|| unreadable("finish_reason", &name)));
    let usage = match row.int("input_tokens")? {
        Some(input) => {
            Some(Usage { input_tokens: unsigned(input), output_tokens: row.number("output_tokens")? })
        }
        None => None,
    };
    Ok(Some(Message {
        id: MessageId(unsigned(id)),
        revision: Version(row.number("revision")?),
        role: role(row)?,
        content: Content::from_stored(row.name("content")?),
        interrupted: row.flag("interrupted")?,
        episode,
        finish_reason: finish_reason.transpose()?,
        usage,
        queued_as: row.int("queued_as")?.map(|id| MessageId(unsigned(id))),
        client_id: row.text("client_id")?.map(Into::into),
        turn: row.int("message_turn")?.map(|id| MessageId(unsigned(id))),
        created_at: time(row, "message_at")?,
    }))
}

/// A chat's row, locked.
#[derive(Debug)]
pub(super) struct Locked {
    /// `None` if there is no such chat.
    pub(super) state: Option<ChatState>,
    pub(super) lease_expires_at: Option<WallTime>,
    /// The database's clock.
    pub(super) now: WallTime,
}

/// A chat's row together with the clock. If there is no such chat, all its columns are NULL.
pub(super) fn locked(row: &impl Fields) -> sqlx::Result<Locked> {
    let state = match row.text("id")? {
        Some(_) => Some(chat(row)?),
        None => None,
    };
    let lease_expires_at = row.int("lease_expires_at")?.map(WallTime);
    Ok(Locked { state, lease_expires_at, now: time(row, "now")? })
}

/// A stored idempotency record.
#[derive(Debug)]
pub(super) struct IdempotencyRecord {
    pub(super) body: Vec<u8>,
    pub(super) answer: Result<AnswerRecord, Rejection>,
}

/// What is kept of a command that was accepted.
pub(super) fn kept_answer(record: AnswerRecord) -> String {
    json(&Ok::<_, Rejection>(record))
}

/// A row of [`KEPT`]. It always has an answer, because that is written before the commit.
pub(super) fn kept(row: &impl Fields) -> sqlx::Result<IdempotencyRecord> {
    Ok(IdempotencyRecord { body: row.bytes("body")?, answer: from_json("answer", &row.name("answer")?)? })
}

/// What is bound for [`find`].
pub(super) fn sought(sought: Sought) -> Option<i64> {
    match sought {
        Sought::Message(id) => Some(signed(id.0)),
        Sought::LastOfUser => None,
    }
}

/// A row of [`find`].
pub(super) fn found(row: &impl Fields) -> sqlx::Result<Found> {
    Ok(Found {
        id: MessageId(row.number("message_id")?),
        role: role(row)?,
        queued_as: row.int("queued_as")?.map(|id| MessageId(unsigned(id))),
    })
}

fn role(row: &impl Fields) -> sqlx::Result<Role> {
    let role = row.name("role")?;
    Role::from_name(&role).ok_or_else(|| unreadable("role", &role))
}

pub(super) fn held(row: &impl Fields) -> sqlx::Result<Held> {
    Ok(Held { chat: chat_id(row, "id")?, lease: Lease(row.number("lease")?) })
}

pub(super) fn peer(row: &impl Fields) -> sqlx::Result<Peer> {
    let id = row.name("id")?;
    let replica = ReplicaId::new(id.as_str()).map_err(|_| unreadable("id", &id))?;
    Ok(Peer { replica, address: row.name("address")? })
}

pub(super) fn chat_id(row: &impl Fields, column: &'static str) -> sqlx::Result<ChatId> {
    let text = row.name(column)?;
    text.parse().map(ChatId).map_err(|_| unreadable(column, &text))
}

pub(super) fn time(row: &impl Fields, column: &'static str) -> sqlx::Result<WallTime> {
    row.int(column)?.map(WallTime).ok_or_else(|| unreadable(column, "nothing"))
}

/// A number as the databases store it. Numbers beyond their range are beyond all stored ones.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a durable value is written as JSON")
}

pub(super) fn from_json<T: DeserializeOwned>(column: &'static str, text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(column, &error.to_string()))
}

fn unreadable(column: &'static str, found: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("the column {column} is not as this program writes it: {found}").into())
}

/// Who has a name, if it is not the one that asked.
pub(super) fn rival(row: &impl Fields) -> sqlx::Result<Rival> {
    let silent_for = Duration::from_millis(row.number("lease")?);
    Ok(Rival { address: row.name("address")?, silent_for })
}

/// A process's number as a database keeps it.
pub(super) fn incarnation(replica: &ReplicaRow) -> i64 {
    replica.incarnation.cast_signed()
}
