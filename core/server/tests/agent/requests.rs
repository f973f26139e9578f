//! What an agent receives.

use mainstem::generators::{Agent, AgentConfig};
use mainstem_machine::Role;
use mainstem_machine::history::ModelHistory;
use mainstem_runtime::ports::Conversation;
use serde_json::{Value, json};

use crate::provider::{Provider, Seen};
use crate::{
    KEY, SAID, collect, config, conversation, finished, generator, message, said, script, started, text,
};

/// The head and the body that the agent receives.
pub(crate) async fn received(conversation: Conversation) -> (String, Value) {
    let mut provider = Provider::start(vec![script(&[started(), text("x"), finished()])]).await;
    collect(&generator(&provider), conversation).await;
    let Seen::Request { head, body } = provider.seen().await else { panic!("a request comes first") };
    (head, body)
}

pub(crate) async fn sent(history: &[(Role, Value)]) -> Value {
    let messages = history.iter().zip(1..).map(|((role, content), id)| message(id, *role, content.clone()));
    let history = ModelHistory::of(messages);
    received(Conversation { history, ..conversation() }).await.1["messages"].clone()
}

#[tokio::test]
async fn it_asks_with_the_whole_input_and_the_key() {
    let (head, mut body) = received(conversation()).await;
    assert!(head.starts_with("POST /v1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {KEY}\r\n")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
    let run = body["runId"].take();
    assert!(run.as_str().is_some_and(|run| uuid::Uuid::parse_str(run).is_ok()), "{run}");
    let wanted = json!({
        "threadId": "00000000-0000-0000-0000-000000000007",
        "runId": null,
        "protocolVersion": "1.0",
        "state": {},
        "messages": [{ "id": "1", "role": "user", "content": SAID }],
        "tools": [],
        "context": [],
        "forwardedProps": {},
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn each_attempt_is_a_run_of_its_own() {
    let run = async |attempt: u64| {
        let mut conversation = conversation();
        conversation.episode.attempt = attempt;
        received(conversation).await.1["runId"].clone()
    };
    let (first, second) = (run(1).await, run(2).await);
    assert_ne!(first, second);
    assert_eq!(first, run(1).await, "the same attempt is the same run");
}

#[tokio::test]
async fn a_key_is_not_needed_and_instructions_come_first() {
    let mut provider = Provider::start(vec![script(&[started(), finished()])]).await;
    let keyless = Agent::new(AgentConfig { key: None, ..config(&provider) }).unwrap();
    let instructions = Some("be brief".into());
    collect(&keyless, Conversation { instructions, ..conversation() }).await;
    let Seen::Request { head, body } = provider.seen().await else { panic!("a request comes first") };
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    let system = json!({ "id": "instructions", "role": "system", "content": "be brief" });
    assert_eq!(body["messages"], json!([system, { "id": "1", "role": "user", "content": SAID }]));
}

#[tokio::test]
async fn files_and_data_of_users_go_as_content_parts() {
    let came = sent(&[
        (Role::System, json!([said("be kind")])),
        (Role::User, json!([said("look "), { "type": "data", "name": "place", "data": { "x": 1.50 } }])),
        (
            Role::User,
            json!([
                said("at"),
                { "type": "file", "media_type": "image/png", "url": "https://a/b.png" },
                { "type": "file", "media_type": "application/pdf", "data": "aGk=", "name": "a.pdf" },
                { "type": "file", "media_type": "audio/mpeg", "data": "aGk=" },
                { "type": "data", "data": [1] },
            ]),
        ),
        (Role::User, json!([{ "type": "of a later release" }])),
    ])
    .await;
    let pdf = json!({ "type": "data", "value": "aGk=", "mimeType": "application/pdf" });
    let wanted = json!([
        { "id": "1", "role": "system", "content": "be kind" },
        { "id": "2", "role": "user", "content": "look \nplace: {\"x\":1.5}\n" },
        { "id": "3", "role": "user", "content": [
            { "type": "text", "text": "at" },
            { "type": "image", "source": { "type": "url", "value": "https://a/b.png", "mimeType": "image/png" } },
            { "type": "document", "source": pdf, "metadata": { "filename": "a.pdf" } },
            { "type": "audio", "source": { "type": "data", "value": "aGk=", "mimeType": "audio/mpeg" } },
            { "type": "text", "text": "\n[1]\n" },
        ] },
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn an_answer_goes_as_the_messages_that_it_was() {
    let call =
        |id: &str, input: Value| json!({ "type": "tool_call", "id": id, "name": "find", "input": input });
    let result = |id: &str, content: Value, is_error: bool| json!({ "type": "tool_result", "tool_call_id": id, "content": content, "is_error": is_error });
    let came = sent(&[
        (Role::User, json!([said("where?")])),
        (
            Role::Assistant,
            json!([
                { "type": "reasoning", "text": "hm" },
                said("I look"),
                call("a", json!({ "n": 1 })),
                call("b", json!({})),
                result("b", json!([said("one"), said("two")]), false),
                result("a", json!("gone"), true),
                call("c", json!({})),
                { "type": "data", "name": "agui.state_snapshot", "data": 1 },
                { "type": "tool_call", "id": "cut", "name": "find", "input_text": "{" },
                said("There."),
                said("Or there."),
            ]),
        ),
        (Role::User, json!([said("so?")])),
        (Role::Assistant, json!([call("d", json!({}))])),
        (Role::Tool, json!([result("d", json!("of a server"), false)])),
    ])
    .await;
    let sent_call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "find", "arguments": arguments } });
    let unknown = "error: nobody knows what became of this call";
    let wanted = json!([
        { "id": "1", "role": "user", "content": "where?" },
        { "id": "2", "role": "assistant", "content": "I look", "toolCalls": [sent_call("a", "{\"n\":1}"), sent_call("b", "{}")] },
        { "id": "2-2", "role": "tool", "toolCallId": "a", "content": "gone", "error": "gone" },
        { "id": "2-3", "role": "tool", "toolCallId": "b", "content": "one\ntwo" },
        { "id": "2-4", "role": "assistant", "toolCalls": [sent_call("c", "{}")] },
        { "id": "2-5", "role": "tool", "toolCallId": "c", "content": unknown, "error": unknown },
        { "id": "2-6", "role": "assistant", "content": "There." },
        { "id": "2-7", "role": "assistant", "content": "Or there." },
        { "id": "3", "role": "user", "content": "so?" },
        { "id": "4", "role": "assistant", "toolCalls": [sent_call("d", "{}")] },
        { "id": "4-2", "role": "tool", "toolCallId": "d", "content": "of a server" },
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn a_result_is_of_the_call_before_it_whatever_other_calls_are_named() {
    let call = |place: &str| json!([{ "type": "tool_call", "id": "call_0", "name": "weather", "input": { "place": place } }]);
    let result =
        |id: &str, content: &str| json!({ "type": "tool_result", "tool_call_id": id, "content": content });
    let own = json!([
        { "type": "tool_call", "id": "call_0", "name": "weather", "input": {} },
        result("call_0", "fog"),
        { "type": "tool_call", "id": "call_0-5-1", "name": "weather", "input": {} },
        result("call_0-5-1", "hail"),
    ]);
    let came = sent(&[
        (Role::User, json!([said("Paris?")])),
        (Role::Assistant, call("Paris")),
        (Role::Tool, json!([result("call_0", "sunny")])),
        (Role::User, json!([said("Oslo?")])),
        (Role::Assistant, call("Oslo")),
        (Role::Tool, json!([result("call_0", "snow")])),
        (Role::User, json!([said("and here?")])),
        (Role::Assistant, own),
    ])
    .await;
    let told = |message: &Value| {
        let call = message["toolCalls"][0]["id"].as_str().or(message["toolCallId"].as_str())?;
        Some((
            message["id"].as_str()?.to_owned(),
            call.to_owned(),
            message["content"].as_str().map(str::to_owned),
        ))
    };
    let told: Vec<_> = came.as_array().unwrap().iter().filter_map(told).collect();
    let wanted = [
        ("2", "call_0", None),
        ("2-2", "call_0", Some("sunny")),
        // A name is one call's: agents look for its result by that.
        ("5", "call_0-5-2", None),
        ("5-2", "call_0-5-2", Some("snow")),
        ("8", "call_0-8-1", None),
        ("8-2", "call_0-8-1", Some("fog")),
        ("8-3", "call_0-5-1", None),
        ("8-4", "call_0-5-1", Some("hail")),
    ];
    let wanted = wanted.map(|(id, call, said)| (id.to_owned(), call.to_owned(), said.map(str::to_owned)));
    assert_eq!(told, wanted, "S11");
}
