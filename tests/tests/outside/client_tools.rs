//! Tools that the client carries out: what a model calls waits for its results, on every replica.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

/// A chat whose model calls this tool, which the chat has.
async fn asking(client: &Client, calls: u64) -> String {
    let tool = json!({"name": "find", "description": "finds it", "input_schema": {"type": "object"}});
    let content = format!("/demo parts=2 interval=0 call=find calls={calls}");
    let created =
        client.post("/v1/chats", json!({"content": content, "tools": [tool]})).await.expect(201).body;
    created["id"].as_str().expect("an id").to_owned()
}

async fn until_asked(client: &Client, chat: &str) -> Vec<Value> {
    until("the client is asked", async || {
        let told = client.chat(chat).await;
        (told["status"] == "requires_action")
            .then(|| told["pending_calls"].as_array().expect("calls").clone())
    })
    .await
}

async fn history(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    page["messages"].as_array().expect("messages").clone()
}

fn roles(history: &[Value]) -> Vec<&str> {
    history.iter().map(|message| message["role"].as_str().expect("a role")).collect()
}

#[tokio::test]
async fn a_turn_goes_on_when_all_its_calls_are_answered_wherever() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = asking(&a, 2).await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    let calls = until_asked(&c, &chat).await;
    assert_eq!(
        (calls.len(), &calls[0]["name"], &calls[1]["input"]),
        (2, &json!("find"), &json!({"n": 2})),
        "S11"
    );
    assert_eq!(c.chat(&chat).await["worker"], Value::Null, "nobody waits");
    assert_eq!(
        b.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body["status"],
        "requires_action"
    );
    let path = format!("/v1/chats/{chat}/tool_results");
    let queued = a.send(&chat, "/demo parts=1 interval=0").await["queued"]["id"].clone();
    assert!(queued.is_number(), "S11: what is sent waits behind the calls");
    a.delete(&format!("/v1/chats/{chat}")).await.expect(409);

    let of = |at: usize| calls[at]["tool_call_id"].clone();
    for wrong in [json!("none"), json!("")] {
        let answer = b.post(&path, json!({"results": [{"tool_call_id": wrong, "content": "x"}]})).await;
        assert_eq!(answer.expect(409).body["code"], "not_pending", "S11");
    }
    let second = json!({"results": [{"tool_call_id": of(1), "content": [{"type": "text", "text": "two"}]}]});
    let told = b.post_with_key(&path, "second", &second).await.expect(202).body;
    assert_eq!(
        (&told["status"], told["pending_calls"].as_array().map(Vec::len)),
        (&json!("requires_action"), Some(1))
    );
    assert_eq!(
        c.post(&path, second.clone()).await.expect(409).body["code"],
        "not_pending",
        "S11: one result"
    );
    let first = json!({"results": [{"tool_call_id": of(0), "content": "one", "is_error": true}]});
    let before = told;
    let told = c.post(&path, first).await.expect(202).body;
    assert_eq!(
        a.post_with_key(&path, "second", &second).await.expect(202).body,
        before,
        "S6: the same answer"
    );
    assert_eq!((&told["pending_calls"], &told["status"]), (&json!([]), &json!("running")));
    viewer.until_idle().await;
    viewer.finish(&b).await;

    let history = history(&a, &chat).await;
    assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant", "user", "assistant"], "S11");
    assert_eq!(history[1]["finish_reason"], "tool_calls");
    let expected = json!([
        {"type": "tool_result", "tool_call_id": of(0), "content": "one", "is_error": true},
        {"type": "tool_result", "tool_call_id": of(1), "content": [{"type": "text", "text": "two"}], "is_error": false},
    ]);
    assert_eq!((&history[2]["content"], &history[2]["episode"]), (&expected, &Value::Null), "S11");
    assert!(history[..4].iter().all(|message| message["turn"] == 1) && history[4]["id"] == queued, "S12");
    let turn = b.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
    assert_eq!(
        (&turn["status"], turn["messages"].as_array().map(Vec::len)),
        (&json!("completed"), Some(4)),
        "S12"
    );
    let told = viewer.events.iter().filter(|event| event["type"] == "status");
    let asked: Vec<_> = told
        .filter_map(|status| status["pending_calls"].as_array().map(Vec::len))
        .filter(|open| *open > 0)
        .collect();
    assert!(asked.first() == Some(&2) && asked.last() == Some(&1), "S9: {asked:?}");
}

#[tokio::test]
async fn whoever_stops_a_turn_cancels_its_calls() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    for way in ["interrupt", "send", "edit"] {
        let chat = asking(&a, 1).await;
        let calls = until_asked(&b, &chat).await;
        match way {
            "interrupt" => drop(b.interrupt(&chat).await.expect(202)),
            "send" => drop(b.send_as(&chat, "/demo parts=1 interval=0", "interrupt").await.expect(202)),
            _ => {
                let content = json!({"content": "/demo parts=1 interval=0"});
                b.patch(&format!("/v1/chats/{chat}/messages/1"), content).await.expect(202);
            }
        }
        a.until_idle(&chat).await;
        let history = history(&a, &chat).await;
        let expected: &[&str] = match way {
            "interrupt" => &["user", "assistant", "tool"],
            "send" => &["user", "assistant", "tool", "user", "assistant"],
            _ => &["user", "assistant"],
        };
        assert_eq!(roles(&history), expected, "S11: {way}");
        if way != "edit" {
            let result = &history[2]["content"][0];
            assert_eq!(
                (&result["tool_call_id"], &result["is_error"]),
                (&calls[0]["tool_call_id"], &json!(true)),
                "S11"
            );
            let turn = a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
            assert_eq!(turn["status"], "interrupted", "S12");
        }
        let late = json!({"results": [{"tool_call_id": calls[0]["tool_call_id"], "content": "late"}]});
        b.post(&format!("/v1/chats/{chat}/tool_results"), late).await.expect(409);
    }
}

#[tokio::test]
async fn a_model_that_calls_what_is_not_there_is_told_so_and_one_that_calls_for_ever_is_stopped() {
    let cluster = Cluster::with_one_worker().await;
    let a = cluster.replicas[0].client();
    let chat = a.create("/demo parts=1 interval=0 call=nothing").await;
    a.until_idle(&chat).await;
    let history = history(&a, &chat).await;
    assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant"], "S11");
    assert_eq!(history[2]["content"][0]["is_error"], true);
    a.post(&format!("/v1/chats/{chat}/tool_results"), json!({"results": [{"tool_call_id": "x"}]}))
        .await
        .expect(400);
}
