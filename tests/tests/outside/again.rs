//! An answer is given again: what follows a user's message goes, on every replica, and its turn runs once more.

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

async fn regenerate(client: &Client, chat: &str, body: Value) -> mainstem_tests::client::Answer {
    client.post(&format!("/v1/chats/{chat}/regenerate"), body).await
}

async fn turn(client: &Client, chat: &str, id: u64) -> Value {
    client.get(&format!("/v1/chats/{chat}/turns/{id}")).await.expect(200).body
}

#[tokio::test]
async fn an_answer_is_given_again_for_everybody_who_watches() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=3 interval=0").await;
    a.until_idle(&chat).await;
    let second =
        b.send(&chat, "/demo parts=100 interval=20ms").await["message"]["id"].as_u64().expect("an id");
    let mut viewers = vec![
        Viewer::open(&b, &chat, Kind::WebSocket).await,
        Viewer::open(&c, &chat, Kind::EventStream).await,
    ];
    for viewer in &mut viewers {
        viewer.until_idle().await;
    }
    let ended = turn(&c, &chat, second).await;
    let before = a.messages(&chat).await;

    // The last one, idle.
    let answered = regenerate(&c, &chat, json!({})).await.expect(202).body;
    assert_eq!((&answered["status"], &answered["turn"]), (&json!("running"), &json!(second)));
    let running = turn(&b, &chat, second).await;
    let fresh = (&running["status"], &running["finish_reason"], &running["usage"]);
    assert_eq!(fresh, (&json!("running"), &Value::Null, &Value::Null), "S12: it begins from nothing");
    assert_eq!(running["messages"], json!([second]), "S12");
    for viewer in &mut viewers {
        viewer.until("the answer goes", |s| s.history_resets == 1).await;
        viewer.until("it is given again", |s| s.seq > 3).await;
    }

    // While it runs: only for who says so, and what waits goes on waiting.
    let waits = b.send(&chat, "/demo parts=2 interval=0").await["queued"]["id"].as_u64().expect("an id");
    for body in [json!({}), json!({"busy": "queue"}), json!({"busy": "reject", "message": second})] {
        regenerate(&b, &chat, body).await.expect_problem(409, "busy");
    }
    let key = "again";
    let path = format!("/v1/chats/{chat}/regenerate");
    let body = json!({"busy": "interrupt"});
    let first = c.post_with_key(&path, key, &body).await.expect(202).body;
    assert_eq!(first["queue"][0]["id"], waits, "S6");
    assert_eq!(c.post_with_key(&path, key, &body).await.expect(202).body, first, "S6: once");
    b.post_with_key(&path, key, &json!({})).await.expect_problem(422, "idempotency_mismatch");
    a.until_idle(&chat).await;
    let after = a.messages(&chat).await;
    assert_eq!(after[..3], before[..3], "S1: what was said before the cut stays");
    assert!(after[3].id > before[3].id && after[3].text() == counted(100), "S1: an id is never used again");
    assert_eq!((after[4].id, after.len()), (waits, 6), "S6: what waited had its turn");
    for viewer in &mut viewers {
        viewer.until("all is said", |s| s.messages.len() == 6).await;
        viewer.until_idle().await;
        viewer.finish(&b).await;
        assert_eq!(viewer.screen.resets, ["edit"], "S4");
    }
    let told = turn(&b, &chat, second).await;
    assert_eq!(told["messages"], json!([second, after[3].id]), "S12");
    assert_eq!(
        (&told["status"], &told["usage"]),
        (&ended["status"], &ended["usage"]),
        "S12: it ends once more"
    );

    // An earlier one, and the turns behind it with it.
    let first_id = after[0].id;
    regenerate(&a, &chat, json!({"message": first_id})).await.expect(202);
    a.until_idle(&chat).await;
    let left = b.messages(&chat).await;
    assert_eq!((left[0].id, left.len()), (first_id, 2));
    for gone in [second, waits] {
        b.get(&format!("/v1/chats/{chat}/turns/{gone}")).await.expect_problem(404, "no_such_turn");
    }
    for viewer in &mut viewers {
        viewer.until("the rest goes", |s| s.messages.len() == 2).await;
        viewer.until_idle().await;
        viewer.finish(&c).await;
    }
}

#[tokio::test]
async fn what_cannot_be_answered_again_is_refused() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let empty = a.post("/v1/chats", json!({})).await.expect(201).body["id"].clone();
    let empty = empty.as_str().expect("an id");
    regenerate(&b, empty, json!({})).await.expect_problem(404, "no_such_message");
    let chat = a.create("/demo parts=3 interval=0").await;
    a.until_idle(&chat).await;
    let answer = a.messages(&chat).await[1].id;
    regenerate(&b, &chat, json!({"message": answer})).await.expect_problem(409, "not_editable");
    for nowhere in [answer + 1, 0, u64::MAX] {
        regenerate(&b, &chat, json!({"message": nowhere})).await.expect_problem(404, "no_such_message");
    }
    for malformed in [json!({"message": "1"}), json!({"message": -1}), json!({"busy": "now"})] {
        regenerate(&b, &chat, malformed).await.expect_problem(400, "malformed");
    }
    regenerate(&b, "0190d6f1-0000-7000-8000-000000000001", json!({}))
        .await
        .expect_problem(404, "no_such_chat");
    assert_eq!(a.messages(&chat).await.len(), 2, "nothing of this changed anything");

    // One that failed is answered again as well, and one that was interrupted before it said anything.
    let failing = a.create("/demo parts=9 interval=0 fatal=2").await;
    a.until_idle(&failing).await;
    regenerate(&b, &failing, json!({"busy": "reject"})).await.expect(202);
    let failed = a.until_idle(&failing).await;
    assert_eq!((&failed["status"], failed["attempt"].as_u64()), (&json!("error"), Some(0)));
    assert_eq!(turn(&b, &failing, 1).await["status"], "failed", "S12: it ends once more");
    assert_eq!(a.messages(&failing).await.len(), 2);
    let silent = a.create("/demo parts=9 interval=10s").await;
    a.until_running(&silent).await;
    a.interrupt(&silent).await.expect(202);
    a.until_idle(&silent).await;
    assert_eq!(turn(&b, &silent, 1).await["status"], "interrupted");
    let version = a.chat(&silent).await["history_version"].as_u64();
    let again = regenerate(&b, &silent, json!({"message": 1})).await.expect(202).body;
    assert_eq!(again["status"], "running");
    assert!(again["history_version"].as_u64() > version, "a run of its own");
    a.interrupt(&silent).await.expect(202);
    a.until_idle(&silent).await;
}
