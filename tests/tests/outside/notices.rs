//! What a notice carries: the replica of a viewer reads nothing where only the row changed, at another replica.

use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::metrics::Metrics;
use mainstem_tests::viewer::{Kind, Viewer};

/// How often the replica of viewers has read a chat.
async fn reads(cluster: &Cluster) -> f64 {
    let metrics = Metrics::of(&cluster.replicas[1]).await;
    metrics.sum("mainstem_database_operation_seconds_count", &[("op", "snapshot")])
}

#[tokio::test]
async fn an_acquisition_at_another_replica_is_told_without_a_read() {
    let one_worker = [&INTERNAL[..], &["--workers", "1"]].concat();
    let viewers_only = [&INTERNAL[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&one_worker, &viewers_only]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let first = a.create("/demo parts=100000 interval=10ms").await;
    a.until_running(&first).await;
    let second = a.create("/demo parts=100000 interval=10ms").await;
    let mut viewer = Viewer::open(&b, &second, Kind::EventStream).await;
    viewer.until("it waits for a worker", |screen| screen.is_synced && screen.status == "running").await;
    assert_eq!(viewer.screen.worker, None);
    let before = reads(&cluster).await;
    a.interrupt(&first).await.expect(202);
    viewer.until("parts are shown", |screen| screen.seq > 3).await;
    assert_eq!(viewer.screen.worker.as_deref(), Some("a"));
    assert_eq!(reads(&cluster).await, before, "L4: the notice has said who works on it");
}
