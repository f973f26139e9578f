//! What a client puts into a part that the server does not know: it is kept byte for byte, wherever a message
//! goes.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::{until, within};
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::json;

/// Values that a reader of numbers and strings would change.
const MEMBERS: &str = r#""big":12345678901234567890123,"one":1.0,"hundred":1e2,"zero":-0,"more":{"b":[1.50,1E+2 , 0.10],"a":"\u0041\/\ud83e\udd80","a":null},"":[ ]"#;

/// A body whose content is a part of this text with [`MEMBERS`].
fn body(text: &str) -> String {
    format!(r#"{{"content":[{}]}}"#, part(text))
}

fn part(text: &str) -> String {
    format!(r#"{{"type":"text",{MEMBERS},"text":"{text}"}}"#)
}

async fn ask(client: &Client, method: Method, path: &str, body: String) -> String {
    let answer = client.ask(client.request(method, path).body(body)).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    answer.text
}

/// The text of the chat's stream up to its `synced`.
async fn stream(client: &Client, chat: &str) -> String {
    let request = client.request(Method::GET, &format!("/v1/chats/{chat}/stream"));
    let mut response = request.send().await.expect("an answer");
    let mut reported = vec![];
    loop {
        let chunk = within("the stream catches up", response.chunk()).await.expect("it does not break");
        reported.extend_from_slice(&chunk.expect("it does not end"));
        let text = String::from_utf8_lossy(&reported);
        if text.contains("event: synced") {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn what_nobody_knows_survives_wherever_a_message_goes() {
    let cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let created = ask(&a, Method::POST, "/v1/chats", body("/demo parts=9 interval=0 stall=1")).await;
    let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
    let chat = created["id"].as_str().expect("an id");
    b.until_running(chat).await;
    let (path, messages) = (format!("/v1/chats/{chat}"), format!("/v1/chats/{chat}/messages"));
    let first = part("/demo parts=9 interval=0 stall=1");
    assert!(ask(&b, Method::GET, &messages, String::new()).await.contains(&first), "a page");
    // Queued.
    let queued = ask(&b, Method::POST, &messages, body("/demo parts=1 interval=0 two")).await;
    let second = part("/demo parts=1 interval=0 two");
    assert!(queued.contains(&second), "an answer: {queued}");
    let queued: serde_json::Value = serde_json::from_str(&queued).expect("JSON");
    assert!(ask(&b, Method::GET, &path, String::new()).await.contains(&second), "a chat's queue");
    let reported = stream(&b, chat).await;
    assert!(reported.contains(&first) && reported.contains(&second), "a stream: {reported}");
    // Its turn comes.
    let promote = format!("{path}/queue/{}/promote", queued["queued"]["id"]);
    let promoted = a.post_with_key(&promote, "k", &json!({})).await.expect(202).text;
    assert_eq!(a.post_with_key(&promote, "k", &json!({})).await.text, promoted, "an answer that is repeated");
    a.until_idle(chat).await;
    let page = ask(&a, Method::GET, &messages, String::new()).await;
    assert!(page.contains(&first) && page.contains(&second), "a page: {page}");
    // An edit.
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let edited = format!("{messages}/{}", page["messages"][0]["id"]);
    let third = part("/demo parts=1 interval=0 three");
    assert!(ask(&b, Method::PATCH, &edited, body("/demo parts=1 interval=0 three")).await.contains(&third));
    // A stream that begins now may tell what was there before, and catches up.
    let edited = async || Some(stream(&b, chat).await).filter(|reported| reported.contains(&third));
    let reported = until("a stream", edited).await;
    assert!(!reported.contains(&second), "a stream: {reported}");
}

#[tokio::test]
async fn a_line_break_between_tokens_breaks_no_event() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let body = "{\"content\":\r\n[ {\"type\":\n\"text\",\"text\":\"x\",\"list\":[1,\r\n2,\n\n3]}\n]}";
    let created = ask(&client, Method::POST, "/v1/chats", body.to_owned()).await;
    let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
    let reported = stream(&client, created["id"].as_str().expect("an id")).await;
    assert!(reported.contains(r#"[{"type":"text","text":"x","list":[1,  2,  3]}]"#), "{reported}");
    for event in reported.trim_end().split("\n\n").filter(|block| !block.starts_with(':')) {
        assert_eq!(event.lines().count(), 3, "an event is three lines: {event}");
    }
}

#[tokio::test]
async fn what_a_reader_could_stumble_over_is_refused() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let with = async |member: String| {
        let body = format!(r#"{{"content":[{{"type":"text","text":"x",{member}}}]}}"#);
        client.ask(client.request(Method::POST, "/v1/chats").body(body)).await
    };
    for member in [
        r#""n":1e999"#.to_owned(),
        r#""s":"\ud800""#.to_owned(),
        r#""text":"y""#.to_owned(),
        r#""m":1,"m":2"#.to_owned(),
        format!(r#""m":{}{}"#, "[".repeat(101), "]".repeat(101)),
        format!(r#""m":{}{}"#, "[".repeat(100_000), "]".repeat(100_000)),
        format!(r#""m":{}1{}"#, r#"{"a":"#.repeat(101), "}".repeat(101)),
    ] {
        with(member).await.expect_problem(400, "malformed");
    }
    let deepest = format!(r#""m":{}{}"#, "[".repeat(100), "]".repeat(100));
    let created = with(deepest).await.expect(201).body;
    let reported = stream(&client, created["id"].as_str().expect("an id")).await;
    let data: Vec<_> = reported.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    for event in &data {
        let read = serde_json::from_str::<serde_json::Value>(event);
        assert!(read.is_ok(), "all can be read: {read:?}");
    }
    let nested = "[".repeat(100);
    assert!(data.iter().any(|event| event.contains(&nested)), "the deepest is among them: {reported}");
}
