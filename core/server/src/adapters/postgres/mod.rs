//! PostgreSQL, for any number of replicas. A command is one transaction under its chat's row lock, and a read
//! is one statement. Calls that are not answered in time are aborted, and the pool reconnects when the
//! database is back.

mod batches;
mod connections;
mod examination;
mod shared_sessions;
mod statements;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::{ChatId, ChatState, MessageId, Turn};
use mainstem_runtime::Batching;
use mainstem_runtime::ports::{
    Applied, CachedVersions, Fault, HeartbeatReport, Held, Listed, Listing, Page, ReplicaRow, Request, Rival,
    Snapshot, Stale, Store, SyncReport, SyncRequest, Ticket,
};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, Postgres, Row, query};

use super::faults::{self, Sent, Tries, bounded};
use super::reads::{self, Apart};
use super::rows::{self, Fields, signed};
use super::transaction::{self, End, millis};
use crate::config::Pooler;
use crate::limits::adapters::{
    ACQUIRE_TIMEOUT, IDEMPOTENCY_RECORDS_PURGED_MAX, IDEMPOTENCY_RETENTION_MS, PEER_LEASES, RENEW_TIMEOUT,
    REPLICA_RETENTION_MS, TICKETS_SWEPT_MAX,
};
use crate::tokio_env::TokioEnv;
pub use connections::Connecting;
use connections::{Connections, Use};
pub use examination::{
    Examination, Heard, KeptSecret, ServerConnections, Unexamined, examine, notify_oneself, place,
};
use statements::PostgresStatements;

/// The database's clock, in milliseconds. It goes on within a transaction.
macro_rules! now {
    () => {
        "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)"
    };
}

use now;

/// The database, with commands gathered on their way to it.
#[derive(Debug)]
pub struct PostgresStore {
    tables: Arc<Tables>,
    batching: Batching<TokioEnv>,
}

/// The database, as its statements see it.
#[derive(Debug)]
struct Tables {
    connections: Connections,
    lease_ttl: Duration,
}

impl PostgresStore {
    /// Connects to the database that `postgres://…` names. Requests have a number of connections; leases and
    /// notifications have their own.
    pub async fn open(url: &str, lease_ttl: Duration, connecting: Connecting) -> anyhow::Result<Self> {
        let tables = Arc::new(Tables { connections: Connections::open(url, connecting).await?, lease_ttl });
        let batching = Batching::new(TokioEnv::new(), tables.clone());
        Ok(Self { tables, batching })
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.tables.connections
    }
}

impl Tables {
    /// What a call came to; one that found every connection in use says so.
    fn told<T>(&self, done: Result<T, Fault>) -> Result<T, Fault> {
        match done {
            Err(Fault::Refused(error)) if error == faults::pool_timed_out() && self.connections.is_full() => {
                Err(Fault::Full(format!("no connection was free within {ACQUIRE_TIMEOUT:?}")))
            }
            done => done,
        }
    }

    /// Runs one statement, which is built anew for each try. A statement that writes must be idempotent.
    async fn read<'q>(
        &self,
        purpose: Use,
        writes: bool,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Fault> {
        let sent = Sent::default();
        let done = bounded(&sent, async {
            let mut tries = Tries::default();
            loop {
                let mut connection = self.connections.get(purpose).await?;
                if writes {
                    sent.set();
                }
                let rows = match self.connections.pooler() {
                    Pooler::None => statement().fetch_all(connection.get()).await,
                    Pooler::Transaction => apart(statement(), connection.get()).await,
                };
                match connection.settle(rows) {
                    Err(error) if tries.again_after(&error) => {}
                    done => return done,
                }
            }
        })
        .await;
        self.told(done)
    }

    async fn try_apply(&self, request: &Request, sent: &Sent) -> sqlx::Result<Option<Applied>> {
        let mut connection = self.connections.get(Use::Request).await?;
        let pooler = self.connections.pooler();
        let ended = transact(connection.get(), pooler, request, self.lease_ttl, sent).await;
        connection.settle(ended)
    }
}

/// Runs a command's transaction. `None` if it has to be retried.
async fn transact(
    connection: &mut PgConnection,
    pooler: Pooler,
    request: &Request,
    lease_ttl: Duration,
    sent: &Sent,
) -> sqlx::Result<Option<Applied>> {
    let mut statements = match pooler {
        Pooler::None => PostgresStatements { tx: connection.begin().await?, are_kept: true },
        Pooler::Transaction => {
            let tx = connection.begin_with(shared_sessions::BEGIN).await?;
            PostgresStatements { tx, are_kept: false }
        }
    };
    let end = match transaction::apply(&mut statements, request, lease_ttl).await {
        // Another transaction has just created the chat of that name: it is found the next time (S12).
        Err(error) if is_name_taken(&error) => End::Again,
        end => end?,
    };
    let tx = statements.tx;
    Ok(match end {
        End::Commit(applied) => {
            sent.set();
            tx.commit().await?;
            Some(applied)
        }
        // Dropping it rolls it back when the connection returns to the pool; nothing waits for that.
        End::RollBack(applied) => Some(applied),
        End::Again => None,
    })
}

/// Runs one statement in a transaction of its own.
async fn apart<'q>(
    statement: Query<'q, Postgres, PgArguments>,
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<PgRow>> {
    let mut tx = connection.begin_with(shared_sessions::BEGIN).await?;
    let rows = statement.persistent(false).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

fn is_name_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.constraint() == Some("chats_by_external_id"))
}

/// The leases of `$1` that `$2` and `$3` name, renewed for `$4`. `$mine` says whether the
/// name is this process's, `$wait` what to do about a row that another transaction has locked.
macro_rules! renewal {
    ($mine:literal, $wait:literal) => {
        concat!(
            "renewed AS (UPDATE chats SET lease_expires_at = (SELECT now FROM clock) + $4 WHERE id IN \
             (SELECT c.id FROM chats c JOIN unnest($2::uuid[], $3::bigint[]) AS held (id, lease) \
             ON c.id = held.id AND c.lease = held.lease WHERE c.worker = $1 AND ",
            $mine,
            " ORDER BY c.id FOR UPDATE OF c ",
            $wait,
            ") RETURNING id, lease)"
        )
    };
}

/// After a renewal's: `$5` the replica's address, `$6` how long a peer counts, `$7` and `$8` how long receipts
/// and replicas are kept, `$9` how many receipts may go, `$10`
/// the process. The name is claimed first: another's leases are not renewed. What another transaction holds is left for now.
const HEARTBEAT: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    now!(),
    " AS now), ",
    "present AS (INSERT INTO replicas AS r (id, address, seen_at, incarnation) \
     SELECT $1, $5, now, $10 FROM clock ON CONFLICT (id) DO UPDATE SET address = excluded.address, \
     seen_at = excluded.seen_at, incarnation = excluded.incarnation \
     WHERE r.incarnation = excluded.incarnation OR r.seen_at < excluded.seen_at - $4 RETURNING 1), ",
    renewal!("EXISTS (SELECT 1 FROM present)", "SKIP LOCKED"),
    ", purged AS (DELETE FROM receipts r USING (SELECT caller, key FROM receipts \
     WHERE created_at < (SELECT now FROM clock) - $7 ORDER BY created_at LIMIT $9 FOR UPDATE SKIP LOCKED) old \
     WHERE r.caller = old.caller AND r.key = old.key), \
     forgotten AS (DELETE FROM replicas WHERE id IN (SELECT id FROM replicas \
     WHERE seen_at < (SELECT now FROM clock) - $8 AND id <> $1 FOR UPDATE SKIP LOCKED)) \
     SELECT CAST(0 AS bigint) AS kind, id::text AS id, lease, NULL AS address FROM renewed \
     UNION ALL SELECT 1, id, 0, address FROM replicas \
     WHERE id <> $1 AND address <> '' AND seen_at >= (SELECT now FROM clock) - $6 \
     UNION ALL SELECT 2, id, (SELECT now FROM clock) - seen_at, address FROM replicas WHERE id = $1 \
     UNION ALL SELECT 3, $1, 0, NULL FROM present ORDER BY 1, 2"
);

/// Renews the leases whose rows a heartbeat found locked, waiting for the locks.
const RENEW: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    now!(),
    " AS now), ",
    renewal!("EXISTS (SELECT 1 FROM replicas WHERE id = $1 AND incarnation = $5)", ""),
    " SELECT CAST(0 AS bigint) AS kind, id::text AS id, lease FROM renewed"
);

#[async_trait]
impl Store for PostgresStore {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        self.batching.apply(request, None).await
    }

    async fn apply_knowing(&self, request: &Request, known: Arc<ChatState>) -> Result<Applied, Fault> {
        self.batching.apply(request, Some(known)).await
    }

    async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        self.batching.snapshot(chat, cached).await
    }

    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        let rows = self
            .tables
            .read(Use::Request, false, || query(reads::state!("$1::uuid", "::text")).bind(chat.to_string()))
            .await?;
        faults::readable(rows.first().map(|row| rows::chat(row).map(Arc::new)).transpose())
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        let rows = self.tables.read(Use::Request, false, || {
            let query = query(reads::page!("$1::uuid", "")).bind(chat.to_string());
            reads::page_values(after, until, limit).into_iter().fold(query, Query::bind)
        });
        faults::readable(reads::to_page(&rows.await?, &Apart::new()))
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        let rows = self.tables.read(Use::Request, false, || {
            query(reads::turn!("$1::uuid")).bind(chat.to_string()).bind(signed(turn.0))
        });
        faults::readable(rows.await?.first().map(rows::turn).transpose())
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        let rows = self.tables.read(Use::Request, false, || {
            let query = query(reads::message_ids!("$1::uuid")).bind(chat.to_string());
            query.bind(signed(first.0)).bind(signed(last.0))
        });
        faults::readable(reads::to_ids(&rows.await?))
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        let statement = match listing {
            Listing::Own => reads::list!(
                owned,
                "coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)",
                "::text"
            ),
            Listing::Shared => reads::list!(
                shared,
                "coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)",
                "::text"
            ),
        };
        let rows = self.tables.read(Use::Request, false, || {
            let query = query(statement).bind(user).bind(before.map(|chat| chat.to_string()));
            reads::list_values(limit).into_iter().fold(query, Query::bind)
        });
        faults::readable(reads::to_list(&rows.await?))
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        let rows = self.tables.read(Use::Request, false, || {
            query(reads::stale!(
                "coalesce($1::uuid, '00000000-0000-0000-0000-000000000000'::uuid)",
                now!(),
                "::text"
            ))
            .bind(after.map(|chat| chat.to_string()))
            .bind(signed(millis(idle_for)))
            .bind(signed(limit as u64))
        });
        faults::readable(reads::to_stale(&rows.await?, limit))
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        let rows = self
            .tables
            .read(Use::Request, false, || query(rows::named_chat!("::text")).bind(owner).bind(external_id));
        faults::readable(rows.await?.first().map(|row| rows::chat_id(row, "id")).transpose())
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        let ttl = signed(millis(self.tables.lease_ttl));
        let renewal = |statement: &'static str, held: &[Held]| {
            query(statement)
                .bind(replica.replica.as_str())
                .bind(held.iter().map(|held| held.chat.to_string()).collect::<Vec<_>>())
                .bind(held.iter().map(|held| signed(held.lease.0)).collect::<Vec<_>>())
                .bind(ttl)
        };
        let rows = self.tables.read(Use::Lease, true, || {
            renewal(HEARTBEAT, held)
                .bind(&replica.address)
                .bind(ttl.saturating_mul(PEER_LEASES))
                .bind(IDEMPOTENCY_RETENTION_MS)
                .bind(REPLICA_RETENTION_MS)
                .bind(IDEMPOTENCY_RECORDS_PURGED_MAX)
                .bind(rows::incarnation(replica))
        });
        let mut report = faults::readable(to_heartbeat(&rows.await?))?;
        let confirmed: BTreeSet<_> = report.confirmed.iter().copied().collect();
        let left: Vec<_> = held.iter().copied().filter(|held| !confirmed.contains(held)).collect();
        if !left.is_empty() && report.rival.is_none() {
            // Lost, or locked just now. One chat that stays locked must not cost the others their leases (B3).
            let wait = (self.tables.lease_ttl / 4).min(RENEW_TIMEOUT);
            let renewed = tokio::time::timeout(
                wait,
                self.tables.read(Use::Lease, true, || renewal(RENEW, &left).bind(rows::incarnation(replica))),
            )
            .await;
            if let Ok(Ok(rows)) = renewed {
                report.confirmed.extend(faults::readable(to_renewed(&rows))?);
            }
        }
        Ok(report)
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        self.tables
            .read(Use::Lease, true, || {
                query(rows::DEREGISTER).bind(replica.replica.as_str()).bind(rows::incarnation(replica))
            })
            .await
            .map(drop)
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        const SYNC: &str = reads::sync!("id = ANY($1::uuid[])", now!(), "::text");
        let rows = self.tables.read(Use::Request, false, || {
            query(SYNC)
                .bind(request.chats.iter().map(ToString::to_string).collect::<Vec<_>>())
                .bind(signed(request.runnable_max as u64))
        });
        faults::readable(reads::to_report(&rows.await?))
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        let kept = self.tables.read(Use::Request, true, || query(rows::SECRET).bind(fresh)).await?;
        faults::readable(kept.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get("value")))
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        let sweeping =
            || query(rows::sweep_tickets!(now!(), "FOR UPDATE SKIP LOCKED")).bind(TICKETS_SWEPT_MAX);
        self.tables.read(Use::Request, true, sweeping).await?;
        let kept = self.tables.read(Use::Request, true, || {
            query(rows::keep_ticket!(now!()))
                .bind(&ticket.digest[..])
                .bind(&*ticket.owner)
                .bind(&*ticket.body)
                .bind(signed(millis(ticket.lifetime)))
                .bind(signed(ticket.owned_max as u64))
        });
        Ok(!kept.await?.is_empty())
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        let taken =
            self.tables.read(Use::Request, true, || query(rows::take_ticket!(now!())).bind(&digest[..]));
        faults::readable(taken.await?.first().map(rows::ticket).transpose().map(Option::flatten))
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.tables.read(Use::Request, false, || query("SELECT 1")).await.map(drop)
    }
}

fn to_heartbeat(rows: &[PgRow]) -> sqlx::Result<HeartbeatReport> {
    // Two that begin at once may not see each other's row.
    let unseen = || Rival { address: String::new(), silent_for: Duration::ZERO };
    let (mut confirmed, mut peers, mut holder, mut ours) = (vec![], vec![], None, false);
    for row in rows {
        match row.number("kind")? {
            0 => confirmed.push(rows::held(row)?),
            1 => peers.push(rows::peer(row)?),
            2 => holder = Some(rows::rival(row)?),
            _ => ours = true,
        }
    }
    let rival = (!ours).then(|| holder.unwrap_or_else(unseen));
    Ok(HeartbeatReport { confirmed, peers, rival })
}

fn to_renewed(rows: &[PgRow]) -> sqlx::Result<Vec<Held>> {
    rows.iter().map(rows::held).collect()
}
