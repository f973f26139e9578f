//! What a SQLite file is found to be, without changing it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, raw_sql};

use crate::adapters::migrations::{self, Schema};

/// A SQLite file, or where one is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqliteExamination {
    /// There is none, and one can be made.
    ToBeMade {
        path: PathBuf,
    },
    /// A server has it.
    InUse {
        path: PathBuf,
    },
    Idle {
        path: PathBuf,
        schema: Schema,
    },
}

/// Looks at the file that `url` names.
pub async fn examine(url: &str) -> Result<SqliteExamination, String> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| format!("{url:?} does not name a SQLite file: expected sqlite:FILE"))?;
    let path = options.get_filename().to_owned();
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(
            "a database in memory would forget every chat: give a file, as in sqlite:mainstem.db".into()
        );
    }
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let Ok(real) = path.canonicalize() else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::metadata(parent.unwrap_or(Path::new("."))).map_err(|error| told(&error))?;
        if !parent.is_dir() || parent.permissions().readonly() {
            return Err(told(&"its directory cannot be written to"));
        }
        return Ok(SqliteExamination::ToBeMade { path });
    };
    if is_locked(&real) {
        return Ok(SqliteExamination::InUse { path });
    }
    if fs::metadata(&real).map_err(|error| told(&error))?.permissions().readonly() {
        return Err(told(&"it cannot be written to"));
    }
    // Without a journal beside it, nothing but the file needs to be looked at.
    let has_journal = fs::metadata(beside(&real, "-wal")).is_ok_and(|file| file.len() > 0);
    let reading = options.read_only(true).immutable(!has_journal).disable_statement_logging();
    let schema = async {
        let mut connection = reading.connect().await?;
        let table = migrations::TABLE;
        let there = format!("SELECT count(*) FROM sqlite_schema WHERE name = '{table}'");
        let there: i64 = connection.fetch_one(raw_sql(AssertSqlSafe(there))).await?.try_get(0)?;
        let mut recorded = vec![];
        if there > 0 {
            let select = format!("SELECT version, checksum FROM {table} ORDER BY version");
            let rows = connection.fetch_all(raw_sql(AssertSqlSafe(select))).await?;
            let record = |row: &SqliteRow| -> sqlx::Result<_> { Ok((row.try_get(0)?, row.try_get(1)?)) };
            recorded = rows.iter().map(record).collect::<Result<_, _>>()?;
        }
        connection.close().await.ok();
        sqlx::Result::Ok(migrations::schema(&recorded, migrations::SQLITE))
    };
    let schema = schema.await.map_err(|error: sqlx::Error| told(&error))?;
    Ok(SqliteExamination::Idle { path, schema })
}

/// Whether a server has the file that lies beside it.
fn is_locked(real: &Path) -> bool {
    let file = File::open(beside(real, ".lock"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    PathBuf::from(beside)
}
