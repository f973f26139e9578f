//! What streams tell is what the document says of their events.

use std::collections::BTreeSet;

use mainstem_tests::client::Client;
use mainstem_tests::cluster::{Cluster, alone_with};
use mainstem_tests::deadline::until;
use mainstem_tests::openapi::Document;
use mainstem_tests::provider::{Provider, Reply, events};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

/// Holds every event against the document, and gives the names of their schemas and of those of their parts.
fn held(document: &Document, viewers: &[Viewer]) -> BTreeSet<String> {
    let event_schema = document.validator("components/schemas/StreamEvent");
    let told = |name: &str| {
        let schemas = document.json["components"]["schemas"][name]["oneOf"].as_array().expect("kinds").iter();
        let names = schemas
            .map(|schema| schema["$ref"].as_str().expect("a name").rsplit('/').next().expect("a name"));
        names
            .map(|name| (name.to_owned(), document.validator(&format!("components/schemas/{name}"))))
            .collect::<Vec<_>>()
    };
    let (events, parts) = (told("StreamEvent"), told("Part"));
    let mut found = BTreeSet::new();
    let mut find = |kinds: &[(String, jsonschema::Validator)], value: &Value| {
        let of: Vec<&str> =
            kinds.iter().filter(|(_, kind)| kind.is_valid(value)).map(|(name, _)| &**name).collect();
        assert_eq!(of.len(), 1, "{of:?}: {value:#}");
        found.insert(of[0].to_owned());
    };
    for event in viewers.iter().flat_map(|viewer| &viewer.events) {
        if let Err(error) = event_schema.validate(event) {
            panic!("{error}: {event:#}");
        }
        find(&events, event);
        if event["part"].is_object() {
            find(&parts, &event["part"]);
        }
        event["message"]["content"].as_array().into_iter().flatten().for_each(|part| find(&parts, part));
    }
    found
}

async fn until_status(client: &Client, chat: &str, status: &str) {
    until(status, async || (client.chat(chat).await["status"] == status).then_some(())).await;
}

#[tokio::test]
async fn every_event_of_a_long_life_is_in_the_document_and_every_kind_is_told() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let document = Document::of(&b).await;
    let tool = json!({"name": "find", "description": "finds it", "input_schema": {"type": "object"}});
    let history = json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [
            {"type": "file", "media_type": "image/png", "url": "https://example.org/a.png"},
            {"type": "file", "media_type": "image/png", "data": "QQ=="}]},
        {"role": "assistant", "content": [
            {"type": "source", "url": "https://example.org", "own": [1]},
            {"type": "tool_call", "id": "b", "name": "find", "input_text": "{"}]},
        {"role": "user", "content": "/demo parts=4 interval=0 reasoning=2 call=find calls=2"}]);
    let created = a.post("/v1/chats", json!({"messages": history, "tools": [tool]})).await.expect(201).body;
    let chat = created["id"].as_str().expect("an id");
    let mut viewers =
        [Viewer::open(&b, chat, Kind::EventStream).await, Viewer::open(&c, chat, Kind::WebSocket).await];

    until_status(&a, chat, "requires_action").await;
    for call in a.chat(chat).await["pending_calls"].as_array().expect("calls") {
        let result = json!({"results": [{"tool_call_id": call["tool_call_id"], "content": "x"}]});
        b.post(&format!("/v1/chats/{chat}/tool_results"), result).await.expect(202);
    }
    a.until_idle(chat).await;
    b.send(chat, "/demo parts=9000 interval=5ms").await;
    for viewer in &mut viewers {
        viewer.until("it is answered", |screen| screen.seq > 0 && screen.status == "running").await;
    }
    b.send(chat, "/demo parts=40 interval=5ms retryable=20").await;
    for viewer in &mut viewers {
        viewer.until("it waits", |screen| !screen.queue.is_empty()).await;
    }
    c.interrupt(chat).await.expect(202);
    for viewer in &mut viewers {
        viewer.until("it was tried again", |screen| screen.resets == ["retry"]).await;
        viewer.until_idle().await;
    }
    a.patch(&format!("/v1/chats/{chat}/messages/4"), json!({"content": "/demo parts=4 fatal=2"}))
        .await
        .expect(202);
    for viewer in &mut viewers {
        viewer.until("why is told", |screen| screen.history_resets == 1 && screen.error.is_object()).await;
        viewer.finish(&a).await;
    }

    let found = held(&document, &viewers);
    let kinds =
        document.json["components"]["schemas"]["StreamEvent"]["oneOf"].as_array().expect("kinds").iter();
    let kinds = kinds.map(|kind| kind["$ref"].as_str().expect("a name").rsplit('/').next().expect("a name"));
    let parts = [
        "FileAddressPart",
        "FileDataPart",
        "ReasoningPart",
        "SourcePart",
        "TextPart",
        "ToolCallPart",
        "ToolCallTextPart",
        "ToolResultPart",
    ];
    let missing: Vec<&str> = kinds.chain(parts).filter(|kind| !found.contains(*kind)).collect();
    assert!(missing.is_empty(), "{missing:?} were not told: {found:?}");
}

#[tokio::test]
async fn what_is_told_whole_is_in_the_document() {
    let said = [
        json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}),
        json!({"type": "STATE_SNAPSHOT", "snapshot": {"found": 0}}),
        json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "I look"}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "a", "toolCallName": "find"}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "a", "delta": "{\"n\": 1}"}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "a"}),
        json!({"type": "TOOL_CALL_RESULT", "messageId": "a", "toolCallId": "a", "content": [
            {"type": "text", "text": "one"},
            {"type": "image", "source": {"type": "data", "value": "no base64", "mimeType": "odd"}}]}),
        json!({"type": "CUSTOM", "name": "", "value": 1}),
        json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}),
    ];
    let provider = Provider::start_rows(vec![("", vec![Reply::Stream(events(&said))])]).await;
    let scratch = Scratch::new();
    let replica =
        alone_with(&scratch, &["--generator", "agent", "--agent-url", &provider.base_url], &[]).await;
    let client = replica.client();
    let document = Document::of(&client).await;
    let chat = client.create("").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    client.send(&chat, "where?").await;
    viewer.until("the answer is there", |screen| screen.messages.len() == 2).await;
    viewer.until_idle().await;
    let live = viewer.events.iter().filter_map(|event| event["part"]["type"].as_str());
    let live: BTreeSet<&str> = live.collect();
    assert!(live.contains("data") && live.contains("tool_result"), "{live:?}");
    let found = held(&document, &[viewer]);
    assert!(found.contains("DataPart") && found.contains("ToolResultPart"), "{found:?}");
}
