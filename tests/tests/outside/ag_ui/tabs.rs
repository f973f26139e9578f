//! Two pages of one user, and pages that are loaded again.

use mainstem_tests::client::counted;
use serde_json::{Value, json};

use super::ALL;
use super::agent::{Agent, cluster, last_text, requests, shown, types};

#[tokio::test]
async fn a_page_that_is_loaded_again_in_the_middle_joins_the_run_at_any_replica() {
    let (_cluster, [a, b, c]) = cluster().await;
    let mut agent = Agent::fresh("tanstack", &a, json!({}));
    agent.ask("/demo parts=5 interval=1ms").await;
    agent.send("/demo parts=200 interval=10ms reasoning=3").await;
    agent.until_shown(20).await;
    let mut other = Agent::open("tanstack", "", &c, &agent.thread, json!({"persistence": true}));
    other.until_shown(20).await;
    let state = other.until_status("ready").await;
    agent.until_status("ready").await;
    let texts = other.compare(&b).await;
    assert_eq!((agent.compare(&b).await, texts.len()), (texts, 4), "both show the same");
    let asked = state["requests"].as_array().expect("requests");
    assert!(asked.iter().all(|request| request["method"] == "GET"), "{asked:?}");
    assert!(
        asked[1]["query"].as_str().is_some_and(|query| query.contains("offset=-1&runId=run")),
        "{asked:?}"
    );
    // What nothing runs of is shown without a run.
    let mut late = Agent::open("tanstack", "", &b, &agent.thread, json!({"persistence": true}));
    late.until("it is shown", |state| last_text(state).len() > 20).await;
    late.compare(&a).await;
    assert_eq!(requests(&late.state().await), 1);
}

#[tokio::test]
async fn a_page_that_joined_and_was_cut_goes_on() {
    let (_cluster, [a, b, c]) = cluster().await;
    for bytes in [900, 2000, 4000] {
        let mut agent = Agent::fresh("tanstack", &a, json!({}));
        agent.send("/demo parts=150 interval=10ms").await;
        agent.until_shown(20).await;
        let options = json!({"persistence": true, "cutAfter": bytes});
        let mut other = Agent::open("tanstack", "", &c, &agent.thread, options);
        other.until_shown(5).await;
        other.go(&b).await;
        other
            .until("it is whole", |state| last_text(state) == counted(150) && state["status"] == "ready")
            .await;
        other.compare(&b).await;
    }
}

#[tokio::test]
async fn two_questions_at_once_are_answered_one_after_the_other_and_shown_in_order() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ALL {
        let mut first = Agent::fresh(kind, &a, json!({}));
        first.ask("/demo parts=3 interval=1ms").await;
        let messages = first.state().await["messages"].clone();
        let mut second = Agent::open(kind, "", &b, &first.thread, json!({"messages": messages}));
        first.send("/demo parts=120 interval=10ms").await;
        first.until_shown(10).await;
        second.send("/demo parts=4 interval=1ms").await;
        first.until_status("ready").await;
        let is_over = |state: &Value| last_text(state) == counted(4) && state["status"] == "ready";
        let state = second.until("the second is answered", is_over).await;
        // The second page is told what came before its question, and the first learns of it with its next one.
        let texts = second.compare(&c).await;
        assert_eq!((&texts[3], &texts[5]), (&counted(120), &counted(4)), "{kind}");
        assert!(types(&state).contains(&"MESSAGES_SNAPSHOT"), "{kind}");
        first.go(&c).await;
        first.ask("/demo parts=5 interval=1ms").await;
        assert_eq!(first.compare(&b).await.len(), 8, "{kind}");
    }
}

#[tokio::test]
async fn a_question_that_is_edited_elsewhere_ends_its_run_and_no_word_of_it_stays() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.ask("/demo parts=3 interval=1ms").await;
        agent.send("/demo parts=2000 interval=5ms reasoning=2").await;
        agent.until_shown(20).await;
        let chat = agent.chat_id(&b).await;
        let edit = json!({"content": "/demo parts=4 interval=1ms"});
        b.patch(&format!("/v1/chats/{chat}/messages/3"), edit).await.expect(202);
        let state = agent.until_status("error").await;
        assert!(state["error"].as_str().is_some_and(|why| why.contains("not in the chat")), "{kind}");
        let told: String = shown(&state).iter().map(|of| of["text"].as_str().unwrap_or_default()).collect();
        assert!(!told.contains("parts=2000") && !told.contains("9 10"), "{kind}: {told}");
        b.until_idle(&chat).await;
        agent.go(&c).await;
        agent.ask("/demo parts=5 interval=1ms").await;
        let texts = agent.compare(&a).await;
        assert_eq!((&texts[3], &texts[5]), (&counted(4), &counted(5)), "{kind}");
    }
}

#[tokio::test]
async fn an_answer_that_is_made_again_elsewhere_is_told_in_the_same_run() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.ask("/demo parts=3 interval=1ms").await;
        agent.send("/demo parts=200 interval=10ms reasoning=40").await;
        agent.until("it thinks", |state| types(state).contains(&"REASONING_MESSAGE_CONTENT")).await;
        let chat = agent.chat_id(&b).await;
        let again = json!({"busy": "interrupt"});
        b.post(&format!("/v1/chats/{chat}/regenerate"), again).await.expect(202);
        let state = agent.until_status("ready").await;
        assert_eq!(agent.compare(&c).await.len(), 4, "{kind}: {:?}", types(&state));
        assert_eq!(requests(&state), 2, "{kind}");
    }
}
