//! The schema. Migrations run at start, each in a transaction, by one process at a time. A database of
//! another program, or of a newer version of this one, is refused unchanged.

use mainstem_machine::backoff::Backoff;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::limits::adapters::{MIGRATE_RETRY_DELAY_MAX, MIGRATE_RETRY_DELAY_MIN, MIGRATE_TIMEOUT};

/// Version, name, statements, in ascending order.
pub(super) type Step = (i64, &'static str, &'static str);

pub(super) const SQLITE: &[Step] = &[
    (1, "chats", include_str!("../../migrations/sqlite/0001_chats.sql")),
    (2, "endings", include_str!("../../migrations/sqlite/0002_endings.sql")),
    (3, "incarnations", include_str!("../../migrations/sqlite/0003_incarnations.sql")),
    (4, "turns", include_str!("../../migrations/sqlite/0004_turns.sql")),
    (5, "names and settings", include_str!("../../migrations/sqlite/0005_names_and_settings.sql")),
    (6, "calls", include_str!("../../migrations/sqlite/0006_calls.sql")),
    (7, "tickets", include_str!("../../migrations/sqlite/0007_tickets.sql")),
    (8, "shares", include_str!("../../migrations/sqlite/0008_shares.sql")),
];
pub(super) const POSTGRES: &[Step] = &[
    (1, "chats", include_str!("../../migrations/postgres/0001_chats.sql")),
    (2, "endings", include_str!("../../migrations/postgres/0002_endings.sql")),
    (3, "incarnations", include_str!("../../migrations/postgres/0003_incarnations.sql")),
    (4, "turns", include_str!("../../migrations/postgres/0004_turns.sql")),
    (5, "names and settings", include_str!("../../migrations/postgres/0005_names_and_settings.sql")),
    (6, "calls", include_str!("../../migrations/postgres/0006_calls.sql")),
    (7, "tickets", include_str!("../../migrations/postgres/0007_tickets.sql")),
    (8, "shares", include_str!("../../migrations/postgres/0008_shares.sql")),
];

/// The table that records which migrations ran.
pub(super) const TABLE: &str = "mainstem_migrations";

/// A migration only adds, so that earlier releases work on what it makes, beside later ones and after them. One that they
/// could not live with takes the next version that is a multiple of this.
const BARS_EARLIER: i64 = 1000;

/// What a database's schema is to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is none.
    None,
    /// The newest that this program knows.
    Current {
        version: i64,
    },
    /// The next start brings it up to date.
    Older {
        version: i64,
        newest: i64,
    },
    /// A later release made it, and this one works on it too.
    Ahead {
        version: i64,
        newest: i64,
    },
    /// Another program made it: a later release of this one that bars it, or a stranger.
    Newer {
        version: i64,
        newest: i64,
    },
    Foreign {
        version: i64,
    },
}

/// The same, from the versions that are recorded with their checksums.
pub(super) fn schema(recorded: &[(i64, Vec<u8>)], steps: &[Step]) -> Schema {
    let newest = newest(steps);
    for known in migrations(steps) {
        let checksum = recorded.iter().find(|(version, _)| *version == known.version);
        if checksum.is_some_and(|(_, checksum)| *known.checksum != **checksum) {
            return Schema::Foreign { version: known.version };
        }
    }
    match recorded.iter().map(|(version, _)| *version).max() {
        None => Schema::None,
        Some(version) if version >= barred_from(newest) => Schema::Newer { version, newest },
        Some(version) if version > newest => Schema::Ahead { version, newest },
        Some(version) if recorded.len() == steps.len() => Schema::Current { version },
        Some(version) => Schema::Older { version, newest },
    }
}

fn newest(steps: &[Step]) -> i64 {
    steps.last().map_or(0, |step| step.0)
}

/// The first version that bars a program whose newest is this one.
const fn barred_from(newest: i64) -> i64 {
    (newest / BARS_EARLIER + 1) * BARS_EARLIER
}

/// The tables that these make.
pub(super) fn tables(steps: &[Step]) -> impl Iterator<Item = &'static str> {
    let made = steps.iter().flat_map(|step| step.2.split("CREATE TABLE ").skip(1));
    made.filter_map(|rest| rest.split_whitespace().next())
}

fn migrations(steps: &[Step]) -> impl Iterator<Item = Migration> {
    steps.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    })
}

/// Brings the schema up to date.
pub(super) async fn run(connection: &mut impl Migrate, steps: &[Step]) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrations(steps).collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_ignore_missing(true);
    let mut waits_for = None;
    let run = run_patiently(&migrator, connection, &mut waits_for);
    let Ok(done) = tokio::time::timeout(MIGRATE_TIMEOUT, run).await else {
        match waits_for {
            Some(version) => anyhow::bail!(
                "migration {version} found its table in use for {MIGRATE_TIMEOUT:?}: end the transactions that use it \
                 (pg_locks and pg_stat_activity tell which), and start again"
            ),
            None => anyhow::bail!(
                "migrations did not end within {MIGRATE_TIMEOUT:?}: is another replica stuck in them? It holds \
                 the advisory lock"
            ),
        }
    };
    match done {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => anyhow::bail!(
            "the database has schema version {version}, which bars a program that knows up to {}: start a newer \
             mainstem on it",
            newest(steps)
        ),
        Err(MigrateError::VersionMismatch(version)) => anyhow::bail!(
            "the database's schema version {version} was not made by this program: use another database, or \
             restore this one"
        ),
        Err(error) => Err(anyhow::anyhow!("migrating the database failed: {error}")),
    }
}

/// Does what is missing, and looks at what later releases did, of which nothing is missed here.
async fn run_once(migrator: &Migrator, connection: &mut impl Migrate) -> Result<(), MigrateError> {
    migrator.run_direct(None, connection, false).await?;
    // Behind a pooler the lock is a transaction, in which alone something may be read.
    connection.lock().await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    connection.unlock().await?;
    let newest = migrator.iter().map(|known| known.version).max().unwrap_or_default();
    match applied.iter().map(|migration| migration.version).max() {
        Some(version) if version >= barred_from(newest) => Err(MigrateError::VersionMissing(version)),
        Some(version) if version > newest => {
            tracing::info!(version, newest, "the schema was made by a later release");
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

/// Tries again while a lock is not to be had: whoever waits for one on a table keeps all others waiting that come
/// later, even those who only read. `waits_for` is the migration that was tried last and did not get its lock.
async fn run_patiently(
    migrator: &Migrator,
    connection: &mut impl Migrate,
    waits_for: &mut Option<i64>,
) -> Result<(), MigrateError> {
    let mut backoff = Backoff::between(MIGRATE_RETRY_DELAY_MIN, MIGRATE_RETRY_DELAY_MAX);
    loop {
        let delay = backoff.next_delay();
        match run_once(migrator, connection).await {
            Err(MigrateError::ExecuteMigration(error, version)) if is_lock_timeout(&error) => {
                tracing::warn!(
                    migration = version,
                    ?delay,
                    "a migration waits for a lock on a table that other transactions use: it lets them go first and \
                     tries again"
                );
                *waits_for = Some(version);
                // Another replica may have more luck.
                connection.unlock().await?;
            }
            // Another replica migrates.
            Err(MigrateError::Execute(error)) if is_lock_timeout(&error) => *waits_for = None,
            done => return done,
        }
        tokio::time::sleep(delay).await;
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("55P03"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_told_by_what_is_recorded() {
        let all: Vec<_> =
            migrations(POSTGRES).map(|known| (known.version, known.checksum.to_vec())).collect();
        let newest = POSTGRES.len() as i64;
        assert_eq!(schema(&[], POSTGRES), Schema::None);
        assert_eq!(schema(&all, POSTGRES), Schema::Current { version: newest });
        assert_eq!(schema(&all[..2], POSTGRES), Schema::Older { version: 2, newest });
        let later = |version| schema(&[&all[..], &[(version, vec![])]].concat(), POSTGRES);
        assert_eq!(later(newest + 1), Schema::Ahead { version: newest + 1, newest });
        assert_eq!(later(999), Schema::Ahead { version: 999, newest });
        assert_eq!(later(1000), Schema::Newer { version: 1000, newest });
        assert_eq!(schema(&[(1, vec![1])], POSTGRES), Schema::Foreign { version: 1 });
    }

    #[test]
    fn what_bars_a_program_is_of_the_next_thousand() {
        assert_eq!([0, 8, 999, 1000, 1001].map(barred_from), [1000, 1000, 1000, 2000, 2000]);
    }

    #[test]
    fn a_migration_only_adds_unless_it_bars_earlier_programs() {
        for (version, name, text) in [POSTGRES, SQLITE].concat() {
            let takes_away =
                ["DROP TABLE", "DROP COLUMN", "RENAME", " TYPE "].iter().any(|word| text.contains(word));
            assert!(!takes_away || version % BARS_EARLIER == 0, "{name}");
        }
    }

    #[test]
    fn the_tables_are_those_that_the_statements_make() {
        let tables: Vec<_> = tables(POSTGRES).collect();
        assert_eq!(
            tables,
            ["chats", "messages", "receipts", "replicas", "secrets", "turns", "sends", "tickets", "shares"]
        );
    }
}
