//! Malformed request heads, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::Server;

/// Sends `bytes`, and returns everything that is received until the server closes. `ends`: also ends our
/// side.
fn answer(server: &Server, bytes: &[u8], ends: bool) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream.write_all(bytes).expect("it reads or discards all");
    if ends {
        stream.shutdown(Shutdown::Write).expect("it is open");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

/// The last answer's status and problem document.
fn problem(answer: &str) -> (u16, Value) {
    let begin = answer.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let (head, body) = answer[begin..].split_once("\r\n\r\n").expect("a head");
    let fields = head.to_ascii_lowercase();
    for field in ["content-type: application/problem+json", "connection: close", "date: "] {
        assert!(fields.contains(field), "{field}: {head}");
    }
    assert!(
        fields.contains(&format!("content-length: {}\r\n", body.len()))
            || fields.ends_with(&format!("content-length: {}", body.len())),
        "{head}"
    );
    let status = head[9..12].parse().expect("a status");
    let document: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(document["status"], status);
    (status, document)
}

#[tokio::test]
async fn what_is_no_head_is_a_problem_whatever_the_bytes() {
    let server = Server::start(&[]);
    let long =
        |begin: &str, filler: &str, count: usize| format!("{begin}{}", filler.repeat(count)).into_bytes();
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (vec![0; 4096], 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "malformed"),
        (b"hello\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET /\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET / HTTP/2.0\r\n\r\n".to_vec(), 400, "malformed"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GE\x7fT / HTTP/1.1\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET /\x00 HTTP/1.1\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET / HTTP/1.1\r\nx y: z\r\n\r\n".to_vec(), 400, "malformed"),
        (b"POST /v1/chats HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(), 400, "malformed"),
        (
            b"POST /v1/chats HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
            400,
            "malformed",
        ),
        (b"POST /v1/chats HTTP/1.1\r\ntransfer-encoding: x\r\n\r\n".to_vec(), 400, "malformed"),
        (long("GET / HTTP/1.1\r\n", "x: y\r\n", 100), 431, "too_large"),
        (long("GET / HTTP/1.1\r\nx: ", "y", 1_000_000), 431, "too_large"),
        (long("GET /", "a", 1_000_000), 431, "too_large"),
        (long("", "A", 1_000_000), 431, "too_large"),
    ];
    for (bytes, status, code) in cases {
        let received = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let (said, document) = problem(&answer(&server, &bytes, false));
        assert_eq!((said, &document["code"]), (status, &json!(code)), "{received:?}");
    }
    // An incomplete head, and a malformed one after a valid request.
    for bytes in ["G", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
        assert_eq!(problem(&answer(&server, bytes.as_bytes(), true)).0, 400, "{bytes:?}");
    }
    let received =
        answer(&server, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nnonsense\r\n\r\n", false);
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    assert_eq!(problem(&received).0, 400);
    // Without any bytes there is no response.
    assert_eq!(answer(&server, b"", true), "");
    assert_eq!(
        answer(&server, b"GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", false)
            .matches("HTTP/1.1")
            .count(),
        1
    );
}

#[tokio::test]
async fn an_event_stream_is_an_answer_of_http_1_1_and_of_1_0() {
    let server = Server::start(&[]);
    let chat = server.chat(json!({})).await;
    for (version, chunked) in [("1.1", true), ("1.0", false)] {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        // One request after another on the same connection, sent at once.
        let before = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        write!(stream, "{before}GET {chat}/stream HTTP/{version}\r\nhost: localhost\r\n\r\n")
            .expect("it reads");
        let mut received = String::new();
        let mut chunk = [0; 4096];
        while !received.contains("event: synced")
            || !received.ends_with("\n\n") && !received.ends_with("\n\n\r\n")
        {
            let length = stream.read(&mut chunk).expect("more comes");
            assert!(length > 0, "it has not ended: {received}");
            received.push_str(std::str::from_utf8(&chunk[..length]).expect("UTF-8"));
        }
        let begin = received.rfind("HTTP/1.1 200 OK\r\n").expect("an answer");
        assert!(
            received.starts_with("HTTP/1.1 200 OK\r\n") && begin > 0,
            "the one before was answered: {received}"
        );
        let (head, body) = received[begin..].split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("content-type: text/event-stream") && head.contains("connection: close"));
        assert_eq!(head.contains("transfer-encoding: chunked"), chunked, "{head}");
        assert_eq!(body.starts_with(": "), !chunked, "{body}");
    }
    let head = answer(
        &server,
        format!("HEAD {chat}/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        false,
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    // The body ends with the connection, as the head says.
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    write!(stream, "GET {chat}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    stream.read_exact(&mut [0; 64]).expect("it begins");
    assert_eq!(server.ask(Method::DELETE, &chat, &Value::Null).await.0, 204);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("it ends");
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn a_client_that_talks_much_ends_its_event_stream() {
    let server = Server::start(&[]);
    let chat = server.chat(json!({})).await;
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    write!(stream, "GET {chat}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    stream.read_exact(&mut [0; 64]).expect("it begins");
    // A few bytes are ignored, many are not.
    stream.write_all(&[b'x'; 1000]).expect("it reads");
    let said = json!({"content": "/demo parts=1 interval=0"});
    assert_eq!(server.ask(Method::POST, &format!("{chat}/messages"), &said).await.0, 202);
    let (mut received, mut chunk) = (String::new(), [0; 65536]);
    while !received.contains("\"waiting\"") || !received.contains("\"assistant\"") {
        let length = stream.read(&mut chunk).expect("it goes on");
        assert!(length > 0, "it goes on: {received}");
        received.push_str(std::str::from_utf8(&chunk[..length]).expect("UTF-8"));
    }
    // It may be disconnected before it has sent everything.
    let _ = stream.write_all(&[b'x'; 200_000]);
    let ended = loop {
        match stream.read(&mut chunk) {
            Ok(1..) => {}
            Ok(0) => break true,
            Err(error) => break error.kind() == ErrorKind::ConnectionReset,
        }
    };
    assert!(ended, "B1: it is ended");
}
