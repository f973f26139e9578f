//! One SQLite file, for one replica. All writes use one connection, one at a time, and are durable when they
//! return. Reads use other connections. A second process on the same file is refused.

mod contents;
mod examination;
mod layout;
mod lock;
mod statements;

use std::fs::File;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use mainstem_machine::{ChatId, ChatState, MessageId, Turn};
use mainstem_runtime::ports::{
    Applied, CachedVersions, Fault, HeartbeatReport, Held, Listed, Listing, Page, ReplicaRow, Request,
    Snapshot, Stale, Store, SyncReport, SyncRequest, Ticket,
};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, Sqlite, query};
use tokio::sync::{Mutex, MutexGuard};

use super::faults::{self, Sent, bounded, is_passing};
use super::migrations;
use super::reads::{self, Apart};
use super::rows::{self, json, signed};
use super::transaction::{self, End, millis};
use crate::limits::adapters::{
    ACQUIRE_TIMEOUT, IDEMPOTENCY_RECORDS_PURGED_MAX, IDEMPOTENCY_RETENTION_MS, PEER_LEASES,
    REPLICA_RETENTION_MS, SQLITE_READERS_MAX, STATEMENT_TIMEOUT, TICKETS_SWEPT_MAX, TRIES_MAX,
};
use contents::Contents;
use statements::SqliteStatements;

/// The database's clock, in milliseconds.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}

use now;

pub use examination::{SqliteExamination, examine};

#[derive(Debug)]
pub struct SqliteStore {
    options: SqliteConnectOptions,
    /// `None` after a call failed or was dropped in the middle: the next call opens a new connection.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    contents: Contents,
    lease_ttl: Duration,
    /// Held as long as the store exists; the system releases it when the process dies.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file that `sqlite:FILE` names, and creates it if necessary.
    pub async fn open(url: &str, lease_ttl: Duration) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .with_context(|| format!("{url:?} does not name a SQLite file: expected sqlite:FILE"))?;
        let path = options.get_filename().to_owned();
        anyhow::ensure!(
            !url.contains(":memory:") && !url.contains("mode=memory"),
            "a database in memory would forget every chat: give a file, as in sqlite:mainstem.db"
        );
        let lock = lock::lock(&path)?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(STATEMENT_TIMEOUT)
            .disable_statement_logging();
        let unusable = || format!("cannot use {} as a SQLite database", path.display());
        let mut writer = options.connect().await.with_context(unusable)?;
        migrations::run(&mut writer, migrations::SQLITE).await.with_context(unusable)?;
        layout::move_messages_out_of_key(&mut writer).await.with_context(unusable)?;
        // We have the lock, so whoever had a name here is gone.
        query("DELETE FROM replicas").execute(&mut writer).await.with_context(unusable)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        Ok(Self {
            options,
            writer: Mutex::new(Some(writer)),
            readers,
            contents: Contents::default(),
            lease_ttl,
            _lock: lock,
        })
    }

    async fn read(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<SqliteRow>, Fault> {
        bounded(&Sent::default(), query.fetch_all(&self.readers)).await
    }

    /// A read of messages. Large ones are read apart, and shared by all that want them at the same time.
    async fn read_messages<T>(
        &self,
        chat: ChatId,
        statement: impl Fn() -> Query<'static, Sqlite, SqliteArguments>,
        to: impl Fn(&[SqliteRow], &Apart) -> sqlx::Result<T>,
    ) -> Result<T, Fault> {
        for _ in 0..TRIES_MAX {
            let rows = self.read(statement()).await?;
            let (mut apart, mut all) = (Apart::new(), true);
            for id in faults::readable(contents::large(&rows))? {
                let message = self.contents.get((chat, id), async || {
                    let query = query(contents::MESSAGE).bind(chat.to_string()).bind(signed(id.0));
                    let rows = self.read(query).await?;
                    faults::readable(rows.first().map(rows::message).transpose().map(Option::flatten))
                });
                match message.await? {
                    Some(message) => drop(apart.insert(id, message)),
                    None => all = false,
                }
            }
            // One that was cut off in between was not to be told: the next view is without it.
            if all {
                return faults::readable(to(&rows, &apart));
            }
        }
        Err(Fault::Refused(faults::no_way_through().to_string()))
    }

    /// The connection that writes, when its turn has come.
    async fn writer(&self) -> sqlx::Result<Writer<'_>> {
        let mut slot = self.writer.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Writer { slot, connection })
    }

    /// Executes one statement that writes.
    async fn write(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<SqliteRow>, Fault> {
        let sent = Sent::default();
        bounded(&sent, async {
            let mut writer = self.writer().await?;
            sent.set();
            let rows = query.fetch_all(&mut writer.connection).await?;
            writer.give_back();
            Ok(rows)
        })
        .await
    }

    async fn try_apply(&self, request: &Request, sent: &Sent) -> sqlx::Result<Option<Applied>> {
        let mut writer = self.writer().await?;
        let applied = transact(&mut writer.connection, request, self.lease_ttl, sent).await?;
        writer.give_back();
        Ok(applied)
    }

    async fn try_heartbeat(
        &self,
        replica: &ReplicaRow,
        held: &[Held],
        sent: &Sent,
    ) -> sqlx::Result<HeartbeatReport> {
        let id = replica.replica.as_str();
        let ttl = signed(millis(self.lease_ttl));
        let held: Vec<_> = held.iter().map(|held| (held.chat, held.lease)).collect();
        let mut writer = self.writer().await?;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let now: i64 = query(concat!("SELECT ", now!())).fetch_one(&mut *tx).await?.try_get(0)?;
        let claimed = query(
            "INSERT INTO replicas AS r (id, address, seen_at, incarnation) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at, \
             incarnation = excluded.incarnation \
             WHERE r.incarnation = excluded.incarnation OR r.seen_at < excluded.seen_at - $5",
        )
        .bind(id)
        .bind(&replica.address)
        .bind(now)
        .bind(rows::incarnation(replica))
        .bind(ttl)
        .execute(&mut *tx)
        .await?;
        if claimed.rows_affected() == 0 {
            let holder = query("SELECT $2 - seen_at AS lease, address FROM replicas WHERE id = $1");
            let holder = holder.bind(id).bind(now).fetch_one(&mut *tx).await?;
            let rival = Some(rows::rival(&holder)?);
            tx.rollback().await?;
            writer.give_back();
            return Ok(HeartbeatReport { confirmed: vec![], peers: vec![], rival });
        }
        let confirmed = query(
            "UPDATE chats SET lease_expires_at = $1 WHERE worker = $2 AND (id, lease) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each($3)) RETURNING id, lease",
        )
        .bind(now.saturating_add(ttl))
        .bind(id)
        .bind(json(&held))
        .fetch_all(&mut *tx)
        .await?;
        query("DELETE FROM replicas WHERE seen_at < $1")
            .bind(now - REPLICA_RETENTION_MS)
            .execute(&mut *tx)
            .await?;
        query(
            "DELETE FROM receipts WHERE (caller, key) IN \
             (SELECT caller, key FROM receipts WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
        )
        .bind(now - IDEMPOTENCY_RETENTION_MS)
        .bind(IDEMPOTENCY_RECORDS_PURGED_MAX)
        .execute(&mut *tx)
        .await?;
        let peers = query(
            "SELECT id, address FROM replicas WHERE id <> $1 AND address <> '' AND seen_at >= $2 ORDER BY id",
        )
        .bind(id)
        .bind(now.saturating_sub(ttl.saturating_mul(PEER_LEASES)))
        .fetch_all(&mut *tx)
        .await?;
        sent.set();
        tx.commit().await?;
        writer.give_back();
        Ok(HeartbeatReport {
            confirmed: confirmed.iter().map(rows::held).collect::<sqlx::Result<_>>()?,
            peers: peers.iter().map(rows::peer).collect::<sqlx::Result<_>>()?,
            rival: None,
        })
    }
}

/// The writing connection, in use. Dropping it without returning the connection closes it.
struct Writer<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
}

impl Writer<'_> {
    fn give_back(mut self) {
        *self.slot = Some(self.connection);
    }
}

/// Runs a command's transaction. `None` if it has to be retried.
async fn transact(
    connection: &mut SqliteConnection,
    request: &Request,
    lease_ttl: Duration,
    sent: &Sent,
) -> sqlx::Result<Option<Applied>> {
    let mut statements = SqliteStatements(connection.begin_with("BEGIN IMMEDIATE").await?);
    let end = transaction::apply(&mut statements, request, lease_ttl).await?;
    let SqliteStatements(tx) = statements;
    Ok(match end {
        End::Commit(applied) => {
            sent.set();
            tx.commit().await?;
            Some(applied)
        }
        End::RollBack(applied) => {
            tx.rollback().await?;
            Some(applied)
        }
        End::Again => {
            tx.rollback().await?;
            None
        }
    })
}

#[async_trait]
impl Store for SqliteStore {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        let sent = Sent::default();
        bounded(&sent, async {
            for left in (0..TRIES_MAX).rev() {
                match self.try_apply(request, &sent).await {
                    Ok(Some(applied)) => return Ok(applied),
                    Ok(None) => {}
                    Err(error) if sent.is_set() || left == 0 || !is_passing(&error) => return Err(error),
                    Err(_) => {}
                }
            }
            Err(faults::no_way_through())
        })
        .await
    }

    async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        self.read_messages(
            chat,
            || {
                let query = query(reads::snapshot!("$1", "", contents::small!())).bind(chat.to_string());
                reads::cached_values(cached).into_iter().fold(query, Query::bind)
            },
            reads::to_snapshot,
        )
        .await
    }

    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        let rows = self.read(query(reads::state!("$1", "")).bind(chat.to_string())).await?;
        faults::readable(rows.first().map(|row| rows::chat(row).map(Arc::new)).transpose())
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        self.read_messages(
            chat,
            || {
                let query = query(reads::page!("$1", contents::small!())).bind(chat.to_string());
                reads::page_values(after, until, limit).into_iter().fold(query, Query::bind)
            },
            reads::to_page,
        )
        .await
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        let query = query(reads::turn!("$1")).bind(chat.to_string()).bind(signed(turn.0));
        faults::readable(self.read(query).await?.first().map(rows::turn).transpose())
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        let query = query(reads::message_ids!("$1")).bind(chat.to_string());
        let rows = self.read(query.bind(signed(first.0)).bind(signed(last.0))).await?;
        faults::readable(reads::to_ids(&rows))
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        // After the last id, as text, there is only what begins with something above its digits.
        let statement = match listing {
            Listing::Own => reads::list!(owned, "coalesce($2, 'g')", ""),
            Listing::Shared => reads::list!(shared, "coalesce($2, 'g')", ""),
        };
        let query = query(statement).bind(user.to_owned()).bind(before.map(|chat| chat.to_string()));
        let query = reads::list_values(limit).into_iter().fold(query, Query::bind);
        faults::readable(reads::to_list(&self.read(query).await?))
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        let query = query(reads::stale!("coalesce($1, '')", now!(), ""))
            .bind(after.map(|chat| chat.to_string()))
            .bind(signed(millis(idle_for)))
            .bind(signed(limit as u64));
        faults::readable(reads::to_stale(&self.read(query).await?, limit))
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        let query = query(rows::named_chat!("")).bind(owner.to_owned()).bind(external_id.to_owned());
        let named = self.read(query).await?;
        faults::readable(named.first().map(|row| rows::chat_id(row, "id")).transpose())
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        let sent = Sent::default();
        bounded(&sent, self.try_heartbeat(replica, held, &sent)).await
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        let query = query(rows::DEREGISTER).bind(replica.replica.as_str().to_owned());
        self.write(query.bind(rows::incarnation(replica))).await.map(drop)
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        let query = query(reads::sync!("id IN (SELECT value FROM json_each($1))", now!(), ""))
            .bind(json(&request.chats))
            .bind(signed(request.runnable_max as u64));
        faults::readable(reads::to_report(&self.read(query).await?))
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        let kept = self.write(query(rows::SECRET).bind(fresh.to_vec())).await?;
        faults::readable(kept.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get("value")))
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        self.write(query(rows::sweep_tickets!(now!(), "")).bind(TICKETS_SWEPT_MAX)).await?;
        let keeping = query(rows::keep_ticket!(now!()))
            .bind(ticket.digest.to_vec())
            .bind((*ticket.owner).to_owned())
            .bind((*ticket.body).to_owned())
            .bind(signed(millis(ticket.lifetime)))
            .bind(signed(ticket.owned_max as u64));
        Ok(!self.write(keeping).await?.is_empty())
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        let taken = self.write(query(rows::take_ticket!(now!())).bind(digest.to_vec())).await?;
        faults::readable(taken.first().map(rows::ticket).transpose().map(Option::flatten))
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.read(query("SELECT 1")).await.map(drop)
    }
}
