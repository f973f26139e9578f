//! What is refused, in words that a user can read.

use mainstem_tests::client::counted;
use serde_json::json;

use super::ALL;
use super::agent::{Agent, cluster, types};

#[tokio::test]
async fn errors_are_text_that_a_user_can_read() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.send("/demo parts=9 interval=1ms fatal=4").await;
        let state = agent.until_status("error").await;
        assert!(types(&state).contains(&"RUN_ERROR"), "{kind}");
        let error = state["error"].as_str().expect("an error");
        assert!(!error.is_empty() && !error.contains('{'), "{kind}: {error}");
        assert_eq!(agent.compare(&b).await[1], counted(4), "{kind}");
    }
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut agent = Agent::fresh(kind, &a, json!({"props": {"temperature": 1}}));
        agent.tell(json!({"do": "send", "text": "hello"})).await;
        let state = agent.until_status("error").await;
        let error = state["error"].as_str().expect("an error");
        assert!(error.contains("400") && error.contains("`temperature`"), "{error}");
    }
}

#[tokio::test]
async fn what_means_nothing_here_is_refused_by_its_name() {
    let (_cluster, [a, _, _]) = cluster().await;
    let question = json!({"id": "q", "role": "user", "content": "/demo parts=1 interval=1ms"});
    let body = |with: serde_json::Value| {
        let mut body = json!({"threadId": "t", "runId": "r", "messages": [question]});
        body.as_object_mut().expect("it is one").extend(with.as_object().expect("members").clone());
        body
    };
    for (with, status, named) in [
        (json!({"context": [{"description": "d", "value": "v"}]}), 400, "`context`"),
        (json!({"state": {"mine": 1}}), 400, "`mine`"),
        (json!({"protocolVersion": "2.0"}), 400, "2.0"),
        (
            json!({"messages": [{"id": "q", "role": "user", "content": [{"type": "hologram"}]}]}),
            400,
            "hologram",
        ),
        (json!({"messages": [{"id": "q", "role": "activity", "content": {}}, question]}), 400, "activity"),
        (json!({"messages": []}), 404, "chat"),
        (json!({"tools": [{"name": "a b"}]}), 400, "a b"),
    ] {
        let answer = a.post("/ag-ui", body(with)).await.expect(status);
        assert!(answer.text.contains(named), "{}", answer.text);
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    }
    for (path, status) in [
        ("/ag-ui", 400),
        ("/ag-ui?runId=uuid-of-the-client", 404),
        ("/ag-ui?offset=7&runId=run1-01a21e75dd9976bd95af4b33e6de1133", 400),
        ("/ag-ui?runId=run1-01a21e75dd9976bd95af4b33e6de1133", 404),
        ("/ag-ui/x", 404),
    ] {
        assert_eq!(a.get(path).await.status, status, "{path}");
    }
    assert_eq!(
        a.get("/ag-ui?threadId=none").await.expect(200).body,
        json!({"activeRun": null, "messages": []})
    );
}
