//! What an endpoint receives of tools, calls and files: what the schema of Chat Completions takes, and no more.

use std::sync::Arc;

use futures::StreamExt;
use mainstem_machine::history::ModelHistory;
use mainstem_machine::{Block, Content, Message, Role};
use mainstem_runtime::ports::{Conversation, Generated, Generator, Tool};
use serde_json::{Value, json};

use crate::provider::{Act, DONE, Provider, Seen, chunk, delta, end, finish, head};
use crate::{conversation, generator};

pub(crate) fn history(said: &[(Role, Value)]) -> Conversation {
    let template = conversation().history.messages[0].clone();
    let message = |(role, content): &(Role, Value)| {
        let content = Content::from_stored(content.to_string());
        Arc::new(Message { role: *role, content, ..(*template).clone() })
    };
    Conversation { history: ModelHistory::of(said.iter().map(message)), ..conversation() }
}

pub(crate) fn fine() -> Vec<Act> {
    vec![head(), chunk([&*delta("x"), &finish("stop"), DONE].concat()), end()]
}

/// The body that the endpoint receives.
pub(crate) async fn asked(conversation: Conversation) -> Value {
    let mut provider = Provider::start(vec![fine()]).await;
    generator(&provider).start(conversation).collect::<Vec<_>>().await;
    let Seen::Request { body, .. } = provider.seen().await else { panic!("a request comes first") };
    body
}

pub(crate) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

pub(crate) fn call(id: &str, input: Value) -> Value {
    json!({ "type": "tool_call", "id": id, "name": "find", "input": input })
}

fn sent_call(id: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "find", "arguments": arguments } })
}

pub(crate) fn result(id: &str, content: Value, is_error: bool) -> Value {
    json!({ "type": "tool_result", "tool_call_id": id, "content": content, "is_error": is_error })
}

fn sent_result(id: &str, content: &str) -> Value {
    json!({ "role": "tool", "tool_call_id": id, "content": content })
}

#[tokio::test]
async fn calls_and_their_results_are_sent_as_the_schema_has_them() {
    let mut asking = history(&[
        (Role::User, json!([text("where?")])),
        (
            Role::Assistant,
            json!([
                { "type": "reasoning", "text": "hm" }, text("I look"),
                call("a", json!({ "n": 1 })), call("b", json!({})), call("c", json!("no object"))
            ]),
        ),
        (
            Role::Tool,
            json!([
                result("b", json!([text("one"), text("two")]), false),
                result("a", json!("gone"), true),
                result("of nobody", json!("x"), false),
            ]),
        ),
    ]);
    asking.instructions = Some("be brief".into());
    let input_schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        description: "Finds".into(),
        input_schema: schema.into(),
    };
    asking.tools = [tool("find", input_schema), tool("broken", "{")].into();
    let body = asked(asking).await;
    let schema: Value = serde_json::from_str(input_schema).unwrap();
    let wanted = json!({
        "model": "small",
        "stream": true,
        "stream_options": { "include_usage": true },
        "tools": [
            { "type": "function", "function": { "name": "find", "description": "Finds", "parameters": schema } },
            { "type": "function", "function": { "name": "broken", "description": "Finds" } },
        ],
        "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "where?" },
            {
                "role": "assistant", "content": "I look", "reasoning_content": "hm",
                "tool_calls": [sent_call("a", "{\"n\":1}"), sent_call("b", "{}"), sent_call("c", "\"no object\"")],
            },
            sent_result("a", "error: gone"),
            sent_result("b", "one\ntwo"),
            sent_result("c", "error: nobody knows what became of this call"),
        ],
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn steps_are_kept_apart_and_what_was_cut_short_is_sent_to_no_model() {
    let cut = json!({ "type": "tool_call", "id": "z", "name": "find", "input_text": "{\"n" });
    let body = asked(history(&[
        (Role::User, json!([text("go")])),
        (Role::Assistant, json!([cut.clone()])),
        (Role::User, json!([text("on")])),
        (Role::Assistant, json!([{ "type": "reasoning", "text": "old" }, call("a", json!({}))])),
        (Role::Tool, json!([result("a", json!(""), false)])),
        (Role::Assistant, json!([call("b", json!({}))])),
        (Role::Tool, json!([result("b", json!("2"), false)])),
        (Role::Assistant, json!([text("so"), cut])),
        (Role::Assistant, json!([text("done")])),
        // An agent tells its results in its answer.
        (Role::User, json!([text("more")])),
        (Role::Assistant, json!([call("c", json!({})), result("c", json!("3"), false), text("three")])),
        (Role::User, json!([text("thanks")])),
    ]))
    .await;
    let wanted = json!([
        { "role": "user", "content": "go\n\non" },
        {
            "role": "assistant", "content": null, "reasoning_content": "old",
            "tool_calls": [sent_call("a", "{}")],
        },
        sent_result("a", ""),
        { "role": "assistant", "content": null, "tool_calls": [sent_call("b", "{}")] },
        sent_result("b", "2"),
        { "role": "assistant", "content": "so\n\ndone" },
        { "role": "user", "content": "more" },
        { "role": "assistant", "content": null, "tool_calls": [sent_call("c", "{}")] },
        sent_result("c", "3"),
        { "role": "assistant", "content": "three" },
        { "role": "user", "content": "thanks" },
    ]);
    assert_eq!(body["messages"], wanted);
}

#[tokio::test]
async fn files_and_data_go_as_far_as_they_can() {
    let file =
        |kind: &str, member: &str, value: &str| json!({ "type": "file", "media_type": kind, member: value });
    let mut named = file("application/pdf", "data", "QQ==");
    named["name"] = "a.pdf".into();
    let body = asked(history(&[
        (Role::User, json!([text("see"), file("image/png", "url", "https://example.org/a.png")])),
        (Role::User, json!([file("image/png", "data", "QQ=="), named])),
        (Role::Assistant, json!([text("yes")])),
        (
            Role::User,
            json!([
                file("text/csv", "url", "https://example.org/a.csv"),
                { "type": "data", "name": "place", "data": { "x": 1.50 } },
            ]),
        ),
    ]))
    .await;
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let pdf = json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ==" });
    let wanted = json!([
        {
            "role": "user",
            "content": [
                text("see"), image("https://example.org/a.png"),
                image("data:image/png;base64,QQ=="), { "type": "file", "file": pdf },
            ],
        },
        { "role": "assistant", "content": "yes" },
        { "role": "user", "content": "\n[file: text/csv, https://example.org/a.csv]\n\nplace: {\"x\":1.5}\n" },
    ]);
    assert_eq!(body["messages"], wanted);
}

#[tokio::test]
async fn a_call_gets_no_name_that_the_history_has() {
    let calls = json!([{ "index": 0, "id": "a", "function": { "name": "find", "arguments": "{}" } }]);
    let event = json!({ "choices": [{ "delta": { "tool_calls": calls }, "finish_reason": "tool_calls" }] });
    let provider =
        Provider::start(vec![vec![head(), chunk(format!("data: {event}\n\n{DONE}")), end()]]).await;
    let asking = history(&[
        (Role::User, json!([text("go")])),
        (Role::Assistant, json!([call("a", json!({}))])),
        (Role::Tool, json!([result("a", json!("1"), false)])),
    ]);
    let events: Vec<_> = generator(&provider).start(asking).collect().await;
    let begins = Some(Block::tool_call("call_1_1_0", "find"));
    assert_eq!(events[0], Generated::Part { begins, text: "{}".into() });
}

#[tokio::test]
async fn what_came_with_a_call_goes_back_with_it_to_the_model_that_gave_it() {
    let extra = json!({ "google": { "thought_signature": "x" } });
    let kept = json!({ "model": "small", "tool_call_id": "a", "extra_content": extra });
    let data = json!({ "type": "data", "name": "openai.tool_call_extra", "data": kept });
    let asking = history(&[
        (Role::User, json!([text("go")])),
        (Role::Assistant, json!([call("a", json!({})), data, call("b", json!({}))])),
        (Role::Tool, json!([result("a", json!("1"), false), result("b", json!("2"), false)])),
    ]);
    let mut signed = sent_call("a", "{}");
    signed["extra_content"] = extra;
    let body = asked(asking.clone()).await;
    assert_eq!(body["messages"][1]["tool_calls"], json!([signed, sent_call("b", "{}")]));
    let body = asked(Conversation { model: Some("other".into()), ..asking }).await;
    assert_eq!(body["messages"][1]["tool_calls"], json!([sent_call("a", "{}"), sent_call("b", "{}")]));
}
