//! What fails about the database: it is away for longer than a lease, it hangs, its disk is full, or a newer release has been there.

use std::sync::Arc;

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::deadline::until;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::run;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

use super::metric;

const FAILURES: &str = "mainstem_database_failures_total";

async fn a_worker_and_a_server(postgres: &Arc<Postgres>) -> Cluster {
    let serving = [&INTERNAL[..], &["--workers", "0"]].concat();
    Cluster::start_on(postgres.clone(), &[&INTERNAL, &serving]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_for_longer_than_a_lease_makes_answers_begin_anew() {
    let postgres = Arc::new(Postgres::new().expect("a PostgreSQL"));
    let cluster = a_worker_and_a_server(&postgres).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=700 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;
    postgres.pause();
    let seq = viewer.screen.seq;
    viewer.until("what is being generated goes on", |s| s.seq > seq + 10).await;
    for replica in &cluster.replicas {
        let internal = replica.internal();
        until("it is not ready", async || (internal.get("/readyz").await.status == 503).then_some(())).await;
        internal.get("/healthz").await.expect(200);
        until("what is not answered is counted", async || {
            (metric(replica, FAILURES, &[("outcome", "unknown")]).await >= 1.0).then_some(())
        })
        .await;
    }
    // By its own clock the worker has no lease any more, and makes nothing under it.
    until("the worker stands still", async || {
        (metric(&cluster.replicas[0], "mainstem_chats_running", &[]).await == 0.0).then_some(())
    })
    .await;
    let refused = b.post("/v1/chats", json!({"content": "x"})).await;
    refused.expect_problem(503, "unavailable");
    postgres.resume();
    for replica in &cluster.replicas {
        replica.until_ready().await;
    }
    viewer.until("it begins anew", |s| !s.resets.is_empty()).await;
    viewer.until("all is answered", |s| s.messages.len() >= 2).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert_eq!((viewer.screen.texts()[1].clone(), viewer.screen.resets.len()), (counted(700), 1), "S4");
}

/// Makes PostgreSQL refuse new messages with what it says when its disk is full. To fill one takes a disk of its own, and rights.
const FILL: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
                    'BEGIN RAISE EXCEPTION ''No space left on device'' USING ERRCODE = ''disk_full''; END'; \
                    CREATE TRIGGER full_disk BEFORE INSERT ON messages EXECUTE FUNCTION full_disk()";

#[tokio::test]
async fn a_database_whose_disk_is_full_takes_no_message_and_loses_none() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let cluster = a_worker_and_a_server(&postgres).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=100 interval=10ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 5).await;
    let sql = |sql: &str| cluster.postgres.sql(cluster.database_name(), sql).expect("psql");
    sql(FILL);
    viewer.until("it goes on to its end", |s| s.seq == 100).await;
    let refused = b.post("/v1/chats", json!({"content": "x"})).await;
    refused.expect_problem(503, "unavailable");
    until("what is refused is counted", async || {
        (metric(&cluster.replicas[0], FAILURES, &[("outcome", "refused")]).await >= 1.0).then_some(())
    })
    .await;
    assert!(cluster.replicas[0].log().contains("No space left on device"), "{}", cluster.replicas[0].log());
    assert_eq!(b.messages(&chat).await.len(), 1, "D2: it was full when the answer was over");
    for client in [&a, &b] {
        client.get("/readyz").await.expect(200);
    }
    sql("DROP TRIGGER full_disk ON messages");
    viewer.until("the answer is kept", |s| s.messages.len() == 2).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(100), 0), "S4");
}

#[tokio::test]
async fn an_earlier_release_goes_on_and_starts_on_a_newer_schema_unless_it_is_barred() {
    let mut cluster = Cluster::start(&[&[]]).await;
    // As if the next release had been there: it only adds.
    let newer = "ALTER TABLE messages ADD COLUMN of_the_next_release text; CREATE TABLE of_the_next_release (id bigint); \
                 INSERT INTO mainstem_migrations (version, description, success, checksum, execution_time) \
                 SELECT max(version) + 1, 'the next release', true, 'x', 1 FROM mainstem_migrations";
    cluster.postgres.sql(cluster.database_name(), newer).expect("psql");
    let doctor = ["doctor", "--database", &cluster.database.clone(), "--listen", "127.0.0.1:0"];
    let told = String::from_utf8_lossy(&run(&doctor).await.stdout).into_owned();
    assert!(told.contains("ok    migrations: ") && told.contains("made by a later release"), "{told}");
    cluster.add("b", &[]).await;
    assert!(cluster.replicas[1].log().contains("the schema was made by a later release"));
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    for (asked, told) in [(&a, &b), (&b, &a)] {
        let chat = asked.create("/demo parts=50 interval=5ms").await;
        let mut viewer = Viewer::open(told, &chat, Kind::WebSocket).await;
        viewer.until_idle().await;
        viewer.finish(asked).await;
        assert_eq!(viewer.screen.last_text(), counted(50));
    }
    let sql = "UPDATE mainstem_migrations SET version = 1000 WHERE description = 'the next release'";
    cluster.postgres.sql(cluster.database_name(), sql).expect("psql");
    let started = run(&["serve", "--database", &cluster.database, "--listen", "127.0.0.1:0"]).await;
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(started.status.code() == Some(1) && said.contains("start a newer mainstem"), "{said}");
    let told = run(&doctor).await;
    let told = (told.status.code(), String::from_utf8_lossy(&told.stdout).into_owned());
    assert!(told.0 == Some(1) && told.1.contains("fail  migrations: "), "{told:?}");
}
