//! Streams as WebSockets, and clients that do not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{is_synced, is_waiting, read_socket, web_socket};
use crate::server::Server;

#[tokio::test]
async fn a_web_socket_tells_the_same_and_why_it_ends() {
    let server = Server::start(&[]);
    let chat = server.chat(json!({"content": "/demo parts=3 interval=1ms"})).await;
    let mut socket = web_socket(&server, &format!("{chat}/stream")).await.expect("a socket");
    let (events, _) = read_socket(&mut socket, is_waiting).await;
    assert!(events.iter().any(is_synced));
    assert!(events.iter().all(|event| event["cursor"].is_string()));
    let last = events.last().expect("one")["cursor"].as_str().expect("a cursor");
    let mut again = web_socket(&server, &format!("{chat}/stream?after={last}")).await.expect("a socket");
    let (received, _) = read_socket(&mut again, is_synced).await;
    let types: Vec<_> = received.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["synced"], "S1: nothing again");
    assert_eq!(web_socket(&server, &format!("{chat}/stream?after=x")).await.err(), Some(400));
    assert_eq!(server.ask(Method::DELETE, &chat, &Value::Null).await.0, 204);
    let (_, close) = read_socket(&mut socket, |_| false).await;
    assert_eq!(close.map(|close| u16::from(close.code)), Some(4404));
    assert_eq!(web_socket(&server, &format!("{chat}/stream")).await.err(), Some(404));
}

#[tokio::test]
async fn a_client_that_says_too_much_is_closed() {
    let server = Server::start(&[]);
    let chat = server.chat(json!({})).await;
    let mut socket = web_socket(&server, &format!("{chat}/stream")).await.expect("a socket");
    for _ in 0..1000 {
        if socket.send(Message::text("x".repeat(100))).await.is_err() {
            break;
        }
    }
    let (_, close) = read_socket(&mut socket, |_| false).await;
    assert!(close.is_none_or(|close| u16::from(close.code) == 1008), "B1");
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_ended_and_others_are_not() {
    let server = Server::start(&["--client-timeout", "1s"]);
    let chat = server.chat(json!({"content": "/demo parts=20000 size=1000 interval=0"})).await;
    let mut stalled = TcpStream::connect(server.address()).expect("a connection");
    write!(stalled, "GET {chat}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is written");
    let began = Instant::now();
    while stalled.take_error().expect("a socket").is_none() {
        assert!(began.elapsed() < Duration::from_secs(15), "B1: a stalled reader is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    let ended = stalled.read(&mut [0; 16]).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
    assert_eq!(server.ask(Method::GET, &chat, &Value::Null).await.0, 200, "B3");
}
