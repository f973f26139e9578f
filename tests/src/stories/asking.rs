//! The requests of a story's users, each under a key of its own, sent until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstem_machine::{Accepted, ChatId, Tool, Version};
use mainstem_oracles::{Answer, Evidence, Name};
use mainstem_story::{Order, Script, called_tool};
use reqwest::Method;
use serde_json::{Value, json};

use super::CALLER;
use crate::client::{self, Client};
use crate::court::{Ledger, first_of_page, sent};

/// After a request that was not answered.
const RETURN_DELAY: Duration = Duration::from_millis(100);

/// One request, ready to be sent, also again.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) chat: ChatId,
    pub(super) order: Order,
    pub(super) key: String,
}

/// Counts requests that are not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered(Arc<AtomicUsize>);

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Unanswered {
    fn one(&self) -> Waiting {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiting(self.0.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Creates a chat that begins with this text, and returns its id.
pub(super) async fn create(client: &Client, on: &str, text: &str, key: &str, ledger: &Ledger) -> ChatId {
    let asked_at = ledger.now();
    let answer =
        client.post_with_key("/v1/chats", key, &json!({ "content": text, "tools": tools(text) })).await;
    let id = answer.expect(201).body["id"].as_str().and_then(|id| id.parse().ok()).map(ChatId);
    let chat = id.expect("a chat has an id");
    let (caller, named) = (Name::from(CALLER), Name::from(key));
    let (on, text) = (on.into(), Some(text.to_owned()));
    ledger.say_of(asked_at, Evidence::Asked { caller, key: named, chat, on, text, keyed: true });
    // The answer does not name the message.
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200);
    let snapshot_version = Version::default();
    let message = first_of_page(&page.text);
    let answer = Answer::Accepted(Accepted::Sent { message, queued: None, snapshot_version });
    let (caller, key) = (CALLER.into(), key.into());
    ledger.say(Evidence::Answered { caller, key, chat, answer });
    chat
}

/// The tools of a chat that begins with this text: its client's, if its model calls them.
fn tools(text: &str) -> Value {
    if !Script::parse(text).is_some_and(|script| script.calls) {
        return json!([]);
    }
    let Tool { name, description, input_schema } = called_tool();
    let schema: Value = serde_json::from_str(&input_schema).expect("a schema is JSON");
    json!([{"name": name, "description": description, "input_schema": schema}])
}

/// Sends a request to a replica until it is answered. `Err`: how it is refused.
pub(super) async fn ask(
    client: Client,
    on: String,
    request: Request,
    ledger: Ledger,
    unanswered: Unanswered,
) -> Result<(), String> {
    let _waiting = unanswered.one();
    let Request { chat, order, key } = request;
    let (method, path, body) = http(&order);
    let path = format!("/v1/chats/{chat}{path}");
    // A request without a key is asked once, and judged by what becomes of it.
    let is_keyed = method != Method::DELETE;
    loop {
        if is_keyed {
            let (caller, key, text) = (CALLER.into(), key.as_str().into(), order.text().map(str::to_owned));
            ledger.say(Evidence::Asked { caller, key, chat, on: on.as_str().into(), text, keyed: true });
        }
        let request = client.request(method.clone(), &path);
        let request = if is_keyed { request.header("idempotency-key", &key).json(&body) } else { request };
        let client::Answer { status, text, .. } = client.ask(request).await;
        let accepted = (200..300).contains(&status);
        // Who answers nothing, or that it cannot now, is asked again.
        if status == 0 || status >= 500 {
            tokio::time::sleep(RETURN_DELAY).await;
            continue;
        }
        if is_keyed {
            let answer = match order {
                _ if !accepted => Answer::Refused,
                Order::Send { .. } | Order::Edit { .. } => Answer::Accepted(sent(&text)),
                _ => Answer::Accepted(Accepted::Gone),
            };
            let (caller, key) = (CALLER.into(), key.as_str().into());
            ledger.say(Evidence::Answered { caller, key, chat, answer });
        }
        return if accepted { Ok(()) } else { Err(format!("the user is refused: {status} {text}")) };
    }
}

/// The method, the path below the chat, and the body.
fn http(order: &Order) -> (Method, String, Value) {
    match order {
        Order::Create { text } => (Method::POST, String::new(), json!({ "content": text })),
        Order::Send { text, mode } => {
            (Method::POST, "/messages".into(), json!({ "content": text, "busy": mode }))
        }
        Order::Regenerate { message, mode } => {
            let message = message.map(|message| message.0);
            (Method::POST, "/regenerate".into(), json!({ "message": message, "busy": mode }))
        }
        Order::Edit { message, text } => {
            (Method::PATCH, format!("/messages/{message}"), json!({ "content": text }))
        }
        Order::Interrupt => (Method::POST, "/interrupt".into(), json!({})),
        Order::Promote { queued } => (Method::POST, format!("/queue/{queued}/promote"), json!({})),
        Order::Withdraw { queued } => (Method::DELETE, format!("/queue/{queued}"), Value::Null),
        Order::Answer { calls } => {
            let result = |call: &String| json!({"tool_call_id": call, "content": format!("found by {call}")});
            let results: Vec<_> = calls.iter().map(result).collect();
            (Method::POST, "/tool_results".to_owned(), json!({"results": results}))
        }
        Order::Delete => (Method::DELETE, String::new(), Value::Null),
        Order::Share { user, may } => {
            (Method::PUT, format!("/shares/{user}"), json!({ "may": may.as_str() }))
        }
        Order::Unshare { user } => (Method::DELETE, format!("/shares/{user}"), Value::Null),
    }
}
