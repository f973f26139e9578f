//! Stopping, which is another thing than leaving unless the client says otherwise.

use mainstem_tests::client::counted;
use serde_json::{Value, json};

use super::ALL;
use super::agent::{Agent, cluster, fresh_name};

#[tokio::test]
async fn a_stop_keeps_what_was_said_and_is_shown_as_no_error() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.send("/demo parts=3000 interval=5ms").await;
        agent.until_shown(20).await;
        let stop = json!({"threadId": agent.thread});
        assert_eq!(b.post("/ag-ui/stop", stop.clone()).await.expect(200).body, json!({"success": true}));
        let state = agent.until_status("ready").await;
        assert_eq!(state["error"], Value::Null, "{kind}");
        let texts = agent.compare(&c).await;
        assert!(!texts[1].is_empty() && texts[1].len() < counted(3000).len(), "{kind}");
        let last = state["events"].as_array().expect("events").last().expect("an end").clone();
        let outcome = if kind == "ag-ui-1" { json!("cancelled") } else { Value::Null };
        assert_eq!(last["outcome"]["type"], outcome, "{kind}");
        // What does not run is nothing to stop, and the chat goes on.
        b.post("/ag-ui/stop", stop).await.expect(200);
        agent.ask("/demo parts=3 interval=1ms").await;
        assert_eq!(agent.compare(&b).await[3], counted(3), "{kind}");
    }
    assert_eq!(a.post("/ag-ui/stop", json!({"threadId": "none"})).await.status, 404);
}

#[tokio::test]
async fn leaving_is_stopping_only_for_who_says_so() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in ALL {
        for query in ["", "?on_close=stop"] {
            let mut agent = Agent::open(kind, query, &b, &fresh_name("thread"), json!({}));
            agent.send("/demo parts=300 interval=5ms").await;
            agent.until_shown(20).await;
            agent.tell(json!({"do": "stop"})).await;
            let chat = agent.chat_id(&a).await;
            a.until_idle(&chat).await;
            let turn = a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
            let ended = if query.is_empty() { "completed" } else { "interrupted" };
            assert_eq!(turn["status"], ended, "{kind}{query}");
        }
    }
}
