//! What is refused, in words that a user can read.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
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

#[tokio::test]
async fn a_thread_is_its_users_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\nann-1 = \"ann\"\nbob-1 = \"bob\"\n");
    let cluster = Cluster::start(&[&["--auth-file", &file]]).await;
    let client = cluster.replicas[0].client();
    let [ann, bob] = ["ann-1", "bob-1"].map(|token| client.with_token(token));
    let question = json!({"id": "q", "role": "user", "content": "/demo parts=2 interval=1ms"});
    let body = json!({"threadId": "t", "runId": "r", "messages": [question]});
    assert_eq!(client.post("/ag-ui", body.clone()).await.status, 401);
    let told = ann.post("/ag-ui", body.clone()).await.expect(200).text;
    let id = told.lines().filter_map(|line| line.strip_prefix("id: ")).nth(2).expect("an id").to_owned();
    let chat = ann.get("/v1/chats?external_id=t").await.expect(200).body["chats"][0]["id"].clone();
    let run = format!("run1-{}", chat.as_str().expect("an id").replace('-', ""));
    // By no name of it another user comes to it (S10).
    assert_eq!(bob.get("/ag-ui?threadId=t").await.expect(200).body["messages"], json!([]));
    assert_eq!(bob.get(&format!("/ag-ui?offset=-1&runId={run}")).await.status, 404);
    assert_eq!(bob.post("/ag-ui/stop", json!({"threadId": "t"})).await.status, 404);
    let resumes = |of: &mainstem_tests::client::Client| {
        of.request(Method::POST, "/ag-ui").header("last-event-id", &id).json(&body)
    };
    assert_eq!(bob.ask(resumes(&bob)).await.status, 404);
    bob.post("/ag-ui", body.clone()).await.expect(200);
    assert_eq!(bob.ask(resumes(&bob)).await.status, 400, "a place in another chat");
    assert_eq!(ann.ask(resumes(&ann)).await.status, 200);
    assert_eq!(ann.get(&format!("/ag-ui?offset=-1&runId={run}")).await.status, 200);
}
