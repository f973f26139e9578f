//! MCP servers behind a URL.

use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use mainstem_programs::PYTHON;
use mainstem_runtime::ports::Tools;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{SECRET, Toolbox, call, call_of, eventually, failure, offered, toolbox};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/server.py");

/// A server, and its URL.
async fn start(modes: &[&str]) -> (Child, String) {
    let mut command = Command::new(PYTHON.path().unwrap());
    command.arg(SERVER).arg("--http").args(modes).env("MCP_TEST_SECRET", SECRET);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
    (child, url.expect("it starts").unwrap().expect("its URL"))
}

fn file(url: &str) -> String {
    format!("[mcp.tests]\nurl = {url:?}\nheaders = {{ Authorization = \"Bearer ${{KEY}}\" }}\n")
}

async fn connected(more: &str) -> (Child, Toolbox) {
    let (child, url) = start(&["--streams"]).await;
    let tools = toolbox(&(file(&url) + more)).await;
    eventually("the server's tools", async || offered(&tools, "echo").is_some()).await;
    (child, tools)
}

#[tokio::test]
async fn calls_go_over_http_with_the_headers_of_the_file() {
    let (_child, tools) = connected("").await;
    assert!(offered(&tools, "endless_events").is_some(), "of the last page");
    assert_eq!(call(&tools, "echo", r#"{"n":1}"#).await, (json!("{\"n\": 1}"), false));
    assert_eq!(call(&tools, "events", "{}").await, (json!("streamed"), false));
    assert_eq!(call(&tools, "fails", "{}").await, (json!("out of order"), true));
    assert!(failure(&tools, "refuses", "{}").await.contains("code -32602"));
    tools.stop().await;
    assert!(tools.list().is_empty());
}

#[tokio::test]
async fn a_server_that_misbehaves_costs_one_call() {
    let (_child, tools) = connected("timeout = \"3s\"").await;
    for (name, wanted) in [
        ("html", "no message of the protocol"),
        ("broken", "it answered 500"),
        ("floods", "more than 4194304 bytes"),
        ("cut", "closed the connection: nobody knows"),
        ("hangs", "did not answer within 3s"),
    ] {
        let told = failure(&tools, name, "{}").await;
        assert!(told.contains(wanted), "{name}: {told}");
        assert!(!call(&tools, "echo", "{}").await.1, "after {name}");
    }
}

#[tokio::test]
async fn an_event_without_end_cuts_the_server_off_and_it_is_connected_again() {
    let (_child, tools) = connected("").await;
    let told = failure(&tools, "endless_events", "{}").await;
    assert!(told.contains("more than 4194304 bytes"), "{told}");
    eventually("the server works again", async || {
        offered(&tools, "echo").is_some() && !call(&tools, "echo", "{}").await.1
    })
    .await;
}

async fn seen(tools: &Toolbox) -> Value {
    let (Value::String(seen), false) = call(tools, "seen", "{}").await else {
        panic!("it tells what it saw")
    };
    serde_json::from_str(&seen).unwrap()
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_server() {
    let (_child, tools) = connected("").await;
    let running = tokio::spawn(tools.call(call_of("hangs", "{}")));
    eventually("the call hangs", async || seen(&tools).await["hanging"].as_array().unwrap().len() == 1).await;
    running.abort();
    eventually("the server is told", async || {
        let seen = seen(&tools).await;
        seen["cancelled"] == seen["hanging"]
    })
    .await;
}

#[tokio::test]
async fn many_calls_that_hang_hold_up_no_other() {
    let (_child, tools) = connected("timeout = \"10s\"").await;
    let hanging = join_all((0..40).map(|_| failure(&tools, "hangs", "{}")));
    let other = async {
        eventually("all hang", async || seen(&tools).await["hanging"].as_array().unwrap().len() == 40).await;
        call(&tools, "echo", "{}").await
    };
    tokio::select! {
        other = other => assert_eq!(other, (json!("{}"), false)),
        told = hanging => panic!("expected an answer before the others give up: {told:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_and_comes_back() {
    let (mut child, url) = start(&[]).await;
    let tools = toolbox(&file(&url)).await;
    eventually("the server's tools", async || offered(&tools, "echo").is_some()).await;
    child.kill().await.unwrap();
    let told = failure(&tools, "echo", "{}").await;
    assert!(told.contains("could not be reached") && !told.contains("127.0.0.1"), "{told}");
    eventually("its tools go", async || tools.list().is_empty()).await;
    let port = url.rsplit([':', '/']).nth(1).expect("a port");
    let (_child, again) = start(&[&format!("--port={port}")]).await;
    assert_eq!(again, url);
    eventually("its tools come", async || offered(&tools, "echo").is_some()).await;
    assert_eq!(call(&tools, "echo", "{}").await, (json!("{}"), false));
}

#[tokio::test]
async fn a_server_that_was_started_again_at_once_is_used_as_before() {
    let (mut child, url) = start(&[]).await;
    let tools = toolbox(&file(&url)).await;
    eventually("the server's tools", async || offered(&tools, "echo").is_some()).await;
    child.kill().await.unwrap();
    let port = url.rsplit([':', '/']).nth(1).expect("a port");
    let (_child, _) = start(&[&format!("--port={port}"), "--sessions"]).await;
    eventually("the server works", async || {
        offered(&tools, "echo").is_some() && !call(&tools, "echo", "{}").await.1
    })
    .await;
}

#[tokio::test]
async fn tools_that_come_later_are_offered() {
    let (_child, tools) = connected("").await;
    assert_eq!(offered(&tools, "grown"), None);
    // The stream by which it is told may not stand at once.
    eventually("the new tool", async || {
        call(&tools, "grows", "{}").await;
        offered(&tools, "grown").is_some()
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_event_streams_do_not_live_is_not_asked_without_a_pause() {
    // They break off, or end with the wish to be opened again at once.
    for mode in ["--breaks", "--ends"] {
        let (_child, url) = start(&[mode]).await;
        let tools = toolbox(&file(&url)).await;
        eventually("the server's tools", async || offered(&tools, "echo").is_some()).await;
        let opened = async || seen(&tools).await["opened"].as_u64().unwrap();
        eventually("its stream is opened again", async || opened().await >= 2).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // At once, and after 1 s each or more.
        let opened = opened().await;
        assert!(opened <= 8, "L4: {opened} times ({mode})");
        assert!(!call(&tools, "echo", "{}").await.1);
    }
}

#[tokio::test]
async fn nothing_secret_goes_elsewhere() {
    let (_child, url) = start(&["--redirects"]).await;
    let tools = toolbox(&format!("[mcp.tests]\nurl = {url:?}\n")).await;
    assert!(tools.list().is_empty());
    // Without the header, nothing is told either.
    let (_child, url) = start(&[]).await;
    assert!(toolbox(&format!("[mcp.tests]\nurl = {url:?}\n")).await.list().is_empty());
}
