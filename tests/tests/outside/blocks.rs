//! Answers of many kinds of blocks, from the worker and by relay.

use mainstem_tests::cluster::Cluster;
use mainstem_tests::viewer::{Kind, Viewer};
use reqwest::Method;
use serde_json::{Value, json};

/// Four parts of text, of which two are reasoning, and two calls of three parts each.
const ASKED: &str = "/demo parts=4 interval=40ms reasoning=2 call=find calls=2";

fn reasoning() -> Value {
    json!({"type": "reasoning", "text": "1 2 "})
}

fn text() -> Value {
    json!({"type": "text", "text": "3 4 "})
}

/// The content of the message behind the question, as it is kept.
async fn kept(client: &mainstem_tests::client::Client, chat: &str) -> (Value, Value) {
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    (page["messages"][1]["content"].clone(), page["messages"][1]["finish_reason"].clone())
}

#[tokio::test]
async fn blocks_are_shown_everywhere_as_they_are_kept() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create(ASKED).await;
    let mut viewers = [
        Viewer::open(&a, &chat, Kind::EventStream).await,
        Viewer::open(&b, &chat, Kind::WebSocket).await,
        Viewer::open(&c, &chat, Kind::EventStream).await,
    ];
    for viewer in &mut viewers {
        viewer.until_idle().await;
        viewer.finish(&b).await;
        let parts: Vec<_> = viewer.events.iter().filter(|event| event["type"] == "message_part").collect();
        let mut calls = parts.iter().filter(|event| event["part"]["name"] == "find");
        let last = calls.next_back().expect("S9: parts are shown everywhere");
        assert_eq!(last["block"], 3, "{last}");
    }
    let (content, finish_reason) = kept(&c, &chat).await;
    let id = |number: u64| content[number as usize + 1]["id"].clone();
    let call =
        |number: u64| json!({"type": "tool_call", "id": id(number), "name": "find", "input": {"n": number}});
    assert_eq!(content, json!([reasoning(), text(), call(1), call(2)]), "S4");
    assert!(id(1).is_string() && id(1) != id(2), "{content}");
    assert_eq!(finish_reason, "tool_calls");
}

#[tokio::test]
async fn a_call_that_is_interrupted_is_kept_with_what_came_of_its_input() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create(&ASKED.replace("40ms", "400ms")).await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("half of the call's input is shown", |screen| screen.seq >= 6).await;
    b.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let (content, _) = kept(&a, &chat).await;
    let (call, whole) = (&content[2], "{\"n\": 1}");
    let input = call["input_text"].as_str().unwrap_or_else(|| panic!("S4: {content}"));
    assert!(whole.starts_with(input) && input.len() >= 5, "S4: {content}");
    assert_eq!((&call["name"], call.get("input")), (&json!("find"), None));
    assert!(viewer.screen.messages[1].interrupted);
}

#[tokio::test]
async fn a_stream_resumes_in_the_middle_of_a_block_on_another_replica() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create(&ASKED.replace("40ms", "200ms")).await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    for (seq, client, kind) in
        [(1, &c, Kind::WebSocket), (3, &a, Kind::EventStream), (5, &b, Kind::WebSocket)]
    {
        viewer.until("a part of the block is shown", |screen| screen.seq >= seq).await;
        viewer.resume_as(client, kind).await;
    }
    viewer.until_idle().await;
    viewer.finish(&c).await;
    let (content, _) = kept(&c, &chat).await;
    assert_eq!(content.as_array().map(Vec::len), Some(4), "S4: {content}");
}

#[tokio::test]
async fn what_users_send_beside_text_is_kept_byte_for_byte_and_shown_as_it_is_kept() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let content = concat!(
        r#"[{"type":"text","text":"/demo parts=1"},{"type":"file","media_type":"text/plain","data":"aGk=","n":1.50},"#,
        r#"{"type":"data","name":"place","data":{"at":[1e2,null]},"id":"p"}]"#
    );
    let sent = a
        .ask(a.request(Method::POST, "/v1/chats").body(format!(r#"{{"content":{content}}}"#)))
        .await
        .expect(201);
    let chat = sent.body["id"].as_str().expect("an id").to_owned();
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let page = b.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).text;
    assert!(page.contains(content), "{page}");
    for refused in [
        json!([{"type": "file", "media_type": "image/png"}]),
        json!([{"type": "tool_result", "tool_call_id": "c", "content": "x"}]),
        json!(vec![json!({"type": "text", "text": "x"}); 257]),
    ] {
        a.post("/v1/chats", json!({"content": refused})).await.expect_problem(400, "malformed");
    }
}
