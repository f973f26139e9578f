//! The statements that read. They are the same for both databases except for the form of ids. Each read is a
//! single statement, so that it is consistent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{Message, MessageId, Status, Version, limits};
use mainstem_runtime::ports::{CachedVersions, Listed, Page, Snapshot, Stale, SyncReport, Tail};

use super::rows::{self, Fields, signed, unsigned};

/// The chat, and beside it the messages that the reader lacks, as far as a tail holds them. `$1` the chat,
/// `$2`–`$4` what is known (its snapshot, its reset, its last message), `$5` and `$6` a tail's bounds, or what stands for them. Which they
/// are is chosen by ids and lengths; content is read of them alone, once, and put in order by who reads the rows,
/// since a database may copy what it sorts. `$joined` may leave some to be read apart.
macro_rules! snapshot {
    ($id:literal, $text:literal, $joined:expr) => {
        $crate::adapters::reads::snapshot!($id, $text, $joined, "$2", "$3", "$4", "$5", "$6")
    };
    ($id:literal, $text:literal, $joined:expr, $snapshot:literal, $reset:literal, $last:literal, $count:literal, $bytes:literal) => {
        concat!(
            "WITH head AS (SELECT 1 AS first, ",
            rows::chat_columns!($text),
            ", c.snapshot_version >= ",
            $snapshot,
            " AND c.reset_version = ",
            $reset,
            " AND c.last_message >= ",
            $last,
            " AS continues FROM chats c WHERE c.id = ",
            $id,
            "), newest AS (SELECT n.id, row_number() OVER (ORDER BY n.id DESC) AS rank, \
             sum(n.length) OVER (ORDER BY n.id DESC) AS bytes, count(*) OVER () AS found \
             FROM (SELECT m.id, octet_length(m.content) AS length FROM messages m WHERE m.chat_id = ",
            $id,
            " AND m.id > (SELECT CASE WHEN continues THEN ",
            $last,
            " ELSE 0 END FROM head) ORDER BY m.id DESC LIMIT ",
            $count,
            " + 1) n), \
             tail AS (SELECT row_number() OVER (ORDER BY n.id) AS place, n.found, n.id AS told \
             FROM newest n WHERE n.rank <= ",
            $count,
            " AND (n.rank = 1 OR n.bytes <= ",
            $bytes,
            ")) SELECT head.*, tail.place, tail.found, told, ",
            rows::message_columns!("m.content"),
            " FROM head FULL JOIN tail ON place = first LEFT JOIN messages m ON m.chat_id = ",
            $id,
            " AND m.id = told",
            $joined
        )
    };
}

/// The chat `$1` without messages.
macro_rules! state {
    ($id:literal, $text:literal) => {
        concat!("SELECT ", rows::chat_columns!($text), " FROM chats c WHERE c.id = ", $id)
    };
}

/// A page. `$1` the chat, `$2` after which message, `$3` up to which, `$4` and `$5` its bounds. Read like a
/// snapshot's messages.
macro_rules! page {
    ($id:literal, $joined:expr) => {
        concat!(
            "WITH head AS (SELECT 1 AS first, c.reset_version, c.history_version, \
             ($2 = 0 OR EXISTS (SELECT 1 FROM messages a WHERE a.chat_id = c.id AND a.id = $2)) AS anchored \
             FROM chats c WHERE c.id = ",
            $id,
            "), oldest AS (SELECT n.id, row_number() OVER (ORDER BY n.id) AS place, \
             sum(n.length) OVER (ORDER BY n.id) AS bytes, count(*) OVER () AS found \
             FROM (SELECT m.id, octet_length(m.content) AS length FROM messages m WHERE m.chat_id = ",
            $id,
            " AND m.id > $2 AND m.id <= $3 ORDER BY m.id LIMIT $4 + 1) n), \
             page AS (SELECT n.place, n.found, n.id AS told FROM oldest n \
             WHERE n.place <= $4 AND (n.place = 1 OR n.bytes <= $5)) \
             SELECT head.*, page.place, page.found, told, ",
            rows::message_columns!("m.content"),
            " FROM head FULL JOIN page ON place = first LEFT JOIN messages m ON m.chat_id = ",
            $id,
            " AND m.id = told",
            $joined
        )
    };
}

/// The chats `$of` `$1` before `$2`, at most `$3`, and up to `$4` bytes of what users, providers and tools wrote. Which they
/// are is chosen first: only theirs is read, and no queue.
macro_rules! list {
    ($of:ident, $before:literal, $text:literal) => {
        concat!(
            "WITH found AS (SELECT c.id, row_number() OVER (ORDER BY c.id DESC) AS place, \
             sum(c.length) OVER (ORDER BY c.id DESC) AS bytes, count(*) OVER () AS found FROM \
             (SELECT id, coalesce(octet_length(title), 0) + coalesce(octet_length(model), 0) \
             + coalesce(octet_length(error), 0) + coalesce(octet_length(retry), 0) \
             + coalesce(octet_length(instructions), 0) + coalesce(octet_length(tools), 0) \
             + coalesce(octet_length(calls), 0) + coalesce(octet_length(nullif(shares, '[]')), 0) AS length FROM ",
            reads::$of!(),
            " < ",
            $before,
            " ORDER BY 1 DESC LIMIT $3 + 1) c) SELECT ",
            rows::chat_columns!($text, "'[]'"),
            ", f.found FROM found f JOIN chats c ON c.id = f.id \
             WHERE f.place <= $3 AND (f.place = 1 OR f.bytes <= $4) ORDER BY f.place"
        )
    };
}

/// Of the first `$3` chats behind `$after`, by their ids, which ones are idle and have not changed for `$2` milliseconds.
macro_rules! stale {
    ($after:literal, $now:expr, $text:literal) => {
        concat!(
            "SELECT id",
            $text,
            " AS id, CASE WHEN status IN ('waiting', 'error') AND updated_at <= ",
            $now,
            " - $2 THEN CAST(1 AS bigint) ELSE CAST(0 AS bigint) END AS stale FROM (SELECT id, status, updated_at FROM chats WHERE id > ",
            $after,
            " ORDER BY id LIMIT $3) looked_at ORDER BY 1"
        )
    };
}

/// The chats of their owner `$1`, and by what they are in order.
macro_rules! owned {
    () => {
        "chats WHERE owner = $1 AND id"
    };
}

/// The same of those that are shared with `$1`.
macro_rules! shared {
    () => {
        "shares s JOIN chats ON id = s.chat_id WHERE s.recipient = $1 AND s.chat_id"
    };
}

/// The versions of the chats in `$1`, at most `$2` runnable ones that are free (interruptions first,
/// then what has waited longest), and the time until the next
/// lease runs out. `$asked` says which were asked for, `$now` is the database's clock.
macro_rules! sync {
    ($asked:literal, $now:expr, $text:literal) => {
        concat!(
            "WITH clock AS (SELECT ",
            $now,
            " AS now), runnable AS (SELECT id, status, lease_expires_at, updated_at FROM chats \
             WHERE status IN ('running', 'interrupting')), \
             free AS (SELECT id, status, coalesce(lease_expires_at, updated_at) AS since FROM runnable \
             WHERE lease_expires_at IS NULL OR lease_expires_at <= (SELECT now FROM clock) \
             ORDER BY CASE status WHEN 'interrupting' THEN 0 ELSE 1 END, since, id LIMIT $2) \
             SELECT CAST(0 AS bigint) AS kind, id",
            $text,
            " AS id, snapshot_version AS value FROM chats WHERE ",
            $asked,
            " UNION ALL SELECT CASE status WHEN 'interrupting' THEN 1 ELSE 2 END, id",
            $text,
            ", since FROM free \
             UNION ALL SELECT 3, NULL, min(lease_expires_at) - (SELECT now FROM clock) FROM runnable \
             WHERE lease_expires_at > (SELECT now FROM clock) \
             ORDER BY 1, 3, 2"
        )
    };
}

/// The turn `$2` of a chat, if it has ended.
macro_rules! turn {
    ($id:literal) => {
        concat!("SELECT turn FROM turns WHERE chat_id = ", $id, " AND id = $2")
    };
}

/// The ids of a chat's messages from `$2` to `$3`.
macro_rules! message_ids {
    ($id:literal) => {
        concat!(
            "SELECT id AS message_id FROM messages WHERE chat_id = ",
            $id,
            " AND id BETWEEN $2 AND $3 ORDER BY id"
        )
    };
}

pub(super) use {list, message_ids, owned, page, shared, snapshot, stale, state, sync, turn};

/// The parameters of a snapshot's statement after the chat.
pub(super) fn cached_values(cached: Option<CachedVersions>) -> [i64; 5] {
    let (snapshot, reset, last) = match cached {
        Some(cached) => {
            (signed(cached.snapshot_version.0), signed(cached.reset_version.0), signed(cached.last_message.0))
        }
        None => (0, -1, 0),
    };
    [snapshot, reset, last, signed(limits::TAIL_MESSAGES_MAX as u64), signed(limits::TAIL_BYTES_MAX as u64)]
}

/// Messages whose content was read apart, if any were.
pub(super) type Apart = BTreeMap<MessageId, Arc<Message>>;

pub(super) fn to_snapshot(rows: &[impl Fields], apart: &Apart) -> sqlx::Result<Option<Snapshot>> {
    let rows = in_order(rows)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let state = Arc::new(rows::chat(*first)?);
    let (messages, complete) = messages(&rows, apart)?;
    let tail = if first.flag("continues")? && complete {
        Tail::After(messages)
    } else {
        // The tail could not hold all messages that the reader lacks, so there is a gap before it.
        Tail::Newest { messages, from_start: complete }
    };
    Ok(Some(Snapshot { state, tail }))
}

/// The parameters of a page's statement after the chat.
pub(super) fn page_values(after: MessageId, until: Option<MessageId>, limit: usize) -> [i64; 4] {
    let until = until.map_or(i64::MAX, |until| signed(until.0));
    let limit = limit.clamp(1, limits::PAGE_MESSAGES_MAX);
    [signed(after.0), until, signed(limit as u64), signed(limits::PAGE_BYTES_MAX as u64)]
}

pub(super) fn to_page(rows: &[impl Fields], apart: &Apart) -> sqlx::Result<Option<Page>> {
    let rows = in_order(rows)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let (messages, complete) = messages(&rows, apart)?;
    Ok(Some(Page {
        messages,
        more: !complete,
        has_base: first.flag("anchored")?,
        reset_version: Version(first.number("reset_version")?),
        history_version: Version(first.number("history_version")?),
    }))
}

/// What is bound to a list's statement after the owner and the chat before which it begins.
pub(super) fn list_values(limit: usize) -> [i64; 2] {
    [signed(limit.max(1) as u64), signed(limits::LIST_BYTES_MAX as u64)]
}

/// `limit` of them were asked for.
pub(super) fn to_stale(rows: &[impl Fields], limit: usize) -> sqlx::Result<Stale> {
    let mut stale = Stale::default();
    for row in rows {
        let chat = rows::chat_id(row, "id")?;
        if row.number("stale")? == 1 {
            stale.chats.push(chat);
        }
        stale.next = Some(chat).filter(|_| rows.len() == limit);
    }
    Ok(stale)
}

pub(super) fn to_list(rows: &[impl Fields]) -> sqlx::Result<Listed> {
    let chats = rows.iter().map(rows::chat).collect::<sqlx::Result<Vec<_>>>()?;
    let found = rows.first().map_or(Ok(0), |row| row.number("found"))?;
    Ok(Listed { more: found > chats.len() as u64, chats })
}

pub(super) fn to_ids(rows: &[impl Fields]) -> sqlx::Result<Vec<MessageId>> {
    rows.iter().map(|row| Ok(MessageId(row.number("message_id")?))).collect()
}

pub(super) fn to_report(rows: &[impl Fields]) -> sqlx::Result<SyncReport> {
    let mut report = SyncReport { versions: vec![], runnable: vec![], soonest_expiry: None };
    for row in rows {
        match row.number("kind")? {
            0 => report.versions.push((rows::chat_id(row, "id")?, Version(row.number("value")?))),
            1 => report.runnable.push((rows::chat_id(row, "id")?, Status::Interrupting)),
            2 => report.runnable.push((rows::chat_id(row, "id")?, Status::Running)),
            _ => report.soonest_expiry = row.int("value")?.map(|ms| Duration::from_millis(unsigned(ms))),
        }
    }
    Ok(report)
}

/// The first has the chat's columns.
fn in_order<F: Fields>(rows: &[F]) -> sqlx::Result<Vec<&F>> {
    let places = rows.iter().map(|row| Ok((row.int("place")?.unwrap_or(1), row)));
    let mut placed = places.collect::<sqlx::Result<Vec<_>>>()?;
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, row)| row).collect())
}

/// The messages of rows, and whether they are all that were found.
fn messages<F: Fields>(rows: &[&F], apart: &Apart) -> sqlx::Result<(Vec<Arc<Message>>, bool)> {
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        match row.int("told")?.and_then(|id| apart.get(&MessageId(unsigned(id)))) {
            Some(message) => messages.push(message.clone()),
            None => messages.extend(rows::message(*row)?.map(Arc::new)),
        }
    }
    let found = rows.first().map_or(Ok(0), |row| row.number("found"))?;
    let complete = found == messages.len() as u64;
    Ok((messages, complete))
}
