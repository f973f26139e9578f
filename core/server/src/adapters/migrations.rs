//! The schema. Migrations run at start, each in a transaction, by one process at a time. A database of
//! another program, or of a newer version of this one, is refused unchanged.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::limits::adapters::MIGRATE_TIMEOUT;

/// Version, name, statements, in ascending order.
pub(super) type Step = (i64, &'static str, &'static str);

pub(super) const SQLITE: &[Step] = &[
    (1, "chats", include_str!("../../migrations/sqlite/0001_chats.sql")),
    (2, "endings", include_str!("../../migrations/sqlite/0002_endings.sql")),
    (3, "incarnations", include_str!("../../migrations/sqlite/0003_incarnations.sql")),
];
pub(super) const POSTGRES: &[Step] = &[
    (1, "chats", include_str!("../../migrations/postgres/0001_chats.sql")),
    (2, "endings", include_str!("../../migrations/postgres/0002_endings.sql")),
    (3, "incarnations", include_str!("../../migrations/postgres/0003_incarnations.sql")),
];

/// The table that records which migrations ran.
const TABLE: &str = "mainstem_migrations";

pub(super) async fn run(connection: &mut impl Migrate, steps: &[Step]) -> anyhow::Result<()> {
    let migrations = steps.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(TABLE);
    let run = migrator.run_direct(None, connection, false);
    let Ok(done) = tokio::time::timeout(MIGRATE_TIMEOUT, run).await else {
        anyhow::bail!(
            "migrations did not end within {MIGRATE_TIMEOUT:?}: is another replica stuck in them? It holds \
             the advisory lock"
        );
    };
    let newest = steps.last().map_or(0, |step| step.0);
    match done {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => anyhow::bail!(
            "the database has schema version {version}, and this program knows up to {newest}: start a newer \
             mainstem on it"
        ),
        Err(MigrateError::VersionMismatch(version)) => anyhow::bail!(
            "the database's schema version {version} was not made by this program: use another database, or \
             restore this one"
        ),
        Err(error) => Err(anyhow::anyhow!("migrating the database failed: {error}")),
    }
}
