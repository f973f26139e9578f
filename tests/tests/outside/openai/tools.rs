//! Calls and what came of them: the client's, and the server's.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::tool_endpoint::ToolEndpoint;
use serde_json::{Value, json};

use super::BOTH;
use super::sdk::{Sdk, WAYS, Way, chat_of, cluster};
use super::shown::{compare, joined, output};

fn tools() -> Value {
    json!([{"type": "function", "name": "find", "description": "finds it", "parameters": {"type": "object"}, "strict": false}])
}

/// What the client answers to the calls of a response, in another order than they came.
fn brought(response: &Value) -> Vec<Value> {
    let items = response["output"].as_array().expect("items");
    let calls = items.iter().filter(|item| item["type"] == "function_call");
    let brought = calls.map(|call| {
        let found = format!("found by {}", call["arguments"].as_str().expect("a text"));
        json!({"type": "function_call_output", "call_id": call["call_id"], "output": found})
    });
    brought.rev().collect()
}

async fn streamed(sdk: &mut Sdk, at: &Client, way: Option<Way>, with: Value) -> Value {
    let Some(way) = way else { return sdk.create(at, with).await };
    sdk.begin_response("s", at, way, with).await;
    let told = sdk.until_ended("s").await;
    let ended = joined(&told.events);
    if way == Way::Helper {
        assert_eq!(output(&told.last), output(&ended), "{}: what the helper made of it", sdk.kind);
    }
    ended
}

#[tokio::test]
async fn results_of_the_client_let_the_answer_go_on_at_another_replica() {
    let (_cluster, [a, b, c]) = cluster().await;
    let question = "/demo parts=4 interval=1ms reasoning=2 call=find calls=2";
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        for way in [None, Some(WAYS[0]), Some(WAYS[1])] {
            let with = json!({"input": question, "tools": tools()});
            let asks = streamed(&mut sdk, &a, way, with).await;
            assert_eq!(asks["status"], "completed", "{kind}");
            let calls = brought(&asks);
            assert_eq!(calls.len(), 2, "{kind}: both at once: {asks}");
            let with = json!({"input": calls, "previous_response_id": asks["id"]});
            let goes_on = streamed(&mut sdk, &b, way, with.clone()).await;
            let id = goes_on["id"].as_str().expect("a name").to_owned();
            assert_ne!(goes_on["id"], asks["id"], "{kind}: a response of its own");
            let kept = compare(&mut sdk, &c, &id).await;
            let [first, second] = [output(&asks), output(&goes_on)];
            assert_eq!(
                (&kept[1..=first.len()], &kept[first.len() + 3..]),
                (&first[..], &second[..]),
                "{kind}"
            );
            assert_eq!(kept[first.len() + 1]["brought"], "found by {\"n\": 1}", "{kind}");
            assert_eq!(second[0], json!({"thought": "1 2 "}), "{kind}: {second:?}");
            // Once more, as who was not answered: it is told, and done once.
            let again = sdk.create(&c, with).await;
            assert_eq!((&again["id"], output(&again)), (&json!(id), second), "{kind}");
            assert_eq!(compare(&mut sdk, &a, &id).await, kept, "{kind}: S11");
            for (response, before) in [(&asks, &Value::Null), (&goes_on, &asks["id"])] {
                let fetched = sdk.retrieve(&c, response["id"].as_str().expect("a name")).await;
                assert_eq!(
                    (&fetched["output"], &fetched["status"]),
                    (&response["output"], &json!("completed"))
                );
                assert_eq!(fetched["previous_response_id"], *before, "{kind}");
            }
            // The chat goes on behind it.
            let with = json!({"input": "/demo parts=3 interval=1ms", "previous_response_id": id});
            assert_eq!(sdk.create(&a, with).await["output_text"], "1 2 3 ", "{kind}");
        }
    }
}

#[tokio::test]
async fn a_response_behind_results_is_told_again_from_any_place() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let input = "/demo parts=40 interval=2ms call=find";
        let asks = sdk.create(&a, json!({"input": input, "tools": tools()})).await;
        let with = json!({"input": brought(&asks), "previous_response_id": asks["id"]});
        sdk.begin_response("s", &b, Way::Raw, with).await;
        let whole = sdk.until_ended("s").await;
        let ended = joined(&whole.events);
        for (at, event) in whole.events.iter().enumerate().step_by(5) {
            let after = event["sequence_number"].as_u64();
            sdk.begin_again("s", &c, Way::Raw, &whole.id(), after).await;
            let rest = sdk.until_ended("s").await;
            let both = [&whole.events[..=at], &rest.events[..]].concat();
            assert_eq!(joined(&both)["output"], ended["output"], "{kind}");
        }
        // And the one that asked is told no more than it was.
        let first = asks["id"].as_str().expect("a name");
        sdk.begin_again("s", &a, Way::Helper, first, None).await;
        assert_eq!(output(&sdk.until_ended("s").await.last), output(&asks), "{kind}");
    }
}

#[tokio::test]
async fn a_conversation_takes_results_and_refuses_half_of_them() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let made = sdk.call(&a, "conversations.create", json!({"with": {}})).await;
        let input = "/demo parts=2 interval=1ms call=find calls=3";
        let with = json!({"input": input, "tools": tools(), "conversation": made["id"]});
        let asks = sdk.create(&a, with).await;
        let calls = brought(&asks);
        let in_it = |input: Value| json!({"input": input, "conversation": made["id"]});
        for (input, named) in [
            (json!(calls[..2]), asks["output"][1]["call_id"].clone()),
            (json!("and now?"), json!("function_call_output")),
            (json!([{"type": "function_call_output", "call_id": "none", "output": "x"}]), json!("call")),
        ] {
            let error = sdk.try_call(&b, "responses.create", json!({"with": in_it(input)})).await;
            let error = error.expect_err("it is refused");
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(named.as_str().expect("a text")), "{kind}: {message}");
        }
        let goes_on = sdk.create(&c, in_it(json!(calls))).await;
        assert_eq!(goes_on["status"], "completed", "{kind}");
        let kept = compare(&mut sdk, &b, made["id"].as_str().expect("a name")).await;
        assert_eq!(kept[kept.len() - 1..], output(&goes_on), "{kind}");
    }
}

#[tokio::test]
async fn tools_of_the_server_are_shown_with_what_came_of_them() {
    let tool = ToolEndpoint::start("it rains").await;
    tool.answer();
    let scratch = Scratch::new();
    let file = scratch.path().join("tools.toml");
    let written = format!(
        "[[tools]]\nname = \"find\"\ndescription = \"finds it\"\nrun = \"http\"\nurl = {:?}\ninput_schema = {{ type = \"object\" }}\n",
        tool.url
    );
    std::fs::write(&file, written).expect("it can be written");
    let flags = ["--tools", file.to_str().expect("UTF-8")];
    let cluster = Cluster::start(&[&flags, &flags, &flags]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        for way in [None, Some(WAYS[0]), Some(WAYS[1])] {
            let with = json!({"input": "/demo parts=3 interval=1ms call=find calls=2"});
            let response = streamed(&mut sdk, &a, way, with).await;
            let id = response["id"].as_str().expect("a name").to_owned();
            let kept = compare(&mut sdk, &b, &id).await;
            assert_eq!(output(&response), kept[1..], "{kind}: one response, whatever tools it takes");
            assert_eq!(kept[2], json!({"call": ["find", {"n": 1}], "came": "it rains"}), "{kind}");
            if way.is_none() {
                continue;
            }
            sdk.begin_again("s", &c, Way::Raw, &id, None).await;
            let whole = sdk.until_ended("s").await;
            for (at, event) in whole.events.iter().enumerate() {
                sdk.begin_again("s", &b, Way::Raw, &id, event["sequence_number"].as_u64()).await;
                let rest = sdk.until_ended("s").await;
                let both = [&whole.events[..=at], &rest.events[..]].concat();
                assert_eq!(joined(&both)["output"], response["output"], "{kind}: behind {event}");
            }
            assert!(whole.types().contains(&"response.mcp_call.completed"), "{kind}");
            assert_eq!(a.messages(&chat_of(&id)).await.len(), 4, "{kind}: it is carried out once");
        }
    }
}
