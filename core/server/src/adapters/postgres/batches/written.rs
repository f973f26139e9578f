//! The statements that write changes of many chats, and what is bound to them. What a plain change may change of a chat, and what
//! a new one has, stands here column by column.

use std::borrow::Cow;
use std::sync::LazyLock;

use mainstem_machine::{ChatId, ChatState, LeaseTerm, Message, Turn, Version};
use mainstem_runtime::ports::{IdempotencyKey, Write};
use sqlx::query;

use super::columns::{Bound, Column, Of, bind, names, table};
use crate::adapters::postgres::now;
use crate::adapters::rows::{json, kept_answer, signed};
use crate::adapters::transaction::millis;
use crate::limits::adapters::BATCH_LOCK_TIMEOUT;

use Of::{Bytes, Flag, Id, Int, IntOrNull, Text, TextOrNull};

const fn column<R>(name: &'static str, of: Of<R>) -> Column<R> {
    Column { name, of }
}

fn key<'a>(write: &&'a Write) -> Option<&'a IdempotencyKey> {
    write.request.idempotency_key.as_ref()
}

fn state<'a>(write: &&'a Write) -> &'a ChatState {
    &write.change.state
}

fn borrowed(text: Option<&str>) -> Option<Cow<'_, str>> {
    text.map(Cow::Borrowed)
}

fn owned<'a>(text: Option<String>) -> Option<Cow<'a, str>> {
    text.map(Cow::Owned)
}

/// What is asked for, and by whom.
fn asked<'a>() -> Vec<Column<&'a Write>> {
    vec![
        column("id", Id(|write| write.request.chat.to_string())),
        column("caller", TextOrNull(|write| borrowed(key(write).map(|key| &*key.caller)))),
        column("key", TextOrNull(|write| borrowed(key(write).map(|key| &*key.key)))),
        column("body", Bytes(|write| key(write).map(|key| &key.body[..]))),
        column("answer", TextOrNull(|write| owned(write.kept.clone().map(kept_answer)))),
        column("term", Text(|write| Cow::Borrowed(term(write.change.lease)))),
    ]
}

/// What the chat has to be.
fn expected<'a>() -> Vec<Column<&'a Write>> {
    vec![
        column("of_version", Int(|write| signed(write.of.unwrap_or(Version(0)).0))),
        column("is_held_until", Flag(|write| write.lease.is_some())),
        column("held_until", IntOrNull(|write| write.lease.flatten().map(|until| until.0))),
    ]
}

/// What a plain change may change of a chat, but for the queue, which is large, and the lease's end.
fn changing<'a>() -> Vec<Column<&'a Write>> {
    vec![
        column("status", Text(|write| Cow::Borrowed(state(write).status.as_str()))),
        column(
            "worker",
            TextOrNull(|write| borrowed(state(write).worker.as_ref().map(|worker| worker.as_str()))),
        ),
        column("lease", Int(|write| signed(state(write).lease.0))),
        column("begun", IntOrNull(|write| state(write).attempt_lease.map(|lease| signed(lease.0)))),
        column("snapshot_version", Int(|write| signed(state(write).snapshot_version.0))),
        column("history_version", Int(|write| signed(state(write).history_version.0))),
        column("queue_version", Int(|write| signed(state(write).queue_version.0))),
        column("attempt", Int(|write| signed(state(write).attempt))),
        column("error", TextOrNull(|write| owned(state(write).error.as_ref().map(json)))),
        column("retry", TextOrNull(|write| owned(state(write).retry.as_ref().map(json)))),
        column("last_message", Int(|write| signed(state(write).last_message.0))),
        column("last_id", Int(|write| signed(state(write).last_id.0))),
        column("last_told", Int(|write| signed(state(write).last_told.0))),
        column("updated_at", Int(|write| state(write).updated_at.0)),
        column("turn", TextOrNull(|write| owned(state(write).turn.as_ref().map(json)))),
        column("calls", TextOrNull(|write| owned(some(&state(write).calls)))),
    ]
}

/// What a chat has from its beginning on.
fn lasting<'a>() -> Vec<Column<&'a Write>> {
    vec![
        column("owner", Text(|write| Cow::Borrowed(&*state(write).owner))),
        column("title", TextOrNull(|write| borrowed(state(write).title.as_deref()))),
        column("model", TextOrNull(|write| borrowed(state(write).model.as_deref()))),
        column("external_id", TextOrNull(|write| borrowed(state(write).external_id.as_deref()))),
        column("instructions", TextOrNull(|write| borrowed(state(write).instructions.as_deref()))),
        column("tools", TextOrNull(|write| owned(some(&state(write).tools)))),
        column("reset_version", Int(|write| signed(state(write).reset_version.0))),
        column("created_at", Int(|write| state(write).created_at.0)),
        column("queue", Text(|write| Cow::Owned(json(&state(write).queue)))),
    ]
}

fn queue<'a>() -> Column<&'a Write> {
    column("queue", TextOrNull(|write| owned(write.change.queue_changed.then(|| json(&state(write).queue)))))
}

type Inserted<'a> = (ChatId, &'a Message);

fn messages<'a>() -> Vec<Column<Inserted<'a>>> {
    vec![
        column("chat_id", Id(|(chat, _)| chat.to_string())),
        column("id", Int(|(_, message)| signed(message.id.0))),
        column("revision", Int(|(_, message)| signed(message.revision.0))),
        column("role", Text(|(_, message)| Cow::Borrowed(message.role.as_str()))),
        column("content", Text(|(_, message)| Cow::Borrowed(message.content.as_json()))),
        column("interrupted", Flag(|(_, message)| message.interrupted)),
        column(
            "history_version",
            IntOrNull(|(_, message)| message.episode.map(|of| signed(of.history_version.0))),
        ),
        column("attempt", IntOrNull(|(_, message)| message.episode.map(|of| signed(of.attempt)))),
        column("queued_as", IntOrNull(|(_, message)| message.queued_as.map(|id| signed(id.0)))),
        column("created_at", Int(|(_, message)| message.created_at.0)),
        column(
            "finish_reason",
            TextOrNull(|(_, message)| borrowed(message.finish_reason.map(|reason| reason.as_str()))),
        ),
        column(
            "input_tokens",
            IntOrNull(|(_, message)| message.usage.map(|usage| signed(usage.input_tokens))),
        ),
        column(
            "output_tokens",
            IntOrNull(|(_, message)| message.usage.map(|usage| signed(usage.output_tokens))),
        ),
        column("turn", IntOrNull(|(_, message)| message.turn.map(|turn| signed(turn.0)))),
        column("client_id", TextOrNull(|(_, message)| borrowed(message.client_id.as_deref()))),
    ]
}

type Ended<'a> = (ChatId, &'a Turn);

fn ended<'a>() -> Vec<Column<Ended<'a>>> {
    vec![
        column("chat_id", Id(|(chat, _)| chat.to_string())),
        column("id", Int(|(_, turn)| signed(turn.id.0))),
        column("message", Int(|(_, turn)| signed(turn.message.0))),
        column("turn", Text(|(_, turn)| Cow::Owned(json(*turn)))),
    ]
}

/// A list as it is kept; an empty one is nothing.
fn some<T: serde::Serialize>(list: &[T]) -> Option<String> {
    (!list.is_empty()).then(|| json(&list))
}

const fn term(lease: LeaseTerm) -> &'static str {
    match lease {
        LeaseTerm::Keep => "keep",
        LeaseTerm::Start => "start",
        LeaseTerm::End => "end",
    }
}

/// The columns of a chat that is changed, or of a new one.
fn of_chats<'a>(is_new: bool) -> Vec<Column<&'a Write>> {
    let (first, last) = if is_new { (vec![], lasting()) } else { (expected(), vec![queue()]) };
    asked().into_iter().chain(first).chain(changing()).chain(last).collect()
}

/// One statement: `$1` how long a lease lasts, and then all columns. `$free` are the chats that are what they have to be, and
/// nobody's just now; `$last` is what is written of them, if nothing is under their keys. If somebody else is about to put
/// something there, the statement waits while it holds the chats, so it gives up soon (B3).
fn statement(is_new: bool, free: &str, last: &str) -> &'static str {
    let (chats, messages, ended) = (of_chats(is_new), messages(), ended());
    let of_messages = 2 + chats.len();
    let of_ended = of_messages + messages.len();
    let statement = format!(
        "WITH clock AS MATERIALIZED (SELECT {now} AS now, set_config('lock_timeout', '{wait}', true) AS wait), \
         asked AS MATERIALIZED (SELECT * FROM {chats} WHERE (SELECT wait FROM clock) IS NOT NULL), \
         free AS MATERIALIZED ({free}), \
         claimed AS (INSERT INTO receipts (caller, key, body, answer, created_at) \
         SELECT caller, key, body, answer, (SELECT now FROM clock) FROM free WHERE key IS NOT NULL \
         ON CONFLICT DO NOTHING RETURNING caller, key), \
         ours AS MATERIALIZED (SELECT f.* FROM free f LEFT JOIN claimed c ON c.caller = f.caller AND c.key = f.key \
         WHERE f.key IS NULL OR c.key IS NOT NULL), \
         inserted AS (INSERT INTO messages ({message_names}) SELECT * FROM {messages} \
         WHERE m.chat_id IN (SELECT id FROM ours)), \
         ended AS (INSERT INTO turns ({ended_names}) SELECT * FROM {ended} \
         WHERE t.chat_id IN (SELECT id FROM ours)) {last} RETURNING c.id::text AS id",
        now = now!(),
        wait = millis(BATCH_LOCK_TIMEOUT),
        chats = table("a", &chats, 2),
        message_names = names(&messages, ""),
        messages = table("m", &messages, of_messages),
        ended_names = names(&ended, ""),
        ended = table("t", &ended, of_ended),
    );
    statement.leak()
}

/// Changes of chats that are there.
pub(super) static UPDATE: LazyLock<&'static str> = LazyLock::new(|| {
    let set: Vec<_> = changing().iter().map(|column| format!("{0} = o.{0}", column.name)).collect();
    statement(
        false,
        "SELECT a.* FROM asked a JOIN chats c ON c.id = a.id WHERE c.snapshot_version = a.of_version \
         AND (NOT a.is_held_until OR c.lease_expires_at IS NOT DISTINCT FROM a.held_until) FOR NO KEY UPDATE OF c SKIP LOCKED",
        &format!(
            "UPDATE chats c SET {}, queue = coalesce(o.queue, c.queue), lease_expires_at = CASE o.term \
             WHEN 'keep' THEN c.lease_expires_at WHEN 'start' THEN (SELECT now FROM clock) + $1 END \
             FROM ours o WHERE c.id = o.id",
            set.join(", ")
        ),
    )
});

/// Chats that are new. Should there be one of that id, the statement fails.
pub(super) static CREATE: LazyLock<&'static str> = LazyLock::new(|| {
    let columns: Vec<_> = changing().into_iter().chain(lasting()).collect();
    statement(
        true,
        "SELECT * FROM asked",
        &format!(
            "INSERT INTO chats AS c (id, {}, lease_expires_at) SELECT o.id, {}, \
             CASE o.term WHEN 'start' THEN (SELECT now FROM clock) + $1 END FROM ours o",
            names(&columns, ""),
            names(&columns, "o."),
        ),
    )
});

/// The statement with these changes, all of new chats or none.
pub(super) fn bound(is_new: bool, writes: &[&Write], lease_ms: u64) -> Bound<'static> {
    let inserted: Vec<Inserted<'_>> = writes
        .iter()
        .flat_map(|write| write.change.inserted.iter().map(|message| (write.request.chat, message)))
        .collect();
    let turns: Vec<Ended<'_>> = writes
        .iter()
        .flat_map(|write| write.change.ended.iter().map(|turn| (write.request.chat, turn)))
        .collect();
    let query = query(if is_new { *CREATE } else { *UPDATE }).bind(signed(lease_ms));
    let query = bind(query, &of_chats(is_new), writes);
    bind(bind(query, &messages(), &inserted), &ended(), &turns)
}
