//! What is refused, in words that a user can read.

use mainstem_tests::client::counted;
use serde_json::json;

use super::page::{Page, cluster};

#[tokio::test]
async fn errors_are_text_that_a_user_can_read() {
    let (_cluster, [a, _, _]) = cluster().await;
    let mut page = Page::fresh(7, "", &a);
    page.send("/demo parts=9 interval=1ms fatal=4").await;
    let state = page.until_status("error").await;
    let error = state["error"].as_str().expect("an error").to_owned();
    assert!(!error.is_empty() && !error.contains('{'), "{error}");
    assert_eq!(page.compare(&a).await[1], counted(4));
    page.tell(json!({"do": "send", "text": ""})).await;
    let state = page
        .until("it is refused", |state| state["error"] != json!(error) && state["status"] == "error")
        .await;
    let error = state["error"].as_str().expect("an error");
    assert!(error.contains("content") && !error.contains('{'), "{error}");
    for (path, status) in [("/ai/chat/x/y", 404), ("/ai/chat", 400), ("/ai/chat/x/messages", 405)] {
        let answer = a.post(path, json!({})).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().ok()),
            (status, Some("text/plain; charset=utf-8")),
            "{path}"
        );
    }
}
