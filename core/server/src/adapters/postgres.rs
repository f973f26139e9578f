//! PostgreSQL, for any number of replicas. A command is one transaction under its chat's row lock, a read is
//! one statement. What the database did not answer in time is given up, and the pool finds new connections
//! when it has come back.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use mainstem_machine::{ChatId, ChatState, Message, MessageId, ReplicaId, Role};
use mainstem_runtime::ports::{
    Applied, Fault, HeartbeatReport, Held, Known, Page, Receipt, ReplicaRow, Request, Snapshot, Store,
    SyncReport, SyncRequest,
};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Postgres, Row, Transaction, query};

use super::faults::{self, Sent, bounded, is_passing, leaves_connection};
use super::limits::{
    ACQUIRE_TIMEOUT, IDLE_UNTESTED_MAX, OPEN_TIMEOUT, PEER_LEASES, POSTGRES_CONNECTIONS_MAX,
    RECEIPT_RETENTION_MS, RECEIPTS_PURGED_MAX, REPLICA_RETENTION_MS, RETURN_TIMEOUT, STATEMENT_TIMEOUT,
    TRIES_MAX,
};
use super::rows::{self, Fields, bind_chat, signed};
use super::transaction::{self, End, Kept, Locked, Statements, Write, millis};
use super::{migrations, reads};

/// The oldest that is taken, as the server numbers its versions.
const VERSION_MIN: i32 = 120_000;

/// The database's clock, in milliseconds. It goes on within a transaction.
macro_rules! now {
    () => {
        "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)"
    };
}

#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    lease_ttl: Duration,
}

impl PostgresStore {
    /// Connects to the database that `postgres://…` names.
    pub async fn open(url: &str, lease_ttl: Duration) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|error| {
            anyhow::anyhow!("the database's URL is not postgres://USER@HOST/NAME as expected: {error}")
        })?;
        let options = options.application_name("mainstem").disable_statement_logging();
        let place = place(&options);
        // Migrations may take their time, so the first connection is without limits.
        let connecting = tokio::time::timeout(OPEN_TIMEOUT, options.connect());
        let mut first = match connecting.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => anyhow::bail!("cannot connect to PostgreSQL at {place}: {error}"),
            Err(_) => anyhow::bail!(
                "PostgreSQL at {place} did not answer within {OPEN_TIMEOUT:?}: is the address right, and does a \
                 firewall let it through?"
            ),
        };
        check(&mut first).await.with_context(|| format!("PostgreSQL at {place} cannot be used"))?;
        migrations::run(&mut first, migrations::POSTGRES).await.with_context(|| place.clone())?;
        first.close().await.ok();

        let limit = |duration: Duration| duration.as_millis().to_string();
        let options = options.options([
            ("statement_timeout", limit(STATEMENT_TIMEOUT)),
            ("idle_in_transaction_session_timeout", limit(STATEMENT_TIMEOUT)),
            ("default_transaction_isolation", "read committed".to_owned()),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, before| {
                Box::pin(async move {
                    if before.idle_for > IDLE_UNTESTED_MAX {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, lease_ttl })
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn connection(&self) -> sqlx::Result<Checkout> {
        Ok(Checkout { connection: Some(self.pool.acquire().await?), whole: false })
    }

    /// The rows of one statement, built anew for each try; one that writes is harmless to do twice.
    async fn rows<'q>(
        &self,
        writes: bool,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Fault> {
        let sent = Sent::default();
        bounded(&sent, async {
            for left in (0..TRIES_MAX).rev() {
                let mut connection = self.connection().await?;
                if writes {
                    sent.set();
                }
                let rows = statement().fetch_all(connection.get()).await;
                match connection.settle(rows) {
                    Err(error) if left > 0 && is_passing(&error) => {}
                    done => return done,
                }
            }
            Err(faults::no_way_through())
        })
        .await
    }

    async fn try_apply(&self, request: &Request, sent: &Sent) -> sqlx::Result<Option<Applied>> {
        let mut connection = self.connection().await?;
        let ended = transact(connection.get(), request, self.lease_ttl, sent).await;
        connection.settle(ended)
    }
}

/// Carries out a command's transaction; `None` if it has to be tried again.
async fn transact(
    connection: &mut PgConnection,
    request: &Request,
    lease_ttl: Duration,
    sent: &Sent,
) -> sqlx::Result<Option<Applied>> {
    let mut statements = PostgresStatements(connection.begin().await?);
    let end = transaction::apply(&mut statements, request, lease_ttl).await?;
    let PostgresStatements(tx) = statements;
    Ok(match end {
        End::Commit(applied) => {
            sent.set();
            tx.commit().await?;
            Some(applied)
        }
        // Dropping it rolls it back on the way to the pool, and nobody waits for that.
        End::RollBack(applied) => Some(applied),
        End::Again => None,
    })
}

/// Where the database is, without the password.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// Refuses a database that would fail later.
async fn check(connection: &mut PgConnection) -> anyhow::Result<()> {
    let row = query(
        "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS \
         version, current_setting('server_encoding') AS encoding, \
         current_setting('transaction_read_only')::bool AS read_only",
    )
    .fetch_one(connection)
    .await?;
    let version: String = row.try_get("version")?;
    let encoding: String = row.try_get("encoding")?;
    anyhow::ensure!(
        row.try_get::<i32, _>("number")? >= VERSION_MIN,
        "its version is {version}, and 12 is the oldest that has what is needed: update it"
    );
    anyhow::ensure!(
        encoding == "UTF8",
        "the database's encoding is {encoding}, and UTF8 is needed: create one with ENCODING 'UTF8'"
    );
    anyhow::ensure!(
        !row.try_get::<bool, _>("read_only")?,
        "it only lets read, like a standby does: give the primary's address"
    );
    Ok(())
}

/// A connection in use. Unless its last answer left it as it was, it is closed and not used again.
struct Checkout {
    connection: Option<PoolConnection<Postgres>>,
    whole: bool,
}

impl Checkout {
    fn get(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a checkout has its connection until it is dropped")
    }

    fn settle<T>(&mut self, done: sqlx::Result<T>) -> sqlx::Result<T> {
        self.whole = done.as_ref().map_or_else(leaves_connection, |_| true);
        done
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.whole {
            // The pool tests it first, and on a dead link it would do so for very long.
            tokio::spawn(tokio::time::timeout(RETURN_TIMEOUT, connection.return_to_pool()));
        } else {
            drop(connection.detach());
        }
    }
}

struct PostgresStatements<'c>(Transaction<'c, Postgres>);

impl Statements for PostgresStatements<'_> {
    async fn claim(&mut self, receipt: &Receipt) -> sqlx::Result<bool> {
        let done = query(concat!(
            "INSERT INTO receipts (caller, key, body, created_at) VALUES ($1, $2, $3, ",
            now!(),
            ") ON CONFLICT DO NOTHING"
        ))
        .bind(&*receipt.caller)
        .bind(&*receipt.key)
        .bind(&receipt.body[..])
        .execute(&mut *self.0)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn kept(&mut self, receipt: &Receipt) -> sqlx::Result<Option<Kept>> {
        let row =
            query(rows::KEPT).bind(&*receipt.caller).bind(&*receipt.key).fetch_optional(&mut *self.0).await?;
        row.as_ref().map(rows::kept).transpose()
    }

    async fn lock(&mut self, chat: ChatId) -> sqlx::Result<Locked> {
        let row = query(concat!(
            "SELECT ",
            rows::chat_columns!("::text"),
            ", c.lease_expires_at, ",
            now!(),
            " AS now FROM chats c WHERE c.id = $1::uuid FOR UPDATE"
        ))
        .bind(chat.to_string())
        .fetch_optional(&mut *self.0)
        .await?;
        match row {
            Some(row) => rows::locked(&row),
            None => {
                let row = query(concat!("SELECT ", now!(), " AS now")).fetch_one(&mut *self.0).await?;
                Ok(Locked { state: None, lease_expires_at: None, now: rows::time(&row, "now")? })
            }
        }
    }

    async fn role(&mut self, chat: ChatId, message: MessageId) -> sqlx::Result<Option<Role>> {
        let row = query("SELECT role FROM messages WHERE chat_id = $1::uuid AND id = $2")
            .bind(chat.to_string())
            .bind(signed(message.0))
            .fetch_optional(&mut *self.0)
            .await?;
        row.as_ref().map(rows::role).transpose()
    }

    async fn write(&mut self, write: Write<'_>) -> sqlx::Result<()> {
        let (caller, key, answer) = match &write.answer {
            Some((receipt, answer)) => (Some(&*receipt.caller), Some(&*receipt.key), Some(answer.as_str())),
            None => (None, None, None),
        };
        let Some(change) = write.change else {
            query("UPDATE receipts SET answer = $3 WHERE caller = $1 AND key = $2")
                .bind(caller)
                .bind(key)
                .bind(answer)
                .execute(&mut *self.0)
                .await?;
            return Ok(());
        };
        if change.deleted {
            query(DELETE)
                .bind(change.state.id.to_string())
                .bind(caller)
                .bind(key)
                .bind(answer)
                .execute(&mut *self.0)
                .await?;
            return Ok(());
        }
        let statement = if write.created { CREATE } else { UPDATE };
        let inserted = &change.inserted;
        let statement = bind_chat!(query(statement), &change.state, change.queue_changed || write.created)
            .bind(write.lease_expires_at.is_none())
            .bind(write.lease_expires_at.flatten().map(|at| at.0))
            .bind(caller)
            .bind(key)
            .bind(answer)
            .bind(change.cut_from.map(|from| signed(from.0)))
            .bind(column(inserted, |message| signed(message.id.0)))
            .bind(column(inserted, |message| signed(message.revision.0)))
            .bind(column(inserted, |message| message.role.as_str()))
            .bind(column(inserted, |message| message.content.as_json()))
            .bind(column(inserted, |message| message.interrupted))
            .bind(column(inserted, |message| message.episode.map(|of| signed(of.history_version.0))))
            .bind(column(inserted, |message| message.episode.map(|of| signed(of.attempt))))
            .bind(column(inserted, |message| message.queued_as.map(|id| signed(id.0))))
            .bind(column(inserted, |message| message.created_at.0));
        statement.execute(&mut *self.0).await?;
        Ok(())
    }
}

fn column<'a, T>(messages: &'a [Message], of: impl Fn(&'a Message) -> T) -> Vec<T> {
    messages.iter().map(of).collect()
}

/// What a command writes, in one statement: the answer, the cut, the messages, and the chat as `$chat` does.
macro_rules! write_all {
    ($chat:expr) => {
        concat!(
            "WITH answered AS (UPDATE receipts SET answer = $25 WHERE caller = $23 AND key = $24), \
             cut AS (DELETE FROM messages WHERE chat_id = $1::uuid AND id >= $26), \
             inserted AS (INSERT INTO messages (chat_id, id, revision, role, content, interrupted, \
             history_version, attempt, queued_as, created_at) \
             SELECT $1::uuid, * FROM unnest($27::bigint[], $28::bigint[], $29::text[], $30::text[], \
             $31::boolean[], $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[])) ",
            $chat
        )
    };
}

const CREATE: &str = write_all!(rows::insert_chat!("::uuid"));
const UPDATE: &str = write_all!(rows::update_chat!("::uuid"));
const DELETE: &str = "WITH answered AS (UPDATE receipts SET answer = $4 WHERE caller = $2 AND key = $3) \
                      DELETE FROM chats WHERE id = $1::uuid";

/// `$1` the replica, `$2` its address, `$3` and `$4` what it holds, `$5` the time a lease lasts, `$6` how long
/// a peer counts, `$7` and `$8` how long receipts and replicas are kept, `$9` how many receipts may go. What
/// another transaction holds is purged another time.
const HEARTBEAT: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    now!(),
    " AS now), \
     present AS (INSERT INTO replicas (id, address, seen_at) SELECT $1, $2, now FROM clock \
     ON CONFLICT (id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at), \
     renewed AS (UPDATE chats c SET lease_expires_at = (SELECT now FROM clock) + $5 \
     FROM unnest($3::uuid[], $4::bigint[]) AS held (id, lease) \
     WHERE c.id = held.id AND c.lease = held.lease AND c.worker = $1 RETURNING c.id, c.lease), \
     purged AS (DELETE FROM receipts r USING (SELECT caller, key FROM receipts \
     WHERE created_at < (SELECT now FROM clock) - $7 ORDER BY created_at LIMIT $9 FOR UPDATE SKIP LOCKED) old \
     WHERE r.caller = old.caller AND r.key = old.key), \
     forgotten AS (DELETE FROM replicas WHERE id IN (SELECT id FROM replicas \
     WHERE seen_at < (SELECT now FROM clock) - $8 AND id <> $1 FOR UPDATE SKIP LOCKED)) \
     SELECT CAST(0 AS bigint) AS kind, id::text AS id, lease, NULL AS address FROM renewed \
     UNION ALL SELECT 1, id, 0, address FROM replicas \
     WHERE id <> $1 AND seen_at >= (SELECT now FROM clock) - $6 ORDER BY 1, 2"
);

#[async_trait]
impl Store for PostgresStore {
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

    async fn snapshot(&self, chat: ChatId, known: Option<Known>) -> Result<Option<Snapshot>, Fault> {
        let rows = self.rows(false, || {
            let query = query(reads::snapshot!("$1::uuid", "::text")).bind(chat.to_string());
            reads::known_values(known).into_iter().fold(query, Query::bind)
        });
        faults::readable(reads::to_snapshot(&rows.await?))
    }

    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        let rows =
            self.rows(false, || query(reads::state!("$1::uuid", "::text")).bind(chat.to_string())).await?;
        faults::readable(rows.first().map(|row| rows::chat(row).map(Arc::new)).transpose())
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        let rows = self.rows(false, || {
            let query = query(reads::page!("$1::uuid")).bind(chat.to_string());
            reads::page_values(after, until, limit).into_iter().fold(query, Query::bind)
        });
        faults::readable(reads::to_page(&rows.await?))
    }

    async fn list(&self, owner: &str, before: Option<ChatId>, limit: usize) -> Result<Vec<ChatState>, Fault> {
        const LIST: &str =
            reads::list!("coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)", "::text");
        let rows = self.rows(false, || {
            query(LIST).bind(owner).bind(before.map(|chat| chat.to_string())).bind(signed(limit as u64))
        });
        faults::readable(rows.await?.iter().map(rows::chat).collect())
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        let ttl = signed(millis(self.lease_ttl));
        let rows = self.rows(true, || {
            query(HEARTBEAT)
                .bind(replica.replica.as_str())
                .bind(&replica.address)
                .bind(held.iter().map(|held| held.chat.to_string()).collect::<Vec<_>>())
                .bind(held.iter().map(|held| signed(held.lease.0)).collect::<Vec<_>>())
                .bind(ttl)
                .bind(ttl.saturating_mul(PEER_LEASES))
                .bind(RECEIPT_RETENTION_MS)
                .bind(REPLICA_RETENTION_MS)
                .bind(RECEIPTS_PURGED_MAX)
        });
        faults::readable(to_heartbeat(&rows.await?))
    }

    async fn farewell(&self, replica: &ReplicaId) -> Result<(), Fault> {
        self.rows(true, || query(rows::FAREWELL).bind(replica.as_str())).await.map(drop)
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        const SYNC: &str = reads::sync!("id = ANY($1::uuid[])", now!(), "::text");
        let rows = self.rows(false, || {
            query(SYNC)
                .bind(request.chats.iter().map(ToString::to_string).collect::<Vec<_>>())
                .bind(signed(request.runnable_max as u64))
        });
        faults::readable(reads::to_report(&rows.await?))
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        let kept = self.rows(true, || query(rows::SECRET).bind(fresh)).await?;
        faults::readable(kept.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get("value")))
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.rows(false, || query("SELECT 1")).await.map(drop)
    }
}

fn to_heartbeat(rows: &[PgRow]) -> sqlx::Result<HeartbeatReport> {
    let mut report = HeartbeatReport { confirmed: vec![], peers: vec![] };
    for row in rows {
        match row.number("kind")? {
            0 => report.confirmed.push(rows::held(row)?),
            _ => report.peers.push(rows::peer(row)?),
        }
    }
    Ok(report)
}
