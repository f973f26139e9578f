//! Turns: named by the message that they answer, on every replica, while they run and after.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

async fn turn(client: &Client, chat: &str, id: &Value) -> Value {
    client.get(&format!("/v1/chats/{chat}/turns/{id}")).await.expect(200).body
}

/// The ids of the messages that say that they are of this turn.
async fn of_turn(client: &Client, chat: &str, id: &Value) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    let messages = page["messages"].as_array().expect("a page has messages").clone();
    messages
        .into_iter()
        .filter(|message| message["turn"] == *id)
        .map(|message| message["id"].clone())
        .collect()
}

#[tokio::test]
async fn a_turn_has_the_name_of_its_message_from_being_sent_on_and_ends_with_its_reason() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=400 interval=20ms").await;
    let first = json!(1);
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("it runs", |screen| screen.seq >= 2).await;
    let sent = b.send(&chat, "/demo parts=3 interval=0").await;
    let queued = sent["queued"]["id"].clone();
    assert_eq!(turn(&c, &chat, &first).await["status"], "running");
    let waiting = turn(&c, &chat, &queued).await;
    assert_eq!((&waiting["status"], &waiting["messages"]), (&json!("queued"), &json!([])));
    assert_eq!(a.chat(&chat).await["turn"], first);

    c.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    let turns = |of: &Value| of["turn"].clone();
    let statuses = viewer.events.iter().filter(|event| event["type"] == "status").map(turns);
    assert!(
        statuses.clone().any(|id| id == first) && statuses.clone().next_back() == Some(queued.clone()),
        "S12"
    );
    for (id, status, reason) in [(&first, "interrupted", Value::Null), (&queued, "completed", json!("stop"))]
    {
        let told = turn(&b, &chat, id).await;
        assert_eq!(
            (&told["turn"], &told["status"], &told["finish_reason"]),
            (id, &json!(status), &reason),
            "S12"
        );
        assert_eq!(told["messages"], json!(of_turn(&c, &chat, id).await), "S12");
        assert_eq!(told["messages"][0], *id, "S12: a message keeps its id in the queue");
        assert_eq!((told["messages"].as_array().map(Vec::len), &told["error"]), (Some(2), &Value::Null));
    }
}

#[tokio::test]
async fn a_turn_that_fails_says_why_and_one_that_is_cut_off_is_none() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=9 interval=0 fatal=2").await;
    a.until_idle(&chat).await;
    let failed = turn(&b, &chat, &json!(1)).await;
    assert_eq!(failed["status"], "failed", "S12");
    assert_eq!(failed["error"], b.chat(&chat).await["error"], "S12");
    let next = a.send(&chat, "/demo parts=2 interval=0").await["message"]["id"].clone();
    a.until_idle(&chat).await;
    assert_eq!(turn(&b, &chat, &json!(1)).await, failed, "S12: it has ended once");
    assert_eq!(turn(&b, &chat, &next).await["status"], "completed");

    b.patch(&format!("/v1/chats/{chat}/messages/1"), json!({"content": "/demo parts=1 interval=0"}))
        .await
        .expect(202);
    a.until_idle(&chat).await;
    for gone in [&json!(1), &next, &json!(77), &json!(0)] {
        let answer = a.get(&format!("/v1/chats/{chat}/turns/{gone}")).await;
        assert_eq!(answer.expect(404).body["code"], "no_such_turn", "{gone}");
    }
    a.get(&format!("/v1/chats/{chat}/turns/one")).await.expect(404);
}
