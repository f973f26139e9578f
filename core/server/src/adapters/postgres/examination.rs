//! What a PostgreSQL is found to be, for those who are about to put replicas on it. Nothing is changed, and nothing is
//! judged but what can only be told here. Asked by the simple protocol, one statement at a time, so that any pooler may be
//! in between. Who asks bounds the time.

use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, raw_sql};
use uuid::Uuid;

use super::connections::{self, OLDEST_VERSION, shares_sessions};
use super::now;
use crate::adapters::migrations::{self, Schema};
use crate::limits::adapters::PEER_LEASES;
use crate::limits::doctor::{PEERS_MAX, ROUND_TRIPS};

/// A database that answers.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Where it is, without a password.
    pub place: String,
    pub version: String,
    pub is_too_old: bool,
    pub encoding: String,
    pub is_read_only: bool,
    pub is_standby: bool,
    /// Whether a pooler was found in between that gives each transaction another session.
    pub shares_sessions: bool,
    pub connections: ServerConnections,
    /// The median of a few round trips.
    pub round_trip: Duration,
    /// How much the server's clock is before this host's, in milliseconds, give or take half a round trip.
    pub clock_ahead_ms: i64,
    pub schema: Schema,
    /// What this user may not do and has to, in PostgreSQL's words.
    pub lacking: Vec<String>,
    /// The replicas that were heard of lately.
    pub replicas: Vec<Heard>,
}

/// How many connections a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConnections {
    /// All that are not kept for superusers, as far as this user and this database may have them.
    pub allowed: i64,
    /// Of them, those that are open.
    pub open: i64,
}

/// A replica, as its row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub replica: String,
    pub address: String,
    pub silent_for: Duration,
}

/// Why there is nothing to be found.
#[derive(Debug, thiserror::Error)]
pub enum Unexamined {
    #[error("{0}")]
    Url(String),
    #[error("{place} refuses this user and password")]
    Denied { place: String },
    #[error("{place} is not there: the server has no such database")]
    NoDatabase { place: String },
    #[error("{place} has no connection free")]
    Full { place: String },
    #[error("{place} cannot be asked: {why}")]
    Failed { place: String, why: String },
}

/// The peers' secret, if one is kept in the database.
pub type KeptSecret = Option<Vec<u8>>;

/// Looks at the database that `url` names. A replica is heard of lately within [`PEER_LEASES`] leases.
pub async fn examine(url: &str, lease_ttl: Duration) -> Result<(Examination, KeptSecret), Unexamined> {
    let options = connections::options(url).map_err(|error| Unexamined::Url(format!("{error:#}")))?;
    let place = connections::place(&options);
    look(&options, &place, lease_ttl).await.map_err(|error| told(place, &error))
}

/// Where the database is that `url` names, without a password.
pub fn place(url: &str) -> String {
    connections::options(url)
        .map_or_else(|_| "the database".to_owned(), |options| connections::place(&options))
}

/// Listens in the database that `url` names on a channel that nobody else knows, notifies it, and tells how long it took
/// until that came.
pub async fn notify_oneself(url: &str) -> Result<Duration, String> {
    let options = connections::options(url).map_err(|error| format!("{error:#}"))?;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let channel = format!("mainstem_doctor_{}", Uuid::now_v7().simple());
    let round = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(&channel).await?;
        let mut sender = options.connect().await?;
        let began = Instant::now();
        sender.execute(raw_sql(AssertSqlSafe(format!("NOTIFY {channel}")))).await?;
        let heard = listener.try_recv().await?;
        let took = began.elapsed();
        sender.close().await.ok();
        Ok(heard.map(|_| took))
    };
    let heard: sqlx::Result<_> = round.await;
    heard
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "the connection that listens was closed".to_owned())
}

fn told(place: String, error: &sqlx::Error) -> Unexamined {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("28P01" | "28000") => Unexamined::Denied { place },
        Some("3D000") => Unexamined::NoDatabase { place },
        Some("53300") => Unexamined::Full { place },
        _ => Unexamined::Failed { place, why: error.to_string() },
    }
}

async fn look(
    options: &PgConnectOptions,
    place: &str,
    lease_ttl: Duration,
) -> sqlx::Result<(Examination, KeptSecret)> {
    let mut connection = options.connect().await?;
    let shares_sessions = shares_sessions(&mut connection, options).await?;
    let row = connection
        .fetch_one(raw_sql(
            "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version, \
             current_setting('server_encoding') AS encoding, \
             current_setting('transaction_read_only')::bool AS read_only, pg_is_in_recovery() AS standby, \
             least(current_setting('max_connections')::bigint \
                 - current_setting('superuser_reserved_connections')::bigint, \
                 (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user), \
                 (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())) AS allowed, \
             (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS open",
        ))
        .await?;
    let lacking = lacking(&mut connection).await?;
    let may_read = |table: &str| !lacking.contains(&format!("SELECT on {table}"));
    let schema = match may_read(migrations::TABLE) {
        true => schema(&mut connection).await?,
        false => Schema::None,
    };
    let has_tables = schema != Schema::None;
    let replicas = match has_tables && may_read("replicas") {
        true => heard(&mut connection, lease_ttl).await?,
        false => vec![],
    };
    let secret = match has_tables && may_read("secrets") {
        true => {
            connection
                .fetch_optional(raw_sql("SELECT encode(value, 'hex') FROM secrets WHERE name = 'cluster'"))
                .await?
        }
        false => None,
    };
    let secret = secret.map(|row| row.try_get::<String, _>(0)).transpose()?.and_then(|hex| bytes(&hex));
    let (round_trip, clock_ahead_ms) = round_trips(&mut connection).await?;
    let examination = Examination {
        place: place.to_owned(),
        version: row.try_get("version")?,
        is_too_old: row.try_get::<i32, _>("number")? < OLDEST_VERSION,
        encoding: row.try_get("encoding")?,
        is_read_only: row.try_get("read_only")?,
        is_standby: row.try_get("standby")?,
        shares_sessions,
        connections: ServerConnections {
            allowed: row.try_get("allowed")?,
            // This one is about to be closed.
            open: row.try_get::<i64, _>("open")? - 1,
        },
        round_trip,
        clock_ahead_ms,
        schema,
        lacking,
        replicas,
    };
    connection.close().await.ok();
    Ok((examination, secret))
}

/// The rights that a replica needs and this user has not. The right to create in the schema is asked for at each start, also
/// where all tables are there.
async fn lacking(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let tables = migrations::tables(migrations::POSTGRES).chain([migrations::TABLE]);
    let tables: Vec<String> = tables.map(|table| format!("'{table}'")).collect();
    let select = format!(
        "SELECT right_ || ' on ' || name AS lacking FROM unnest(ARRAY[{}]) AS name, \
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS right_ \
         WHERE NOT has_table_privilege(to_regclass(name)::oid, right_) \
         UNION ALL SELECT 'CREATE on the schema ' || coalesce(current_schema(), 'of search_path, which is not there') \
         WHERE NOT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)",
        tables.join(", ")
    );
    let rows = connection.fetch_all(raw_sql(AssertSqlSafe(select))).await?;
    rows.iter().map(|row| row.try_get("lacking")).collect()
}

async fn schema(connection: &mut PgConnection) -> sqlx::Result<Schema> {
    let table = migrations::TABLE;
    let there = format!("SELECT to_regclass('{table}') IS NOT NULL");
    if !connection.fetch_one(raw_sql(AssertSqlSafe(there))).await?.try_get::<bool, _>(0)? {
        return Ok(Schema::None);
    }
    let select = format!("SELECT version, encode(checksum, 'hex') AS checksum FROM {table} ORDER BY version");
    let rows = connection.fetch_all(raw_sql(AssertSqlSafe(select))).await?;
    let recorded = |row: &PgRow| -> sqlx::Result<(i64, Vec<u8>)> {
        Ok((row.try_get("version")?, bytes(row.try_get("checksum")?).unwrap_or_default()))
    };
    let recorded: Vec<_> = rows.iter().map(recorded).collect::<Result<_, _>>()?;
    Ok(migrations::schema(&recorded, migrations::POSTGRES))
}

async fn heard(connection: &mut PgConnection, lease_ttl: Duration) -> sqlx::Result<Vec<Heard>> {
    let lately = i64::try_from(lease_ttl.as_millis()).unwrap_or(i64::MAX).saturating_mul(PEER_LEASES);
    let select = format!(
        "SELECT id, address, greatest({now} - seen_at, 0) AS silent FROM replicas \
         WHERE address <> '' AND {now} - seen_at < {lately} ORDER BY id LIMIT {PEERS_MAX}",
        now = now!()
    );
    let rows = connection.fetch_all(raw_sql(AssertSqlSafe(select))).await?;
    let heard = |row: &PgRow| -> sqlx::Result<Heard> {
        let silent = row.try_get::<i64, _>("silent")?;
        let silent_for = Duration::from_millis(silent.unsigned_abs());
        Ok(Heard { replica: row.try_get("id")?, address: row.try_get("address")?, silent_for })
    };
    rows.iter().map(heard).collect()
}

/// The median of a few round trips, and by how many milliseconds the server's clock is ahead, by the quickest of them.
async fn round_trips(connection: &mut PgConnection) -> sqlx::Result<(Duration, i64)> {
    let mut trips = vec![];
    for _ in 0..ROUND_TRIPS {
        let (began, before) = (Instant::now(), unix_ms());
        let row = connection.fetch_one(raw_sql(concat!("SELECT ", now!()))).await?;
        let took = began.elapsed();
        let middle = before.saturating_add(i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX));
        trips.push((took, row.try_get::<i64, _>(0)? - middle));
    }
    trips.sort_unstable();
    Ok((trips[trips.len() / 2].0, trips[0].1))
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
