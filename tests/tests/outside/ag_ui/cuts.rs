//! Connections that break, and replicas that go, in the middle of an answer.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::ALL;
use super::agent::{Agent, cluster, fresh_name, requests, types};

/// How often TanStack's client went on behind an event.
fn resumed(state: &Value) -> usize {
    let requests = state["requests"].as_array().expect("requests");
    requests.iter().filter(|request| !request["resumes"].is_null()).count()
}

#[tokio::test]
async fn a_client_that_resumes_goes_on_at_another_replica_and_begins_no_new_run() {
    let (_cluster, [a, b, c]) = cluster().await;
    let mut cut = 0;
    // The connection breaks after so many bytes: within an event, between two, in the thoughts, and in the text.
    for bytes in (700..=7000).step_by(450) {
        let mut agent = Agent::fresh("tanstack", &a, json!({"cutAfter": bytes}));
        agent.tell(json!({"do": "send", "text": "/demo parts=60 interval=5ms reasoning=6"})).await;
        agent.until("it is asked", |state| requests(state) == 1).await;
        agent.go(&b).await;
        let state = agent.until_status("ready").await;
        assert_eq!(agent.compare(&c).await.len(), 2, "after {bytes} bytes");
        // Where the server is slow its pieces come joined, and are less than that.
        assert_eq!(requests(&state), 1 + resumed(&state), "after {bytes} bytes");
        cut += resumed(&state);
        let chat = agent.chat_id(&a).await;
        assert_eq!(a.messages(&chat).await.len(), 2, "no new run");
        assert_eq!(a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body["status"], "completed");
    }
    assert!(cut > 5, "only {cut} were cut");
}

#[tokio::test]
async fn a_worker_that_dies_costs_a_client_nothing_but_a_while() {
    for kind in ALL {
        for (is_own, is_thinking) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
            let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
            let run = fresh_name("run");
            let mut agent = Agent::fresh(kind, if is_own { &a } else { &b }, json!({}));
            // In the midst of the text, or of the thoughts.
            let text = if is_thinking {
                "/demo parts=200 interval=10ms reasoning=150"
            } else {
                "/demo parts=200 interval=10ms reasoning=3"
            };
            agent.tell(json!({"do": "send", "text": text, "runId": run})).await;
            if is_thinking {
                agent.until("it thinks", |state| types(state).len() > 8).await;
            } else {
                agent.until_shown(20).await;
            }
            cluster.add("c", &[]).await;
            let c = cluster.replicas[2].client();
            agent.go(&c).await;
            cluster.replicas[0].kill();
            if is_own && !agent.is_tanstack() {
                // It cannot resume, and says so; the same run asked for again is told whole.
                let cut = agent.until_status("error").await;
                assert_ne!(cut["error"], Value::Null, "{kind}: it is no end");
                agent.run(json!({"runId": run})).await;
            }
            let state = agent.until_status("ready").await;
            let said = agent.compare(&b).await[1].clone();
            assert!(counted(200).ends_with(&said) && !said.is_empty(), "{kind}, its own {is_own}: {said}");
            let chat = agent.chat_id(&b).await;
            assert_eq!(b.messages(&chat).await.len(), 2, "{kind}: no new run");
            let asked = (requests(&state), resumed(&state));
            match (is_own, agent.is_tanstack()) {
                (true, true) => assert!(asked.0 > 1 && asked.1 == asked.0 - 1, "{asked:?}"),
                (true, false) => assert_eq!(asked, (2, 0)),
                (false, _) => {
                    assert_eq!(asked, (1, 0), "{kind}: the other attempt is told in the same stream");
                    assert!(types(&state).contains(&"MESSAGES_SNAPSHOT"), "{kind}: {:?}", types(&state));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_drains_cuts_and_never_ends_what_goes_on() {
    for kind in ALL {
        let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let run = fresh_name("run");
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.tell(json!({"do": "send", "text": "/demo parts=200 interval=10ms", "runId": run})).await;
        agent.until_shown(20).await;
        cluster.add("c", &[]).await;
        agent.go(&b).await;
        cluster.replicas[0].terminate();
        if !agent.is_tanstack() {
            // It is told so in its words: a connection that breaks would end a program in Node.
            let cut = agent.until_status("error").await;
            let last = cut["events"].as_array().expect("events").last().expect("an end").clone();
            assert_eq!((&last["type"], &last["code"]), (&json!("RUN_ERROR"), &json!("cut")), "{kind}");
            agent.run(json!({"runId": run})).await;
        }
        let state = agent.until_status("ready").await;
        assert_eq!(agent.compare(&b).await[1], counted(200), "{kind}");
        assert_eq!(resumed(&state) > 0, agent.is_tanstack(), "{kind}");
        assert_eq!(cluster.replicas[0].ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn an_answer_that_ended_while_a_client_was_away_is_told_to_it() {
    for kind in ALL {
        let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let run = fresh_name("run");
        let mut agent = Agent::fresh(kind, &b, json!({}));
        agent.tell(json!({"do": "send", "text": "/demo parts=100 interval=10ms", "runId": run})).await;
        agent.until_shown(20).await;
        if kind == "tanstack" {
            // It comes back at once, so what it comes to is there already.
            agent.go(&a).await;
            cluster.replicas[1].kill();
        } else {
            cluster.replicas[1].kill();
            agent.until_status("error").await;
            let chat = agent.chat_id(&a).await;
            a.until_idle(&chat).await;
            agent.go(&a).await;
            agent.run(json!({"runId": run})).await;
        }
        agent.until_status("ready").await;
        assert_eq!(agent.compare(&a).await[1], counted(100), "{kind}");
    }
}
