//! A database that is measured on, and what its server counts of it. Whoever looks has one connection, and looks seldom.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, query_as, query_scalar, raw_sql};

use crate::postgres::Postgres;

/// How long servers' connections may outlast their process.
const LEFT_ALONE_TIMEOUT: Duration = Duration::from_secs(10);
/// Until all turns have ended.
const TURNS_TIMEOUT: Duration = Duration::from_secs(900);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// So far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) wal_flushes: f64,
    pub(super) transactions: f64,
}

/// At one moment, by the server's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) unix_seconds: f64,
    pub(super) wal_bytes: f64,
    /// Chats whose turn goes on.
    pub(super) runnable: f64,
    /// Chats whose turn has ended.
    pub(super) waiting: f64,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) url: String,
    connection: PgConnection,
}

impl Database {
    pub(super) async fn fresh(postgres: &Postgres) -> anyhow::Result<Self> {
        let url = postgres.fresh_database()?;
        let connection = PgConnection::connect(&url).await?;
        Ok(Self { url, connection })
    }

    /// Removes it, so that nothing is done for it later.
    pub(super) async fn remove(self, postgres: &Postgres) -> anyhow::Result<()> {
        self.connection.close().await?;
        let name = self.url.rsplit('/').next().context("a URL has a last piece")?;
        postgres.sql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)"))?;
        Ok(())
    }

    /// As after a while: without what was left behind, with statistics, and right behind a checkpoint.
    pub(super) async fn tidied(&mut self) -> anyhow::Result<()> {
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            raw_sql(statement).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// What the server has counted once all others have left: a connection that stays tells its numbers late.
    pub(super) async fn counted_alone(&mut self) -> anyhow::Result<Counted> {
        const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                              AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let left = async {
            while query_scalar::<_, i64>(OTHERS).fetch_one(&mut self.connection).await? > 0 {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LEFT_ALONE_TIMEOUT, left).await.context("connections are left open")??;
        const COUNTED: &str = "SELECT (SELECT wal_sync FROM pg_stat_wal)::float8, (xact_commit + xact_rollback)::float8 \
                               FROM pg_stat_database WHERE datname = current_database()";
        let (wal_flushes, transactions) = query_as(COUNTED).fetch_one(&mut self.connection).await?;
        Ok(Counted { wal_flushes, transactions })
    }

    pub(super) async fn now(&mut self) -> anyhow::Result<Moment> {
        const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::float8, \
                           pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8, \
                           (count(*) FILTER (WHERE status IN ('running', 'interrupting')))::float8, \
                           (count(*) FILTER (WHERE status = 'waiting'))::float8 FROM chats";
        let (unix_seconds, wal_bytes, runnable, waiting) =
            query_as(NOW).fetch_one(&mut self.connection).await?;
        Ok(Moment { unix_seconds, wal_bytes, runnable, waiting })
    }

    /// Waits until no chat's turn goes on. It asks what an index answers.
    pub(super) async fn until_all_ended(&mut self) -> anyhow::Result<()> {
        const ANY: &str = "SELECT EXISTS (SELECT FROM chats WHERE status IN ('running', 'interrupting'))";
        let deadline = Instant::now() + TURNS_TIMEOUT;
        while query_scalar::<_, bool>(ANY).fetch_one(&mut self.connection).await? {
            ensure!(Instant::now() < deadline, "not all turns ended within {TURNS_TIMEOUT:?}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// When a chat was changed last, in seconds of Unix time.
    pub(super) async fn last_change(&mut self) -> anyhow::Result<f64> {
        const LAST: &str = "SELECT (max(updated_at) / 1000.0)::float8, \
                           (count(*) FILTER (WHERE status = 'waiting'))::float8 FROM chats";
        Ok(query_scalar(LAST).fetch_one(&mut self.connection).await?)
    }

    /// That so many chats are at rest, with what they were asked, and this answer.
    pub(super) async fn answered(&mut self, chats: usize, answer: &str) -> anyhow::Result<()> {
        const ANSWERED: &str = "SELECT count(*) FROM chats WHERE status = 'waiting' AND ARRAY['user', 'assistant'] = \
            (SELECT array_agg(role ORDER BY id) FROM messages WHERE chat_id = chats.id) AND (SELECT content FROM messages \
            WHERE chat_id = chats.id AND role = 'assistant') LIKE '%\"' || $1 || '\"%'";
        let answered: i64 = query_scalar(ANSWERED).bind(answer).fetch_one(&mut self.connection).await?;
        ensure!(
            answered == i64::try_from(chats)?,
            "{answered} of {chats} chats have their answer {answer:?}"
        );
        Ok(())
    }

    /// How many jobs of the yardstick are left, and where the server's log of changes ends.
    pub(super) async fn jobs(&mut self) -> anyhow::Result<(i64, f64)> {
        const JOBS: &str = "SELECT count(*), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 \
                            FROM graphile_worker.jobs";
        Ok(query_as(JOBS).fetch_one(&mut self.connection).await?)
    }
}
