//! Rows of many chats read by one statement, and changes of many chats written by one. A write names the version that it was made
//! of; what has moved on, or is locked by somebody else, is left out, so that no chat waits for another (B3). Such a statement
//! is a transaction of its own: all that it says it wrote is committed.

mod columns;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::TryStreamExt;
use mainstem_machine::ChatId;
use mainstem_runtime::ports::{
    Applied, BatchStore, CachedVersions, Fault, KnownRow, Request, Snapshot, Write,
};
use sqlx::postgres::PgRow;
use sqlx::query;
use sqlx::query::Query;

use super::connections::Use;
use super::{Tables, apart, now};
use crate::adapters::faults::{self, Sent, Tries, bounded};
use crate::adapters::reads::{self, Apart};
use crate::adapters::rows::{self, Fields};
use crate::adapters::transaction::millis;
use crate::config::Pooler;

const ROWS: &str = concat!(
    "SELECT ",
    rows::chat_columns!("::text"),
    ", c.lease_expires_at, ",
    now!(),
    " AS now FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, place) LEFT JOIN chats c ON c.id = asked.id \
     ORDER BY place"
);

/// What each of `$1` lacks who has what `$2` to `$4` say; `$5` and `$6` are a tail's bounds.
const SNAPSHOTS: &str = concat!(
    "SELECT asked.place AS asked_at, read.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) \
     WITH ORDINALITY AS asked (id, snapshot, reset, last, place) CROSS JOIN LATERAL (",
    reads::snapshot!("asked.id", "::text", "", "asked.snapshot", "asked.reset", "asked.last", "$5", "$6"),
    ") read ORDER BY asked.place"
);

#[async_trait]
impl BatchStore for Tables {
    async fn apply_locked(&self, request: &Request) -> Result<Applied, Fault> {
        let sent = Sent::default();
        let done = bounded(&sent, async {
            let mut tries = Tries::default();
            loop {
                match self.try_apply(request, &sent).await {
                    Ok(Some(applied)) => return Ok(applied),
                    Ok(None) if tries.again() => {}
                    Ok(None) => return Err(faults::no_way_through()),
                    Err(error) if !sent.is_set() && tries.again_after(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await;
        self.told(done)
    }

    async fn snapshot_alone(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        let rows = self.read(Use::Request, false, || {
            let query = query(reads::snapshot!("$1::uuid", "::text", "")).bind(chat.to_string());
            reads::cached_values(cached).into_iter().fold(query, Query::bind)
        });
        faults::readable(reads::to_snapshot(&rows.await?, &Apart::new()))
    }

    async fn snapshots(
        &self,
        asked: &[(ChatId, Option<CachedVersions>)],
    ) -> Vec<Result<Option<Snapshot>, Fault>> {
        let known = |at: usize| {
            let values = asked.iter().map(|(_, cached)| reads::cached_values(*cached)[at]);
            values.collect::<Vec<_>>()
        };
        let [.., count, bytes] = reads::cached_values(None);
        let rows = self.read(Use::Request, false, || {
            query(SNAPSHOTS)
                .bind(asked.iter().map(|(chat, _)| chat.to_string()).collect::<Vec<_>>())
                .bind(known(0))
                .bind(known(1))
                .bind(known(2))
                .bind(count)
                .bind(bytes)
        });
        match rows.await {
            Ok(rows) => {
                let mut found: BTreeMap<i64, &[PgRow]> = BTreeMap::new();
                let place = |row: &PgRow| row.int("asked_at").ok().flatten().unwrap_or_default();
                found.extend(rows.chunk_by(|a, b| place(a) == place(b)).map(|of| (place(&of[0]), of)));
                let read = |at: usize| {
                    reads::to_snapshot(found.get(&(at as i64 + 1)).unwrap_or(&&[][..]), &Apart::new())
                };
                (0..asked.len()).map(|at| faults::readable(read(at))).collect()
            }
            Err(fault) => vec![Err(fault); asked.len()],
        }
    }

    async fn rows(&self, chats: &[ChatId]) -> Vec<Result<KnownRow, Fault>> {
        let asked = || query(ROWS).bind(chats.iter().map(ToString::to_string).collect::<Vec<_>>());
        match self.read(Use::Request, false, asked).await {
            Ok(rows) => rows.iter().map(|row| faults::readable(known(row))).collect(),
            Err(fault) => chats.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    async fn write(&self, writes: &[Write]) -> Vec<Result<bool, Fault>> {
        let mut outcomes = vec![Ok(false); writes.len()];
        for is_new in [true, false] {
            let mut chats = BTreeSet::new();
            // Of two changes of one chat, both of the same version, one is too late.
            let places = (0..writes.len()).filter(|place| {
                let write = &writes[*place];
                write.of.is_none() == is_new && chats.insert(write.request.chat)
            });
            let places: Vec<_> = places.collect();
            if places.is_empty() {
                continue;
            }
            let first: Vec<_> = places.iter().map(|place| &writes[*place]).collect();
            let written = self.write_all(is_new, &first).await;
            for place in places {
                let chat = writes[place].request.chat;
                outcomes[place] = written.clone().map(|written| written.contains(&chat));
            }
        }
        outcomes
    }
}

impl Tables {
    /// The chats that were written. A server's error says that none was, but for those with which it went away.
    async fn write_all(&self, is_new: bool, writes: &[&Write]) -> Result<BTreeSet<ChatId>, Fault> {
        let (sent, is_undone) = (Sent::default(), Sent::default());
        let done = bounded(&sent, async {
            let mut connection = self.connections.get(Use::Request).await?;
            let query = written::bound(is_new, writes, millis(self.lease_ttl));
            sent.set();
            // What is told in a transaction is not committed yet.
            let mut told = usize::from(self.connections.pooler() == Pooler::Transaction);
            let rows = match self.connections.pooler() {
                Pooler::None => query.fetch(connection.get()).inspect_ok(|_| told += 1).try_collect().await,
                Pooler::Transaction => apart(query, connection.get()).await,
            };
            let rows: Result<Vec<_>, _> = connection.settle(rows);
            if rows.as_ref().is_err_and(|error| faults::is_undone(error, told == 0)) {
                is_undone.set();
            }
            rows?.iter().map(|row| rows::chat_id(row, "id")).collect()
        });
        let done = done.await.map_err(|fault| match fault {
            Fault::Unknown(why) if is_undone.is_set() => Fault::Refused(why),
            fault => fault,
        });
        self.told(done)
    }
}

fn known(row: &PgRow) -> sqlx::Result<KnownRow> {
    let rows::Locked { state, lease_expires_at, now } = rows::locked(row)?;
    Ok(KnownRow { state: state.map(Into::into), lease: Some(lease_expires_at), now })
}
