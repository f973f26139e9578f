//! PostgreSQL behind a pooler that gives each transaction another session. Nothing that outlives a transaction is used: its
//! settings are set in it, its statements have no names, and the lock of migrations is the transaction's.
//!
//! A statement without a name is parsed in one message and carried out in another. Outside of a transaction, another client's
//! could come in between, and be carried out instead; so every statement has a transaction.

use std::time::{Duration, Instant};

use crc::{CRC_32_ISO_HDLC, Crc};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row, query, raw_sql};

/// Begins a transaction under the limits of a session. They are those of [`SESSION`](super::connections::SESSION).
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '5s'; \
                                SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// The time is that of [`MIGRATE_LOCK_TIMEOUT`](crate::limits::adapters::MIGRATE_LOCK_TIMEOUT).
pub(super) const BEGIN_MIGRATING: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '1s'";

/// Migrates in one transaction: all that is missing, or nothing.
#[derive(Debug)]
pub(super) struct MigrateAtOnce<'c>(pub(super) &'c mut PgConnection);

impl MigrateAtOnce<'_> {
    /// By the simple protocol, which has no statements to prepare.
    async fn run(&mut self, sql: String) -> Result<(), MigrateError> {
        self.0.execute(raw_sql(AssertSqlSafe(sql))).await?;
        Ok(())
    }
}

impl Migrate for MigrateAtOnce<'_> {
    fn create_schema_if_not_exists<'e>(
        &'e mut self,
        schema: &'e str,
    ) -> BoxFuture<'e, Result<(), MigrateError>> {
        self.run(format!("CREATE SCHEMA IF NOT EXISTS {schema}")).boxed()
    }

    fn ensure_migrations_table<'e>(&'e mut self, table: &'e str) -> BoxFuture<'e, Result<(), MigrateError>> {
        self.0.ensure_migrations_table(table)
    }

    fn dirty_version<'e>(&'e mut self, _table: &'e str) -> BoxFuture<'e, Result<Option<i64>, MigrateError>> {
        // One that failed left nothing.
        async { Ok(None) }.boxed()
    }

    fn list_applied_migrations<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>> {
        async move {
            let select = format!("SELECT version, checksum FROM {table} ORDER BY version");
            let rows = self.0.fetch_all(query(AssertSqlSafe(select)).persistent(false)).await?;
            let migration = |row: &sqlx::postgres::PgRow| -> sqlx::Result<AppliedMigration> {
                let checksum: Vec<u8> = row.try_get("checksum")?;
                Ok(AppliedMigration { version: row.try_get("version")?, checksum: checksum.into() })
            };
            Ok(rows.iter().map(migration).collect::<Result<_, _>>()?)
        }
        .boxed()
    }

    /// Begins the transaction, and takes the lock that those take who have a session.
    fn lock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        async move {
            self.0.execute(raw_sql(BEGIN_MIGRATING)).await?;
            let named = raw_sql("SELECT current_database()").fetch_one(&mut *self.0).await?;
            let lock = lock_of(named.try_get(0)?);
            self.run(format!("SELECT pg_advisory_xact_lock({lock})")).await
        }
        .boxed()
    }

    /// Ends the transaction. One that failed is rolled back by it.
    fn unlock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        self.run("COMMIT".to_owned()).boxed()
    }

    fn apply<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        async move {
            let began = Instant::now();
            let applied = self.0.execute(migration.sql.clone()).await;
            applied.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
            let elapsed = began.elapsed();
            let insert = format!(
                "INSERT INTO {table} (version, description, success, checksum, execution_time) \
                 VALUES ($1, $2, true, $3, $4)"
            );
            query(AssertSqlSafe(insert))
                .persistent(false)
                .bind(migration.version)
                .bind(&*migration.description)
                .bind(&*migration.checksum)
                .bind(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
                .execute(&mut *self.0)
                .await?;
            Ok(elapsed)
        }
        .boxed()
    }

    fn revert<'e>(
        &'e mut self,
        _table: &'e str,
        _migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        unreachable!("no migration is ever reverted")
    }
}

/// sqlx's number of the lock of migrations: its `generate_lock_id`, which is private.
fn lock_of(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(database.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::adapters::{MIGRATE_LOCK_TIMEOUT, STATEMENT_TIMEOUT};

    #[test]
    fn a_transaction_has_the_time_limits_of_the_adapters() {
        let limit = format!("'{}s'", STATEMENT_TIMEOUT.as_secs());
        assert_eq!(BEGIN.matches(&limit).count(), 2, "B3");
        assert!(BEGIN_MIGRATING.contains(&format!("'{}s'", MIGRATE_LOCK_TIMEOUT.as_secs())), "B3");
    }
}
