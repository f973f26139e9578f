//! A database that loses notifications, terminates connections, or stops and comes back.

use std::sync::Arc;
use std::time::Duration;

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL, LEASE_TTL, POLL_INTERVAL};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// The bound of L1.
const CONVERGED_WITHIN: Duration =
    POLL_INTERVAL.saturating_mul(2).saturating_add(LEASE_TTL).saturating_add(Duration::from_secs(5));

/// Terminates the connections that listen for notifications. Returns how many there were.
fn end_listeners(cluster: &Cluster) -> usize {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}' \
         AND (query ILIKE 'LISTEN%' OR query = 'SELECT 1')",
        cluster.database_name()
    );
    cluster.postgres.sql("postgres", &sql).expect("psql").parse().expect("a count")
}

#[tokio::test]
async fn streams_go_on_while_notifications_are_lost_again_and_again() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=300 interval=15ms").await;
    let mut viewers =
        [Viewer::open(&b, &chat, Kind::EventStream).await, Viewer::open(&c, &chat, Kind::WebSocket).await];
    let mut ended = 0;
    for round in 1..=4 {
        for viewer in &mut viewers {
            viewer.until("parts are shown", |s| s.seq >= round * 40).await;
        }
        ended += end_listeners(&cluster);
        b.send(&chat, "/demo parts=3 interval=0").await;
    }
    assert!(ended >= 3, "the faults landed: {ended} listeners were ended");
    a.until_idle(&chat).await;
    end_listeners(&cluster);
    for viewer in &mut viewers {
        let took =
            viewer.until("the end is shown", |s| s.messages.len() == 10 && s.status == "waiting").await;
        assert!(took <= CONVERGED_WITHIN, "L1: {took:?}");
        viewer.finish(&a).await;
        assert_eq!(viewer.screen.texts()[1], counted(300));
    }
}

#[tokio::test]
async fn what_happens_while_nobody_is_notified_is_found_by_the_next_poll() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("").await;
    let mut viewer = Viewer::open(&c, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    let mut ended = 0;
    for number in 1..=5 {
        ended += end_listeners(&cluster);
        b.send(&chat, "/demo parts=2 interval=0").await;
        let took =
            viewer.until("the answer", |s| s.messages.len() == 2 * number && s.status == "waiting").await;
        assert!(took <= CONVERGED_WITHIN, "L1, L3: {took:?}");
    }
    assert!(ended >= 5, "the faults landed: {ended} listeners were ended");
    viewer.finish(&b).await;
}

#[tokio::test]
async fn every_connection_may_be_ended_and_nothing_is_lost() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=400 interval=10ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    let mut queued = vec![];
    for round in 1..=3 {
        viewer.until("parts are shown", |s| s.seq >= round * 80).await;
        assert!(cluster.postgres.terminate_backends(cluster.database_name()).expect("psql") > 0);
        let path = format!("/v1/chats/{chat}/messages");
        let body = json!({"content": format!("/demo parts=1 interval=0 n{round}")});
        // Retried under one key until it is acknowledged, it happens once (S6).
        let answer = until("the send is acknowledged", async || {
            let answer = c.post_with_key(&path, &format!("n{round}"), &body).await;
            assert!(matches!(answer.status, 0 | 202 | 503), "{}", answer.text);
            (answer.status == 202).then_some(answer.body)
        })
        .await;
        queued.push(answer["queued"]["id"].as_u64().or(answer["message"]["id"].as_u64()));
    }
    assert!(queued.iter().all(Option::is_some));
    viewer.until("all is answered", |s| s.messages.len() == 8 && s.status == "waiting").await;
    viewer.finish(&c).await;
    let texts = viewer.screen.texts();
    assert_eq!(texts[1], counted(400), "S4");
    assert!((1..=3).all(|round| texts[2 * round].ends_with(&format!("n{round}"))), "S6: {texts:?}");
}

#[tokio::test]
async fn replicas_wait_for_a_database_that_is_away_and_go_on_when_it_is_back() {
    let postgres = Arc::new(Postgres::new().expect("a PostgreSQL"));
    let mut cluster = Cluster::start_on(postgres.clone(), &[&INTERNAL, &INTERNAL]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=250 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;
    let queued = b.send(&chat, "/demo parts=2 interval=0").await["queued"]["id"].clone();

    let failures = async |index: usize| {
        Metrics::of(&cluster.replicas[index]).await.sum("mainstem_database_failures_total", &[])
    };
    assert_eq!([failures(0).await, failures(1).await], [0.0; 2]);
    postgres.stop();
    for client in [&a, &b] {
        let away = async || (client.get("/readyz").await.status == 503).then_some(());
        until("the replica is not ready", away).await;
        client.get("/readyz").await.expect_document();
        client.get("/healthz").await.expect(200);
    }
    let refused = b.post(&format!("/v1/chats/{chat}/messages"), json!({"content": "x"})).await;
    refused.expect(503).expect_document();
    let seq = viewer.screen.seq;
    viewer.until("what is being generated goes on", |s| s.seq > seq + 10).await;
    for (index, replica) in cluster.replicas.iter().enumerate() {
        assert!(failures(index).await >= 1.0);
        assert_eq!(Metrics::of(replica).await.sum("mainstem_ready", &[]), 0.0);
    }
    postgres.start().expect("it starts again");

    for replica in &cluster.replicas {
        replica.until_ready().await;
    }
    viewer.until("all is answered", |s| s.messages.len() >= 4 && s.status == "waiting").await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let users: Vec<_> = viewer.screen.messages.iter().filter(|m| m.role == "user").collect();
    assert!(users.iter().filter(|m| Some(m.queued_as.unwrap_or(m.id)) == queued.as_u64()).count() == 1, "S6");
    assert_eq!(viewer.screen.texts()[1], counted(250), "S4");
    assert!(cluster.replicas.iter_mut().all(|replica| replica.is_running()), "no restart");
}
