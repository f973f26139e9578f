//! Responses that wait, that nobody waits for, and that several look at.

use mainstem_tests::client::counted;
use mainstem_tests::deadline::until;
use serde_json::json;

use super::BOTH;
use super::sdk::{Sdk, WAYS, Way, chat_of, cluster};
use super::shown::{assert_same_numbers, compare, joined, output};

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_fetched_at_any_replica() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let with = json!({"input": "/demo parts=100 interval=5ms", "background": true});
        let begun = sdk.create(&a, with.clone()).await;
        assert!(["queued", "in_progress"].contains(&begun["status"].as_str().expect("a status")), "{kind}");
        let id = begun["id"].as_str().expect("a name");
        let over = sdk.until_response(&b, id, "completed").await;
        assert_eq!(over["output_text"], counted(100), "{kind}");
        assert_eq!(compare(&mut sdk, &c, id).await[1..], output(&over), "{kind}");
        // One that is streamed, too, and left: it goes on.
        sdk.begin_response("s", &a, Way::Raw, with).await;
        sdk.until_text("s", 20).await;
        let left = sdk.leave("s").await;
        let over = sdk.until_response(&b, &left.id(), "completed").await;
        assert_eq!(over["output_text"], counted(100), "{kind}");
    }
}

#[tokio::test]
async fn a_second_request_waits_for_the_first_and_is_answered_behind_it() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        for way in WAYS {
            let mut sdk = Sdk::start(kind);
            let made = sdk.call(&a, "conversations.create", json!({"with": {}})).await;
            let conversation = &made["id"];
            let asked = |parts: u64| json!({"input": format!("/demo parts={parts} interval=10ms"), "conversation": conversation});
            sdk.begin_response("first", &a, way, asked(300)).await;
            sdk.until_text("first", 20).await;
            sdk.begin_response("second", &b, way, asked(4)).await;
            sdk.until_events("second", 2).await;
            // It has a name before its turn comes, and is found by it.
            let chat = chat_of(conversation.as_str().expect("a name"));
            let queued = c.chat(&chat).await["queue"][0]["id"].clone();
            let id = format!("resp_{}_{queued}", chat.replace('-', ""));
            assert_eq!(sdk.retrieve(&c, &id).await["status"], "queued", "{kind}");
            let [first, second] = [sdk.until_ended("first").await, sdk.until_ended("second").await];
            assert_eq!(second.id(), id);
            assert_eq!(second.events[0]["response"]["status"], "queued", "{kind}");
            assert_eq!(second.types()[..3], ["response.created", "response.queued", "response.in_progress"]);
            assert_eq!(joined(&first.events)["status"], "completed", "{kind}");
            let kept = compare(&mut sdk, &c, &id).await;
            assert_eq!(output(&joined(&second.events)), kept[3..], "{kind}");
            assert_eq!(kept[1], json!({"assistant": counted(300)}), "{kind}");
        }
    }
}

#[tokio::test]
async fn two_streams_of_one_response_have_the_same_numbers_at_any_replicas() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let with = json!({"input": "/demo parts=150 interval=10ms reasoning=20"});
        sdk.begin_response("first", &a, Way::Raw, with).await;
        sdk.until_text("first", 20).await;
        let id = until("it is named", async || {
            let chats = a.get("/v1/chats?limit=1").await.expect(200).body;
            let chat = chats["chats"][0].clone();
            Some(format!(
                "resp_{}_{}",
                chat["id"].as_str()?.replace('-', ""),
                chat["turn"]["turn"].as_u64().or(chat["turn"].as_u64())?
            ))
        })
        .await;
        sdk.begin_again("second", &b, Way::Raw, &id, None).await;
        sdk.begin_again("third", &c, Way::Helper, &id, None).await;
        let first = sdk.until_ended("first").await;
        assert_eq!(first.id(), id);
        sdk.begin_again("late", &c, Way::Raw, &id, None).await;
        let ended = joined(&first.events);
        for name in ["second", "third", "late"] {
            let other = sdk.until_ended(name).await;
            assert_eq!(joined(&other.events)["output"], ended["output"], "{kind}: {name}");
            let common = assert_same_numbers(&first, &other);
            // The begin, each item, and the ends, whatever pieces the text came in.
            assert!(common > 10, "{kind}: {name} has {common} events in common");
        }
        assert_eq!(compare(&mut sdk, &b, &id).await[1..], output(&ended), "{kind}");
    }
}

#[tokio::test]
async fn a_request_that_is_tried_again_by_itself_is_answered_once() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let mut last = sdk.create(&a, json!({"input": "/demo parts=3 interval=1ms"})).await["id"].clone();
        // The answer is lost on its way, whole, and as it begins.
        for stream in [false, true] {
            let mut with = json!({"input": "/demo parts=40 interval=5ms", "previous_response_id": last});
            with["stream"] = json!(stream);
            let options = json!({"with": with, "retries": 2, "breaks": 2});
            let id = if stream {
                sdk.begin("s", &b, "responses.create", options).await;
                let told = sdk.until_ended("s").await;
                assert_eq!(joined(&told.events)["status"], "completed", "{kind}");
                json!(told.id())
            } else {
                sdk.call(&b, "responses.create", options).await["id"].clone()
            };
            let requests = sdk.requests().await;
            assert_eq!(
                requests.last().map(|request| &request["tried"]),
                Some(&json!(2)),
                "{kind}: {requests:?}"
            );
            assert_ne!(id, last, "{kind}");
            last = id;
        }
        let kept = compare(&mut sdk, &a, last.as_str().expect("a name")).await;
        assert_eq!(kept.len(), 6, "{kind}: {kept:?}");
    }
}

#[tokio::test]
async fn a_history_has_no_branches() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let first = sdk.create(&a, json!({"input": "/demo parts=3 interval=1ms"})).await;
        let with = json!({"input": "/demo parts=4 interval=1ms", "previous_response_id": first["id"]});
        let second = sdk.create(&b, with.clone()).await;
        let error =
            sdk.try_call(&b, "responses.create", json!({"with": with})).await.expect_err("it is older");
        assert_eq!(
            (&error["kind"], &error["status"]),
            (&json!("BadRequestError"), &json!(400)),
            "{kind}: {error}"
        );
        let both = json!({"input": "x", "previous_response_id": second["id"], "conversation": second["conversation"]["id"]});
        let error =
            sdk.try_call(&b, "responses.create", json!({"with": both})).await.expect_err("it is both");
        assert_eq!(error["status"], 400, "{kind}: {error}");
        assert_eq!(compare(&mut sdk, &a, second["id"].as_str().expect("a name")).await.len(), 4, "{kind}");
    }
}
