//! Streams that are left or break, and replicas that go, in the middle of an answer.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::BOTH;
use super::sdk::{Sdk, Told, WAYS, Way, chat_of, cluster, number};
use super::shown::{compare, joined, output};

/// What both streams told, one behind the other.
fn together(before: &Told, after: &Told) -> Vec<Value> {
    [&before.events[..], &after.events[..]].concat()
}

/// A question whose answer takes two seconds.
const LONG: &str = "/demo parts=200 interval=10ms reasoning=20";

#[tokio::test]
async fn a_stream_goes_on_at_any_replica_from_any_place_and_tells_each_word_once() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        // It is left in the text after so many characters, and gone on with while it runs, twice.
        for characters in [1, 2, 7, 40, 133, 250] {
            sdk.begin(
                "s",
                &a,
                "responses.create",
                json!({"with": {"input": LONG, "stream": true}, "stopAfter": characters}),
            )
            .await;
            let before = sdk.until_over("s").await;
            assert_eq!(before.status, "left", "{kind}: {}", before.error);
            let id = before.id();
            let options = json!({"id": id, "with": {"stream": true, "starting_after": before.number()}, "stopAfter": 60});
            sdk.begin("s", &b, "responses.retrieve", options).await;
            let middle = sdk.until_over("s").await;
            let so_far = Told { events: together(&before, &middle), ..middle };
            sdk.begin_again("s", &c, Way::Raw, &id, Some(so_far.number())).await;
            let ended = joined(&together(&so_far, &sdk.until_ended("s").await));
            assert_eq!(compare(&mut sdk, &a, &id).await[1..], output(&ended), "{kind}: {characters}");
            assert_eq!(ended["output_text"].as_str().unwrap_or(&counted(200)[51..]), &counted(200)[51..]);
        }
    }
}

#[tokio::test]
async fn what_has_ended_is_told_from_any_place_too() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        sdk.begin_response("s", &a, Way::Raw, json!({"input": "/demo parts=30 interval=2ms reasoning=5"}))
            .await;
        let whole = sdk.until_ended("s").await;
        let id = whole.id();
        let kept = compare(&mut sdk, &b, &id).await;
        for (at, place) in whole.events.iter().enumerate() {
            let replica = [&a, &b, &c][at % 3];
            sdk.begin_again("s", replica, Way::Raw, &id, Some(number(place))).await;
            let rest = sdk.until_ended("s").await;
            if at + 1 == whole.events.len() {
                assert_eq!(rest.events.len(), 0, "{kind}: there is nothing behind the last");
                continue;
            }
            let before = Told { events: whole.events[..=at].to_vec(), ..whole.clone() };
            let ended = joined(&together(&before, &rest));
            assert_eq!(output(&ended), kept[1..], "{kind}: behind {place}");
        }
    }
}

#[tokio::test]
async fn a_helper_that_comes_back_has_the_whole_answer_and_tells_what_is_new() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        sdk.begin(
            "s",
            &a,
            "responses.create",
            json!({"with": {"input": LONG, "stream": true}, "stopAfter": 30}),
        )
        .await;
        let before = sdk.until_over("s").await;
        let id = before.id();
        for _ in ["while it runs", "when it has ended"] {
            sdk.begin_again("s", &b, Way::Helper, &id, Some(before.number())).await;
            let after = sdk.until_ended("s").await;
            assert!(after.events.iter().all(|event| number(event) > before.number()), "{kind}");
            assert_eq!(compare(&mut sdk, &a, &id).await[1..], output(&after.last), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_worker_that_dies_is_told_in_the_same_stream() {
    for kind in BOTH {
        for way in WAYS {
            // In the midst of the thoughts, and of the text.
            for reasoning in [150, 3] {
                let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
                let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
                let mut sdk = Sdk::start(kind);
                let input = format!("/demo parts=200 interval=10ms reasoning={reasoning}");
                sdk.begin_response("s", &b, way, json!({"input": input})).await;
                if reasoning == 3 {
                    sdk.until_text("s", 20).await;
                } else {
                    sdk.until_events("s", 8).await;
                }
                cluster.add("c", &[]).await;
                cluster.replicas[0].kill();
                let told = sdk.until_ended("s").await;
                let ended = joined(&told.events);
                let kept = compare(&mut sdk, &b, &told.id()).await;
                assert_eq!(output(&ended), kept[1..], "{kind}");
                if way == Way::Helper {
                    assert_eq!(output(&told.last), kept[1..], "{kind}: what the helper made of it");
                }
                let void = told.events.iter().filter(|event| {
                    event["type"] == "response.output_item.done" && event["item"]["status"] == "incomplete"
                });
                assert!(void.count() > 0, "{kind}: a first attempt is told to be void");
                assert_eq!(b.messages(&chat_of(&told.id())).await.len(), 2, "{kind}: {a:?} began it, once");
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_dies_costs_a_client_nothing_but_a_request() {
    for kind in BOTH {
        for reasoning in [150, 3] {
            let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
            let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
            let mut sdk = Sdk::start(kind);
            let input = format!("/demo parts=200 interval=10ms reasoning={reasoning}");
            // It is told by the worker itself.
            sdk.begin_response("s", &a, Way::Raw, json!({"input": input})).await;
            sdk.until_events("s", 12).await;
            cluster.add("c", &[]).await;
            let c = cluster.replicas[2].client();
            cluster.replicas[0].kill();
            let before = sdk.until_over("s").await;
            assert_eq!(before.status, "failed", "{kind}: it is no end");
            let id = before.id();
            let helped = async |sdk: &mut Sdk| {
                sdk.begin_again("h", &c, Way::Helper, &id, Some(before.number())).await;
            };
            helped(&mut sdk).await;
            sdk.begin_again("s", &b, Way::Raw, &id, Some(before.number())).await;
            let after = sdk.until_ended("s").await;
            let ended = joined(&together(&before, &after));
            let kept = compare(&mut sdk, &b, &id).await;
            assert_eq!(output(&ended), kept[1..], "{kind}: {}", before.types().len());
            assert_eq!(output(&sdk.until_ended("h").await.last), kept[1..], "{kind}");
            assert_eq!(b.messages(&chat_of(&id)).await.len(), 2, "{kind}: no new turn");
        }
    }
}

#[tokio::test]
async fn a_replica_that_drains_cuts_and_never_ends_what_goes_on() {
    for kind in BOTH {
        for way in WAYS {
            let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
            let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
            let mut sdk = Sdk::start(kind);
            sdk.begin_response("s", &a, way, json!({"input": LONG})).await;
            sdk.until_text("s", 20).await;
            cluster.add("c", &[]).await;
            cluster.replicas[0].terminate();
            let before = sdk.until_over("s").await;
            assert_eq!(before.status, "failed", "{kind} {way:?}: it is no end: {:?}", before.events.last());
            let id = before.id();
            sdk.begin_again("s", &b, way, &id, Some(before.number())).await;
            let after = sdk.until_ended("s").await;
            let ended = match way {
                Way::Raw => joined(&together(&before, &after)),
                Way::Helper => after.last,
            };
            let kept = compare(&mut sdk, &b, &id).await;
            assert_eq!(output(&ended), kept[1..], "{kind} {way:?}");
            let whole = [json!({"thought": &counted(200)[..51]}), json!({"assistant": &counted(200)[51..]})];
            assert_eq!(kept[1..], whole, "{kind} {way:?}");
            assert_eq!(cluster.replicas[0].ended().await.code(), Some(0));
        }
    }
}

#[tokio::test]
async fn a_replica_that_drains_answers_who_waits_for_the_whole() {
    for kind in BOTH {
        let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let mut sdk = Sdk::start(kind);
        // Another program asks, since each answers one line at a time.
        let mut other = Sdk::start(kind);
        let asks = async { sdk.create(&a, json!({"input": LONG})).await };
        let drains = async {
            mainstem_tests::deadline::until("it runs", async || {
                let chats = b.get("/v1/chats?limit=1").await.expect(200).body;
                (chats["chats"][0]["attempt"].as_u64() > Some(0)).then_some(())
            })
            .await;
            cluster.add("c", &[]).await;
            cluster.replicas[0].terminate();
        };
        let (response, ()) = tokio::join!(asks, drains);
        let id = response["id"].as_str().expect("a name").to_owned();
        let over = other.until_response(&b, &id, "completed").await;
        assert_eq!(over["output_text"], counted(200)[51..], "{kind}");
        assert_eq!(compare(&mut other, &b, &id).await[1..], output(&over), "{kind}");
    }
}
