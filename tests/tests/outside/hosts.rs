//! By which names a server without tokens is called, and which pages may call it: what a page that another
//! site serves could make a browser send, byte by byte.

use mainstem_tests::browser::Page;
use mainstem_tests::cluster::{alone, alone_with};
use mainstem_tests::process::Replica;
use mainstem_tests::raw::{Raw, exchange, status};
use mainstem_tests::scratch::Scratch;
use serde_json::Value;

const UPGRADE: &str = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The status and code that `POST /v1/chats` with these lines in its head gets.
async fn create(replica: &Replica, lines: &str) -> (u16, String) {
    ask(replica, "POST /v1/chats HTTP/1.1", &format!("{lines}content-length: 15\r\n"), "{\"content\":\"x\"}")
        .await
}

async fn ask(replica: &Replica, line: &str, lines: &str, body: &str) -> (u16, String) {
    let request = format!("{line}\r\n{lines}connection: close\r\n\r\n{body}");
    let answer = exchange(replica.address(), request.as_bytes()).await;
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {answer:?}"));
    let status = status(&answer);
    if status >= 400 && line.starts_with("HEAD") {
        return (status, String::new());
    }
    if status >= 400 {
        assert!(head.contains("application/problem+json"), "{answer}");
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn created() -> (u16, String) {
    refused(201, "")
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_to_the_loopback_gets_nothing() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let chat = client.create("").await;
    let evil = "host: evil.example:8080\r\norigin: http://evil.example:8080\r\n";
    assert_eq!(create(&replica, evil).await, refused(421, "host_not_allowed"));
    // A GET of the same origin names no origin.
    for lines in
        ["host: evil.example\r\n", evil, "host: localhost.evil.example\r\n", "host: 0.0.0.0:8080\r\n"]
    {
        for line in [
            "GET /v1/chats HTTP/1.1",
            &format!("GET /v1/chats/{chat} HTTP/1.1"),
            &format!("GET /v1/chats/{chat}/messages HTTP/1.1"),
            &format!("GET /v1/chats/{chat}/stream HTTP/1.1"),
            &format!("DELETE /v1/chats/{chat} HTTP/1.1"),
            &format!("HEAD /v1/chats/{chat} HTTP/1.1"),
            "OPTIONS /v1/chats HTTP/1.1",
            "GET /nothing HTTP/1.1",
            "GET / HTTP/1.1",
            // A browser does not speak it, and it is no way around.
            "GET /v1/chats HTTP/1.0",
        ] {
            assert_eq!(ask(&replica, line, lines, "").await.0, 421, "{line} {lines}");
        }
        let line = format!("GET /v1/chats/{chat}/stream HTTP/1.1");
        assert_eq!(ask(&replica, &line, &format!("{lines}{UPGRADE}"), "").await.0, 421, "{lines}");
    }
    assert_eq!(
        client.get("/v1/chats").await.body["chats"].as_array().map(Vec::len),
        Some(1),
        "nothing of it happened"
    );
}

#[tokio::test]
async fn a_real_browser_is_no_way_in_for_a_rebound_name() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let chat = client.create("x").await;
    let post =
        "fetch('/v1/chats', {method: 'POST', body: '{\"content\":\"x\"}'}).then(answer => answer.status)";
    let get = "fetch('/v1/chats').then(answer => answer.status)";
    let socket = format!(
        "new Promise(done => {{
             const socket = new WebSocket(`ws://${{location.host}}/v1/chats/{chat}/stream`);
             socket.onmessage = () => done('told'); socket.onerror = () => done('refused');
         }})"
    );
    let port = replica.address().rsplit(':').next().expect("a port");
    let mut evil = Page::open_rebound(&format!("http://evil.example:{port}/healthz"), "evil.example").await;
    assert_eq!((evil.evaluate(post).await, evil.evaluate(get).await), (421.into(), 421.into()));
    assert_eq!(evil.evaluate(&socket).await, "refused");
    drop(evil);
    let mut own = Page::open(&format!("{}/healthz", replica.url())).await;
    assert_eq!((own.evaluate(post).await, own.evaluate(get).await), (201.into(), 200.into()));
    assert_eq!(own.evaluate(&socket).await, "told");
    assert_eq!(client.get("/v1/chats").await.body["chats"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_page_of_another_site_gets_nothing_whatever_it_names() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let chat = replica.client().create("").await;
    let host = format!("host: {}\r\n", replica.address());
    for origins in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "origin: \r\n",
        "origin: http://localhost:3000\r\n",
        &format!("origin: http://{}\r\norigin: http://evil.example\r\n", replica.address()),
        &format!("origin: http://evil.example\r\norigin: http://{}\r\n", replica.address()),
        &format!("origin: http://{} http://evil.example\r\n", replica.address()),
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n",
    ] {
        assert_eq!(
            create(&replica, &format!("{host}{origins}")).await,
            refused(403, "cross_origin"),
            "{origins}"
        );
        let line = format!("GET /v1/chats/{chat}/stream HTTP/1.1");
        assert_eq!(ask(&replica, &line, &format!("{host}{origins}{UPGRADE}"), "").await.0, 403, "{origins}");
    }
    let own = format!("origin: http://{}\r\n", replica.address());
    assert_eq!(create(&replica, &format!("{host}{own}")).await, created());
    assert_eq!(create(&replica, &format!("{host}{own}{own}")).await, created());
}

#[tokio::test]
async fn a_request_names_one_host_and_the_loopback_has_many() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.3.2.1:9", "[::1]", "[::1]:8080", "localhost."]
    {
        assert_eq!(create(&replica, &format!("host: {host}\r\n")).await, created(), "{host}");
    }
    for hosts in [
        "",
        "host:\r\n",
        "host: localhost\r\nhost: localhost\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: a b\r\n",
        "host: u:p@localhost\r\n",
        "host: localhost:99999\r\n",
        "host: \u{e9}\r\n",
    ] {
        assert_eq!(create(&replica, hosts).await, refused(400, "malformed"), "{hosts:?}");
        // Also where nothing is asked of the chats.
        assert_eq!(ask(&replica, "GET /healthz HTTP/1.1", hosts, "").await.0, 400, "{hosts:?}");
    }
    let absolute = async |target: &str, host: &str| {
        ask(&replica, &format!("GET {target}/v1/chats HTTP/1.1"), &format!("host: {host}\r\n"), "").await.0
    };
    assert_eq!(absolute("http://localhost", "localhost").await, 200);
    assert_eq!(absolute("http://evil.example", "localhost").await, 421);
    assert_eq!(absolute("http://localhost", "evil.example").await, 421);
    // Health checks name an address or, in HTTP/1.0, nothing.
    assert_eq!(ask(&replica, "GET /readyz HTTP/1.1", "host: 10.0.0.7:8080\r\n", "").await.0, 200);
    assert_eq!(ask(&replica, "GET /healthz HTTP/1.0", "", "").await.0, 200);
    assert_eq!(ask(&replica, "GET /v1/chats HTTP/1.0", "", "").await.0, 200);
}

#[tokio::test]
async fn an_operator_names_more_hosts() {
    let scratch = Scratch::new();
    let flags = ["--workers", "0", "--allowed-host", "chat.example", "--allowed-host", "10.0.0.7"];
    let replica = alone(&scratch, &flags).await;
    for lines in [
        "host: chat.example\r\norigin: https://chat.example\r\n",
        "host: CHAT.example:444\r\n",
        "host: 10.0.0.7:8080\r\n",
        "host: localhost\r\n",
        // A proxy that calls the server by its address.
        "host: 127.0.0.1:8080\r\norigin: https://chat.example\r\n",
    ] {
        assert_eq!(create(&replica, lines).await, created(), "{lines}");
    }
    assert_eq!(create(&replica, "host: other.example\r\n").await, refused(421, "host_not_allowed"));
    assert_eq!(
        create(&replica, "host: chat.example\r\norigin: http://evil.example\r\n").await,
        refused(403, "cross_origin")
    );
    drop(replica);
    let variable = [("MAINSTEM_ALLOWED_HOST", "a.example,b.example")];
    let replica = alone_with(&scratch, &["--workers", "0"], &variable).await;
    assert_eq!(create(&replica, "host: b.example\r\n").await, created());
    assert_eq!(create(&replica, "host: chat.example\r\n").await, refused(421, "host_not_allowed"));
    drop(replica);
    let file = scratch.file("serve.toml", "allowed-host = [\"c.example\", \"d.example\"]\n");
    let replica = alone(&scratch, &["--workers", "0", "--config", &file]).await;
    assert_eq!(create(&replica, "host: d.example\r\n").await, created());
}

#[tokio::test]
async fn where_tokens_are_asked_for_or_nothing_is_any_name_will_do() {
    let scratch = Scratch::new();
    let auth = scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n");
    let evil = "host: evil.example\r\norigin: http://other.example\r\n";
    let replica = alone(&scratch, &["--workers", "0", "--auth-file", &auth]).await;
    assert_eq!(create(&replica, evil).await, refused(401, "unauthorized"));
    assert_eq!(create(&replica, &format!("{evil}authorization: Bearer t-ann\r\n")).await, created());
    assert_eq!(create(&replica, "authorization: Bearer t-ann\r\n").await, refused(400, "malformed"));
    drop(replica);
    let replica = alone(&scratch, &["--workers", "0", "--insecure"]).await;
    assert_eq!(create(&replica, evil).await, created());
    drop(replica);
    let replica = alone(&scratch, &["--workers", "0", "--insecure", "--allowed-host", "chat.example"]).await;
    assert_eq!(create(&replica, evil).await, refused(421, "host_not_allowed"), "names that are given count");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_in_order() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let mut connection = Raw::open(replica.address()).await;
    connection
        .send(
            b"POST /v1/chats HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 15\r\n\r\n{\"content\":\"x\"}",
        )
        .await;
    connection.until("it is refused", |came| came.contains("host_not_allowed")).await;
    connection.send(b"GET /v1/chats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let came = connection.rest().await;
    assert!(came.contains("HTTP/1.1 200 OK") && came.contains("\"chats\":[]"), "{came}");
}
