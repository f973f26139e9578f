//! Stopping, which is another thing than leaving unless the client says otherwise.

use mainstem_tests::client::{counted, is_counted};
use serde_json::json;

use super::BOTH;
use super::sdk::{Sdk, WAYS, Way, cluster};
use super::shown::{compare, joined, output};

#[tokio::test]
async fn a_stop_at_any_replica_keeps_what_was_said_and_ends_the_stream() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        for way in WAYS {
            let mut sdk = Sdk::start(kind);
            let with = json!({"input": "/demo parts=3000 interval=5ms"});
            sdk.begin(
                "named",
                &a,
                "responses.create",
                json!({"with": {"input": "/demo parts=3000 interval=5ms", "stream": true}, "stopAfter": 1}),
            )
            .await;
            let id = sdk.until_over("named").await.id();
            sdk.begin_again("s", &a, way, &id, None).await;
            sdk.until_text("s", 20).await;
            let stopped = sdk.call(&b, "responses.cancel", json!({"id": id})).await;
            assert_eq!((&stopped["id"], &stopped["status"]), (&json!(id), &json!("cancelled")), "{kind}");
            let told = sdk.until_over("s").await;
            let ended = joined(&told.events);
            assert_eq!(
                (told.types().pop(), &ended["status"]),
                (Some("response.incomplete"), &json!("cancelled")),
                "{kind}"
            );
            // Python's helper knows one end alone; whoever iterates is told any.
            let raises = way == Way::Helper && sdk.is_python();
            assert_eq!(told.status, if raises { "failed" } else { "ended" }, "{kind}: {}", told.error);
            let kept = compare(&mut sdk, &c, &id).await;
            for shown in [&ended, &stopped] {
                assert_eq!(output(shown), kept[1..], "{kind}");
            }
            let said = kept[1]["assistant"].as_str().expect("it was stopped in its text");
            assert!(is_counted(said) && said.len() < counted(3000).len(), "{kind}");
            // Once more it is nothing to stop, and the chat goes on.
            assert_eq!(sdk.call(&c, "responses.cancel", json!({"id": id})).await["status"], "cancelled");
            let next = json!({"input": "/demo parts=3 interval=1ms", "previous_response_id": id});
            assert_eq!(sdk.create(&c, next).await["output_text"], counted(3), "{kind}");
            assert_eq!(sdk.retrieve(&a, &id).await["status"], "cancelled", "{kind}: {with}");
        }
    }
}

#[tokio::test]
async fn what_waits_is_taken_back_and_what_runs_before_it_goes_on() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let made = sdk.call(&a, "conversations.create", json!({"with": {}})).await;
        let in_it = |parts: u64| json!({"input": format!("/demo parts={parts} interval=10ms"), "conversation": made["id"], "background": true});
        let first = sdk.create(&a, in_it(150)).await;
        let second = sdk.create(&b, in_it(3)).await;
        assert_eq!(second["status"], "queued", "{kind}");
        let id = second["id"].as_str().expect("a name");
        assert_eq!(
            sdk.call(&c, "responses.cancel", json!({"id": id})).await["status"],
            "cancelled",
            "{kind}"
        );
        let first = first["id"].as_str().expect("a name");
        let over = sdk.until_response(&b, first, "completed").await;
        assert_eq!(over["output_text"], counted(150), "{kind}");
        assert_eq!(compare(&mut sdk, &a, first).await.len(), 2, "{kind}");
        let error =
            sdk.try_call(&a, "responses.retrieve", json!({"id": id})).await.expect_err("it is in no history");
        assert_eq!(error["kind"], "NotFoundError", "{kind}");
    }
}

#[tokio::test]
async fn leaving_is_stopping_only_for_who_says_so() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        for (query, ends) in [(json!({}), "completed"), (json!({"on_close": "stop"}), "cancelled")] {
            let mut sdk = Sdk::start(kind);
            let with = json!({"input": "/demo parts=300 interval=10ms", "stream": true});
            sdk.begin("s", &b, "responses.create", json!({"with": with, "query": query})).await;
            sdk.until_text("s", 20).await;
            let id = sdk.leave("s").await.id();
            let over = sdk.until_response(&a, &id, ends).await;
            assert_eq!(compare(&mut sdk, &a, &id).await[1..], output(&over), "{kind}");
            assert_eq!(over["output_text"] == counted(300), ends == "completed", "{kind}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_fails_says_why_and_keeps_what_there_is() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let with = json!({"input": "/demo parts=9 interval=1ms fatal=4"});
        let whole = sdk.create(&a, with.clone()).await;
        assert_eq!(
            (&whole["status"], &whole["output_text"]),
            (&json!("failed"), &json!(counted(4))),
            "{kind}"
        );
        assert!(whole["error"]["message"].as_str().is_some_and(|why| !why.is_empty()), "{kind}");
        for way in WAYS {
            sdk.begin_response("s", &b, way, with.clone()).await;
            let told = sdk.until_over("s").await;
            let ended = joined(&told.events);
            assert_eq!(told.types().last(), Some(&"response.failed"), "{kind}");
            assert_eq!(ended["error"], whole["error"], "{kind}");
            assert_eq!(compare(&mut sdk, &c, &told.id()).await[1..], output(&ended), "{kind}");
        }
    }
}

#[tokio::test]
async fn an_attempt_that_is_made_again_is_told_in_the_same_stream() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        for way in WAYS {
            for reasoning in [0, 10, 30] {
                let mut sdk = Sdk::start(kind);
                let input = format!("/demo parts=50 interval=1ms reasoning={reasoning} retryable=20");
                sdk.begin_response("s", &a, way, json!({"input": input})).await;
                let told = sdk.until_ended("s").await;
                let ended = joined(&told.events);
                let kept = compare(&mut sdk, &b, &told.id()).await;
                assert_eq!(output(&ended), kept[1..], "{kind}");
                if way == Way::Helper {
                    assert_eq!(output(&told.last), kept[1..], "{kind}: what the helper made of it");
                }
            }
        }
    }
}
