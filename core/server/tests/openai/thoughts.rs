//! What a model is told again of its thoughts, and what becomes of it at endpoints that take none, or want more.

use std::sync::Arc;

use futures::StreamExt;
use mainstem::generators::OpenAi;
use mainstem_machine::Role;
use mainstem_runtime::ports::{Conversation, Generated, Generator, Tool};
use serde_json::{Value, json};

use crate::generator;
use crate::provider::{Act, Provider, Seen, plain};
use crate::requests::{asked, call, fine, history, result, text};

fn thought(text: &str) -> Value {
    json!({ "type": "reasoning", "text": text })
}

/// A turn that called, one that did not, and one that calls now.
fn three_turns() -> Conversation {
    history(&[
        (Role::User, json!([text("one")])),
        (Role::Assistant, json!([thought("1a"), call("a", json!({}))])),
        (Role::Tool, json!([result("a", json!("1"), false)])),
        (Role::Assistant, json!([thought("1b"), text("first")])),
        (Role::User, json!([text("two")])),
        (Role::Assistant, json!([thought("2"), text("second")])),
        (Role::User, json!([text("three")])),
        (Role::Assistant, json!([thought("3"), call("b", json!({}))])),
        (Role::Tool, json!([result("b", json!("2"), false)])),
        (Role::Assistant, json!([call("c", json!({}))])),
        (Role::Tool, json!([result("c", json!("3"), false)])),
    ])
}

/// What the answers in a body say of their thoughts; of those that say nothing `-`.
fn told(body: &Value) -> Vec<&str> {
    let messages = body["messages"].as_array().expect("messages are a list").iter();
    let answers = messages.filter(|message| message["role"] == "assistant");
    answers.map(|answer| answer.get("reasoning_content").map_or("-", |text| text.as_str().unwrap())).collect()
}

fn refused() -> Vec<Act> {
    let error = r#"{"error":{"message":"reasoning_content: what is that?","type":"invalid_request_error"}}"#;
    plain("400 Bad Request", "application/json", error)
}

/// The bodies of the requests that lead to an answer.
async fn bodies(
    provider: &mut Provider,
    generator: &OpenAi,
    asking: Conversation,
    count: usize,
) -> Vec<Value> {
    let events: Vec<_> = generator.start(asking).collect().await;
    assert!(matches!(events.last(), Some(Generated::Done(_))), "{events:?}");
    let mut bodies = vec![];
    for _ in 0..count {
        let Seen::Request { body, .. } = provider.seen().await else { panic!("a request") };
        bodies.push(body);
    }
    bodies
}

const OF_CALLS: [&str; 5] = ["1a", "1b", "-", "3", "-"];

#[tokio::test]
async fn turns_that_called_are_sent_with_their_thoughts_in_all_later_requests() {
    assert_eq!(told(&asked(three_turns()).await), OF_CALLS);
    let mut talk = three_turns();
    talk.history.messages = talk.history.messages[4..7].into();
    assert_eq!(told(&asked(talk).await), ["-"], "where no tools are, thoughts have no use");
}

#[tokio::test]
async fn a_model_that_wants_thoughts_with_every_answer_gets_them_from_then_on() {
    let mut provider = Provider::start(vec![refused(), fine()]).await;
    let generator = generator(&provider);
    let of_all = ["1a", "1b", "2", "3", " "];
    let sent = bodies(&mut provider, &generator, three_turns(), 2).await;
    assert_eq!(sent.iter().map(told).collect::<Vec<_>>(), [OF_CALLS, of_all]);
    let sent = bodies(&mut provider, &generator, three_turns(), 1).await;
    assert_eq!(told(&sent[0]), of_all);
    // With tools that were never called, too; but not without.
    let mut talk = three_turns();
    talk.history.messages = talk.history.messages[4..7].into();
    assert_eq!(told(&bodies(&mut provider, &generator, talk.clone(), 1).await[0]), ["-"]);
    let tool = Tool { name: "find".into(), description: "Finds".into(), input_schema: "{}".into() };
    talk.tools = [tool].into();
    assert_eq!(told(&bodies(&mut provider, &generator, talk, 1).await[0]), ["2"]);
}

#[tokio::test]
async fn a_model_that_takes_no_thoughts_is_told_none_from_then_on_and_others_are() {
    let mut provider = Provider::start(vec![refused(), refused(), fine()]).await;
    let generator = generator(&provider);
    let sent = bodies(&mut provider, &generator, three_turns(), 3).await;
    assert_eq!(told(&sent[2]), ["-"; 5]);
    for body in &sent {
        assert_eq!(body["stream_options"]["include_usage"], true, "it was not that");
    }
    let sent = bodies(&mut provider, &generator, three_turns(), 1).await;
    assert_eq!(told(&sent[0]), ["-"; 5]);
    let other = Conversation { model: Some(Arc::from("other")), ..three_turns() };
    assert_eq!(told(&bodies(&mut provider, &generator, other, 1).await[0]), OF_CALLS);
}
