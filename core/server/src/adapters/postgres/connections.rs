//! Connections to PostgreSQL: what the server must be, how a session is set up, and which connections may be
//! used again. Heartbeats have connections of their own, so that requests cannot make a lease run out (B3, S5).

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, Postgres, Row, query, raw_sql};
use tokio::sync::watch;

use super::shared_sessions::{self, MigrateAtOnce};
use crate::adapters::faults::{is_read_only, leaves_connection};
use crate::adapters::migrations;
use crate::config::Pooler;
use crate::limits::adapters::{
    ACQUIRE_TIMEOUT, IDLE_UNTESTED_MAX, LEASE_CONNECTIONS, LISTEN_CONNECTIONS, OPEN_TIMEOUT,
    READ_ONLY_RECONNECT_INTERVAL, RETURN_TIMEOUT, SESSION_CHECKS,
};

/// The oldest that is taken, as the server numbers its versions.
pub(super) const OLDEST_VERSION: i32 = 120_000;

/// Set by statements and not at startup: a pooler in between refuses startup parameters that it does not know.
/// The times are those of [`STATEMENT_TIMEOUT`](crate::limits::adapters::STATEMENT_TIMEOUT).
pub(super) const SESSION: &str = "SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '5s'; \
                       SET default_transaction_isolation = 'read committed'";

/// The same for the connection that migrates, which may take its time otherwise. The time is that of
/// [`MIGRATE_LOCK_TIMEOUT`](crate::limits::adapters::MIGRATE_LOCK_TIMEOUT).
const MIGRATING: &str = "SET lock_timeout = '1s'";

/// Whose turn it is to wait for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Reads and commands.
    Request,
    /// Renewing leases and membership.
    Lease,
}

#[derive(Debug)]
pub(in crate::adapters) struct Connections {
    requests: PgPool,
    leases: PgPool,
    outdated: Arc<Outdated>,
    pooler: Pooler,
}

/// How a database is connected.
#[derive(Clone, Copy, Debug)]
pub struct Connecting {
    /// Connections that requests may use.
    pub requests: u32,
    /// Whether there is one more that listens.
    pub listens: bool,
    pub pooler: Pooler,
}

impl Connections {
    /// Connects to the database that `postgres://…` names, and brings its schema up to date.
    pub(super) async fn open(url: &str, connecting: Connecting) -> anyhow::Result<Self> {
        let Connecting { requests: requests_max, listens, pooler } = connecting;
        let options = options(url)?;
        let place = place(&options);
        // Migrations may take their time, so the first connection is without limits.
        let connecting = tokio::time::timeout(OPEN_TIMEOUT, options.connect());
        let mut first = match connecting.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => anyhow::bail!("cannot connect to PostgreSQL at {place}: {error}"),
            Err(_) => anyhow::bail!("PostgreSQL at {place} did not answer within {OPEN_TIMEOUT:?}"),
        };
        let unusable = || format!("PostgreSQL at {place} cannot be used");
        if pooler == Pooler::None {
            let checking = tokio::time::timeout(OPEN_TIMEOUT, check_sessions(&mut first, &options));
            checking
                .await
                .unwrap_or_else(|_| {
                    anyhow::bail!("a second connection did not answer within {OPEN_TIMEOUT:?}")
                })
                .with_context(unusable)?;
        }
        let mut checking = first.begin_with(shared_sessions::BEGIN).await.with_context(unusable)?;
        let connections_max = check(&mut checking).await.with_context(unusable)?;
        checking.commit().await.with_context(unusable)?;
        match pooler {
            Pooler::None => {
                first.execute(raw_sql(MIGRATING)).await.with_context(unusable)?;
                migrations::run(&mut first, migrations::POSTGRES).await
            }
            Pooler::Transaction => {
                migrations::run(&mut MigrateAtOnce(&mut first), migrations::POSTGRES).await
            }
        }
        .with_context(|| place.clone())?;
        first.close().await.ok();

        let notifications = if listens { LISTEN_CONNECTIONS } else { 0 };
        let needed = requests_max + LEASE_CONNECTIONS + notifications;
        tracing::info!(
            needed,
            requests = requests_max,
            leases = LEASE_CONNECTIONS,
            notifications,
            server_max_connections = connections_max,
            "connections to the database that this replica uses at most"
        );
        if i64::from(needed) > i64::from(connections_max) {
            tracing::warn!(
                needed,
                server_max_connections = connections_max,
                "the server allows fewer connections than this replica may need: lower --database-connections or \
                 raise the server's max_connections"
            );
        }
        let outdated = Arc::<Outdated>::default();
        let requests = pool(options.clone(), requests_max, pooler, &outdated);
        let leases = pool(options, LEASE_CONNECTIONS, pooler, &outdated);
        Ok(Self { requests, leases, outdated, pooler })
    }

    pub(in crate::adapters) fn requests(&self) -> &PgPool {
        &self.requests
    }

    pub(super) fn pooler(&self) -> Pooler {
        self.pooler
    }

    /// Changes when connections made so far are not to be used again.
    pub(in crate::adapters) fn outdated(&self) -> watch::Receiver<Option<Instant>> {
        self.outdated.changed.subscribe()
    }

    pub(super) async fn get(&self, purpose: Use) -> sqlx::Result<Checkout> {
        let pool = match purpose {
            Use::Request => &self.requests,
            Use::Lease => &self.leases,
        };
        let connection = pool.acquire().await?;
        Ok(Checkout { connection: Some(connection), whole: false, outdated: self.outdated.clone() })
    }

    /// Whether a call that found no connection in time would have had to take another's.
    pub(super) fn is_full(&self) -> bool {
        self.requests.size() >= self.requests.options().get_max_connections()
    }
}

fn pool(options: PgConnectOptions, max: u32, pooler: Pooler, outdated: &Arc<Outdated>) -> PgPool {
    let outdated = outdated.clone();
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                match pooler {
                    Pooler::None => connection.execute(raw_sql(SESSION)).await.map(drop),
                    // It would be another's session.
                    Pooler::Transaction => Ok(()),
                }
            })
        })
        .before_acquire(move |connection, before| {
            let is_outdated = outdated.covers(before.age);
            Box::pin(async move {
                if is_outdated {
                    return Ok(false);
                }
                if before.idle_for > IDLE_UNTESTED_MAX {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// When it was last found that the server at the other end of a connection is read-only. What was connected
/// before may lead to a server that is no longer the primary, while the address leads to another by now.
#[derive(Debug)]
struct Outdated {
    since: Mutex<Option<Instant>>,
    changed: watch::Sender<Option<Instant>>,
}

impl Default for Outdated {
    fn default() -> Self {
        Self { since: Mutex::default(), changed: watch::Sender::new(None) }
    }
}

impl Outdated {
    fn covers(&self, age: Duration) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < age)
    }

    /// Once an interval at most: a server that stays read-only is still good for reads.
    fn mark(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none_or(|since| since.elapsed() >= READ_ONLY_RECONNECT_INTERVAL) {
            tracing::warn!(
                "the database server is read-only (a standby?): reconnecting; point --database at the primary"
            );
            *since = Some(Instant::now());
            self.changed.send_replace(*since);
        }
    }
}

/// A connection in use. Unless its last answer left it as it was, it is closed and not used again.
pub(super) struct Checkout {
    connection: Option<PoolConnection<Postgres>>,
    whole: bool,
    outdated: Arc<Outdated>,
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout").field("whole", &self.whole).finish_non_exhaustive()
    }
}

impl Checkout {
    pub(super) fn get(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a checkout has its connection until it is dropped")
    }

    pub(super) fn settle<T>(&mut self, done: sqlx::Result<T>) -> sqlx::Result<T> {
        self.whole = done.as_ref().map_or_else(leaves_connection, |_| true);
        if done.as_ref().is_err_and(is_read_only) {
            self.outdated.mark();
        }
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

/// How `url` says to connect.
pub(super) fn options(url: &str) -> anyhow::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(|error| {
        anyhow::anyhow!("the database's URL is not postgres://USER@HOST/NAME as expected: {error}")
    })?;
    Ok(options.application_name("mainstem").extra_float_digits(None).disable_statement_logging())
}

/// Where the database is, without the password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// Refuses a pooler that gives every transaction another session.
async fn check_sessions(first: &mut PgConnection, options: &PgConnectOptions) -> anyhow::Result<()> {
    anyhow::ensure!(
        !shares_sessions(first, options).await?,
        "a pooler in between shares sessions among its clients (pool_mode = transaction), and LISTEN, advisory \
         locks, prepared statements and session settings need a session each: give --database-pooler transaction, \
         and with it a --bus that works without LISTEN (nats://HOST, redis://HOST, none); or set pool_mode = session \
         for this database, or connect to PostgreSQL directly"
    );
    Ok(())
}

/// Whether a pooler was found that gives every transaction another session. Asked by the simple protocol: such poolers
/// may not know prepared statements.
pub(super) async fn shares_sessions(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> sqlx::Result<bool> {
    let session = async |connection: &mut PgConnection| -> sqlx::Result<i32> {
        connection.fetch_one(raw_sql("SELECT pg_backend_pid()")).await?.try_get(0)
    };
    let own = session(first).await?;
    let mut second = options.connect().await?;
    // While it lasts, the transaction keeps a session of the server for itself.
    second.execute(raw_sql("BEGIN")).await?;
    let mut shared = session(&mut second).await? == own;
    shared = shared || session(first).await? != own;
    second.execute(raw_sql("COMMIT")).await?;
    for _ in 0..SESSION_CHECKS {
        shared = shared || session(first).await? != own;
    }
    second.close().await.ok();
    Ok(shared)
}

/// Refuses a database that would fail later. Answers how many connections the server allows.
async fn check(connection: &mut PgConnection) -> anyhow::Result<i32> {
    let row = query(
        "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS \
         version, current_setting('server_encoding') AS encoding, \
         current_setting('transaction_read_only')::bool AS read_only, \
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
         AS connections",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    let version: String = row.try_get("version")?;
    let encoding: String = row.try_get("encoding")?;
    anyhow::ensure!(
        row.try_get::<i32, _>("number")? >= OLDEST_VERSION,
        "its version is {version}, and 12 is the oldest that has what is needed: update it"
    );
    anyhow::ensure!(
        encoding == "UTF8",
        "the database's encoding is {encoding}, and UTF8 is needed: create one with ENCODING 'UTF8'"
    );
    anyhow::ensure!(
        !row.try_get::<bool, _>("read_only")?,
        "the server is read-only (a standby?): point --database at the primary"
    );
    Ok(row.try_get("connections")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::adapters::{MIGRATE_LOCK_TIMEOUT, STATEMENT_TIMEOUT};

    #[test]
    fn a_session_has_the_time_limits_of_the_adapters() {
        let limit = format!("{}s", STATEMENT_TIMEOUT.as_secs());
        assert_eq!(SESSION.matches(&limit).count(), 2, "B3");
        assert!(MIGRATING.contains(&format!("'{}s'", MIGRATE_LOCK_TIMEOUT.as_secs())), "B3");
    }

    #[test]
    fn a_read_only_server_makes_older_connections_outdated_and_not_newer_ones() {
        let outdated = Outdated::default();
        assert!(!outdated.covers(Duration::MAX));
        outdated.mark();
        assert!(outdated.covers(Duration::from_secs(60)));
        assert!(!outdated.covers(Duration::ZERO));
    }
}
