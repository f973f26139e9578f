//! Connections as bytes: what follows an answer on its connection, and what a cut is.

use mainstem_tests::cluster::Cluster;
use mainstem_tests::proxy::Proxy;
use mainstem_tests::raw::{Raw, exchange, status};
use serde_json::json;

/// A request that sends a message, with these lines in its head.
fn post(chat: &str, text: &str, lines: &str) -> String {
    let message = json!({"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]});
    let body = json!({"id": chat, "messages": [message], "trigger": "submit-message"}).to_string();
    let length = body.len();
    format!("POST /ai/chat HTTP/1.1\r\nhost: localhost\r\n{lines}content-length: {length}\r\n\r\n{body}")
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// The end of a body.
const END: &str = "data: [DONE]\n\n\r\n0\r\n\r\n";

/// How many answers came.
fn answers(came: &str) -> usize {
    came.matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn a_connection_serves_on_behind_an_answer() {
    let cluster = Cluster::start(&[&[]]).await;
    let mut connection = Raw::open(cluster.replicas[0].address()).await;
    for (at, chat) in (1..).zip(["one", "two", "three"]) {
        connection.send(post(chat, "/demo parts=9 interval=1ms", "").as_bytes()).await;
        let came = connection.until("an answer", |came| came.matches(END).count() == at).await;
        assert!(!came.to_lowercase().contains("\r\nconnection:"), "a cut would be taken for an end: {came}");
    }
    connection.send(HEALTH.as_bytes()).await;
    connection.until("the fourth answer", |came| answers(came) == 4 && came.ends_with('}')).await;
}

/// What a client sends that is not awaited is lost with the stream: then nothing that follows may be taken for its answer.
#[tokio::test]
async fn what_was_not_read_is_never_answered_in_anothers_place() {
    let cluster = Cluster::start(&[&[]]).await;
    let address = cluster.replicas[0].address();
    let text = "/demo parts=60 interval=5ms";
    let asks_to_close = exchange(address, post("closed", text, "connection: close\r\n").as_bytes()).await;
    assert!(asks_to_close.ends_with(END), "{asks_to_close}");
    let both = post("at-once", text, "") + HEALTH;
    let at_once = exchange(address, both.as_bytes()).await;
    assert!((answers(&at_once), at_once.ends_with(END)) == (1, true), "{at_once}");
    let mut connection = Raw::open(address).await;
    connection.send(post("early", text, "").as_bytes()).await;
    connection.until("it begins", |came| came.contains("text-delta")).await;
    connection.send(HEALTH.as_bytes()).await;
    let early = connection.rest().await;
    assert!((answers(&early), early.ends_with(END)) == (1, true), "{early}");

    // A body that nobody read is no next request.
    let mut first = Raw::open(address).await;
    first.send(post("body", text, "").as_bytes()).await;
    first.until("it begins", |came| came.contains("text-delta")).await;
    let resume = format!(
        "GET /ai/chat/body/stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        HEALTH.len()
    );
    let unread = exchange(address, resume.as_bytes()).await;
    assert!((answers(&unread), unread.ends_with(END)) == (1, true), "{unread}");
}

#[tokio::test]
async fn an_answer_that_is_cut_has_no_end_and_its_connection_is_reset() {
    // What was shown is void, or it is not and the stream alone ends here.
    for query in ["", "?ai=7"] {
        let cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let mut connection = Raw::open(cluster.replicas[0].address()).await;
        let request = post("cut", "/demo parts=3000 interval=5ms", "");
        let request = request.replacen("/ai/chat", &format!("/ai/chat{query}"), 1);
        connection.send(request.as_bytes()).await;
        connection.until("it begins", |came| came.contains("text-delta")).await;
        cluster.replicas[0].terminate();
        let (came, how) = connection.end().await;
        for end in ["[DONE]", "\r\n0\r\n\r\n", "\"finish\"", "\"abort\""] {
            assert!(!came.contains(end), "{query}: {came}");
        }
        assert_eq!(how, Err(std::io::ErrorKind::ConnectionReset), "{query}: no proxy takes it for an end");
    }
}

#[tokio::test]
async fn a_cut_is_a_cut_behind_a_proxy_and_an_end_an_end() {
    for (at, is_killed) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let address = cluster.replicas[0].address().to_owned();
        let proxy = if at == 0 { Proxy::nginx(&address).await } else { Proxy::haproxy(&address).await };
        let mut connection = Raw::open(proxy.address()).await;
        connection.send(post("whole", "/demo parts=9 interval=1ms", "").as_bytes()).await;
        connection.until("an end", |came| came.contains("[DONE]") && came.ends_with("\r\n0\r\n\r\n")).await;
        let mut connection = Raw::open(proxy.address()).await;
        connection.send(post("cut", "/demo parts=3000 interval=5ms", "").as_bytes()).await;
        connection.until("it begins", |came| came.contains("text-delta")).await;
        if is_killed {
            cluster.replicas[0].kill();
        } else {
            cluster.replicas[0].terminate();
        }
        let (came, _) = connection.end().await;
        assert!(!came.contains("[DONE]") && !came.ends_with("0\r\n\r\n"), "{proxy:?}: {came}");
    }
    // It speaks HTTP/1.0 to the server, and would take the end of a killed one for the answer's.
    let cluster = Cluster::start(&[&[]]).await;
    let proxy = Proxy::bare_nginx(cluster.replicas[0].address()).await;
    let request = post("bare", "/demo parts=9", "connection: close\r\n");
    let answer = exchange(proxy.address(), request.as_bytes()).await;
    assert!(status(&answer) == 505 && answer.contains("proxy_http_version"), "{answer}");
}

#[tokio::test]
async fn who_cannot_tell_a_cut_from_an_end_gets_no_stream() {
    let cluster = Cluster::start(&[&[]]).await;
    let address = cluster.replicas[0].address();
    let old = post("old", "/demo parts=3", "").replace("HTTP/1.1", "HTTP/1.0");
    let resume = "GET /ai/chat/old/stream HTTP/1.0\r\nhost: localhost\r\n\r\n";
    for request in [&*old, resume] {
        let answer = exchange(address, request.as_bytes()).await;
        assert!(
            status(&answer) == 505 && answer.contains("text/plain") && answer.contains("proxy_http_version"),
            "{answer}"
        );
    }
    let named = cluster.replicas[0].client().get("/v1/chats?external_id=old").await.expect(200).body;
    assert_eq!(named["chats"], json!([]), "nothing was done");
}
