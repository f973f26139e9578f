//! Pages of other origins: what their browsers ask before, and what they let a page read.

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::alone;
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::json;

const PAGE: &str = "https://page.example";
const WANTED: &str = "authorization,content-type,idempotency-key,last-event-id";

/// What a browser asks before it lets a page of this origin send a message.
async fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let request = client.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    client.ask(request.header("access-control-request-headers", WANTED)).await
}

/// Opens a WebSocket from a page of this origin. Returns the status.
async fn upgrade(client: &Client, path: &str, origin: &str) -> u16 {
    let request = client.request(Method::GET, path).header("origin", origin);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    client.ask(request.header("sec-websocket-version", "13")).await.status
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok())
}

fn allowed(answer: &Answer) -> Option<&str> {
    header(answer, "access-control-allow-origin")
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_asks_and_reads_and_no_other_does() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\n\"s3cret\" = \"ann\"\n");
    let flags = ["--auth-file", &*file, "--allowed-origin", "https://page.example,https://*.wide.example"];
    let replica = alone(&scratch, &flags).await;
    let client = replica.client();
    let ann = client.with_token("s3cret");
    let chat = ann.create("/demo parts=3 interval=1ms").await;
    let stream = format!("/v1/chats/{chat}/stream?access_token=s3cret");

    // Nobody has said who asks yet.
    for path in ["/v1/chats", "/v1/chats/x/messages", "/ai/chat", "/ai/chat/x/stop", "/ag-ui"] {
        let answer = preflight(&client, path, PAGE).await.expect(200);
        assert_eq!(allowed(&answer), Some(PAGE), "{path}");
        assert_eq!(header(&answer, "access-control-allow-headers"), Some(WANTED), "{path}");
        assert_eq!(header(&answer, "access-control-allow-methods"), Some("GET,POST,PATCH,DELETE"));
    }
    for (origin, may) in [(PAGE, true), ("https://a.wide.example", true), ("https://evil.example", false)] {
        let read = Some(origin).filter(|_| may);
        assert_eq!(allowed(&preflight(&client, "/v1/chats", origin).await), read, "{origin}");
        for (asks, status) in [(&ann, 201), (&client.with_token("wrong"), 401)] {
            let request = asks.request(Method::POST, "/v1/chats").header("origin", origin);
            let answer = asks.ask(request.json(&json!({"content": "/demo parts=1"}))).await.expect(status);
            assert_eq!(allowed(&answer), read, "{origin}: also what is refused is read");
            assert!(header(&answer, "vary").is_some_and(|vary| vary.contains("origin")));
        }
        let request = ann.request(Method::POST, "/ai/chat").header("origin", origin);
        let refused = ann.ask(request.json(&json!({}))).await.expect(400);
        assert_eq!(allowed(&refused), read, "{origin}");
        assert_eq!(upgrade(&client, &stream, origin).await, if may { 101 } else { 403 }, "{origin}");
    }
    let own = format!("http://{}", replica.address());
    assert_eq!(upgrade(&client, &stream, &own).await, 101, "the server's own page");
}

#[tokio::test]
async fn without_the_flag_no_page_of_another_origin_reads_anything() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\n\"s3cret\" = \"ann\"\n");
    let replica = alone(&scratch, &["--auth-file", &file]).await;
    let client = replica.client();
    assert_eq!(allowed(&preflight(&client, "/v1/chats", PAGE).await.expect(405)), None);
    let request = client.with_token("s3cret").request(Method::GET, "/v1/chats").header("origin", PAGE);
    assert_eq!(allowed(&client.ask(request).await.expect(200)), None);
}

#[tokio::test]
async fn without_tokens_a_page_of_an_allowed_origin_is_answered() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--allowed-origin", PAGE]).await;
    let client = replica.client();
    for (origin, status) in
        [(PAGE, 200), ("https://evil.example", 403), ("http://localhost:3000", 403), ("null", 403)]
    {
        let request = client.request(Method::GET, "/v1/chats").header("origin", origin);
        let answer = client.ask(request).await.expect(status);
        assert_eq!(allowed(&answer), Some(origin).filter(|_| status == 200), "{origin}");
    }
}
