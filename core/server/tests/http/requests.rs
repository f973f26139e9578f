//! Valid and invalid requests.

use reqwest::Method;
use serde_json::{Value, json};

use crate::clients::{is_part, is_synced, is_waiting, read, sse};
use crate::server::{Server, received};

const NOBODY: &str = "/v1/chats/0190d6f1-0000-7000-8000-000000000001";

#[tokio::test]
async fn whatever_is_wrong_is_a_problem_with_its_code() {
    let server = Server::start(&["--message-bytes-max", "1KiB"]);
    let chat = server.chat(json!({})).await;
    let long = json!({"content": "x".repeat(1025)}).to_string();
    let endless = json!({"content": "x".repeat(1 << 20)}).to_string();
    let (get, post) = (Method::GET, Method::POST);
    let cases: Vec<(&Method, String, &str, u16, &str)> = vec![
        (&get, "/nothing".into(), "", 404, "not_found"),
        (&get, "/v1/chats/".into(), "", 404, "not_found"),
        (&Method::PUT, chat.clone(), "", 405, "method_not_allowed"),
        (&post, "/healthz".into(), "", 405, "method_not_allowed"),
        (&get, NOBODY.into(), "", 404, "no_such_chat"),
        (&get, "/v1/chats/x".into(), "", 404, "no_such_chat"),
        (&get, "/v1/chats/%ff".into(), "", 404, "no_such_chat"),
        (&get, format!("{NOBODY}/stream"), "", 404, "no_such_chat"),
        (&get, format!("{NOBODY}/messages"), "", 404, "no_such_chat"),
        (&post, format!("{NOBODY}/messages"), "{\"content\":\"x\"}", 404, "no_such_chat"),
        (&Method::DELETE, NOBODY.into(), "", 404, "no_such_chat"),
        (&get, "/v1/chats?limit=0".into(), "", 400, "malformed"),
        (&get, "/v1/chats?limit=x".into(), "", 400, "malformed"),
        (&get, "/v1/chats?before=x".into(), "", 400, "malformed"),
        (&get, format!("{chat}/messages?after_id=-1"), "", 400, "malformed"),
        (&get, format!("{chat}/messages?after_id=1.5"), "", 400, "malformed"),
        (&get, format!("{chat}/stream?after=x"), "", 400, "bad_cursor"),
        (&get, format!("{chat}/stream?after_id=x"), "", 400, "malformed"),
        (&post, "/v1/chats".into(), "[]", 400, "malformed"),
        (&post, "/v1/chats".into(), "{\"title\":3}", 400, "malformed"),
        (&post, "/v1/chats".into(), "{\"title\":\"\\u0000\"}", 400, "malformed"),
        (&post, "/v1/chats".into(), "{\"content\":\"\"}", 400, "malformed"),
        (&post, format!("{chat}/messages"), "", 400, "malformed"),
        (&post, format!("{chat}/messages"), "{\"content\":", 400, "malformed"),
        (&post, format!("{chat}/messages"), "{\"content\":\"x\",\"busy\":\"x\"}", 400, "malformed"),
        (&post, format!("{chat}/messages"), "{\"content\":[{\"type\":\"image\"}]}", 400, "malformed"),
        (&post, format!("{chat}/messages"), &long, 413, "too_large"),
        (&post, format!("{chat}/messages"), &endless, 413, "too_large"),
        (&Method::PATCH, format!("{chat}/messages/7"), "{\"content\":\"x\"}", 404, "no_such_message"),
        (&Method::PATCH, format!("{chat}/messages/x"), "{\"content\":\"x\"}", 404, "no_such_message"),
        (&Method::DELETE, format!("{chat}/queue/7"), "", 404, "no_such_queued"),
        (&Method::DELETE, format!("{chat}/queue/18446744073709551615"), "", 404, "no_such_queued"),
        (&post, format!("{chat}/queue/7/promote"), "", 404, "no_such_queued"),
        (&post, format!("{chat}/regenerate"), "{\"message\":7}", 404, "no_such_message"),
        (&post, format!("{chat}/regenerate"), "{\"message\":1.5}", 400, "malformed"),
        (&post, format!("{chat}/regenerate"), "{\"busy\":true}", 400, "malformed"),
        (&post, format!("{chat}/interrupt"), "", 409, "not_running"),
        (&post, format!("{chat}/interrupt"), "{\"episode\":{}}", 400, "malformed"),
    ];
    for (method, path, body, status, code) in cases {
        let response = server.request(method.clone(), &path).body(body.to_owned()).send().await;
        let response = response.expect("an answer");
        assert_eq!(status == 405, response.headers().contains_key("allow"), "{method} {path}");
        let (received_status, problem) = received(response).await;
        let received_code = problem["code"].as_str().unwrap_or_default();
        assert_eq!((received_status, received_code), (status, code), "{method} {path} {body:.60}: {problem}");
        assert_eq!(problem["status"], status);
    }
    let (status, _) = server
        .ask(Method::GET, &format!("{chat}/messages?after_id=99999999999999999999999"), &Value::Null)
        .await;
    assert_eq!(status, 200, "a number above 0, however large");
}

#[tokio::test]
async fn a_stream_that_is_resumed_repeats_nothing_and_skips_nothing() {
    let server = Server::start(&[]);
    let chat = server.chat(json!({"content": "/demo parts=40 interval=10ms"})).await;
    let mut events = read(&mut sse(&server, &chat, None).await, is_part).await;
    while !events.iter().any(is_waiting) {
        let cursor = events.last().expect("one")["cursor"].as_str().expect("a cursor").to_owned();
        let mut stream = sse(&server, &chat, Some(&cursor)).await;
        events.extend(read(&mut stream, |event| is_part(event) || is_waiting(event)).await);
    }
    let parts: Vec<&Value> = events.iter().filter(|event| is_part(event)).collect();
    let mut next = 1;
    for part in &parts {
        assert_eq!(part["first_seq"], next, "S2");
        next = part["last_seq"].as_u64().expect("a number") + 1;
    }
    let shown: String = parts.iter().map(|part| part["part"]["text"].as_str().expect("text")).collect();
    let messages: Vec<&Value> = events.iter().filter(|event| event["type"] == "message").collect();
    assert_eq!(messages.len(), 2, "S1");
    assert!(messages[1]["message"]["content"][0]["text"].as_str().expect("text").starts_with(&shown), "S4");

    let id = &messages[0]["message"]["id"];
    let response = server.request(Method::GET, &format!("{chat}/stream?after_id={id}")).send().await;
    assert_eq!(response.expect("an answer").headers()["content-type"], "text/event-stream");
    let last = events.last().expect("one")["cursor"].as_str().expect("a cursor").to_owned();
    let received = read(&mut sse(&server, &chat, Some(&last)).await, is_synced).await;
    assert_eq!(received.len(), 1, "S1: nothing again: {received:?}");
}
