//! Tools behind an HTTP endpoint.

use mainstem_runtime::ports::Tools;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::endpoint::{Act, Endpoint, Seen, answer};
use crate::{RESULT_BYTES_MAX, SECRET, call, call_of, failure, offered, toolbox};

#[tokio::test]
async fn a_call_is_posted_with_its_key_and_headers() {
    let mut endpoint = Endpoint::start(vec![answer("200 OK", "application/json", "\"found\"")]).await;
    let more = "headers = { Authorization = \"Bearer ${KEY}\" }\nrepeatable = true\ntimeout = \"7s\"\n\
                description = \"Finds\"\ninput_schema = { type = \"object\", required = [\"q\"] }";
    let tools = toolbox(&endpoint.file(more)).await;
    let tool = offered(&tools, "find").expect("it is offered");
    assert_eq!((&*tool.tool.description, tool.is_repeatable, tool.timeout.as_secs()), ("Finds", true, 7));
    let schema: Value = serde_json::from_str(&tool.tool.input_schema).unwrap();
    assert_eq!(schema, json!({ "type": "object", "required": ["q"] }));
    assert_eq!(call(&tools, "find", r#"{"q": 1.50}"#).await, (json!("found"), false));
    let Seen::Request { head, body } = endpoint.seen().await else { panic!("a request comes first") };
    assert!(head.starts_with("POST /find HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{head}");
    assert!(head.contains("idempotency-key: 00000000-0000-0000-0000-000000000000/9/call_1\r\n"), "{head}");
    let chat = "00000000-0000-0000-0000-000000000000";
    let wanted =
        json!({ "chat": chat, "turn": 7, "tool_call_id": "call_1", "name": "find", "input": { "q": 1.5 } });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn an_answer_is_a_string_parts_or_a_result() {
    let parts = r#"[{"type":"text","text":"a"}]"#;
    for (kind, body, wanted) in [
        ("application/json", parts, (json!([{ "type": "text", "text": "a" }]), false)),
        ("application/json", r#"{"content":"no","is_error":true}"#, (json!("no"), true)),
        ("application/json", r#"{"a":1}"#, (json!(r#"{"a":1}"#), false)),
        ("text/plain", "plain", (json!("plain"), false)),
    ] {
        let endpoint = Endpoint::start(vec![answer("200 OK", kind, body)]).await;
        assert_eq!(call(&toolbox(&endpoint.file("")).await, "find", "{}").await, wanted, "{body}");
    }
}

#[tokio::test]
async fn another_status_is_an_error_with_the_begin_of_what_was_said() {
    let said = format!("no such\nthing{}", "x".repeat(100_000));
    let endpoint = Endpoint::start(vec![answer("404 Not Found", "text/plain", &said)]).await;
    let told = failure(&toolbox(&endpoint.file("")).await, "find", "{}").await;
    assert!(told.contains("404 Not Found") && told.contains("no such\nthing") && told.len() < 2000, "{told}");
    // Some answer with what they got.
    let endpoint =
        Endpoint::start(vec![answer("400 Bad Request", "text/plain", &format!("{SECRET}? no"))]).await;
    let tools = toolbox(&endpoint.file("headers = { Authorization = \"Bearer ${KEY}\" }")).await;
    let told = failure(&tools, "find", "{}").await;
    assert!(told.ends_with(": …? no"), "{told}");
    // Even where it is cut.
    for place in [1010, 1020, 1024, 1030] {
        let said = format!("{}{SECRET}{}", "x".repeat(place), "y".repeat(2000));
        let endpoint = Endpoint::start(vec![answer("400 Bad Request", "text/plain", &said)]).await;
        let tools = toolbox(&endpoint.file("headers = { Authorization = \"Bearer ${KEY}\" }")).await;
        let told = failure(&tools, "find", "{}").await;
        assert!(told.ends_with('…') && !told.contains("sk-"), "S10: {told}");
    }
    // An error whose body never ends is told all the same.
    let head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nso".to_vec();
    let endpoint = Endpoint::start(vec![Act::Send(head), Act::Hang]).await;
    let told = failure(&toolbox(&endpoint.file("")).await, "find", "{}").await;
    assert!(told.contains("503") && told.ends_with(": so"), "{told}");
}

#[tokio::test]
async fn a_result_with_what_the_tool_was_sent_is_told_without_it() {
    let secrets =
        "headers = { Authorization = \"Basic bm9ib2R5OmtleQ==\", Accept-Language = \"en-gb, de-at\" }";
    for (file, body, wanted) in [
        ("headers = { Own = \"for ${KEY}\" }", format!("\"a {SECRET}\""), json!("a …")),
        ("headers = { Own = \"${KEY}\" }", format!("{{\"got\":\"{SECRET}\"}}"), json!("{\"got\":\"…\"}")),
        (
            "headers = { Own = \"${KEY}\" }",
            format!("[{{\"type\":\"text\",\"text\":\"{SECRET}\"}}]"),
            json!([{ "type": "text", "text": "…" }]),
        ),
        (secrets, "Basic bm9ib2R5OmtleQ==, en-gb, de-at".into(), json!("…, en-gb, de-at")),
    ] {
        let endpoint = Endpoint::start(vec![answer("200 OK", "application/json", &body)]).await;
        let tools = toolbox(&endpoint.file(file)).await;
        assert_eq!(call(&tools, "find", "{}").await, (wanted, false), "S10: {body}");
    }
    let endpoint = Endpoint::start(vec![answer("200 OK", "text/plain", "no key 12345678-key here")]).await;
    let file = endpoint.file("").replace("/find", "/find?code=12345678-key");
    assert_eq!(call(&toolbox(&file).await, "find", "{}").await, (json!("no key … here"), false));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Endpoint::start(vec![answer("200 OK", "text/plain", "got it")]).await;
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/{SECRET}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let endpoint = Endpoint::start(vec![Act::Send(redirect.into())]).await;
    let tools = toolbox(&endpoint.file("headers = { Authorization = \"Bearer ${KEY}\" }")).await;
    let told = failure(&tools, "find", "{}").await;
    assert!(told.contains("307") && told.contains(&elsewhere.address), "{told}");
    // What it sees first is this, and nothing of the call.
    let own = toolbox(&elsewhere.file("")).await;
    call(&own, "find", r#"{"own":1}"#).await;
    let Seen::Request { body, .. } = elsewhere.seen().await else { panic!("a request comes first") };
    assert_eq!(body["input"], json!({ "own": 1 }));
}

#[tokio::test]
async fn a_tool_that_hangs_is_given_up() {
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nso".to_vec();
    for script in [vec![Act::Hang], vec![Act::Send(begun), Act::Hang]] {
        let mut endpoint = Endpoint::start(script).await;
        let told = failure(&toolbox(&endpoint.file("timeout = \"300ms\"")).await, "find", "{}").await;
        assert_eq!(told, "the tool did not answer within 300ms");
        assert!(matches!(endpoint.seen().await, Seen::Request { .. }));
        assert_eq!(endpoint.seen().await, Seen::ClientGone);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let mut endpoint = Endpoint::start(vec![Act::Hang]).await;
    let tools = toolbox(&endpoint.file("")).await;
    let running = tokio::spawn(tools.call(call_of("find", "{}")));
    assert!(matches!(endpoint.seen().await, Seen::Request { .. }));
    running.abort();
    assert_eq!(endpoint.seen().await, Seen::ClientGone);
}

#[tokio::test]
async fn a_result_that_is_too_large_is_an_error_announced_or_not() {
    let announced = answer("200 OK", "text/plain", &"x".repeat(RESULT_BYTES_MAX + 1));
    let endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    for script in [vec![announced], vec![Act::Send(endless), Act::Repeat(vec![b'x'; 4096])]] {
        let endpoint = Endpoint::start(script).await;
        let told = failure(&toolbox(&endpoint.file("")).await, "find", "{}").await;
        assert!(told.contains("too large") && told.contains("at most 4096"), "{told}");
    }
    // As text it fits, and as JSON it does not.
    let escaped = answer("200 OK", "text/plain", &"\u{1}".repeat(RESULT_BYTES_MAX / 2));
    let endpoint = Endpoint::start(vec![escaped]).await;
    let told = failure(&toolbox(&endpoint.file("")).await, "find", "{}").await;
    assert!(told.contains("too large"), "{told}");
}

#[tokio::test]
async fn a_tool_that_is_away_or_breaks_off_is_an_error_without_its_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = format!("[[tools]]\nname = \"find\"\nrun = \"http\"\nurl = \"http://{nobody}/?key={SECRET}\"");
    let told = failure(&toolbox(&away).await, "find", "{}").await;
    assert!(told.contains("could not be reached") && told.contains("refused"), "{told}");
    for bytes in ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nso", "so", ""] {
        let endpoint = Endpoint::start(vec![Act::Send(bytes.into())]).await;
        let told = failure(&toolbox(&endpoint.file("")).await, "find", "{}").await;
        assert!(told.contains("could not be reached, or the connection broke"), "{bytes:?}: {told}");
    }
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_an_error() {
    let told = failure(&toolbox("").await, "find", "{}").await;
    assert!(told.contains("not called") && told.contains("find"), "{told}");
}
