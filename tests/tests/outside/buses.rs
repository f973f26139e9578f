//! Replicas whose notices are carried by something else than PostgreSQL, or by nothing.

use std::time::{Duration, Instant};

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, LEASE_TTL, POLL_INTERVAL, TIMES};
use mainstem_tests::process::run;
use mainstem_tests::viewer::{Kind, Viewer};

/// L1.
const CONVERGENCE_MAX: Duration = Duration::from_secs(2 * POLL_INTERVAL.as_secs() + LEASE_TTL.as_secs() + 5);
/// For what takes a poll, on a machine that does much else.
const SLACK: Duration = Duration::from_secs(2);

/// The log has no line of this level.
fn assert_unlogged(cluster: &Cluster, level: &str) {
    for replica in &cluster.replicas {
        let log = replica.log();
        let line = log.lines().find(|line| line.contains(level));
        assert_eq!(line, None, "{}: {log}", replica.id);
    }
}

#[tokio::test]
async fn replicas_without_a_bus_find_work_and_changes_by_polling() {
    let none = ["--bus", "none"];
    let serving = ["--bus", "none", "--workers", "0"];
    let cluster = Cluster::start(&[&none, &serving, &serving]).await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    // The worker hears of nothing that is sent elsewhere, and viewers hear of nothing that the worker commits.
    let asked = Instant::now();
    let chat = b.create("/demo parts=5000 interval=10ms").await;
    let mut viewers =
        [Viewer::open(&b, &chat, Kind::EventStream).await, Viewer::open(&c, &chat, Kind::WebSocket).await];
    b.until_running(&chat).await;
    assert!(asked.elapsed() < POLL_INTERVAL + SLACK, "L3: within one poll, not {:?}", asked.elapsed());
    for viewer in &mut viewers {
        viewer.until("parts are relayed", |s| s.seq > 20).await;
    }
    assert!(asked.elapsed() < CONVERGENCE_MAX, "L1: {:?}", asked.elapsed());
    let interrupted = Instant::now();
    c.interrupt(&chat).await.expect(202);
    for viewer in &mut viewers {
        viewer.until_idle().await;
        assert!(interrupted.elapsed() < CONVERGENCE_MAX, "L1, L2: {:?}", interrupted.elapsed());
    }
    b.send(&chat, "/demo parts=30 interval=5ms").await;
    for viewer in &mut viewers {
        viewer.until("the next answer", |s| s.messages.len() == 4).await;
        viewer.until_idle().await;
        viewer.finish(&a).await;
        assert_eq!(viewer.screen.last_text(), counted(30), "S4");
    }
    for client in [&a, &b, &c] {
        client.get("/readyz").await.expect(200);
    }
    assert_unlogged(&cluster, " WARN ");
    assert_unlogged(&cluster, " ERROR ");
    let database = cluster.database_name();
    let listening = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'LISTEN%'"
    );
    assert_eq!(cluster.postgres.sql("postgres", &listening).expect("psql"), "0", "nobody listens");
}

#[tokio::test]
async fn what_is_no_bus_is_refused_and_its_password_is_not_repeated() {
    for (database, bus, says) in [
        ("sqlite:x.db", "none", "SQLite"),
        ("postgres://u@127.0.0.1:1/x", "amqp://u:hidden@127.0.0.1:1", "--bus: expected"),
    ] {
        let flags = ["serve", "--listen", "127.0.0.1:0", "--database", database, "--bus", bus];
        let ended = run(&[&flags[..], &TIMES].concat()).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(
            said.contains(says) && !said.contains("hidden") && said.trim().lines().count() == 1,
            "{said}"
        );
    }
}
