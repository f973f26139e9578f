//! What a client shows, put beside what the database has.

use std::collections::BTreeMap;

use mainstem_tests::client::Client;
use serde_json::{Value, json};

use super::sdk::{Sdk, Told, chat_of, conversation_of, kind, number};

fn text_of(parts: &Value, kinds: [&str; 2]) -> String {
    let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = parts.iter().filter(|part| kinds.iter().any(|kind| part["type"] == *kind));
    texts.map(|part| part["text"].as_str().expect("a text")).collect()
}

fn parsed(arguments: &Value) -> Value {
    let arguments = arguments.as_str().expect("a text");
    serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments))
}

/// Items, as who says what.
pub(super) fn said(items: &[Value]) -> Vec<Value> {
    let one = |item: &Value| match kind(item) {
        "message" => {
            let role = item["role"].as_str().expect("a role");
            json!({role: text_of(&item["content"], ["output_text", "input_text"])})
        }
        "reasoning" => json!({"thought": text_of(&item["content"], ["reasoning_text", "reasoning_text"])}),
        "function_call" => json!({"call": [item["name"], parsed(&item["arguments"])]}),
        "function_call_output" => json!({"brought": item["output"]}),
        "mcp_call" => json!({
            "call": [item["name"], parsed(&item["arguments"])],
            "came": item["output"].as_str().or(item["error"]["content"][0]["text"].as_str()),
        }),
        other => panic!("an item of type {other}"),
    };
    items.iter().map(one).collect()
}

pub(super) fn output(response: &Value) -> Vec<Value> {
    said(response["output"].as_array().unwrap_or_else(|| panic!("a response: {response}")))
}

fn said_ids(response: &Value) -> Vec<String> {
    let items = response["output"].as_array().into_iter().flatten();
    items.map(|item| item["id"].as_str().expect("an item has a name").to_owned()).collect()
}

/// The same of what the database has of a chat. What came of the server's calls is beside them.
pub(super) async fn kept(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}")).await.expect(200).body;
    let of_client: Vec<Value> =
        page["tools"].as_array().into_iter().flatten().map(|tool| tool["name"].clone()).collect();
    let page = client.get(&format!("/v1/chats/{chat}/messages?limit=100")).await.expect(200).body;
    let mut kept: Vec<Value> = vec![];
    let mut calls = BTreeMap::new();
    for message in page["messages"].as_array().expect("messages") {
        let role = message["role"].as_str().expect("a role");
        for part in message["content"].as_array().expect("parts") {
            match kind(part) {
                "text" => kept.push(json!({role: part["text"]})),
                "reasoning" => kept.push(json!({"thought": part["text"]})),
                "tool_call" => {
                    let is_clients = of_client.contains(&part["name"]);
                    let mut call = json!({"call": [part["name"], part["input"]]});
                    if !is_clients {
                        call["came"] = Value::Null;
                        calls.insert(part["id"].to_string(), kept.len());
                    }
                    kept.push(call);
                }
                "tool_result" => match calls.get(&part["tool_call_id"].to_string()) {
                    Some(at) => kept[*at]["came"] = part["content"].clone(),
                    None => kept.push(json!({"brought": part["content"]})),
                },
                other => panic!("a part of type {other}"),
            }
        }
    }
    kept
}

/// Waits until the chat rests, asserts that the items of its conversation are what the database has, page after page, and answers
/// them.
pub(super) async fn compare(sdk: &mut Sdk, at: &Client, name: &str) -> Vec<Value> {
    let chat = chat_of(name);
    at.until_idle(&chat).await;
    let kept = kept(at, &chat).await;
    let conversation = conversation_of(name);
    let with = json!({"order": "asc", "limit": 3});
    let items = sdk.list(at, "conversations.items.list", &conversation, with).await;
    assert_eq!(said(&items), kept, "{}: the items, and what the database has", sdk.kind);
    kept
}

/// Asserts what holds of any stream of events, whole or from several replicas one behind the other, and answers its response: numbers
/// grow, an item has one name and one place, and texts that were told piece by piece are those of the end.
#[track_caller]
pub(super) fn joined(events: &[Value]) -> Value {
    for pair in events.windows(2) {
        assert!(number(&pair[0]) < number(&pair[1]), "{} and then {}", pair[0], pair[1]);
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut places: BTreeMap<u64, String> = BTreeMap::new();
    let (mut void, mut done) = (vec![], BTreeMap::new());
    for event in events {
        let id = event["item_id"].as_str().or(event["item"]["id"].as_str()).unwrap_or_default().to_owned();
        match kind(event) {
            "response.output_item.added" => {
                let place = event["output_index"].as_u64().expect("a place");
                assert_eq!(places.insert(place, id.clone()), None, "a second item at its place: {event}");
                assert_eq!(texts.insert(id, String::new()), None, "an item twice: {event}");
            }
            "response.output_item.done" if event["item"]["status"] == "incomplete" => void.push(id),
            "response.output_item.done" => _ = done.insert(id, &event["item"]),
            // Who comes back is told what stands: the rest of what was told is void.
            "response.in_progress" => {
                let stands = |id: &String| said_ids(&event["response"]).contains(id);
                void.extend(texts.keys().filter(|id| !stands(id)).cloned());
            }
            "response.output_text.delta"
            | "response.reasoning_text.delta"
            | "response.function_call_arguments.delta"
            | "response.mcp_call_arguments.delta" => {
                let text = texts.get_mut(&id).unwrap_or_else(|| panic!("before its item: {event}"));
                text.push_str(event["delta"].as_str().expect("a text"));
            }
            _ => {}
        }
    }
    let end = events.last().expect("there are events");
    let ends = ["response.completed", "response.incomplete", "response.failed"];
    assert!(ends.contains(&kind(end)), "it is no end: {end}");
    let response = end["response"].clone();
    let items = response["output"].as_array().expect("items");
    for item in items {
        let id = item["id"].as_str().expect("an item has a name");
        let told = texts.remove(id).unwrap_or_else(|| panic!("it was not told of: {item}"));
        let whole = match kind(item) {
            "message" => text_of(&item["content"], ["output_text", "output_text"]),
            "reasoning" => text_of(&item["content"], ["reasoning_text", "reasoning_text"]),
            _ => item["arguments"].as_str().unwrap_or_default().to_owned(),
        };
        assert_eq!(told, whole, "what was told of {id}, and how it ended");
        if let Some(done) = done.get(id) {
            assert_eq!(*done, item, "how {id} was told to be done, and what it is");
        }
    }
    for id in texts.keys() {
        assert!(void.contains(id), "{id} is left: neither in the end nor void");
    }
    response
}

/// What two streams of one response have in common: an event of one number is the same event, and the text up to it, too.
#[track_caller]
pub(super) fn assert_same_numbers(one: &Told, other: &Told) -> usize {
    let places = |told: &Told| {
        let mut so_far: BTreeMap<String, usize> = BTreeMap::new();
        let place = |event: &Value| {
            let id = event["item_id"].as_str().unwrap_or_default().to_owned();
            let told = so_far.entry(id.clone()).or_default();
            *told += event["delta"].as_str().map_or(0, str::len);
            (number(event), (kind(event).to_owned(), id, *told))
        };
        told.events.iter().map(place).collect::<BTreeMap<_, _>>()
    };
    let (one, other) = (places(one), places(other));
    let common: Vec<_> = one.iter().filter(|(number, _)| other.contains_key(number)).collect();
    for (number, event) in &common {
        assert_eq!(Some(*event), other.get(number), "the event {number}");
    }
    common.len()
}
