//! Limits of users and of addresses: who floods is told so, and nobody else notices (B3).
//!
//! Budgets fill so slowly here that no test is quick or slow enough to see more of one than it takes, but where it waits for that.

use std::time::{Duration, Instant};

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::{INTERNAL, alone};
use mainstem_tests::deadline::{until, within};
use mainstem_tests::metrics::Metrics;
use mainstem_tests::process::Replica;
use mainstem_tests::proxy::Proxy;
use mainstem_tests::raw::{exchange, status};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const TOKENS: &str = "[tokens]\nanns = \"ann\"\nanns-too = \"ann\"\nbobs = \"bob\"\n";

async fn with_users(flags: &[&str]) -> (Scratch, Replica, [Client; 2]) {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", TOKENS);
    let replica = alone(&scratch, &[&["--auth-file", &file], &INTERNAL[..], flags].concat()).await;
    let clients = ["anns", "bobs"].map(|token| replica.client().with_token(token));
    (scratch, replica, clients)
}

async fn anybody(flags: &[&str]) -> (Scratch, Replica) {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[&INTERNAL[..], flags].concat()).await;
    (scratch, replica)
}

async fn limited(replica: &Replica, limit: &str) -> f64 {
    Metrics::of(replica).await.sum("mainstem_rate_limited_total", &[("limit", limit)])
}

fn seconds(refused: &Answer) -> u64 {
    let after = refused.headers["retry-after"].to_str().ok().and_then(|text| text.parse().ok());
    after.expect("a number of seconds")
}

#[tokio::test]
async fn a_user_who_asks_too_often_is_told_when_to_ask_again_and_another_notices_nothing() {
    let (_scratch, replica, [ann, bob]) = with_users(&["--request-rate", "30/m:20"]).await;
    for _ in 0..20 {
        ann.get("/v1/chats").await.expect(200);
    }
    let refused = ann.get("/v1/chats").await.expect_problem(429, "rate_limited");
    let after = seconds(&refused);
    assert!((1..=2).contains(&after), "one in two seconds: {after}");
    let told = refused.body["detail"].as_str().expect("a text");
    assert!(told.contains(&format!("{after} s")), "{told}");
    // By whatever token, from whatever address.
    ann.with_token("anns-too").get("/v1/chats").await.expect_problem(429, "rate_limited");
    ann.from_address([127, 0, 0, 2]).get("/v1/chats").await.expect_problem(429, "rate_limited");
    for _ in 0..20 {
        bob.get("/v1/chats").await.expect(200);
    }
    // Who has no good token pays as an address, and uses up nothing of any user's.
    let nobody = ann.with_token("none").from_address([127, 0, 0, 3]);
    for _ in 0..20 {
        nobody.get("/v1/chats").await.expect_problem(401, "unauthorized");
    }
    nobody.get("/v1/chats").await.expect_problem(429, "rate_limited");
    nobody.with_token("bobs").get("/v1/chats").await.expect_problem(429, "rate_limited");
    assert_eq!(limited(&replica, "requests").await, 5.0);
    // What was told is true.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ann.get("/v1/chats").await.expect(200);
}

#[tokio::test]
async fn what_looks_after_the_process_is_never_too_often() {
    let (_scratch, replica) = anybody(&["--request-rate", "1/h"]).await;
    let client = replica.client();
    client.get("/v1/chats").await.expect(200);
    client.get("/v1/chats").await.expect_problem(429, "rate_limited");
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        for _ in 0..10 {
            client.get(path).await.expect(200);
        }
    }
    client.from_address([127, 0, 0, 2]).get("/v1/chats").await.expect(200);
    assert_eq!(limited(&replica, "requests").await, 1.0);
}

#[tokio::test]
async fn a_request_too_many_is_refused_before_its_body_is_read() {
    let (_scratch, replica) = anybody(&["--request-rate", "1/h"]).await;
    replica.client().get("/v1/chats").await.expect(200);
    let head =
        "POST /v1/chats HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let answer = exchange(replica.address(), head.as_bytes()).await;
    assert_eq!(status(&answer), 429, "its body is not asked for: {answer}");
}

/// Requests that have a model begin work: each protocol has its own.
fn sends(chat: &str) -> Vec<(Method, String, serde_json::Value)> {
    let said = |id: &str| json!([{"id": id, "role": "user", "parts": [{"type": "text", "text": "x"}]}]);
    vec![
        (Method::POST, "/v1/chats".into(), json!({"content": "x"})),
        (Method::POST, format!("/v1/chats/{chat}/messages"), json!({"content": "x"})),
        (Method::PATCH, format!("/v1/chats/{chat}/messages/1"), json!({"content": "y"})),
        (Method::POST, format!("/v1/chats/{chat}/regenerate"), json!({})),
        (
            Method::POST,
            format!("/v1/chats/{chat}/tool_results"),
            json!({"results": [{"tool_call_id": "a", "content": "x"}]}),
        ),
        (
            Method::POST,
            "/ai/chat".into(),
            json!({"id": "c-1", "trigger": "submit-message", "messages": said("m-1")}),
        ),
        (
            Method::POST,
            "/ag-ui".into(),
            json!({"threadId": "t-1", "runId": "r-1", "state": {}, "tools": [], "context": [], "forwardedProps": {},
                "messages": [{"id": "m-1", "role": "user", "content": "x"}]}),
        ),
        (Method::POST, "/v1/responses".into(), json!({"model": "demo", "input": "x"})),
        (
            Method::POST,
            "/v1/chat/completions".into(),
            json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]}),
        ),
    ]
}

#[tokio::test]
async fn sends_are_limited_apart_whatever_protocol_they_come_by() {
    let (_scratch, replica, [ann, bob]) = with_users(&["--send-rate", "1/h:2"]).await;
    let chat = ann.create("/demo parts=2 interval=0").await;
    ann.until_idle(&chat).await;
    ann.send(&chat, "/demo parts=2 interval=0").await;
    ann.until_idle(&chat).await;
    for (method, path, body) in sends(&chat) {
        let refused = ann.ask(ann.request(method, &path).json(&body)).await.expect(429);
        assert!((3000..=3600).contains(&seconds(&refused)), "{path}: one in an hour");
        assert!(refused.text.contains("begin work too often"), "{path}: {}", refused.text);
        if path.starts_with("/ai") || path.starts_with("/ag-ui") {
            assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8", "{path}");
        }
        if path == "/v1/responses" || path == "/v1/chat/completions" {
            let error = &refused.body["error"];
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!("rate_limit_error"), &json!("rate_limited"))
            );
        }
    }
    assert_eq!(limited(&replica, "sends").await, sends(&chat).len() as f64);
    assert_eq!(ann.messages(&chat).await.len(), 4, "nothing of it happened");
    // What begins no work is no send.
    ann.create("").await;
    ann.post("/v1/chats", json!({"title": "t", "messages": [{"role": "system", "content": "x"}]}))
        .await
        .expect(201);
    ann.patch(&format!("/v1/chats/{chat}"), json!({"title": "t"})).await.expect(200);
    ann.interrupt(&chat).await.expect_problem(409, "not_running");
    ann.get("/v1/chats").await.expect(200);
    let mut viewer = Viewer::open(&ann, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    bob.create("x").await;
}

#[tokio::test]
async fn a_user_has_as_many_streams_as_may_be_and_another_has_others() {
    let (_scratch, replica, [ann, bob]) = with_users(&["--user-streams-max", "2"]).await;
    let chat = ann.create("/demo parts=9 interval=0 stall=3").await;
    let first = Viewer::open(&ann, &chat, Kind::EventStream).await;
    let second = Viewer::open(&ann, &chat, Kind::WebSocket).await;
    assert_eq!(Viewer::refused(&ann, &chat, Kind::WebSocket, "").await, (429, "rate_limited".into()));
    // An `EventSource` gives up for good at an error, so it is asked to come back.
    let path = format!("/v1/chats/{chat}/stream");
    let later = ann.get(&path).await.expect(200);
    assert_eq!(later.headers["content-type"], "text/event-stream");
    let retry = later.text.lines().find_map(|line| line.strip_prefix("retry: ")).expect("when to come back");
    assert!((5_500..=7_000).contains(&retry.parse::<u64>().expect("milliseconds")), "{retry}");
    assert!(!later.text.contains("data:"), "{}", later.text);
    let run = json!({"threadId": chat, "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {},
        "messages": [{"id": "m", "role": "user", "content": "x"}]});
    let refused = ann.post("/ag-ui", run).await.expect(429);
    assert_eq!(seconds(&refused), 5);
    let bobs = bob.create("").await;
    let _others = [
        Viewer::open(&bob, &bobs, Kind::EventStream).await,
        Viewer::open(&bob, &bobs, Kind::WebSocket).await,
    ];
    assert_eq!(limited(&replica, "streams").await, 3.0);
    drop(first);
    until("a stream that ended is no longer one", async || {
        let shown = Metrics::of(&replica).await.sum("mainstem_viewers", &[]);
        (shown == 3.0).then_some(())
    })
    .await;
    let third = Viewer::open(&ann, &chat, Kind::EventStream).await;
    drop((second, third));
}

#[tokio::test]
async fn an_event_stream_asked_for_too_often_is_one_to_come_back_to() {
    let (_scratch, replica) = anybody(&["--request-rate", "6/m:2"]).await;
    let client = replica.client();
    let chat = client.create("").await;
    client.get("/v1/chats").await.expect(200);
    let later = client.get(&format!("/v1/chats/{chat}/stream")).await.expect(200);
    let retry = later.text.lines().find_map(|line| line.strip_prefix("retry: ")).expect("when to come back");
    let retry = retry.parse::<u64>().expect("milliseconds");
    assert!(
        (5_500..=12_000).contains(&retry),
        "when there is one again, which is in 10 s at the latest: {retry}"
    );
    assert_eq!(Viewer::refused(&client, &chat, Kind::WebSocket, "").await, (429, "rate_limited".into()));
}

/// A connection from this address of the loopback.
async fn connect(replica: &Replica, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((std::net::Ipv4Addr::from(from), 0).into()).expect("an address of the loopback");
    let to = replica.address().parse().expect("an address");
    within("the kernel connects", socket.connect(to)).await.expect("it listens")
}

/// Whether a request on it is answered. One that was closed says nothing.
async fn is_served(stream: &mut TcpStream) -> bool {
    let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = vec![];
    let asked = async {
        stream.write_all(head).await?;
        while !answer.ends_with(b"}") && stream.read_buf(&mut answer).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    within("it is answered or closed", asked).await.ok();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    !answer.is_empty()
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_may_be_and_others_are_served() {
    let (_scratch, replica) = anybody(&["--address-connections-max", "5"]).await;
    let flooder = [127, 0, 0, 9];
    let mut open = vec![];
    for _ in 0..5 {
        let mut stream = connect(&replica, flooder).await;
        assert!(is_served(&mut stream).await);
        open.push(stream);
    }
    for _ in 0..200 {
        assert!(!is_served(&mut connect(&replica, flooder).await).await, "B1");
    }
    for from in 10..40 {
        assert!(is_served(&mut connect(&replica, [127, 0, 0, from]).await).await, "B3");
    }
    for stream in &mut open {
        assert!(is_served(stream).await, "those that were there first go on");
    }
    assert_eq!(limited(&replica, "address_connections").await, 200.0);
    open.pop();
    until("a connection that ended is no longer one", async || {
        is_served(&mut connect(&replica, flooder).await).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_closed_at_once_and_others_are_served() {
    let (_scratch, replica) = anybody(&["--address-connection-rate", "1/h:3"]).await;
    let flooder = [127, 0, 0, 9];
    let mut served = 0;
    for _ in 0..200 {
        served += usize::from(is_served(&mut connect(&replica, flooder).await).await);
    }
    assert_eq!(served, 3, "B1");
    for from in 10..40 {
        assert!(is_served(&mut connect(&replica, [127, 0, 0, from]).await).await, "B3");
    }
    assert_eq!(limited(&replica, "address_connection_rate").await, 197.0);
}

#[tokio::test]
async fn connections_beyond_what_all_may_wait_and_are_served() {
    let (_scratch, replica) =
        anybody(&["--connection-rate", "10/s:1", "--address-connection-rate", "1/h:8"]).await;
    let began = Instant::now();
    let served = futures::future::join_all((10..20).map(|from| {
        let replica = &replica;
        async move { is_served(&mut connect(replica, [127, 0, 0, from]).await).await }
    }));
    assert!(served.await.into_iter().all(|is_served| is_served), "none is lost");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(800), "ten, at ten a second, in {took:?}");
    assert!(limited(&replica, "connection_rate").await >= 5.0);
    // What one address may not, uses up nothing of what all may.
    for _ in 0..50 {
        is_served(&mut connect(&replica, [127, 0, 0, 9]).await).await;
    }
    let before = limited(&replica, "connection_rate").await;
    assert!(before <= 10.0 + 8.0, "those alone that were let in have waited: {before}");
}

#[tokio::test]
async fn behind_a_proxy_that_is_trusted_each_client_pays_for_itself() {
    let flags = ["--request-rate", "1/h:3", "--trusted-proxy", "127.0.0.1", "--address-connections-max", "1"];
    let (_scratch, replica) = anybody(&flags).await;
    let proxy = Proxy::nginx_that_tells_addresses(replica.address()).await;
    let [ann, bob] = [[127, 0, 0, 5], [127, 0, 0, 6]].map(|from| proxy.client().from_address(from));
    for client in [&ann, &bob] {
        for _ in 0..3 {
            client.get("/v1/chats").await.expect(200);
        }
        client.get("/v1/chats").await.expect_problem(429, "rate_limited");
    }
    // Whatever a client says, the proxy says more to the right of it.
    for forged in ["192.0.2.1", "192.0.2.1, 192.0.2.2", "unknown", "127.0.0.1"] {
        let request = ann.request(Method::GET, "/v1/chats").header("x-forwarded-for", forged);
        ann.ask(request).await.expect_problem(429, "rate_limited");
        let request = ann.request(Method::GET, "/v1/chats").header("forwarded", format!("for={forged}"));
        ann.ask(request).await.expect_problem(429, "rate_limited");
    }
    // And past the proxy nobody is believed.
    let stranger = replica.client().from_address([127, 0, 0, 7]);
    for n in 0..3 {
        let request =
            stranger.request(Method::GET, "/v1/chats").header("x-forwarded-for", format!("192.0.2.{n}"));
        stranger.ask(request).await.expect(200);
    }
    let request = stranger.request(Method::GET, "/v1/chats").header("x-forwarded-for", "192.0.2.9");
    stranger.ask(request).await.expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn without_limits_nobody_meets_one() {
    let (_scratch, replica) = anybody(&[]).await;
    let client = replica.client();
    for _ in 0..500 {
        client.get("/v1/chats").await.expect(200);
    }
    assert_eq!(Metrics::of(&replica).await.sum("mainstem_rate_limited_total", &[]), 0.0);
}
