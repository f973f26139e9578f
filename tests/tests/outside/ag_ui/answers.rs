//! Questions and their answers: new ones, edited ones, second ones.

use mainstem_tests::client::counted;
use serde_json::{Value, json};

use super::ALL;
use super::agent::{Agent, cluster, fresh_name, requests, types};

#[tokio::test]
async fn an_answer_and_its_thoughts_are_shown_as_they_are_kept() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.ask("/demo parts=50 interval=1ms").await;
        assert_eq!(agent.compare(&b).await[1], counted(50), "{kind}");
        agent.go(&b).await;
        agent.ask("/demo parts=7 interval=1ms reasoning=3").await;
        assert_eq!(agent.compare(&a).await[3], "4 5 6 7 ", "{kind}: on another replica");
        let state = agent.state().await;
        assert!(!types(&state).contains(&"MESSAGES_SNAPSHOT"), "{kind}: what it has is not told to it again");
        if kind != "tanstack" {
            assert_eq!(state["state"]["mainstem"]["status"], "waiting");
        }
    }
}

#[tokio::test]
async fn a_second_answer_takes_the_place_of_the_first() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        for parts in [3, 4] {
            agent.ask(&format!("/demo parts={parts} interval=1ms")).await;
        }
        let chat = agent.chat_id(&a).await;
        let before = a.messages(&chat).await.last().map(|last| last.id);
        agent.go(&b).await;
        if kind != "tanstack" {
            // TanStack's client does this itself.
            let mut messages = agent.state().await["messages"].as_array().expect("messages").clone();
            messages.pop();
            agent.tell(json!({"do": "set", "messages": messages})).await;
        }
        assert_eq!(agent.run(json!({})).await["status"], "ready");
        assert_eq!(agent.compare(&c).await.len(), 4, "{kind}");
        assert!(a.messages(&chat).await.last().map(|last| last.id) > before, "{kind}: it was made again");
        if kind == "tanstack" {
            // While it is being made, too.
            agent.send("/demo parts=150 interval=10ms").await;
            agent.until_shown(20).await;
            assert_eq!(agent.run(json!({})).await["status"], "ready");
            assert_eq!(agent.compare(&a).await[5], counted(150));
        }
    }
}

#[tokio::test]
async fn an_edited_question_is_answered_and_what_followed_it_goes() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        for parts in [3, 4] {
            agent.ask(&format!("/demo parts={parts} interval=1ms")).await;
        }
        for parts in [5, 6] {
            let mut question = agent.state().await["messages"][0].clone();
            question["content"] = json!(format!("/demo parts={parts} interval=1ms"));
            agent.tell(json!({"do": "set", "messages": [question]})).await;
            agent.go(&b).await;
            assert_eq!(agent.run(json!({})).await["error"], Value::Null);
            let texts = agent.compare(&c).await;
            assert_eq!(texts, [format!("/demo parts={parts} interval=1ms"), counted(parts)], "{kind}");
        }
    }
}

#[tokio::test]
async fn what_was_said_elsewhere_is_brought_and_what_the_client_lacks_is_told() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in ALL {
        let mut brought = json!([
            {"id": "e1", "role": "user", "content": "hello"},
            {"id": "e2", "role": "assistant", "content": "hi there"},
        ]);
        if kind == "tanstack" {
            for message in brought.as_array_mut().expect("messages") {
                message["parts"] = json!([{"type": "text", "content": message["content"].take()}]);
                message.as_object_mut().expect("a message").remove("content");
            }
        }
        let mut agent = Agent::fresh(kind, &a, json!({"messages": brought}));
        agent.ask("/demo parts=3 interval=1ms").await;
        assert_eq!(agent.compare(&a).await[..2], ["hello", "hi there"], "{kind}");
        // Another page of the same user goes on, and this one has seen nothing of it.
        let chat = agent.chat_id(&a).await;
        b.send(&chat, "/demo parts=4 interval=1ms").await;
        b.until_idle(&chat).await;
        agent.go(&b).await;
        agent.ask("/demo parts=5 interval=1ms").await;
        let texts = agent.compare(&b).await;
        assert_eq!((texts.len(), &texts[5], &texts[7]), (8, &counted(4), &counted(5)), "{kind}: ours wins");
        // A page that says its last message alone is told the rest.
        let mut other = Agent::open(kind, "", &b, &agent.thread, json!({}));
        other.ask("/demo parts=6 interval=1ms").await;
        assert_eq!(other.compare(&a).await.len(), 10, "{kind}");
    }
}

#[tokio::test]
async fn the_same_run_asked_for_again_is_the_same_turn_at_any_replica() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let run = fresh_name("run");
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.tell(json!({"do": "send", "text": "/demo parts=9 interval=1ms", "runId": run})).await;
        agent.until("it is answered", |state| requests(state) == 1 && state["status"] == "ready").await;
        let chat = agent.chat_id(&a).await;
        let before: Vec<_> = a.messages(&chat).await.into_iter().map(|message| message.id).collect();
        let question = agent.state().await["messages"][0].clone();
        for client in [&b, &c] {
            agent.go(client).await;
            // With what it shows, and as it was asked first.
            agent.run(json!({"runId": run})).await;
            agent.compare(&a).await;
            agent.tell(json!({"do": "set", "messages": [question]})).await;
            agent.run(json!({"runId": run})).await;
            assert_eq!(agent.compare(&a).await[1], counted(9), "{kind}");
        }
        let after: Vec<_> = a.messages(&chat).await.into_iter().map(|message| message.id).collect();
        assert_eq!(before, after, "S6: {kind}");
    }
}
