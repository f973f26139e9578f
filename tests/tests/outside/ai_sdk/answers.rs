//! Questions and their answers: new ones, edited ones, second ones.

use mainstem_tests::client::counted;
use mainstem_tests::deadline::until;
use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster, kept, last_text, messages};

#[tokio::test]
async fn a_plain_answer_is_shown_as_it_is_kept() {
    let (_cluster, [a, b, _]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=50 interval=1ms").await;
        page.until_status("ready").await;
        let texts = page.compare(&b).await;
        assert_eq!(texts[1], counted(50), "{version}");
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=7 interval=1ms").await;
        page.until("the second is shown", |state| messages(state).len() == 4 && state["status"] == "ready")
            .await;
        assert_eq!(page.compare(&a).await[3], counted(7), "{version}: on another replica");
    }
}

#[tokio::test]
async fn two_questions_in_a_row_are_answered_one_after_the_other() {
    let (_cluster, [a, b, _]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=100 interval=10ms").await;
        page.until_shown(5).await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=9 interval=1ms").await;
        let chat = page.chat_id(&a).await;
        let both = async || {
            let kept = kept(&b, &chat).await;
            (kept.len() == 4 && kept[3]["text"] == json!(counted(9))).then_some(kept)
        };
        let kept = until("both are answered", both).await;
        assert_eq!(kept[1]["text"], json!(counted(100)), "{version}");
        // The end of the first one's stream makes it ready, too.
        let is_shown = |state: &Value| state["status"] == "ready" && last_text(state) == counted(9);
        let news = page.until("the second is shown", is_shown).await["news"].to_string();
        assert!(news.contains("data-mainstem-queue") && news.contains("data-mainstem-status"), "{news}");
    }
}

#[tokio::test]
async fn an_edit_and_a_second_answer_are_shown_as_they_are_kept() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        for parts in [3, 4] {
            page.send(&format!("/demo parts={parts} interval=1ms")).await;
            page.until("it is answered", |state| {
                last_text(state) == counted(parts) && state["status"] == "ready"
            })
            .await;
        }
        let state = page.state().await;
        let ids: Vec<Value> = messages(&state).iter().map(|message| message["id"].clone()).collect();
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "regenerate"})).await;
        page.until_status("ready").await;
        assert_eq!(page.compare(&c).await.len(), 4, "{version}");
        // The first question again, in other words, and once more: it goes by its name of before.
        for parts in [5, 6] {
            page.tell(json!({"do": "edit", "messageId": ids[0], "text": format!("/demo parts={parts} interval=1ms")})).await;
            page.until("it is answered", |state| {
                last_text(state) == counted(parts) && state["status"] == "ready"
            })
            .await;
            let texts = page.compare(&a).await;
            assert_eq!(texts, [format!("/demo parts={parts} interval=1ms"), counted(parts)], "{version}");
        }
        assert_eq!(messages(&page.state().await)[0]["id"], ids[0]);
        page.send("/demo parts=7 interval=1ms").await;
        page.until("it is answered", |state| messages(state).len() == 4 && state["status"] == "ready").await;
        let answer = messages(&page.state().await)[1]["id"].clone();
        page.tell(json!({"do": "regenerate", "messageId": answer})).await;
        page.until("it is answered", |state| messages(state).len() == 2 && state["status"] == "ready").await;
        assert_eq!(page.compare(&b).await[1], counted(6), "{version}: of an answer by its name");
    }
}
