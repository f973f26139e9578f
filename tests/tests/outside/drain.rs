//! Deploys: a replica that is asked to stop hands over, ends its streams, and exits with 0.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};

#[tokio::test]
async fn a_run_that_is_soon_over_finishes_before_its_replica_ends() {
    let mut cluster = Cluster::start(&[&INTERNAL, &["--workers", "0"]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=200 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    let mut there = Viewer::open(&a, &chat, Kind::EventStream).await;
    for viewer in [&mut viewer, &mut there] {
        viewer.until("parts are shown", |s| s.seq > 5).await;
    }
    let is_ready = async || Metrics::of(&cluster.replicas[0]).await.sum("mainstem_ready", &[]);
    assert_eq!(is_ready().await, 1.0);
    cluster.replicas[0].terminate();
    until("traffic is not welcome any more", async || (is_ready().await == 0.0).then_some(())).await;
    let internal = cluster.replicas[0].internal();
    internal.get("/readyz").await.expect(503);
    internal.get("/healthz").await.expect(200);
    assert_eq!(there.ended().await, Ended::Body);
    there.resume_on(&b).await;
    for viewer in [&mut viewer, &mut there] {
        viewer.until_idle().await;
        viewer.finish(&b).await;
        assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(200), 0));
    }
    assert_eq!(cluster.replicas[0].ended().await.code(), Some(0));
    let log = cluster.replicas[0].log();
    let nobodys = log.lines().find(|line| !line.contains("serve{replica=a}"));
    assert_eq!((log.contains("starting the model"), nobodys), (true, None), "a line says whose it is");
}

#[tokio::test]
async fn a_run_that_is_long_is_handed_over() {
    let working = [&INTERNAL[..], &["--drain-timeout", "500ms"]].concat();
    let mut cluster = Cluster::start(&[&working, &working]).await;
    cluster.add("c", &["--workers", "0"]).await;
    let c = cluster.replicas[2].client();
    let chat = c.create("/demo parts=200 interval=20ms").await;
    let leaving = cluster.index_of(&c.until_running(&chat).await);
    let there = cluster.replicas[leaving].client();
    let mut left = [
        Viewer::open(&there, &chat, Kind::EventStream).await,
        Viewer::open(&there, &chat, Kind::WebSocket).await,
    ];
    let mut viewer = Viewer::open(&c, &chat, Kind::WebSocket).await;
    viewer.until("parts are shown", |s| s.seq > 5).await;
    cluster.replicas[leaving].terminate();
    assert_eq!(left[0].ended().await, Ended::Body);
    assert_eq!(left[1].ended().await, Ended::Closed(1001));
    assert_eq!(cluster.replicas[leaving].ended().await.code(), Some(0));
    let now = c.chat(&chat).await;
    assert_eq!(now["status"], "running", "L3: it goes on");
    assert_ne!(now["worker"], *cluster.replicas[leaving].id, "L3: no lease has to run out");
    let other = Metrics::of(&cluster.replicas[1 - leaving]).await;
    assert_eq!(other.sum("mainstem_takeovers_total", &[]), 0.0, "it was asked to");
    for viewer in &mut left {
        viewer.resume_on(&c).await;
    }
    viewer.until("it begins anew", |s| s.resets.len() == 1).await;
    let [first, second] = left;
    for mut viewer in [first, second, viewer] {
        viewer.until_idle().await;
        viewer.finish(&c).await;
        assert_eq!(viewer.screen.last_text(), counted(200));
        assert!(viewer.screen.resets.len() <= 1);
    }
}

#[tokio::test]
async fn a_terminal_that_is_closed_makes_a_replica_hand_over() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=60 interval=20ms").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until("parts are shown", |s| s.seq > 5).await;
    replica.hang_up();
    replica.hang_up();
    assert_eq!(viewer.ended().await, Ended::Closed(1001));
    assert_eq!(replica.ended().await.code(), Some(0));
    replica.start_again().await;
    viewer.resume_on(&client).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(60), 0));
}

#[tokio::test]
async fn a_rolling_restart_is_seen_by_no_reader_of_the_answer() {
    let mut cluster = Cluster::start(&[&[], &[], &[]]).await;
    let clients = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = clients[0].create("/demo parts=100 interval=20ms").await;
    let mut viewer = Viewer::open(&clients[0], &chat, Kind::WebSocket).await;
    for at in 0..3 {
        clients[(at + 1) % 3].send(&chat, "/demo parts=50 interval=20ms").await;
        cluster.replicas[at].terminate();
        assert_eq!(viewer.ended().await, Ended::Closed(1001));
        viewer.resume_on(&clients[(at + 1) % 3]).await;
        assert_eq!(cluster.replicas[at].ended().await.code(), Some(0));
        cluster.replicas[at].start_again().await;
    }
    viewer.until("all is answered", |s| s.messages.len() == 8 && s.status == "waiting").await;
    viewer.finish(&clients[2]).await;
    let texts = viewer.screen.texts();
    assert_eq!((&texts[1], &texts[3], &texts[7]), (&counted(100), &counted(50), &counted(50)));
}

#[tokio::test]
async fn a_replica_that_drains_says_so() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &["--drain-timeout", "5s"]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=150 interval=20ms").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 5).await;
    replica.terminate();
    let draining = async || (client.get("/readyz").await.status == 503).then_some(());
    mainstem_tests::deadline::until("it says so", draining).await;
    client.get("/healthz").await.expect(200);
    assert_eq!(Viewer::refused(&client, &chat, Kind::WebSocket, "").await.0, 503);
    viewer.ended().await;
    assert_eq!(replica.ended().await.code(), Some(0));
    replica.start_again().await;
    viewer.resume_on(&client).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!(viewer.screen.last_text(), counted(150));
}
