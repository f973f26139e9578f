//! An agent with tools of its own, over real HTTP: all that it says is shown and kept as one answer, and told to it
//! again. What it calls of the chat's tools waits for the client.

use mainstem_tests::cluster::alone_with;
use mainstem_tests::deadline::until;
use mainstem_tests::provider::{Provider, Reply, events};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

fn run(said: &[Value]) -> String {
    let started = json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"});
    let usage = json!([{"inputTokens": 3, "outputTokens": 5}]);
    let finished = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "usage": usage});
    events(&[&[started], said, &[finished]].concat())
}

fn text(delta: &str) -> Value {
    json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": delta})
}

/// What an agent says that finds something out, and calls twice at once.
fn finds() -> Vec<Value> {
    let call = |kind: &str, id: &str, delta: &str| json!({"type": kind, "toolCallId": id, "toolCallName": "find", "delta": delta});
    let result = |id: &str, content: &str| json!({"type": "TOOL_CALL_RESULT", "messageId": id, "toolCallId": id, "content": content});
    vec![
        json!({"type": "STATE_SNAPSHOT", "snapshot": {"found": 0}}),
        json!({"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "hm"}),
        text("I "),
        text("look"),
        call("TOOL_CALL_START", "a", ""),
        call("TOOL_CALL_START", "b", ""),
        call("TOOL_CALL_ARGS", "b", "{\"n\": 2}"),
        call("TOOL_CALL_ARGS", "a", "{\"n\": 1}"),
        call("TOOL_CALL_END", "b", ""),
        call("TOOL_CALL_END", "a", ""),
        result("a", "one"),
        result("b", "two"),
        json!({"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/found", "value": 2}]}),
        text("Found."),
    ]
}

#[tokio::test]
async fn what_an_agent_says_is_one_answer_and_its_history() {
    let broken = run(&[text("par")]).replace("RUN_FINISHED", "RAW");
    let provider = Provider::start_rows(vec![
        ("where?", vec![Reply::Stream(broken), Reply::Stream(run(&finds()))]),
        ("so?", vec![Reply::Stream(run(&[text("So.")]))]),
        ("wait", vec![Reply::Silence(events(&[text("Wai")]))]),
        ("fail", vec![Reply::Stream(events(&[text("x"), json!({"type": "RUN_ERROR", "message": "k-123"})]))]),
    ])
    .await;
    let scratch = Scratch::new();
    let flags = ["--generator", "agent", "--agent-url", &provider.base_url];
    let replica = alone_with(&scratch, &flags, &[("AGENT_API_KEY", "k-123")]).await;
    let client = replica.client();

    let chat = client.create("where?").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until("the answer is there", |screen| screen.messages.len() == 2).await;
    viewer.until_idle().await;
    assert_eq!(viewer.screen.resets, ["retry"], "a run that breaks off is tried again");
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    let call = |id: &str, n: u64| json!({"type": "tool_call", "id": id, "name": "find", "input": {"n": n}});
    let result = |id: &str, content: &str| json!({"type": "tool_result", "tool_call_id": id, "content": content, "is_error": false});
    let data = |name: &str, data: Value| json!({"type": "data", "name": name, "data": data});
    let wanted = json!([
        data("agui.state_snapshot", json!({"found": 0})),
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "I look"},
        call("a", 1),
        call("b", 2),
        result("a", "one"),
        result("b", "two"),
        data("agui.state_delta", json!([{"op": "replace", "path": "/found", "value": 2}])),
        {"type": "text", "text": "Found."},
    ]);
    let kept = &page["messages"][1];
    assert_eq!(kept["content"], wanted, "S4");
    let usage = json!({"input_tokens": 3, "output_tokens": 5});
    assert_eq!((&kept["finish_reason"], &kept["usage"]), (&json!("stop"), &usage));

    client.send(&chat, "so?").await;
    viewer.until("it answers", |screen| screen.messages.len() == 4).await;
    viewer.until_idle().await;
    let asked = provider.seen().pop().expect("requests");
    assert_eq!(asked.roles(), ["user", "assistant", "tool", "tool", "assistant", "user"]);
    assert_eq!(asked.body["threadId"], chat.as_str());
    assert!(asked.head.to_lowercase().contains("authorization: bearer k-123"), "{}", asked.head);
    let runs: std::collections::HashSet<_> =
        provider.seen().iter().map(|request| request.body["runId"].to_string()).collect();
    assert_eq!(runs.len(), 3, "each attempt is a run of its own");

    client.send(&chat, "wait").await;
    viewer.until("it begins", |screen| screen.seq == 1).await;
    client.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    assert_eq!(viewer.screen.last_text(), "Wai");

    client.send(&chat, "fail").await;
    viewer.until("why is told", |screen| screen.error.is_object()).await;
    assert_eq!(viewer.screen.error["code"], "agent_failed");
    viewer.finish(&client).await;
    assert_eq!(provider.asked("fail").len(), 1, "who has said something is not asked again");
    until("it is logged", async || replica.log().contains("agent_failed").then_some(())).await;
    assert!(!replica.log().contains("k-123") && !replica.log().contains("Found"), "logs tell no content");
}

#[tokio::test]
async fn an_agent_goes_on_from_what_the_client_carried_out() {
    let start = json!({"type": "TOOL_CALL_START", "toolCallId": "a", "toolCallName": "locate"});
    let arguments = json!({"type": "TOOL_CALL_ARGS", "toolCallId": "a", "delta": "{\"n\": 1}"});
    let end = json!({"type": "TOOL_CALL_END", "toolCallId": "a"});
    let provider = Provider::start_rows(vec![
        ("where?", vec![Reply::Stream(run(&[text("I ask"), start, arguments, end]))]),
        ("", vec![Reply::Stream(run(&[text("There.")]))]),
    ])
    .await;
    let scratch = Scratch::new();
    let flags = ["--generator", "agent", "--agent-url", &provider.base_url];
    let replica = alone_with(&scratch, &flags, &[]).await;
    let client = replica.client();

    let tool = json!({"name": "locate", "description": "finds out", "input_schema": {"type": "object"}});
    let created =
        client.post("/v1/chats", json!({"content": "where?", "tools": [tool]})).await.expect(201).body;
    let chat = created["id"].as_str().expect("an id").to_owned();
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    let calls = until("the client is asked", async || {
        let told = client.chat(&chat).await;
        (told["status"] == "requires_action").then(|| told["pending_calls"].clone())
    })
    .await;
    assert_eq!((&calls[0]["name"], &calls[0]["input"]), (&json!("locate"), &json!({"n": 1})), "S11");
    let results = json!({"results": [{"tool_call_id": calls[0]["tool_call_id"], "content": "at home"}]});
    client.post(&format!("/v1/chats/{chat}/tool_results"), results).await.expect(202);
    viewer.until("it goes on", |screen| screen.messages.len() == 4).await;
    viewer.until_idle().await;
    assert_eq!(viewer.screen.last_text(), "There.");
    viewer.finish(&client).await;

    let [first, second] = &provider.seen()[..] else { panic!("it is asked twice") };
    let offered = json!([{"name": "locate", "description": "finds out", "parameters": {"type": "object"}}]);
    assert_eq!((&first.body["tools"], &second.body["tools"]), (&offered, &offered));
    assert_eq!(second.roles(), ["user", "assistant", "tool"]);
    let told = &second.body["messages"][2];
    assert_eq!((&told["toolCallId"], &told["content"]), (&json!("a"), &json!("at home")), "S11");
}
