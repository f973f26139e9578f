//! Chats that are shared: who is given one to read or to write, at whichever replica and in each face, and what ends when it
//! is taken.

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use reqwest::Method;
use serde_json::{Value, json};

const TOKENS: &str = "[tokens]\nanns = \"ann\"\nbobs = \"bob/x\"\ncarls = \"carl\"\n";
/// As it stands in a path.
const BOB: &str = "bob%2Fx";

async fn share(client: &Client, chat: &str, user: &str, may: &str) -> Answer {
    let request = client.request(Method::PUT, &format!("/v1/chats/{chat}/shares/{user}"));
    client.ask(request.json(&json!({"may": may}))).await
}

async fn unshare(client: &Client, chat: &str, user: &str) -> Answer {
    client.delete(&format!("/v1/chats/{chat}/shares/{user}")).await
}

fn ids(listed: &Value) -> Vec<&str> {
    listed["chats"]
        .as_array()
        .expect("chats")
        .iter()
        .map(|chat| chat["id"].as_str().expect("an id"))
        .collect()
}

/// As of a chat that is not there. Pages are told that such a chat has no messages yet.
fn tells_nothing(answer: &Answer) -> bool {
    answer.status == 404 || answer.body == json!([]) || answer.body["messages"] == json!([])
}

#[tokio::test]
async fn a_chat_is_there_for_those_it_is_shared_with_and_is_theirs_to_read_or_to_write() {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", TOKENS);
    let replica = alone(&scratch, &["--auth-file", &file]).await;
    let [ann, bob, carl] = ["anns", "bobs", "carls"].map(|token| replica.client().with_token(token));
    let chat = ann.create("/demo parts=2 interval=0").await;
    ann.until_idle(&chat).await;
    let path = format!("/v1/chats/{chat}");
    let faces = |id: &str| {
        [
            format!("/v1/chats/{id}/messages"),
            format!("/v1/chats/{id}/turns/1"),
            format!("/ai/chat/{id}/messages"),
            format!("/ag-ui?threadId={id}"),
            format!("/v1/conversations/conv_{}", id.replace('-', "")),
        ]
    };
    for at in faces(&chat) {
        ann.get(&at).await.expect(200);
        assert!(tells_nothing(&bob.get(&at).await), "S10: {at}");
    }
    // Nobody shares what is another's.
    share(&bob, &chat, BOB, "write").await.expect_problem(404, "no_such_chat");
    assert_eq!(
        share(&ann, &chat, BOB, "read").await.expect(200).body,
        json!({"user": "bob/x", "may": "read"})
    );
    let told = ann.get(&format!("{path}/shares")).await.expect(200).body;
    assert_eq!(told, json!({"shares": [{"user": "bob/x", "may": "read"}]}));
    assert_eq!(bob.chat(&chat).await["owner"], "ann");
    for at in faces(&chat) {
        assert!(!tells_nothing(&bob.get(&at).await.expect(200)), "{at}");
        assert!(tells_nothing(&carl.get(&at).await), "S10: {at}");
    }
    let listed = bob.get("/v1/chats?shared=true").await.expect(200).body;
    assert_eq!((ids(&listed), &listed["next"]), (vec![&*chat], &Value::Null));
    assert_eq!(ids(&bob.get("/v1/chats").await.expect(200).body), [""; 0]);
    assert_eq!(ids(&ann.get("/v1/chats?shared=true").await.expect(200).body), [""; 0]);
    assert_eq!(ids(&bob.get("/v1/chats?shared=true&external_id=x").await.expect(200).body), [""; 0]);
    bob.get("/v1/chats?shared=yes").await.expect_problem(400, "malformed");

    bob.send_as(&chat, "x", "queue").await.expect_problem(403, "read_only");
    bob.interrupt(&chat).await.expect_problem(403, "read_only");
    for own in [
        bob.delete(&path).await,
        bob.get(&format!("{path}/shares")).await,
        share(&bob, &chat, "carl", "read").await,
    ] {
        own.expect_problem(403, "not_owner");
    }
    for (may, code) in [("admin", "malformed"), ("", "malformed")] {
        share(&ann, &chat, BOB, may).await.expect_problem(400, code);
    }
    let long = "u".repeat(256);
    for user in [long.as_str(), "%00", "%FF"] {
        share(&ann, &chat, user, "read").await.expect_problem(400, "malformed");
    }
    share(&ann, &chat, "ann", "read").await.expect_problem(409, "own_chat");

    share(&ann, &chat, BOB, "write").await.expect(200);
    bob.send(&chat, "/demo parts=1 interval=0").await;
    bob.until_idle(&chat).await;
    bob.patch(&path, json!({"title": "ours"})).await.expect(200);
    bob.delete(&path).await.expect_problem(403, "not_owner");
    assert_eq!(ann.messages(&chat).await.len(), 4);
    unshare(&bob, &chat, "carl").await.expect_problem(403, "not_owner");
    unshare(&bob, &chat, BOB).await.expect(204);
    unshare(&ann, &chat, BOB).await.expect(204);
    unshare(&bob, &chat, BOB).await.expect_problem(404, "no_such_chat");
    bob.send_as(&chat, "x", "queue").await.expect_problem(404, "no_such_chat");
    for at in faces(&chat) {
        assert!(tells_nothing(&bob.get(&at).await), "S10: {at}");
    }
    assert_eq!(ids(&bob.get("/v1/chats?shared=true").await.expect(200).body), [""; 0]);
}

#[tokio::test]
async fn streams_at_another_replica_end_when_the_share_is_taken_and_no_others_do() {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", TOKENS);
    let auth = ["--auth-file", &*file];
    let idle = [&auth[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&auth, &idle]).await;
    let [a, b] = [0, 1].map(|at: usize| cluster.replicas[at].client());
    let (ann, bob) = (a.with_token("anns"), b.with_token("bobs"));
    for may in ["read", "write"] {
        let chat = ann.create("/demo parts=4000 interval=5ms").await;
        let refused = Viewer::refused(&bob, &chat, Kind::WebSocket, "").await;
        assert_eq!(refused, (404, "no_such_chat".into()), "S10");
        // It watches where the chat was known before it was shared.
        let mut owner = Viewer::open(&b.with_token("anns"), &chat, Kind::EventStream).await;
        owner.until("parts", |screen| screen.seq > 3).await;
        share(&ann, &chat, BOB, may).await.expect(200);
        let mut viewers = [
            Viewer::open(&bob, &chat, Kind::EventStream).await,
            Viewer::open(&bob, &chat, Kind::WebSocket).await,
        ];
        for viewer in &mut viewers {
            viewer.until("parts", |screen| screen.seq > 10).await;
        }
        unshare(&ann, &chat, BOB).await.expect(204);
        ann.send(&chat, "not for bob").await;
        assert_eq!(viewers[0].ended().await, Ended::Body, "S10");
        assert_eq!(viewers[1].ended().await, Ended::Closed(4403), "S10");
        for viewer in &viewers {
            let told = viewer.events.iter().any(|event| event.to_string().contains("not for bob"));
            assert!(!told, "S10: what was committed since is not told");
        }
        assert_eq!(Viewer::refused(&bob, &chat, Kind::EventStream, "").await.0, 404, "S10");
        owner.until("its owner is told", |screen| screen.queue.len() == 1).await;
        ann.interrupt(&chat).await.expect(202);
    }
}
