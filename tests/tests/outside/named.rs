//! Names that clients give to chats and messages, and what a chat is set up with: on every replica, also at once.

use futures::future::join_all;
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

#[tokio::test]
async fn a_chat_that_is_created_twice_under_one_name_is_one_chat() {
    let cluster = Cluster::with_one_worker().await;
    let clients = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let body = json!({"external_id": "thread/1 ☃", "content": "/demo parts=3 interval=0", "title": "theirs"});
    let answers =
        join_all(clients.iter().cycle().take(9).map(|client| client.post("/v1/chats", body.clone()))).await;
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(created.len(), 1, "S12: {answers:?}");
    let chat = created[0].body["id"].clone();
    assert!(
        answers.iter().all(|answer| answer.body["id"] == chat && answer.status <= 201),
        "S12: {answers:?}"
    );
    let [a, _, c] = &clients;
    let id = chat.as_str().expect("an id");
    a.until_idle(id).await;
    let again = c.post("/v1/chats", body).await.expect(200).body;
    assert_eq!(
        (&again["id"], &again["external_id"], &again["title"]),
        (&chat, &json!("thread/1 ☃"), &json!("theirs"))
    );
    assert_eq!(a.messages(id).await.len(), 2, "S12: one message, one turn");
    let found = a.get("/v1/chats?external_id=thread%2F1%20%E2%98%83").await.expect(200).body;
    assert_eq!(found["chats"].as_array().map(Vec::len), Some(1));
    assert_eq!((&found["chats"][0]["id"], &found["next"]), (&chat, &Value::Null));
    assert_eq!(a.get("/v1/chats?external_id=other").await.expect(200).body["chats"], json!([]));
    a.post("/v1/chats", json!({"external_id": ""})).await.expect(400);
    a.post("/v1/chats", json!({"external_id": "x".repeat(256)})).await.expect(400);
}

#[tokio::test]
async fn a_message_that_is_sent_again_under_its_name_is_answered_as_at_first() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=600 interval=10ms").await;
    a.until_running(&chat).await;
    let path = format!("/v1/chats/{chat}/messages");
    let body = json!({"content": "/demo parts=2 interval=0", "client_id": "m-1"});
    let sent = join_all([&a, &b, &c, &a, &b, &c].map(|client| client.post(&path, body.clone()))).await;
    let first = sent[0].body.clone();
    assert_eq!(first["queued"]["client_id"], "m-1");
    for answer in &sent {
        assert_eq!((answer.status, &answer.body), (202.try_into().expect("a status"), &first), "S12");
    }
    assert_eq!(a.chat(&chat).await["queue"].as_array().map(Vec::len), Some(1), "S12");
    let other = json!({"content": "something else", "client_id": "m-1"});
    assert_eq!(b.post(&path, other).await.expect(202).body, first, "S12: and changes nothing");

    a.interrupt(&chat).await.expect(202);
    a.until_idle(&chat).await;
    assert_eq!(c.post(&path, body.clone()).await.expect(202).body, first, "S12: after its turn too");
    let page = b.get(&path).await.expect(200).body;
    let named: Vec<_> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter(|message| message["client_id"] == "m-1")
        .collect();
    assert_eq!(named.len(), 1, "S12: {page}");
    assert_eq!(named[0]["id"], first["queued"]["id"], "S12: it keeps its id");

    // Also when it is gone.
    b.patch(&format!("{path}/1"), json!({"content": "/demo parts=1 interval=0"})).await.expect(202);
    a.until_idle(&chat).await;
    assert_eq!(c.post(&path, body).await.expect(202).body, first, "S12: it was sent once");
    assert_eq!(a.messages(&chat).await.len(), 2);
}

#[tokio::test]
async fn a_chat_is_set_up_anew_without_touching_what_runs() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let tool = json!({"name": "find", "description": "finds it", "input_schema": {"type": "object"}});
    let body =
        json!({"content": "/demo parts=60 interval=20ms", "instructions": "be brief", "tools": [tool]});
    let created = a.post("/v1/chats", body).await.expect(201).body;
    assert_eq!((&created["instructions"], &created["tools"]), (&json!("be brief"), &json!([tool])));
    let id = created["id"].as_str().expect("an id").to_owned();
    a.until_running(&id).await;
    let path = format!("/v1/chats/{id}");
    let change = json!({"title": "new", "model": "m", "instructions": null});
    let changed = b.patch(&path, change).await.expect(200).body;
    assert_eq!(
        (&changed["title"], &changed["model"], &changed["status"]),
        (&json!("new"), &json!("m"), &json!("running"))
    );
    assert_eq!(
        (&changed["instructions"], &changed["tools"]),
        (&Value::Null, &json!([tool])),
        "what is not there stays"
    );
    a.until_idle(&id).await;
    let last = a.messages(&id).await.pop().expect("an answer");
    assert!(!last.interrupted && last.text().ends_with("60 "), "S7: {last:?}");
    let changed = a.patch(&path, json!({"tools": []})).await.expect(200).body;
    assert_eq!((&changed["tools"], &changed["title"]), (&json!([]), &json!("new")));
    for bad in [json!({"title": 3}), json!({"tools": [{"name": "a b", "input_schema": {}}]}), json!([])] {
        assert_eq!(a.patch(&path, bad).await.expect(400).body["code"], "malformed");
    }
}
