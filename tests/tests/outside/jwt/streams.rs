//! How long streams last that a JWT opened (S10).

use std::time::{Duration, Instant};

use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::jwt::now;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use serde_json::json;

use super::{SECRET, client, issuer, replica};

#[tokio::test]
async fn a_stream_ends_when_its_token_has_expired_and_the_grace_is_over_at_any_replica() {
    let scratch = Scratch::new();
    let key = scratch.file("key", std::str::from_utf8(SECRET).expect("text"));
    let flags = ["--jwt-key-file", &*key, "--jwt-algorithm", "HS256", "--token-grace", "2s"];
    let viewers_only = [&flags[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&flags, &viewers_only]).await;
    let writer = client(&cluster.replicas[0], "ann", "mainstem:write");
    let chat = writer.create("/demo parts=1500 interval=10ms").await;
    writer.until_running(&chat).await;
    let expires = now() + 3;
    let begun = Instant::now();
    let short = issuer().sign(&json!({"sub": "ann", "scope": "mainstem:read", "exp": expires}));
    let mut viewers = vec![];
    for replica in &cluster.replicas {
        for kind in [Kind::EventStream, Kind::WebSocket] {
            viewers.push((Viewer::open(&replica.client().with_token(&short), &chat, kind).await, kind));
        }
    }
    let mut stays = Viewer::open(&writer, &chat, Kind::EventStream).await;
    for (mut viewer, kind) in viewers {
        let ended = viewer.ended().await;
        assert_eq!(ended, if kind == Kind::WebSocket { Ended::Closed(4401) } else { Ended::Body }, "S10");
        // Seconds are cut off: it expired 2 to 3 s after `begun`.
        assert!(begun.elapsed() >= Duration::from_secs(4), "it has the grace: {:?}", begun.elapsed());
        assert!(viewer.screen.seq > 0, "it was told until then");
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "S10: {:?}", begun.elapsed());
    let seen = stays.screen.seq;
    stays.until("others go on", |screen| screen.seq > seen).await;
}

#[tokio::test]
async fn streams_of_a_key_that_is_replaced_end_and_a_file_that_is_no_key_changes_nothing() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let ann = client(&replica, "ann", "mainstem:write");
    let chat = ann.create("").await;
    let mut viewer = Viewer::open(&ann, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    scratch.file("key", "too short");
    let warned = async || replica.log().contains("stay as they were").then_some(());
    until("it warns", warned).await;
    ann.send(&chat, "/demo parts=2").await;
    viewer.until("the stream goes on", |screen| screen.messages.len() == 2).await;
    let other = "another secret, of thirty-two bytes and more";
    scratch.file("key", other);
    replica.hang_up();
    assert_eq!(viewer.ended().await, Ended::Closed(4401), "S10");
    ann.get("/v1/chats").await.expect(401);
    let anew = mainstem_tests::jwt::Issuer::secret(other.as_bytes());
    let anew = replica.client().with_token(&anew.token("ann", "mainstem:read", json!({})));
    anew.chat(&chat).await;
}
