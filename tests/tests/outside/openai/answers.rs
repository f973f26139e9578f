//! Answers, whole and streamed, and the conversations that they are in.

use mainstem_tests::client::counted;
use serde_json::{Value, json};

use super::BOTH;
use super::sdk::{Sdk, WAYS, Way, chat_of, cluster, conversation_of};
use super::shown::{compare, joined, output, said};

#[tokio::test]
async fn an_answer_and_its_thoughts_are_told_as_they_are_kept() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let input = "/demo parts=50 interval=1ms reasoning=3";
        let whole = sdk.create(&a, json!({"model": "demo", "input": input})).await;
        let expected = [json!({"thought": "1 2 3 "}), json!({"assistant": counted(50)[6..]})];
        assert_eq!(output(&whole), expected, "{kind}");
        assert_eq!(whole["output_text"], counted(50)[6..], "{kind}");
        assert_eq!((&whole["status"], &whole["error"]), (&json!("completed"), &Value::Null), "{kind}");
        let mut last = whole["id"].as_str().expect("a name").to_owned();
        assert_eq!(compare(&mut sdk, &b, &last).await[1..], expected, "{kind}");
        for (way, at) in WAYS.into_iter().zip([&b, &c]) {
            let with = json!({"model": "demo", "input": input, "previous_response_id": last});
            sdk.begin_response("s", at, way, with).await;
            let told = sdk.until_ended("s").await;
            let ended = joined(&told.events);
            assert_eq!(
                (output(&ended), &ended["status"]),
                (expected.to_vec(), &json!("completed")),
                "{kind}"
            );
            assert_eq!(told.types()[0], "response.created");
            if way == Way::Helper {
                assert_eq!(output(&told.last), expected, "{kind}");
                assert_eq!(told.last["output_text"], counted(50)[6..], "{kind}");
            }
            last = told.id();
            // And whoever asks later is told the same, name by name.
            let fetched = sdk.retrieve(&a, &last).await;
            for member in
                ["id", "created_at", "status", "model", "output", "usage", "conversation", "completed_at"]
            {
                assert_eq!(ended[member], fetched[member], "{kind}: {member}");
            }
        }
        assert_eq!(compare(&mut sdk, &a, &last).await.len(), 9, "{kind}: one chat");
    }
}

#[tokio::test]
async fn a_conversation_is_a_chat_and_its_items_are_the_history() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let brought = json!([
            {"type": "message", "role": "user", "content": "hello"},
            {"type": "message", "role": "assistant", "content": "hi there"},
        ]);
        let made = sdk.call(&a, "conversations.create", json!({"with": {"items": brought}})).await;
        let id = made["id"].as_str().expect("a name").to_owned();
        for (parts, at) in [(3, &b), (4, &c)] {
            let input = json!([{"role": "user", "content": [{"type": "input_text", "text": format!("/demo parts={parts} interval=1ms")}]}]);
            let response = sdk.create(at, json!({"conversation": id, "input": input})).await;
            assert_eq!(response["output_text"], counted(parts), "{kind}");
            assert_eq!(response["conversation"]["id"], id);
            let name = response["id"].as_str().expect("a name");
            assert_eq!(conversation_of(name), id, "{kind}");
            let asked = sdk.list(&a, "responses.inputItems.list", name, json!({})).await;
            assert_eq!(
                said(&asked),
                [json!({"user": format!("/demo parts={parts} interval=1ms")})],
                "{kind}"
            );
        }
        let kept = compare(&mut sdk, &a, &id).await;
        assert_eq!(
            (kept.len(), &kept[..2]),
            (6, &[json!({"user": "hello"}), json!({"assistant": "hi there"})][..])
        );
        let mut newest = sdk.list(&b, "conversations.items.list", &id, json!({"limit": 4})).await;
        newest.reverse();
        assert_eq!(said(&newest), kept, "{kind}: newest first unless asked otherwise");
        assert_eq!(sdk.call(&c, "conversations.retrieve", json!({"id": id})).await["id"], id);
        let gone = sdk.call(&b, "conversations.delete", json!({"id": id})).await;
        assert_eq!((&gone["deleted"], &gone["id"]), (&json!(true), &json!(id)), "{kind}");
        assert_eq!(a.get(&format!("/v1/chats/{}", chat_of(&id))).await.status, 404);
        let error =
            sdk.try_call(&c, "conversations.retrieve", json!({"id": id})).await.expect_err("it is gone");
        assert_eq!((&error["kind"], &error["status"]), (&json!("NotFoundError"), &json!(404)), "{kind}");
    }
}

#[tokio::test]
async fn what_was_said_elsewhere_is_brought_whole_and_begins_a_chat() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let question = "/demo parts=5 interval=1ms reasoning=2";
        let first = sdk.create(&a, json!({"input": [{"role": "user", "content": question}]})).await;
        // A client that keeps the history itself sends back the items that it was told.
        let mut input = vec![json!({"role": "user", "content": question})];
        input.extend(first["output"].as_array().expect("items").clone());
        input.push(json!({"role": "user", "content": "/demo parts=6 interval=1ms"}));
        let instructions = "be brief";
        let second = sdk.create(&b, json!({"input": input, "instructions": instructions})).await;
        assert_eq!(second["output_text"], counted(6), "{kind}");
        let name = second["id"].as_str().expect("a name");
        assert_ne!(chat_of(name), chat_of(first["id"].as_str().expect("a name")), "{kind}");
        let kept = compare(&mut sdk, &b, name).await;
        assert_eq!(kept[1..3], output(&first), "{kind}");
        assert_eq!(a.chat(&chat_of(name)).await["instructions"], instructions, "{kind}");
    }
}

#[tokio::test]
async fn the_models_are_listed() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let models = sdk.call(&a, "models.list", json!({})).await["data"].clone();
        let first = models[0]["id"].as_str().expect("there is one").to_owned();
        assert_eq!(sdk.call(&b, "models.retrieve", json!({"id": first})).await["id"], first, "{kind}");
    }
}
