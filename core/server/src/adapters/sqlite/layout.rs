//! Messages beside their key and not within its tree: there, each search that passes a large message reads all of
//! it. A file of an earlier version is laid out anew when it is opened.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, query_scalar, raw_sql};

/// Does nothing where it was done.
pub(super) async fn move_messages_out_of_key(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let table: Option<String> = query_scalar(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'messages' AND sql LIKE '%WITHOUT ROWID'",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(table) = table else { return Ok(()) };
    let indexes: Vec<String> = query_scalar(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'messages' AND sql IS NOT NULL",
    )
    .fetch_all(&mut *connection)
    .await?;
    let table = table.trim_end_matches("WITHOUT ROWID").trim_end().trim_end_matches(',').to_owned();
    let is_empty: bool =
        query_scalar("SELECT NOT EXISTS (SELECT 1 FROM messages)").fetch_one(&mut *connection).await?;
    let begun = Instant::now();
    if !is_empty {
        let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let file_bytes: i64 = query_scalar(size).fetch_one(&mut *connection).await?;
        tracing::info!(
            file_bytes,
            "laying out the messages of this file anew, as this version reads them: this is done once, takes as long \
             as copying them, and needs as much space again for the time being"
        );
    }
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    tx.execute("ALTER TABLE messages RENAME TO messages_in_key").await?;
    // Both are what the file itself has.
    tx.execute(raw_sql(AssertSqlSafe(table))).await?;
    let copy = "INSERT INTO messages SELECT * FROM messages_in_key ORDER BY chat_id, id";
    let messages = tx.execute(copy).await?.rows_affected();
    tx.execute("DROP TABLE messages_in_key").await?;
    for index in indexes {
        tx.execute(raw_sql(AssertSqlSafe(index))).await?;
    }
    tx.commit().await?;
    if !is_empty {
        tracing::info!(messages, took = ?begun.elapsed(), "laid out the messages anew");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::error::ErrorKind;
    use sqlx::query;

    use super::*;
    use crate::adapters::migrations;

    #[tokio::test]
    async fn what_was_there_is_there_and_the_key_and_the_indexes_hold() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        migrations::run(&mut connection, migrations::SQLITE).await.expect("a schema");
        let fill = "INSERT INTO chats (id, owner, status, lease, snapshot_version, history_version, queue_version, \
                    reset_version, attempt, queue, last_message, last_id, created_at, updated_at) VALUES \
                    ('c', 'ada', 'waiting', 0, 1, 1, 1, 0, 0, '[]', 2, 2, 0, 0); \
                    ALTER TABLE messages ADD COLUMN later TEXT; \
                    CREATE UNIQUE INDEX messages_by_later ON messages (later); \
                    INSERT INTO messages (chat_id, id, revision, role, content, interrupted, created_at, later) \
                    VALUES ('c', 2, 2, 'user', 'two', 0, 0, 'l2'), ('c', 1, 1, 'user', 'one', 0, 0, 'l1')";
        connection.execute(raw_sql(fill)).await.expect("rows");
        for _ in 0..2 {
            move_messages_out_of_key(&mut connection).await.expect("it is laid out anew");
            let kept: Vec<String> = query_scalar("SELECT content || later FROM messages ORDER BY rowid")
                .fetch_all(&mut connection)
                .await
                .expect("rows have ids");
            assert_eq!(kept, ["onel1", "twol2"], "S6");
        }
        for (refused, why) in [
            ("id, later) VALUES ('c', 1, 'l3'", ErrorKind::UniqueViolation),
            ("id, later) VALUES ('c', 3, 'l1'", ErrorKind::UniqueViolation),
            ("id) VALUES ('d', 1", ErrorKind::ForeignKeyViolation),
        ] {
            let columns = refused.replace("id", "id, revision, role, content, interrupted, created_at");
            let insert = columns
                .replace("'c', 1", "'c', 1, 1, 'user', 'x', 0, 0")
                .replace("'c', 3", "'c', 3, 1, 'user', 'x', 0, 0")
                .replace("'d', 1", "'d', 1, 1, 'user', 'x', 0, 0");
            let insert = format!("INSERT INTO messages (chat_id, {insert})");
            let done = query(AssertSqlSafe(insert.clone())).execute(&mut connection).await;
            let kind = done.err().and_then(|error| Some(error.as_database_error()?.kind()));
            assert!(matches!(&kind, Some(kind) if *kind == why), "{insert}: {kind:?}");
        }
    }
}
