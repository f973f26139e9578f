//! Replicas that crash, freeze and resume.

use std::time::Duration;

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL, LEASE_TTL, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// The bound of L5, with slack for a busy machine.
const SENT_WITHIN: Duration = LEASE_TTL.saturating_add(Duration::from_secs(1 + 3));

/// Two workers, and one replica that only serves clients.
async fn two_workers() -> Cluster {
    Cluster::start(&[&INTERNAL, &INTERNAL, &["--workers", "0"]]).await
}

/// A count of the replica at this index.
async fn count(cluster: &Cluster, index: usize, name: &str) -> f64 {
    Metrics::of(&cluster.replicas[index]).await.sum(name, &[])
}

#[tokio::test]
async fn the_death_of_a_worker_is_told_and_another_takes_over() {
    let mut cluster = two_workers().await;
    let c = cluster.replicas[2].client();
    let chat = c.create("/demo parts=250 interval=20ms").await;
    let dead = cluster.index_of(&c.until_running(&chat).await);
    let other = cluster.replicas[1 - dead].client();
    let mut viewers = [
        Viewer::open(&c, &chat, Kind::EventStream).await,
        Viewer::open(&other, &chat, Kind::WebSocket).await,
    ];
    let mut its_own = Viewer::open(&cluster.replicas[dead].client(), &chat, Kind::EventStream).await;
    for viewer in viewers.iter_mut().chain([&mut its_own]) {
        viewer.until("parts are shown", |s| s.seq > 10).await;
    }
    assert_eq!(count(&cluster, 1 - dead, "mainstem_takeovers_total").await, 0.0);
    cluster.replicas[dead].kill();
    its_own.ended().await;
    its_own.resume_on(&c).await;
    let [first, second] = &mut viewers;
    let is_reported = |s: &mainstem_tests::viewer::Screen| !s.resets.is_empty();
    let (one, two) =
        tokio::join!(first.until("it is told", is_reported), second.until("it is told", is_reported));
    assert!(one.max(two) <= SENT_WITHIN, "L5: {one:?}, {two:?}");
    assert_eq!(count(&cluster, 1 - dead, "mainstem_takeovers_total").await, 1.0);
    for viewer in viewers.iter_mut().chain([&mut its_own]) {
        viewer.until("it is told", is_reported).await;
        assert_eq!(viewer.screen.resets, ["takeover"]);
        viewer.until_idle().await;
        viewer.finish(&c).await;
        assert_eq!(viewer.screen.last_text(), counted(250));
    }
    let answer = c.messages(&chat).await.pop().expect("an answer").episode.expect("it was generated");
    assert_eq!(answer.attempt, 2);
}

#[tokio::test]
async fn a_worker_that_froze_past_its_lease_writes_nothing_more() {
    let cluster = two_workers().await;
    let c = cluster.replicas[2].client();
    let chat = c.create("/demo parts=5000 interval=10ms").await;
    let frozen = cluster.index_of(&c.until_running(&chat).await);
    let mut there = Viewer::open(&cluster.replicas[frozen].client(), &chat, Kind::WebSocket).await;
    there.until("parts are shown", |s| s.seq > 10).await;
    let mut viewer = Viewer::open(&c, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;
    cluster.replicas[frozen].pause();
    let took = viewer.until("it is told", |s| !s.resets.is_empty()).await;
    assert!(took <= SENT_WITHIN, "L5: {took:?}");
    viewer.until("another took over", |s| s.resets == ["takeover"] && s.seq > 10).await;
    assert_eq!(count(&cluster, 1 - frozen, "mainstem_takeovers_total").await, 1.0);
    // While the new worker generates, the old one resumes: its run is void (S5).
    cluster.replicas[frozen].resume();
    there.until("the old one knows", |s| s.resets == ["takeover"] && s.attempt == 2 && s.seq > 10).await;
    let before = c.chat(&chat).await;
    assert_eq!((&before["attempt"], &before["status"]), (&2.into(), &"running".into()), "S5: {before}");
    let metrics = Metrics::of(&cluster.replicas[frozen]).await;
    assert_eq!(metrics.sum("mainstem_generations_total", &[("result", "cancelled")]), 1.0, "S5");
    assert_eq!(metrics.sum("mainstem_lease_lost_total", &[]), 0.0, "S5: it did not even ask");
    c.interrupt(&chat).await.expect(202);
    for viewer in [&mut viewer, &mut there] {
        viewer.until_idle().await;
        viewer.finish(&c).await;
        assert_eq!((viewer.screen.messages.len(), viewer.screen.resets.len()), (2, 1));
    }
    assert_eq!(c.messages(&chat).await[1].episode.expect("an episode").attempt, 2, "S5");
}

#[tokio::test]
async fn a_worker_that_froze_until_all_was_over_changes_nothing() {
    let cluster = two_workers().await;
    let c = cluster.replicas[2].client();
    let chat = c.create("/demo parts=60 interval=20ms").await;
    let frozen = cluster.index_of(&c.until_running(&chat).await);
    let old = cluster.replicas[frozen].client();
    let mut there = Viewer::open(&old, &chat, Kind::EventStream).await;
    there.until("parts are shown", |s| s.seq > 3).await;
    cluster.replicas[frozen].pause();
    let after = c.until_idle(&chat).await;
    cluster.replicas[frozen].resume();
    there.until_idle().await;
    there.finish(&c).await;
    assert_eq!(there.screen.last_text(), counted(60));
    let answer = c.messages(&chat).await.pop().expect("an answer").episode.expect("it was generated");
    assert_eq!(answer.attempt, 2, "it froze in the middle, and another took over");
    // The old one works again: a late write would have happened before it does something new.
    cluster.replicas[frozen].until_ready().await;
    old.create("/demo parts=1 interval=0").await;
    let chat_now = old.chat(&chat).await;
    assert_eq!(chat_now["snapshot_version"], after["snapshot_version"], "S5");
}

#[tokio::test]
async fn a_viewer_survives_the_death_of_the_replica_it_is_on() {
    let mut cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    // Longer than two restarts: after a crash each waits for the name that it had.
    let chat = a.create("/demo parts=800 interval=15ms").await;
    for kind in [Kind::EventStream, Kind::WebSocket] {
        let mut viewer = Viewer::open(&b, &chat, kind).await;
        let seen = viewer.screen.seq;
        viewer.until("parts are shown", |s| s.seq > seen + 10).await;
        cluster.replicas[1].kill();
        viewer.ended().await;
        cluster.replicas[1].start_again().await;
        viewer.resume_on(&b).await;
        viewer.until("it goes on", |s| s.is_synced && s.status == "running").await;
        if kind == Kind::WebSocket {
            viewer.until_idle().await;
            viewer.finish(&a).await;
            assert_eq!(viewer.screen.last_text(), counted(800));
            assert!(viewer.screen.resets.is_empty(), "S4: its worker lives");
        }
    }
}

#[tokio::test]
async fn a_chat_goes_on_after_all_replicas_died() {
    let mut cluster = Cluster::start(&[&[], &[]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=100 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;
    let queued = b.send(&chat, "/demo parts=2 interval=0").await["queued"]["id"].clone();
    for replica in &mut cluster.replicas {
        replica.kill();
    }
    viewer.ended().await;
    for replica in &mut cluster.replicas {
        replica.start_again().await;
    }
    assert_eq!(b.chat(&chat).await["queue"][0]["id"], queued, "S6");
    viewer.resume_on(&b).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let texts = viewer.screen.texts();
    assert_eq!((texts.len(), &texts[1], &texts[3]), (4, &counted(100), &counted(2)));
}

#[tokio::test]
async fn sqlite_loses_nothing_that_was_acknowledged() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=20 interval=20ms").await;
    let path = format!("/v1/chats/{chat}/messages");
    let mut answers = vec![];
    for round in 0..3 {
        for number in 0..4 {
            let key = format!("{round}-{number}");
            let body = json!({"content": format!("/demo parts=3 interval=1ms {key}")});
            let answer = client.post_with_key(&path, &key, &body).await.expect(202).text;
            answers.push((key, body, answer));
        }
        replica.kill();
        replica.start_again().await;
    }
    for (key, body, answer) in &answers {
        let again = client.post_with_key(&path, key, body).await.expect(202).text;
        assert_eq!(&again, answer, "S6: the same key has the same answer");
    }
    client.until_idle(&chat).await;
    let history = client.messages(&chat).await;
    let sent: Vec<String> = history
        .iter()
        .filter(|message| message.role == "user")
        .filter_map(|message| message.text().split_once("1ms ").map(|(_, key)| key.to_owned()))
        .collect();
    let keys: Vec<&String> = answers.iter().map(|(key, ..)| key).collect();
    assert_eq!(sent.iter().collect::<Vec<_>>(), keys, "S6: each once, in order");
    for answer in history.iter().filter(|message| message.role == "assistant") {
        assert!([counted(3), counted(20)].contains(&answer.text()), "{answer:?}");
    }
}

#[tokio::test]
async fn an_interrupt_that_its_worker_did_not_live_to_see_is_finished_by_another() {
    let mut cluster = two_workers().await;
    let c = cluster.replicas[2].client();
    let chat = c.create("/demo parts=5000 interval=10ms").await;
    let frozen = cluster.index_of(&c.until_running(&chat).await);
    let mut viewer = Viewer::open(&c, &chat, Kind::WebSocket).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;
    cluster.replicas[frozen].pause();
    c.interrupt(&chat).await.expect(202);
    viewer.until("it is told", |s| s.status == "interrupting").await;
    cluster.replicas[frozen].kill();
    viewer.until_idle().await;
    viewer.finish(&c).await;
    assert_eq!(viewer.screen.status, "waiting", "L2");
    assert_eq!(viewer.screen.resets, ["takeover"], "S4: what nobody has any more was taken back");
    until("the other is free of it", async || c.chat(&chat).await["worker"].is_null().then_some(())).await;
}
