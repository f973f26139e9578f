//! Chat completions: the client has the history, and each request is a chat of its own.

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::BOTH;
use super::sdk::{Sdk, Way, cluster};
use super::shown::kept;

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn tools() -> Value {
    let function = json!({"name": "find", "description": "finds it", "parameters": {"type": "object"}});
    json!([{"type": "function", "function": function}])
}

async fn begin(sdk: &mut Sdk, at: &Client, way: Way, mut with: Value) {
    let of = match way {
        Way::Raw => {
            with["stream"] = json!(true);
            "chat.completions.create"
        }
        Way::Helper => "chat.completions.stream",
    };
    sdk.begin("s", at, of, json!({"with": with})).await;
}

/// What the database has of the newest chat.
async fn newest(at: &Client) -> Vec<Value> {
    let chats = at.get("/v1/chats?limit=1").await.expect(200).body;
    let chat = chats["chats"][0]["id"].as_str().expect("there is one");
    at.until_idle(chat).await;
    kept(at, chat).await
}

/// The texts that came piece by piece, of one member.
fn pieces(events: &[Value], member: &str) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"][member].as_str()).collect()
}

#[tokio::test]
async fn a_completion_is_what_is_kept_however_it_is_asked_for() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let messages = json!([
            {"role": "system", "content": "be brief"},
            user("hello"),
            {"role": "assistant", "content": "hi there"},
            user("/demo parts=40 interval=2ms"),
        ]);
        let with = json!({"model": "demo", "messages": messages});
        let whole = sdk.call(&a, "chat.completions.create", json!({"with": with})).await;
        let choice = &whole["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!(counted(40)), &json!("stop")),
            "{kind}"
        );
        let there = newest(&b).await;
        assert_eq!(there.len(), if there[0].get("system").is_some() { 5 } else { 4 }, "{kind}");
        assert_eq!(there.last(), Some(&json!({"assistant": counted(40)})), "{kind}");
        for (way, at) in [(Way::Raw, &b), (Way::Helper, &c)] {
            begin(&mut sdk, at, way, with.clone()).await;
            let told = sdk.until_ended("s").await;
            assert_eq!(pieces(&told.events, "content"), counted(40), "{kind}");
            assert_eq!(pieces(&told.events, "role"), "assistant", "{kind}: once");
            assert_eq!(newest(&a).await, there, "{kind}");
            if way == Way::Helper {
                assert_eq!(told.last["choices"][0]["message"]["content"], counted(40), "{kind}");
            }
        }
        let mut with = json!({"model": "demo", "messages": [user("/demo parts=9 interval=1ms reasoning=3")]});
        with["stream_options"] = json!({"include_usage": true});
        begin(&mut sdk, &b, Way::Raw, with).await;
        let told = sdk.until_ended("s").await;
        assert_eq!(pieces(&told.events, "content"), counted(9)[6..], "{kind}");
        assert_eq!(pieces(&told.events, "reasoning_content"), "1 2 3 ", "{kind}");
    }
}

#[tokio::test]
async fn calls_are_answered_with_the_history_that_the_client_has() {
    let (_cluster, [a, b, c]) = cluster().await;
    let question = user("/demo parts=4 interval=1ms call=find calls=2");
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        for way in [None, Some(Way::Raw), Some(Way::Helper)] {
            let with = |messages: &[Value]| json!({"model": "demo", "messages": messages, "tools": tools()});
            let mut messages = vec![question.clone()];
            let asks = match way {
                Some(Way::Helper) => {
                    begin(&mut sdk, &a, Way::Helper, with(&messages)).await;
                    sdk.until_ended("s").await.last["choices"][0].clone()
                }
                _ => {
                    let whole =
                        sdk.call(&a, "chat.completions.create", json!({"with": with(&messages)})).await;
                    whole["choices"][0].clone()
                }
            };
            assert_eq!(asks["finish_reason"], "tool_calls", "{kind}: {asks}");
            let calls = asks["message"]["tool_calls"].as_array().expect("calls").clone();
            assert_eq!(
                (calls.len(), &calls[1]["function"]["arguments"]),
                (2, &json!("{\"n\": 2}")),
                "{kind}"
            );
            let made: Vec<Value> = calls
                .iter()
                .map(|call| {
                    let function = json!({"name": "find", "arguments": call["function"]["arguments"]});
                    json!({"id": call["id"], "type": "function", "function": function})
                })
                .collect();
            messages.push(
                json!({"role": "assistant", "content": asks["message"]["content"], "tool_calls": made}),
            );
            for call in &calls {
                messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "found"}));
            }
            let said = match way {
                Some(way) => {
                    begin(&mut sdk, &b, way, with(&messages)).await;
                    json!(pieces(&sdk.until_ended("s").await.events, "content"))
                }
                None => {
                    let whole =
                        sdk.call(&b, "chat.completions.create", json!({"with": with(&messages)})).await;
                    whole["choices"][0]["message"]["content"].clone()
                }
            };
            let there = newest(&c).await;
            assert_eq!(
                there.last(),
                Some(&json!({"assistant": said})),
                "{kind}: it goes on in the chat of the calls"
            );
            assert_eq!(
                there.iter().filter(|item| item["brought"] == "found").count(),
                2,
                "{kind}: {there:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_runner_of_tools_carries_them_out_by_itself() {
    let (_cluster, [a, b, _]) = cluster().await;
    let mut sdk = Sdk::start("node");
    for stream in [false, true] {
        let messages = [user("/demo parts=4 interval=1ms call=find")];
        let with = json!({"model": "demo", "messages": messages, "tools": tools(), "stream": stream});
        let options = json!({"with": with, "results": {"find": "it rains"}});
        sdk.begin("s", &a, "chat.completions.runTools", options).await;
        let told = sdk.until_ended("s").await;
        let said: Vec<&Value> =
            told.messages.as_array().expect("messages").iter().map(|of| &of["role"]).collect();
        assert_eq!(said, ["user", "assistant", "tool", "assistant"], "{stream}");
        let there = newest(&b).await;
        assert_eq!(there.last(), Some(&json!({"assistant": told.messages[3]["content"]})), "{stream}");
        assert!(there.contains(&json!({"brought": "it rains"})), "{stream}: {there:?}");
    }
}

#[tokio::test]
async fn an_answer_that_fails_is_an_error_and_one_that_is_cut_is_no_end() {
    for kind in BOTH {
        let cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let a = cluster.replicas[0].client();
        let mut sdk = Sdk::start(kind);
        for way in [Way::Raw, Way::Helper] {
            let with = json!({"model": "demo", "messages": [user("/demo parts=9 interval=1ms fatal=4")]});
            begin(&mut sdk, &a, way, with).await;
            let told = sdk.until_over("s").await;
            assert_eq!(
                (&*told.status, &told.error["kind"]),
                ("failed", &json!("APIError")),
                "{kind}: {}",
                told.error
            );
            assert_eq!(pieces(&told.events, "content"), counted(4), "{kind}");
        }
        let with = json!({"model": "demo", "messages": [user("/demo parts=300 interval=10ms")]});
        begin(&mut sdk, &a, Way::Raw, with).await;
        sdk.until_text("s", 20).await;
        cluster.replicas[0].terminate();
        let told = sdk.until_over("s").await;
        assert_eq!(told.status, "failed", "{kind}: {:?}", told.events.last());
    }
}

#[tokio::test]
async fn an_answer_that_begins_again_is_told_whole_or_is_an_error_and_never_doubled() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let with = json!({"model": "demo", "messages": [user("/demo parts=50 interval=2ms retryable=20")]});
        let whole = sdk.call(&a, "chat.completions.create", json!({"with": with})).await;
        assert_eq!(newest(&b).await[1]["assistant"], whole["choices"][0]["message"]["content"], "{kind}");
        for way in [Way::Raw, Way::Helper] {
            begin(&mut sdk, &b, way, with.clone()).await;
            let told = sdk.until_over("s").await;
            // Nothing can be taken back here.
            assert_eq!(
                (&*told.status, &told.error["kind"]),
                ("failed", &json!("APIError")),
                "{kind}: {}",
                told.error
            );
            // The last of it may be overtaken by the news that it is void.
            let said = pieces(&told.events, "content");
            assert!(!said.is_empty() && counted(20).starts_with(&said), "{kind}: {said}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_stopped_elsewhere_says_so_and_one_whose_worker_dies_is_no_end() {
    for kind in BOTH {
        let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let mut sdk = Sdk::start(kind);
        let with = json!({"model": "demo", "messages": [user("/demo parts=3000 interval=10ms")]});
        begin(&mut sdk, &b, Way::Raw, with.clone()).await;
        sdk.until_text("s", 20).await;
        let chats = a.get("/v1/chats?limit=1").await.expect(200).body;
        let chat = chats["chats"][0]["id"].as_str().expect("it is there").to_owned();
        a.post(&format!("/v1/chats/{chat}/interrupt"), json!({})).await.expect(202);
        let told = sdk.until_ended("s").await;
        let last = told.events.last().expect("a last chunk");
        assert_eq!(last["choices"][0]["finish_reason"], "interrupted", "{kind}");
        b.until_idle(&chat).await;
        assert_eq!(newest(&b).await[1]["assistant"], pieces(&told.events, "content"), "{kind}");

        begin(&mut sdk, &b, Way::Raw, with).await;
        sdk.until_text("s", 20).await;
        cluster.add("c", &[]).await;
        cluster.replicas[0].kill();
        let told = sdk.until_over("s").await;
        assert_eq!((&*told.status, &told.error["kind"]), ("failed", &json!("APIError")), "{kind}");
        let said = pieces(&told.events, "content");
        assert!(counted(3000).starts_with(&said), "{kind}: no word of the second attempt: {said}");
    }
}
