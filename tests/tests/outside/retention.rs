//! `--chat-retention`: what nobody has touched for long goes, and nothing else.

use std::time::Duration;

use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::process::run;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use serde_json::json;

#[tokio::test]
async fn replicas_delete_what_nobody_has_touched_for_long_and_tell_who_watches() {
    let retention = ["--chat-retention", "4s"];
    let cluster = Cluster::start(&[&retention, &retention]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let busy = a.create("/demo parts=2000 interval=20ms").await;
    let touched = a.create("/demo parts=1").await;
    let touching = tokio::spawn({
        let (a, path) = (a.clone(), format!("/v1/chats/{touched}"));
        async move {
            loop {
                a.patch(&path, json!({"title": "in use"})).await.expect(200);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    });
    let mut watched = vec![];
    for _ in 0..40 {
        watched.push(a.create("/demo parts=1 interval=0").await);
    }
    let mut viewer = Viewer::open(&b, &watched[0], Kind::WebSocket).await;
    viewer.until_idle().await;
    assert_eq!(viewer.ended().await, Ended::Closed(4404), "who watches is told");
    until("all of them are gone", async || {
        for chat in &watched {
            if b.get(&format!("/v1/chats/{chat}")).await.status != 404 {
                return None;
            }
        }
        Some(())
    })
    .await;
    assert!(!touching.is_finished(), "S6: what is used stays");
    touching.abort();
    b.get(&format!("/v1/chats/{touched}")).await.expect(200);
    assert_eq!(b.chat(&busy).await["status"], "running", "S6: who waits for an answer is not forgotten");
}

#[tokio::test]
async fn without_the_flag_nothing_goes_and_a_time_of_nothing_is_refused() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let ended = run(&["serve", "--database", &url, "--chat-retention", "10ms"]).await;
    assert_eq!(ended.status.code(), Some(64));
    let replica = alone(&scratch, &[]).await;
    let chat = replica.client().create("/demo parts=1 interval=0").await;
    replica.client().until_idle(&chat).await;
    assert!(!replica.log().contains("--chat-retention"));
}
