//! A replica whose host has a wrong clock: leases go by the database's, and tokens by the replica's own.

use mainstem_programs::FAKETIME;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::jwt::Issuer;
use mainstem_tests::process::run_with;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

use super::metric;

const SECRET: &str = "a secret that is shared and 32 bytes or more long";

#[tokio::test]
async fn a_replica_whose_clock_is_wrong_takes_no_answer_over_and_misjudges_tokens() {
    let library = FAKETIME.path().unwrap_or_else(|missing| panic!("{missing}"));
    let library = library.to_str().expect("a path of UTF-8");
    let ahead = [("LD_PRELOAD", library), ("FAKETIME", "+2h"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let scratch = Scratch::new();
    let key = scratch.file("key", SECRET);
    let flags = [&INTERNAL[..], &["--jwt-key-file", &key, "--jwt-algorithm", "HS256"]].concat();
    let mut cluster = Cluster::start(&[&flags]).await;
    let token = Issuer::secret(SECRET.as_bytes()).token("ann", "mainstem:write", json!({}));
    let ann = |cluster: &Cluster, index: usize| cluster.replicas[index].client().with_token(&token);
    // Longer than a lease. The only worker has it when the other one comes.
    let a = ann(&cluster, 0);
    let chat = a.create("/demo parts=300 interval=20ms").await;
    assert_eq!(a.until_running(&chat).await, "a");
    cluster.add_with("b", &flags, &ahead).await;
    let mut viewer = Viewer::open(&a, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(300), 0), "S5");
    for replica in &cluster.replicas {
        assert_eq!(metric(replica, "mainstem_takeovers_total", &[]).await, 0.0);
        replica.client().get("/readyz").await.expect(200);
    }
    a.get("/v1/chats").await.expect(200);
    ann(&cluster, 1).get("/v1/chats").await.expect_problem(401, "unauthorized");
    let refused = [("reason", "unauthorized")];
    assert_eq!(metric(&cluster.replicas[1], "mainstem_auth_failures_total", &refused).await, 1.0);
    let asked = ["doctor", "--database", &cluster.database, "--listen", "127.0.0.1:0"];
    let told = run_with(&asked, &ahead, "").await;
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("warn  clock: "), "{told}");
}
