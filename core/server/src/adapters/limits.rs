//! The bounds of the adapters (B1). Together they make sure that every call is answered before the machines
//! time it out (`OP_TIMEOUT`).

use std::time::Duration;

/// Time limit of one call of the store, from waiting for a connection to the answer.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Time limit of waiting for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit of one statement, including waiting for locks, and of an idle transaction.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of waiting for rows that a heartbeat found locked.
pub(super) const RENEW_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit of testing a connection that returns to the pool.
pub(super) const RETURN_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was idle for longer is tested before it is used.
pub(super) const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(1);
/// Time limit of opening a database, without migrations.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of all migrations, including waiting for another replica that runs them.
pub(super) const MIGRATE_TIMEOUT: Duration = Duration::from_secs(300);
/// Tries of one call, after conflicts, deadlocks and dead connections.
pub(super) const TRIES_MAX: usize = 4;
/// Connections to PostgreSQL that requests use, unless set otherwise; at the least and at the most.
pub const DATABASE_CONNECTIONS: u32 = 24;
pub const DATABASE_CONNECTIONS_MIN: u32 = 4;
pub const DATABASE_CONNECTIONS_MAX: u32 = 1000;
/// Beside them: those that renew leases, and the one that listens.
pub(super) const LEASE_CONNECTIONS: u32 = 2;
pub(super) const LISTEN_CONNECTIONS: u32 = 1;
/// Between two times that all connections are made anew because the server is read-only, at the least.
pub(super) const READ_ONLY_RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is asked at start whether a connection keeps its session.
pub(super) const SESSION_CHECKS: usize = 4;
/// Connections that read a SQLite file.
pub(super) const SQLITE_READERS_MAX: u32 = 4;

/// Large messages that were read from a SQLite file a moment ago, and how long a moment is.
pub(super) const RECENT_MESSAGES_BYTES_MAX: usize = 16 << 20;
pub(super) const RECENT_MESSAGE_RETENTION: Duration = Duration::from_secs(1);

/// How long a receipt is kept.
pub(super) const IDEMPOTENCY_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
/// Idempotency records that one heartbeat removes.
pub(super) const IDEMPOTENCY_RECORDS_PURGED_MAX: i64 = 1000;
/// Replicas without a heartbeat for this long are removed.
pub(super) const REPLICA_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
/// Peers are the replicas with a heartbeat within this many `lease_ttl`.
pub(super) const PEER_LEASES: i64 = 3;

/// Notices that one subscription holds. When it is full, the subscription ends.
pub(super) const SUBSCRIPTION_NOTICES_MAX: usize = 1024;
/// Notices that wait to be published. Beyond that, publishing fails.
pub(super) const PUBLISH_WAITING_MAX: usize = 4096;
/// Notices published in one transaction.
pub(super) const PUBLISH_BATCH_MAX: usize = 256;
/// Interval between checks of the listening connection, and the time limit of each.
pub(super) const LISTEN_CHECK_INTERVAL: Duration = Duration::from_secs(2);
pub(super) const LISTEN_CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Delay between attempts to listen again. It doubles each time, from the minimum to the maximum.
pub(super) const LISTEN_RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
pub(super) const LISTEN_RETRY_DELAY_MAX: Duration = Duration::from_secs(2);
