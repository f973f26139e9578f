//! The WebSocket transport, and frames that no client of it sends.

use futures::{SinkExt, StreamExt};
use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::within;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::page::Page;

#[tokio::test]
async fn a_socket_carries_many_answers_and_its_stop_is_no_leaving() {
    let cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &[], &["--workers", "0"]]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=60 interval=1ms").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&b).await[1], counted(60));
    page.tell(json!({"do": "resume"})).await;
    page.until_status("ready").await;
    // A stop is one.
    page.send("/demo parts=3000 interval=5ms").await;
    page.until_shown(20).await;
    page.tell(json!({"do": "stop"})).await;
    let id = page.chat_id(&a).await;
    b.until_idle(&id).await;
    let turn = b.chat(&id).await["turn"].clone();
    let turn = b.get(&format!("/v1/chats/{id}/turns/{turn}")).await.expect(200).body;
    assert_eq!(turn["status"], "interrupted", "leaving is another thing");
    page.send("").await;
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("content")), "{state}");

    // Its replica drains: the socket is closed, and all is told again elsewhere.
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=900 interval=10ms").await;
    page.until_shown(20).await;
    cluster.replicas[0].terminate();
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("1001")), "{state}");
    page.tell(json!({"do": "go", "to": c.base})).await;
    page.tell(json!({"do": "resume"})).await;
    page.until_status("streaming").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&c).await[1], counted(900));
    assert_eq!(page.state().await["requests"], json!(["SOCKET", "SOCKET"]));
    let answer = c.get("/ai/chat/socket").await;
    assert_eq!((answer.status, answer.text.contains("WebSocket")), (400, true));
}

/// A client that sends what it likes.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(address: &str) -> Self {
        let connected = within("it is opened", connect_async(format!("ws://{address}/ai/chat/socket"))).await;
        Self(connected.expect("a WebSocket").0)
    }

    async fn say(&mut self, frame: &str) {
        // It may be closed before all is sent.
        self.0.send(Message::text(frame)).await.ok();
    }

    async fn send(&mut self, request: &str, chat: &str, text: &str) {
        let message = json!({"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]});
        let frame = json!({
            "type": "send", "requestId": request, "id": chat, "trigger": "submit-message", "messages": [message],
            "headers": {}, "body": {},
        });
        self.say(&frame.to_string()).await;
    }

    /// The next frame of this type.
    async fn hear(&mut self, kind: &str) -> Value {
        within(&format!("there is one of type {kind}"), self.hear_on(kind)).await
    }

    async fn hear_on(&mut self, kind: &str) -> Value {
        loop {
            let message = self.0.next().await.expect("it is open").expect("a frame");
            let Ok(text) = message.into_text() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// With which code it is closed.
    async fn closed(&mut self) -> u16 {
        loop {
            match within("it is closed", self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map_or(0, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                ended => panic!("it ended without a word: {ended:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_one_socket_may_ask_has_its_bounds_and_each_answer_its_own_numbers() {
    let cluster = Cluster::start(&[&[]]).await;
    let address = cluster.replicas[0].address();
    let mut socket = Socket::open(address).await;
    for at in 0..8 {
        socket.send(&format!("r{at}"), &format!("chat-{at}"), "/demo parts=90000 interval=1ms").await;
    }
    socket.send("r9", "chat-9", "/demo parts=3").await;
    let error = socket.hear("error").await;
    assert!(
        error["requestId"] == "r9" && error["errorText"].as_str().is_some_and(|why| why.contains("too many")),
        "B1: {error}"
    );
    let mut next = [None; 8];
    for _ in 0..200 {
        let chunk = socket.hear("chunk").await;
        let of: usize =
            chunk["requestId"].as_str().and_then(|id| id[1..].parse().ok()).expect("an id of ours");
        let sequence = chunk["sequence"].as_u64().expect("a number");
        assert_eq!(sequence, next[of].unwrap_or(sequence), "no gap, and nothing again: {chunk}");
        next[of] = Some(sequence + 1);
    }
    assert!(next.iter().all(Option::is_some), "B3: all are told: {next:?}");
    // One that is given up makes room, and is stopped.
    socket.say(r#"{"type":"abort","requestId":"r0"}"#).await;
    socket.send("r10", "chat-10", "/demo parts=3 interval=1ms").await;
    assert_eq!(socket.hear("end").await["requestId"], "r10", "the others go on");
    let client = cluster.replicas[0].client();
    let named = client.get("/v1/chats?external_id=chat-0").await.expect(200).body;
    client.until_idle(named["chats"][0]["id"].as_str().expect("the chat is there")).await;
}

#[tokio::test]
async fn frames_that_make_no_sense_are_refused_or_end_the_socket() {
    let cluster = Cluster::start(&[&[]]).await;
    let address = cluster.replicas[0].address();
    let mut socket = Socket::open(address).await;
    socket.say(r#"{"type":"resume","requestId":"a","id":"none","headers":{},"body":{}}"#).await;
    assert_eq!(socket.hear("no-active").await["requestId"], "a");
    for (frame, named) in [
        (r#"{"type":"go","requestId":"b"}"#, "go"),
        (r#"{"type":"send","requestId":"b","messages":[]}"#, "`id`"),
        (r#"{"type":"send","requestId":"b","id":"c","messages":[]}"#, "`messages`"),
        (r#"{"type":"send","requestId":"b","id":"c","messages":"x"}"#, "sequence"),
        (r#"{"type":"resume","requestId":"b","id":"c","headers":{"x":"y"}}"#, "\"x\""),
        (r#"{"type":"resume","requestId":"b","id":"c","metadata":{"x":1}}"#, "`metadata`"),
    ] {
        socket.say(frame).await;
        let error = socket.hear("error").await;
        assert!(error["errorText"].as_str().is_some_and(|why| why.contains(named)), "{frame}: {error}");
    }
    // Nobody's request is no matter.
    socket.say(r#"{"type":"abort","requestId":"none"}"#).await;
    socket.send("d", "here", "/demo parts=3 interval=1ms").await;
    assert_eq!(socket.hear("end").await["requestId"], "d");
    for (frame, code) in [
        ("[]".to_owned(), 1008),
        ("{".to_owned(), 1008),
        (r#"{"type":"resume","id":"c"}"#.to_owned(), 1008),
        (r#"{"type":"resume","requestId":"","id":"c"}"#.to_owned(), 1008),
        ("x".repeat((1 << 20) + 1), 1009),
    ] {
        let mut socket = Socket::open(address).await;
        socket.say(&frame).await;
        assert_eq!(socket.closed().await, code, "{frame:.60}");
    }
}

#[tokio::test]
async fn a_worker_that_dies_behind_a_socket_costs_no_word() {
    let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
    let b = cluster.replicas[1].client();
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &b, &chat, json!({"socket": true}));
    page.send("/demo parts=300 interval=10ms").await;
    page.until_shown(20).await;
    cluster.add("c", &[]).await;
    cluster.replicas[0].kill();
    // What is void is told to be, in the same answer.
    page.until_status("ready").await;
    assert_eq!(page.compare(&b).await[1], counted(300));
}

#[tokio::test]
async fn each_frame_that_asks_for_an_answer_is_a_request() {
    let cluster = Cluster::start(&[&["--request-rate", "1/h:3"]]).await;
    let mut socket = Socket::open(cluster.replicas[0].address()).await;
    let resume = |request: &str| json!({"type": "resume", "requestId": request, "id": "chat-0"}).to_string();
    for request in ["r0", "r1"] {
        socket.say(&resume(request)).await;
        assert_eq!(socket.hear("no-active").await["requestId"], request);
    }
    socket.say(&resume("r2")).await;
    let error = socket.hear("error").await;
    let told = error["errorText"].as_str().expect("a text");
    assert!(error["requestId"] == "r2" && told.contains("too often"), "the first one opened it: {error}");
}
