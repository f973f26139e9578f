//! What is refused, in words that a user can read.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::alone;
use mainstem_tests::raw::{exchange, status};
use mainstem_tests::scratch::Scratch;
use serde_json::{Value, json};

use super::ALL;
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

/// What the page tells its user.
async fn error_of(page: &mut Page) -> String {
    let state = page.until_status("error").await;
    let error = state["error"].as_str().expect("an error").to_owned();
    assert!(!error.is_empty() && !error.contains('{'), "a user reads it: {error}");
    error
}

#[tokio::test]
async fn who_may_not_and_what_is_too_long_is_told_so_in_words() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\n\"s3cret\" = \"ann\"\n\"other\" = \"bob\"\n");
    let replica = alone(&scratch, &["--auth-file", &file, "--message-bytes-max", "1KiB"]).await;
    let client = replica.client();
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let open = |token: &str, socket: bool| {
            Page::open(version, query, &client, &chat, json!({"token": token, "socket": socket}))
        };
        let mut page = open("wrong", false);
        page.send("x").await;
        assert!(error_of(&mut page).await.contains("token"), "{version}");
        let mut page = open("s3cret", false);
        page.send(&"x".repeat(1025)).await;
        assert!(error_of(&mut page).await.contains("too large"), "{version}");
        page.send("/demo parts=3 interval=1ms").await;
        page.until_status("ready").await;
        let named = client.with_token("s3cret").get(&format!("/v1/chats?external_id={chat}")).await;
        assert_eq!(named.expect(200).body["chats"].as_array().map(Vec::len), Some(1));
        // A chat of this name is another one of another user's.
        let mut page = open("other", false);
        page.tell(json!({"do": "resumeToEnd"})).await;
        let first = client.with_token("other").get(&format!("/ai/chat/{chat}/messages")).await.expect(200);
        assert_eq!((page.state().await["status"].as_str(), first.body), (Some("ready"), json!([])), "S10");
        if version == 7 {
            let mut page = open("wrong", true);
            page.send("x").await;
            page.until_status("error").await;
            let mut page = open("s3cret", true);
            page.send("/demo parts=3 interval=1ms").await;
            page.until_status("ready").await;
        }
    }
}

#[tokio::test]
async fn what_means_nothing_here_is_refused_by_its_name() {
    let (cluster, [a, _, _]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.tell(json!({"do": "body", "text": "x", "body": {"temperature": 0.5}})).await;
        assert!(error_of(&mut page).await.contains("`temperature`"), "{version}");
        let source = json!([{"type": "source-url", "sourceId": "s", "url": "https://x.example/"}]);
        page.tell(json!({"do": "parts", "parts": source})).await;
        page.until("it is refused", |state| {
            state["error"].as_str().is_some_and(|why| why.contains("source"))
        })
        .await;
        assert_eq!(a.get(&format!("/v1/chats?external_id={}", page.chat)).await.body["chats"], json!([]));
    }
    let chat = "nothing-here";
    let mut page =
        Page::open(7, "", &a, chat, json!({"socket": true, "headers": {"authorization": "Bearer x"}}));
    page.send("x").await;
    assert!(error_of(&mut page).await.contains("\"authorization\""), "a socket is its opener's");
    let message = json!({"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]});
    let bodies: [(Value, &str); 5] = [
        (json!({"id": chat, "messages": "x"}), "sequence"),
        (json!({"id": chat, "messages": [{"role": "user", "parts": []}]}), "id"),
        (json!({"id": chat, "messages": [message], "trigger": "go"}), "go"),
        (
            json!({"id": chat, "messages": [{"id": "u1", "role": "user", "parts": [{"type": "audio"}]}]}),
            "audio",
        ),
        (json!({"messages": [message]}), "`id`"),
    ];
    for (body, named) in bodies {
        let answer = a.post("/ai/chat", body).await.expect(400);
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert!(answer.text.contains(named), "{}", answer.text);
    }
    for query in ["ai=4", "on_close=go", "resume=all"] {
        a.post(&format!("/ai/chat?{query}"), json!({"id": chat, "messages": [message]})).await.expect(400);
    }
    let broken =
        "POST /ai/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\nconnection: close\r\n\r\n{";
    let answer = exchange(cluster.replicas[0].address(), broken.as_bytes()).await;
    assert!(status(&answer) == 400 && answer.contains("text/plain"), "{answer}");
    assert_eq!(
        a.get(&format!("/v1/chats?external_id={chat}")).await.body["chats"],
        json!([]),
        "nothing was done"
    );
}
