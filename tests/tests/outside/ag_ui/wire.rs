//! What is said byte by byte: the names of events, and who goes on where.

use std::collections::BTreeSet;

use mainstem_tests::client::{Client, counted};
use reqwest::Method;
use serde_json::{Value, json};

use super::agent::{cluster, fresh_name};

/// The events of an answer: their ids, and what they say.
fn events(text: &str) -> Vec<(String, Value)> {
    assert!(!text.contains('\r') && !text.contains("[DONE]"), "both break a client");
    let frames = text.split("\n\n").filter(|frame| frame.contains("data: "));
    let event = |frame: &str| {
        let (id, data) = frame.split_once("\ndata: ").expect("an id stands before its data");
        let id = id.rsplit_once("id: ").expect("each has an id").1;
        (id.to_owned(), serde_json::from_str(data).expect("JSON"))
    };
    frames.map(event).collect()
}

fn text_of(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, event)| event["delta"].as_str()).collect()
}

/// The names of what is told of.
fn names(events: &[(String, Value)]) -> BTreeSet<String> {
    events.iter().filter_map(|(_, event)| event["messageId"].as_str()).map(str::to_owned).collect()
}

async fn resumed(client: &Client, body: &Value, id: &str) -> mainstem_tests::client::Answer {
    let request = client.request(Method::POST, "/ag-ui").header("last-event-id", id).json(body);
    client.ask(request).await
}

fn asks(thread: &str, text: &str) -> Value {
    let question = json!({"id": "q", "role": "user", "content": text});
    json!({"threadId": thread, "runId": fresh_name("run"), "messages": [question]})
}

#[tokio::test]
async fn who_comes_back_behind_any_event_is_told_the_rest_by_every_replica() {
    let (_cluster, replicas) = cluster().await;
    let thread = fresh_name("thread");
    let body = asks(&thread, "/demo parts=12 interval=3ms reasoning=3");
    let told = events(&replicas[0].post("/ag-ui", body.clone()).await.expect(200).text);
    assert_eq!((&told[0].1["type"], &told[0].1["runId"]), (&json!("RUN_STARTED"), &body["runId"]));
    assert_eq!(text_of(&told), counted(12));
    for (at, (id, event)) in told.iter().enumerate() {
        // The last one is the end, and nobody comes back behind it.
        if event["type"] == "RUN_FINISHED" {
            continue;
        }
        let mut rests = vec![];
        for replica in &replicas {
            let rest = events(&resumed(replica, &body, id).await.expect(200).text);
            assert_eq!(text_of(&told[..=at]) + &text_of(&rest), counted(12), "behind {event}");
            assert_eq!(rest.last().map(|(_, last)| &last["type"]), Some(&json!("RUN_FINISHED")));
            assert!(rest.iter().all(|(_, event)| event["type"] != "RUN_STARTED"), "{rest:?}");
            rests.push(names(&rest));
        }
        assert!(rests.iter().all(|names| *names == rests[0]), "behind {event}: {rests:?}");
    }
    let named = replicas[1].get(&format!("/v1/chats?external_id={thread}")).await.expect(200).body;
    let chat = named["chats"][0]["id"].as_str().expect("a chat");
    assert_eq!(replicas[2].messages(chat).await.len(), 2, "a resume is never a new run");
}

#[tokio::test]
async fn a_resume_without_a_place_of_this_chat_begins_nothing() {
    let (_cluster, [a, b, _]) = cluster().await;
    let (one, two) =
        (asks(&fresh_name("thread"), "/demo parts=2"), asks(&fresh_name("thread"), "/demo parts=3"));
    let id = events(&a.post("/ag-ui", one.clone()).await.expect(200).text)[2].0.clone();
    // Of a chat that is not there, of another one, and nonsense.
    resumed(&b, &two, &id).await.expect(404);
    a.post("/ag-ui", two.clone()).await.expect(200);
    for id in [&*id, "nonsense", "5"] {
        let answer = resumed(&b, &two, id).await.expect(400);
        assert!(answer.text.contains("cursor"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_run_is_one_with_its_key_and_no_other_question_has_it() {
    let (_cluster, [a, b, c]) = cluster().await;
    let body = asks(&fresh_name("thread"), "/demo parts=5 interval=1ms");
    let first = events(&a.post("/ag-ui", body.clone()).await.expect(200).text);
    let again = events(&b.post("/ag-ui", body.clone()).await.expect(200).text);
    assert_eq!((names(&first), text_of(&first)), (names(&again), text_of(&again)), "S6");
    let mut other = body.clone();
    other["messages"] = json!([{"id": "q2", "role": "user", "content": "/demo parts=6"}]);
    let refused = c.post("/ag-ui", other).await.expect(422);
    assert!(refused.text.contains("key"), "{}", refused.text);
    // Another run that ends with the question asks for another answer.
    let mut new = body.clone();
    new["runId"] = json!(fresh_name("run"));
    let new = events(&c.post("/ag-ui", new).await.expect(200).text);
    assert!(names(&new).is_disjoint(&names(&first)) && text_of(&new) == counted(5));
}
