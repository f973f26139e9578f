//! Connections that break, and replicas that go, in the middle of an answer.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster, last_text};

#[tokio::test]
async fn a_page_that_comes_back_to_another_replica_shows_the_answer_once() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=150 interval=10ms").await;
        page.until_shown(20).await;
        page.tell(json!({"do": "stop"})).await;
        page.until_status("ready").await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "resume"})).await;
        page.until_status("streaming").await;
        page.until_status("ready").await;
        assert_eq!(page.compare(&c).await[1], counted(150), "{version}: leaving is not stopping");
        page.tell(json!({"do": "resume"})).await;
        page.until_status("ready").await;
        page.compare(&a).await;
        // A page that is opened anew has what is kept, and the rest as it comes.
        page.send("/demo parts=500 interval=10ms").await;
        page.until_shown(20).await;
        let first = c.get(&format!("/ai/chat/{}/messages", page.chat)).await.expect(200).body;
        let mut other = Page::open(version, query, &c, &page.chat, json!({"messages": first}));
        other.tell(json!({"do": "resume"})).await;
        other.until_shown(20).await;
        other.until_status("ready").await;
        page.until_status("ready").await;
        let texts = other.compare(&a).await;
        assert_eq!((page.compare(&b).await, texts[3].clone()), (texts, counted(500)), "{version}: two tabs");
    }
}

#[tokio::test]
async fn a_worker_that_dies_costs_a_page_nothing_but_a_while() {
    for (at, (version, query)) in (0..).zip(ALL.into_iter().chain(ALL)) {
        let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        // Its own replica dies, or another one.
        let is_own = at < ALL.len();
        let mut page = Page::fresh(version, query, if is_own { &a } else { &b });
        page.send("/demo parts=200 interval=10ms").await;
        page.until_shown(20).await;
        assert_eq!(page.state().await["status"], "streaming");
        cluster.add("c", &[]).await;
        cluster.replicas[0].kill();
        let is_cut = is_own || query.is_empty();
        if is_cut {
            let cut = page.until_status("error").await;
            assert_eq!(cut["error"], "terminated", "it is no end");
            page.tell(json!({"do": "go", "to": cluster.replicas[2].url()})).await;
            page.tell(json!({"do": "resume"})).await;
            let state = page.until("it goes on", |state| state["status"] != "submitted").await;
            if state["status"] == "error"
                || page.until("it ends", |s| s["status"] != "streaming").await["status"] == "error"
            {
                // What there was of the first attempt was told once more, and then voided.
                page.tell(json!({"do": "resume"})).await;
            }
        }
        page.until_status("ready").await;
        assert_eq!(page.compare(&b).await[1], counted(200), "{version}{query}");
        let requests = page.state().await["requests"].as_array().map(Vec::len);
        assert!(if is_cut { requests > Some(1) } else { requests == Some(1) }, "{requests:?}");
    }
}

#[tokio::test]
async fn a_replica_that_drains_cuts_and_never_ends_what_goes_on() {
    for (version, query) in ALL {
        let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=200 interval=10ms").await;
        page.until_shown(20).await;
        cluster.add("c", &[]).await;
        cluster.replicas[0].terminate();
        let cut = page.until_status("error").await;
        assert_eq!(
            (&cut["error"], cut["requests"].as_array().map(Vec::len)),
            (&json!("terminated"), Some(1))
        );
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "resume"})).await;
        page.until_status("streaming").await;
        let state = page.until("it is over", |state| state["status"] != "streaming").await;
        if state["status"] == "error" {
            // The hand-over itself is another attempt.
            assert_eq!(state["error"], "terminated");
            page.tell(json!({"do": "resume"})).await;
        }
        page.until_status("ready").await;
        assert_eq!(page.compare(&b).await[1], counted(200), "{version}{query}");
        assert_eq!(cluster.replicas[0].ended().await.code(), Some(0));
    }
}

/// Browsers call a broken connection by another name than Node does, and the SDK keeps what it had of the answer then.
#[tokio::test]
async fn in_browsers_too_what_comes_after_a_cut_takes_the_place_of_what_was_shown() {
    for (version, query) in [(5, "?ai=5"), (6, "?ai=6"), (6, ""), (7, ""), (7, "?ai=7")] {
        let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({"browser": true}));
        page.send("/demo parts=200 interval=10ms").await;
        page.until_shown(20).await;
        cluster.add("c", &[]).await;
        cluster.replicas[0].kill();
        let cut = page.until_status("error").await;
        assert_eq!(cut["error"], "network error", "{version}: it is no end");
        page.tell(json!({"do": "go", "to": cluster.replicas[2].url()})).await;
        if ["?ai=5", "?ai=6"].contains(&query) {
            // It would put the answer behind what it shows: what it shows stays, and that it is not all.
            for _ in 0..2 {
                page.tell(json!({"do": "resumeToEnd"})).await;
                let is_refused = |state: &Value| {
                    state["status"] == "error"
                        && state["error"].as_str().is_some_and(|why| why.contains("this version"))
                };
                let shown = last_text(&page.until("it is refused", is_refused).await);
                assert!(!shown.is_empty() && counted(200).starts_with(&shown), "no wrong text: {shown}");
                let chat = page.chat_id(&b).await;
                b.until_idle(&chat).await;
            }
            continue;
        }
        page.resume_until_ready().await;
        assert_eq!(page.compare(&b).await[1], counted(200), "{version}{query}");
    }
}

#[tokio::test]
async fn an_answer_that_ended_while_a_page_was_away_is_told_to_who_wants_the_last() {
    for version in [6, 7] {
        let mut cluster = Cluster::start(&[&[], &[], &["--workers", "0"]]).await;
        let [b, c] = [1, 2].map(|at| cluster.replicas[at].client());
        let mut page = Page::fresh(version, "?resume=last", &c);
        page.tell(json!({"do": "resume"})).await;
        page.until_status("ready").await;
        page.send("/demo parts=100 interval=10ms").await;
        page.until_shown(20).await;
        cluster.replicas[2].kill();
        page.until_status("error").await;
        let chat = page.chat_id(&b).await;
        b.until_idle(&chat).await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.resume_until_ready().await;
        assert_eq!(page.compare(&b).await[1], counted(100), "{version}");
        // What is there already is told once more, and shown once.
        page.resume_until_ready().await;
        assert_eq!(page.compare(&b).await.len(), 2, "{version}");
    }
}
