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
async fn a_key_makes_a_request_happen_once() {
    let server = Server::start(&[]);
    let keyed = |key: &'static str, body: &'static str| {
        let request = server.request(Method::POST, "/v1/chats").header("idempotency-key", key).body(body);
        async move { received(request.send().await.expect("an answer")).await }
    };
    let first = keyed("a", "{\"title\":\"one\"}").await;
    assert_eq!(first.0, 201);
    assert_eq!(keyed("a", "{\"title\":\"one\"}").await, first);
    let (status, problem) = keyed("a", "{\"title\":\"two\"}").await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_mismatch")));
    assert_ne!(keyed("b", "{\"title\":\"one\"}").await.1["id"], first.1["id"]);
    assert_eq!(keyed(concat!("x", " y"), "{}").await.0, 400);
    let (_, list) = server.ask(Method::GET, "/v1/chats?limit=1", &Value::Null).await;
    assert_eq!(list["chats"].as_array().map(Vec::len), Some(1));
    let rest = format!("/v1/chats?before={}", list["next"].as_str().expect("there is more"));
    let (_, rest) = server.ask(Method::GET, &rest, &Value::Null).await;
    assert_eq!(
        (&rest["chats"][0]["id"], &rest["next"]),
        (&first.1["id"], &Value::Null),
        "S6: two, not three"
    );
}

#[tokio::test]
async fn a_busy_chat_queues_promotes_interrupts_and_edits() {
    let server = Server::start(&["--queue-max", "2"]);
    let chat = server.chat(json!({"content": "/demo parts=10000 interval=20ms"})).await;
    let mut stream = sse(&server, &chat, None).await;
    read(&mut stream, is_part).await;
    let messages = format!("{chat}/messages");
    let (status, problem) =
        server.ask(Method::POST, &messages, &json!({"content": "x", "busy": "reject"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("busy")));
    let (status, problem) = server.ask(Method::DELETE, &chat, &Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("busy")));
    let (status, one) = server.ask(Method::POST, &messages, &json!({"content": "/demo parts=1 one"})).await;
    assert_eq!((status, &one["message"]), (202, &Value::Null));
    let (_, two) = server.ask(Method::POST, &messages, &json!({"content": "/demo parts=2 two"})).await;
    let (status, problem) = server.ask(Method::POST, &messages, &json!({"content": "x"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("queue_full")));
    let (status, _) =
        server.ask(Method::DELETE, &format!("{chat}/queue/{}", one["queued"]["id"]), &Value::Null).await;
    assert_eq!(status, 204);
    let (status, state) = server
        .ask(Method::POST, &format!("{chat}/queue/{}/promote", two["queued"]["id"]), &Value::Null)
        .await;
    assert_eq!((status, &state["status"]), (202, &json!("interrupting")));
    read(&mut stream, is_waiting).await;
    let (_, page) = server.ask(Method::GET, &messages, &Value::Null).await;
    let received: Vec<(&str, bool)> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| (message["role"].as_str().expect("a role"), message["interrupted"] == true))
        .collect();
    assert_eq!(received, [("user", false), ("assistant", true), ("user", false), ("assistant", false)], "S8");

    let edited = format!("{messages}/{}", page["messages"][0]["id"]);
    let (status, problem) = server
        .ask(Method::PATCH, &format!("{messages}/{}", page["messages"][1]["id"]), &json!({"content": "x"}))
        .await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_editable")));
    let (status, sent) = server.ask(Method::PATCH, &edited, &json!({"content": "/demo parts=1"})).await;
    assert_eq!(status, 202);
    let events = read(&mut stream, is_waiting).await;
    assert_eq!(events[0]["type"], "history_reset");
    assert_eq!(events[1]["message"]["id"], sent["message"]["id"]);
    let (status, _) = server.ask(Method::DELETE, &chat, &Value::Null).await;
    assert_eq!(status, 204);
    assert!(read(&mut stream, |_| true).await.is_empty(), "a deleted chat ends its streams");
}

#[tokio::test]
async fn a_chat_is_its_creators_alone() {
    let file = "[tokens]\n\"anns\" = \"ann\"\n\"bobs\" = \"bob\"\n";
    let server = Server::with_file("auth.toml", file, &["--auth-file", "FOLDER/auth.toml"]);
    let ask = async |method: Method, path: &str, token: Option<&str>| {
        let mut request = server.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("an answer");
        let challenged = response.headers().contains_key("www-authenticate");
        if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            return (200, Value::Null);
        }
        let (status, body) = received(response).await;
        assert_eq!(challenged, status == 401);
        (status, body)
    };
    for token in [None, Some("nobodys")] {
        let (status, problem) = ask(Method::POST, "/v1/chats", token).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")));
    }
    assert_eq!(ask(Method::GET, "/healthz", None).await.0, 200);
    let (_, chat) = ask(Method::POST, "/v1/chats", Some("anns")).await;
    let path = format!("/v1/chats/{}", chat["id"].as_str().expect("an id"));
    for (suffix, method) in
        [("", Method::GET), ("/stream", Method::GET), ("/messages", Method::GET), ("", Method::DELETE)]
    {
        let (status, problem) = ask(method, &format!("{path}{suffix}"), Some("bobs")).await;
        assert_eq!((status, &problem["code"]), (404, &json!("no_such_chat")), "S10: {suffix}");
    }
    assert_eq!(ask(Method::GET, "/v1/chats", Some("bobs")).await.1["chats"], json!([]));
    assert_eq!(ask(Method::GET, &format!("{path}/stream?access_token=anns"), None).await.0, 200);
    assert_eq!(ask(Method::GET, &format!("{path}/stream?access_token=x"), None).await.0, 401);
    assert_eq!(ask(Method::GET, &format!("{path}?access_token=anns"), None).await.0, 401, "streams alone");
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
