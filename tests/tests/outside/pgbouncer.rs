//! A pooler between the replicas and PostgreSQL, as it comes out of the box.

use mainstem_tests::bus_server::{BusServer, Kind as BusKind};
use mainstem_tests::client::counted;
use mainstem_tests::cluster::TIMES;
use mainstem_tests::pooler::Pooler;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::{Replica, run};
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

#[tokio::test]
async fn replicas_behind_a_pooler_in_session_mode_work_and_hear_each_other() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let pooler = Pooler::start(&postgres, "session").expect("a PgBouncer");
    let direct = postgres.fresh_database().expect("a database");
    let database = pooler.url(&direct, postgres.port());
    // Both together stay within the pooler's default of 20 sessions.
    let flags = [&TIMES[..], &["--database", &database, "--database-connections", "4"]].concat();
    let a = Replica::start("a", &flags).await;
    let b = Replica::start("b", &[&flags[..], &["--workers", "0"]].concat()).await;
    let chat = b.client().create("/demo parts=40 interval=5ms").await;
    let mut viewer = Viewer::open(&b.client(), &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    viewer.finish(&a.client()).await;
    assert_eq!(viewer.screen.texts()[1], counted(40), "S4");
    let name = direct.rsplit('/').next().expect("the URL ends with the database");
    let listening = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'mainstem' AND query = \
         'LISTEN \"mainstem\"'"
    );
    assert_eq!(postgres.sql("postgres", &listening).expect("psql"), "2", "both listen");
    assert!(!a.log().contains("by polling only"), "{}", a.log());
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_with_what_to_do() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let direct = postgres.fresh_database().expect("a database");
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&postgres, mode).expect("a PgBouncer");
        let database = pooler.url(&direct, postgres.port());
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--database", &database]).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let reason = if mode == "transaction" { "pool_mode = session" } else { "statement pooling" };
        assert!(said.contains(reason), "{said}");
        let names_the_way = said.contains("LISTEN")
            && said.contains("--database-pooler transaction")
            && said.contains("--bus");
        assert!(mode != "transaction" || names_the_way, "{said}");
    }
}

#[tokio::test]
async fn a_pooler_of_transactions_takes_another_bus() {
    let flags = ["serve", "--database", "postgres://u@127.0.0.1:1/x", "--database-pooler", "transaction"];
    let ended = run(&flags).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(64), "{said}");
    assert!(said.contains("--bus") && said.contains("LISTEN"), "{said}");
}

#[tokio::test]
async fn behind_a_pooler_of_transactions_replicas_work_with_each_bus_that_needs_no_session() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let pooler = Pooler::that_mixes_sessions(&postgres).expect("a PgBouncer");
    let (nats, redis) = (BusServer::start(BusKind::Nats).await, BusServer::start(BusKind::Redis).await);
    let buses = ["none".to_owned(), nats.as_ref().expect("NATS").url(), redis.as_ref().expect("Redis").url()];
    for bus in &buses {
        let direct = postgres.fresh_database().expect("a database");
        let database = pooler.url(&direct, postgres.port());
        let shared = ["--database", &*database, "--database-pooler", "transaction", "--bus", bus];
        let flags = [&TIMES[..], &shared, &["--database-connections", "8"]].concat();
        let serving = [&flags[..], &["--workers", "0"]].concat();
        // They migrate at the same time.
        let (mut a, b) = tokio::join!(Replica::start("a", &flags), Replica::start("b", &serving));
        let chat = b.client().create("/demo parts=5000 interval=10ms").await;
        let mut viewers = [
            Viewer::open(&b.client(), &chat, Kind::EventStream).await,
            Viewer::open(&b.client(), &chat, Kind::WebSocket).await,
        ];
        for viewer in &mut viewers {
            viewer.until("parts are relayed", |s| s.seq > 20).await;
        }
        b.client().interrupt(&chat).await.expect(202);
        for viewer in &mut viewers {
            viewer.until_idle().await;
        }
        // A worker that dies with its transactions; another one takes over.
        b.client().send(&chat, "/demo parts=150 interval=20ms").await;
        for viewer in &mut viewers {
            viewer.until("the next answer", |s| s.seq > 20 && s.messages.len() == 3).await;
        }
        a.kill();
        let c = Replica::start("c", &flags).await;
        for viewer in &mut viewers {
            viewer.until("it is made again", |s| s.messages.len() == 4 && s.status == "waiting").await;
            viewer.finish(&c.client()).await;
            assert_eq!(viewer.screen.last_text(), counted(150), "S4");
            assert_eq!(viewer.screen.resets.len(), 1, "L5: the death was told: {:?}", viewer.screen.resets);
        }
        let again = json!({"content": "once", "busy": "queue"});
        let path = format!("/v1/chats/{chat}/messages");
        let first = c.client().post_with_key(&path, "k", &again).await.expect(202);
        let second = b.client().post_with_key(&path, "k", &again).await.expect(202);
        assert_eq!(first.body["message"]["id"], second.body["message"]["id"], "S6");
        c.client().until_idle(&chat).await;
        for replica in [&b, &c] {
            assert!(!replica.log().contains(" ERROR "), "{}", replica.log());
            assert_eq!(replica.log().matches("could not").count(), 0, "{}", replica.log());
        }
        // What one client leaves in a session would meet the next one there.
        for _ in 0..12 {
            let left = "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('statement_timeout'), \
                        (SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database \
                         WHERE locktype = 'advisory' AND datname = current_database())";
            let found = postgres.sql_at(&database, left).expect("psql");
            assert_eq!(found, "0|0|0", "with --bus {bus}");
        }
    }
}

#[tokio::test]
async fn what_the_pooler_says_is_what_is_told() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let pooler = Pooler::start(&postgres, "session").expect("a PgBouncer");
    let nowhere = pooler.url(&postgres.url("nowhere"), postgres.port());
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--database", &nowhere]).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("\"nowhere\" does not exist"), "{said}");
}
