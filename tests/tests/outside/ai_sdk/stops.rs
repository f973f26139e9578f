//! Stopping, which is another thing than leaving unless the page says otherwise.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster};

#[tokio::test]
async fn a_stop_keeps_what_was_said_and_is_shown_as_no_error() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=3000 interval=5ms").await;
        page.until_shown(20).await;
        let stop = format!("/ai/chat/{}/stop", page.chat);
        let stale = json!({"activeStreamId": "a99-none", "assistantMessage": {"id": "x"}});
        assert_eq!(b.post(&stop, stale).await.expect(200).body, json!({"success": true}));
        assert_eq!(page.state().await["status"], "streaming", "another answer was meant");
        b.post(&stop, json!({})).await.expect(200);
        let state = page.until_status("ready").await;
        assert_eq!(state["error"], Value::Null);
        let texts = page.compare(&c).await;
        assert!(!texts[1].is_empty() && texts[1].len() < counted(3000).len(), "{version}");
        b.post(&stop, json!({})).await.expect(200);
        assert_eq!(a.post("/ai/chat/none/stop", json!({})).await.status, 404);

        let query = if query.is_empty() { "?on_close=stop" } else { "?ai=7&on_close=stop" };
        let mut page = Page::fresh(version, query, &b);
        page.send("/demo parts=3000 interval=5ms").await;
        page.until_shown(20).await;
        page.tell(json!({"do": "stop"})).await;
        let chat = page.chat_id(&a).await;
        a.until_idle(&chat).await;
        let turn = a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
        assert_eq!(turn["status"], "interrupted", "{version}: leaving is stopping");
    }
}

#[tokio::test]
async fn a_stop_reaches_the_worker_from_any_replica_and_a_closed_tab_stops_only_if_it_is_to() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &b);
        page.send("/demo parts=3000 interval=5ms").await;
        page.until_shown(20).await;
        let chat = page.chat_id(&c).await;
        assert_eq!(c.chat(&chat).await["worker"], "a");
        c.post(&format!("/ai/chat/{}/stop", page.chat), json!({})).await.expect(200);
        page.until_status("ready").await;
        let texts = page.compare(&a).await;
        assert!(
            counted(3000).starts_with(&texts[1]) && texts[1].len() < counted(3000).len(),
            "S7: {version}"
        );

        for stops in [true, false] {
            let query = match (query, stops) {
                (query, false) => query.to_owned(),
                ("", true) => "?on_close=stop".to_owned(),
                (query, true) => format!("{query}&on_close=stop"),
            };
            let mut page = Page::fresh(version, &query, &b);
            let parts = if stops { 3000 } else { 200 };
            page.send(&format!("/demo parts={parts} interval=5ms")).await;
            page.until_shown(20).await;
            let chat = page.chat_id(&c).await;
            drop(page);
            c.until_idle(&chat).await;
            let turn = a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
            let expected = if stops { "interrupted" } else { "completed" };
            assert_eq!(turn["status"], expected, "{version}{query}: the tab was closed");
        }
    }
}
