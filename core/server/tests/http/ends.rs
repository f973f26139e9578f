//! How processes end: with a usage error, on request, or with the clients of a server.

use std::process::{Command, Output};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::{is_part, read, read_socket, sse, web_socket};
use crate::server::Server;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstem")).args(args).output().expect("it runs")
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["serve", "--nonsense"], 64, "--nonsense"),
        (&["serve", "--poll-interval", "8s"], 64, "--poll-interval"),
        (&["serve", "--listen", "nowhere"], 64, "--listen"),
        (&["serve", "--listen", "0.0.0.0:0"], 64, "--insecure"),
        (&["serve", "--log", "a=b=c", "--listen", "127.0.0.1:0"], 64, "--log"),
        (&["serve", "--config", "/nonexistent.toml"], 1, "/nonexistent.toml"),
        (&["serve", "--auth-file", "/nonexistent.toml"], 1, "--auth-file"),
        (&["load", "--server", "ftp://x"], 64, "--server"),
        (&["load"], 64, "--server"),
    ];
    for (args, code, named) in cases {
        let output = run(args);
        let received = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {received}");
        assert!(received.contains(named) && received.lines().count() == 1, "{args:?}: {received}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let server = Server::start(&[]);
    let chats = server.folder().join("chats.db");
    let database = format!("--database=sqlite:{}", chats.display());
    let output = run(&["serve", "--listen", "127.0.0.1:0", &database]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_server_that_is_told_to_end_hands_over_and_ends() {
    let mut server = Server::start(&["--drain-timeout", "300ms"]);
    let chat = server.chat(json!({"content": "/demo parts=10000 interval=20ms"})).await;
    let mut stream = sse(&server, &chat, None).await;
    let mut socket = web_socket(&server, &format!("{chat}/stream")).await.expect("a socket");
    read(&mut stream, is_part).await;
    server.terminate();
    let (_, close) = read_socket(&mut socket, |_| false).await;
    assert_eq!(close.map(|close| u16::from(close.code)), Some(1001));
    read(&mut stream, |_| false).await;
    assert!(server.wait(Duration::from_secs(10)).success());
}

#[tokio::test]
async fn the_clients_tail_refuses_load_and_judge() {
    let server = Server::start(&[]);
    let tail = run(&["tail", "0190d6f1-0000-7000-8000-000000000001", "--server", &server.url]);
    assert_eq!(tail.status.code(), Some(1), "S10: a refusal is final");
    let load = run(&[
        "load",
        "--server",
        &server.url,
        "--chats",
        "2",
        "--viewers",
        "2",
        "--duration",
        "2s",
        "--json",
    ]);
    let received: Value = serde_json::from_slice(&load.stdout).expect("JSON");
    assert_eq!((load.status.code(), &received["violations"]), (Some(0), &json!(0)), "{load:?}");
    assert!(received["parts"].as_u64() > Some(100), "{received}");
    let (_, list) = server.ask(Method::GET, "/v1/chats", &Value::Null).await;
    assert_eq!(list["chats"], json!([]), "a clean run leaves nothing");
}
