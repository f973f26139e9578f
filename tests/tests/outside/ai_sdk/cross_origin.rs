//! Pages of other origins: what their browsers ask before, and what they let a page read.

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::alone;
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::json;

/// What a browser asks before it lets a page of this origin send a message.
async fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let request = client.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    client.ask(request.header("access-control-request-headers", "authorization,content-type")).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn a_page_that_may_ask_may_read_the_answer_and_what_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\n\"s3cret\" = \"ann\"\n");
    let tokens = alone(&scratch, &["--auth-file", &file]).await;
    let client = tokens.client();
    let origin = "https://page.example";
    for path in ["/ai/chat", "/ai/chat/x/stream", "/ai/chat/x/stop", "/ai/chat/x/messages"] {
        let answer = preflight(&client, path, origin).await.expect(204);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some(origin),
            "{path}: a page with a token"
        );
        assert_eq!(header(&answer, "access-control-allow-methods"), Some("GET, POST"));
        assert_eq!(header(&answer, "access-control-allow-headers"), Some("authorization,content-type"));
        assert!(header(&answer, "access-control-allow-credentials").is_none(), "nothing goes by cookies");
    }
    let message = json!({"id": "u1", "role": "user", "parts": [{"type": "text", "text": "/demo parts=3 interval=1ms"}]});
    let ask = async |token: &str| {
        let request = client.with_token(token).request(Method::POST, "/ai/chat").header("origin", origin);
        client.ask(request.json(&json!({"id": "c", "messages": [message]}))).await
    };
    for (token, status, text) in [("s3cret", 200, "1 "), ("wrong", 401, "token")] {
        let answer = ask(token).await.expect(status);
        assert!(answer.text.contains(text), "{}", answer.text);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some(origin),
            "{token}: what is told is read"
        );
        assert_eq!(header(&answer, "vary"), Some("origin"));
    }
    // Our own routes are for programs, and for the page of this server.
    assert_eq!(preflight(&client, "/v1/chats", origin).await.status, 405);
}

#[tokio::test]
async fn without_tokens_only_pages_of_allowed_hosts_may_ask() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--allowed-host", "app.example"]).await;
    let client = replica.client();
    let answer = preflight(&client, "/ai/chat", "https://app.example:8443").await.expect(204);
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://app.example:8443"));
    let request =
        client.request(Method::GET, "/ai/chat/none/messages").header("origin", "https://app.example");
    let answer = client.ask(request).await.expect(200);
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://app.example"));
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        let answer = preflight(&client, "/ai/chat", origin).await.expect(403);
        assert!(header(&answer, "access-control-allow-origin").is_none(), "{origin}");
        assert_eq!(header(&answer, "content-type"), Some("text/plain; charset=utf-8"));
        let request = client.request(Method::POST, "/ai/chat").header("origin", origin).json(&json!({}));
        assert_eq!(client.ask(request).await.status, 403, "{origin}");
    }
}
