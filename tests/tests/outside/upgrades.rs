//! Databases of earlier versions: what their upgrade says, and whom it keeps waiting.

use std::process::{Child, Command, Stdio};

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, TIMES, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::process::Running;
use mainstem_tests::scratch::Scratch;
use serde_json::json;
use sqlx::{Connection, SqliteConnection, raw_sql};

/// Takes a schema back to its first version.
const BACK_TO_FIRST: &str = "ALTER TABLE messages DROP COLUMN finish_reason, DROP COLUMN input_tokens, \
                             DROP COLUMN output_tokens, DROP COLUMN turn, DROP COLUMN client_id; \
                             ALTER TABLE replicas DROP COLUMN incarnation; \
                             ALTER TABLE chats DROP COLUMN turn, DROP COLUMN last_told, DROP COLUMN external_id, \
                             DROP COLUMN instructions, DROP COLUMN tools, DROP COLUMN calls, DROP COLUMN shares; \
                             DROP TABLE turns; DROP TABLE sends; DROP TABLE tickets; DROP TABLE shares; \
                             DELETE FROM mainstem_migrations WHERE version > 1";

/// A transaction that has read messages and does not end, as a backup's.
struct Reader(Child);

impl Reader {
    fn begin(cluster: &Cluster) -> Self {
        let reading = "BEGIN; SELECT count(*) FROM messages; SELECT pg_sleep(600)";
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--dbname", &cluster.database, "--command", reading]);
        Self(psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql starts"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn an_upgrade_behind_a_long_transaction_keeps_no_reader_waiting_and_says_so() {
    let mut cluster = Cluster::start(&[&[]]).await;
    let chat = cluster.replicas[0].client().create("/demo parts=3 interval=0").await;
    cluster.replicas[0].client().until_idle(&chat).await;
    cluster.replicas[0].terminate();
    cluster.replicas[0].ended().await;
    let sql = |sql: &str| cluster.postgres.sql(cluster.database_name(), sql);
    sql(BACK_TO_FIRST).expect("psql");
    let reader = Reader::begin(&cluster);
    let sleeps =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("messages are being read", async || (sql(sleeps).expect("psql") == "1").then_some(())).await;

    let flags = ["serve", "--listen", "127.0.0.1:0", "--database", &cluster.database];
    let upgrading = Running::start(&[&flags[..], &TIMES[..]].concat());
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database())";
    for _ in 0..2 {
        until("the upgrade waits", async || (sql(waits).expect("psql") == "1").then_some(())).await;
        // What other replicas ask for meanwhile.
        let read = sql("SET statement_timeout = '4s'; SELECT count(*) FROM messages");
        assert!(read.as_ref().is_ok_and(|read| read.ends_with('2')), "B3: readers go on: {read:?}");
    }
    let says = async || upgrading.reported().contains("waits for a lock").then_some(());
    until("it says what it waits for", says).await;
    assert_eq!(upgrading.said(), "", "it has not started");

    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    sql(end).expect("psql");
    drop(reader);
    until("it starts", async || upgrading.said().contains("listening").then_some(())).await;
    cluster.replicas[0].start_again().await;
    let messages = cluster.replicas[0].client().messages(&chat).await;
    assert_eq!(messages.last().map(|message| message.text()), Some(counted(3)), "S6");
}

#[tokio::test]
async fn a_file_of_an_earlier_version_is_laid_out_anew_and_the_log_says_what_when_and_how_large() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &[]).await;
    let says = "laying out the messages of this file anew";
    assert!(!replica.log().contains(says), "a new file has none: {}", replica.log());
    let chat = replica.client().create("/demo parts=3 interval=0").await;
    replica.client().until_idle(&chat).await;
    replica.terminate();
    replica.ended().await;
    let mut file = SqliteConnection::connect(&scratch.sqlite_url()).await.expect("a file");
    let columns = "chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE, id INTEGER NOT NULL, \
                   revision INTEGER NOT NULL, role TEXT NOT NULL, content TEXT NOT NULL, \
                   interrupted INTEGER NOT NULL, history_version INTEGER, attempt INTEGER, queued_as INTEGER, \
                   created_at INTEGER NOT NULL, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER, \
                   turn INTEGER, client_id TEXT";
    let earlier = format!(
        "ALTER TABLE messages RENAME TO later; \
         CREATE TABLE messages ({columns}, PRIMARY KEY (chat_id, id)) STRICT, WITHOUT ROWID; \
         INSERT INTO messages SELECT * FROM later; DROP TABLE later"
    );
    raw_sql(sqlx::AssertSqlSafe(earlier)).execute(&mut file).await.expect("the layout of before");
    file.close().await.expect("it is closed");

    replica.start_again().await;
    let log = replica.log();
    let begins = log.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{log}"));
    assert!(begins.contains("file_bytes=") && begins.contains("INFO"), "{begins}");
    let ends = log.lines().find(|line| line.contains("laid out the messages anew")).expect("its end is told");
    assert!(ends.contains("messages=2") && ends.contains("took="), "{ends}");
    let client = replica.client();
    assert_eq!(client.messages(&chat).await.last().map(|message| message.text()), Some(counted(3)), "S6");
    client.post(&format!("/v1/chats/{chat}/messages"), json!({"content": "/demo parts=1"})).await.expect(202);
    client.until_idle(&chat).await;
    // Once.
    replica.terminate();
    replica.ended().await;
    replica.start_again().await;
    assert_eq!(replica.log().matches(says).count(), 1, "{}", replica.log());
}
