//! What models and other users write, in a terminal: nothing of it is an order to it.

use mainstem_tests::cluster::{alone, alone_with};
use mainstem_tests::deadline::until;
use mainstem_tests::process::{Running, run, run_with};
use mainstem_tests::provider::{Provider, Reply};
use mainstem_tests::scratch::Scratch;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Sequences, some cut in two between parts: a title, a clipboard, a cleared screen, C1, a turned direction,
/// tags.
const PARTS: [&str; 9] = [
    "begin \u{1b}",
    "]0;title\u{7} \u{1b}]52;c;cm0gLXJm\u{1b}",
    "\\ \u{9b}2J\u{85}",
    "over\rwritten\u{8} ",
    "\u{202e}gpj.exe\u{2066}",
    "\u{200b}\u{e0041}\u{feff}",
    "\u{7f}\u{0}\u{2028}",
    "tab\tline\n",
    "é 漢 👩\u{200d}💻 end",
];

/// Characters that must not reach a terminal; line feeds and tabs may.
fn harmful(said: &str) -> String {
    let is_harmful = |character: &char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(
                character,
                '\u{202e}' | '\u{2066}' | '\u{200b}' | '\u{e0041}' | '\u{feff}' | '\u{2028}'
            )
    };
    said.chars().filter(is_harmful).collect()
}

#[tokio::test]
async fn what_a_model_says_is_no_order_to_a_terminal() {
    let scratch = Scratch::new();
    let provider = Provider::start(vec![Reply::Parts(PARTS.to_vec())]).await;
    let flags = ["--generator", "openai", "--openai-base-url", &provider.base_url, "--openai-model", "m"];
    let replica = alone_with(&scratch, &flags, &[("OPENAI_API_KEY", "k")]).await;
    let (client, url) = (replica.client(), replica.url());
    // It is watched as it comes.
    let output = run_with(&["chat", "--server", &url], &[], "hi\n").await;
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!((output.status.code(), harmful(&said)), (Some(0), String::new()), "{said}");
    for shown in ["\\u{1b}]0;title\\u{7}", "\\u{9b}2J", "tab\tline\n", "é 漢 👩\u{200d}💻 end"] {
        assert!(said.contains(shown), "{shown} is missing: {said}");
    }
    let chats = client.get("/v1/chats").await.expect(200).body;
    let chat = chats["chats"][0]["id"].as_str().expect("a chat").to_owned();
    // It is read afterwards, with what another user's device sent.
    client.send(&chat, "from \u{1b}[31mafar\u{9b}m").await;
    client.until_idle(&chat).await;
    let tail = Running::start(&["tail", &chat, "--server", &url]);
    until("tail has all", async || tail.said().contains("synced").then_some(())).await;
    assert_eq!(harmful(&tail.said()), String::new(), "{}", tail.said());
    assert!(tail.said().contains("from \\u{1b}[31mafar\\u{9b}m"), "{}", tail.said());
    // As JSON it is the same text.
    let tail = Running::start(&["tail", &chat, "--json", "--server", &url]);
    until("tail has all", async || tail.said().contains("\"synced\"").then_some(())).await;
    let said = tail.said();
    assert_eq!(harmful(&said), String::new(), "{said}");
    let events: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let texts = events.iter().filter_map(|event| event["message"]["content"][0]["text"].as_str());
    assert!(texts.into_iter().any(|text| text == PARTS.concat()), "{said}");
}

#[tokio::test]
async fn what_another_device_queued_is_no_order_to_a_terminal() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let chat = client.create("x").await;
    client.send(&chat, "queued \u{1b}[2J\u{202e}").await;
    let mut chatting = Running::start(&["chat", &chat, "--server", &replica.url()]);
    until("the queue is shown", async || {
        chatting.type_line("/queue");
        chatting.reported().contains("queued ").then_some(())
    })
    .await;
    let reported = chatting.reported();
    assert_eq!(harmful(&reported), String::new(), "{reported}");
    assert!(reported.contains("queued \\u{1b}[2J\\u{202e}"), "{reported}");
}

#[tokio::test]
async fn what_a_server_refuses_with_is_no_order_to_a_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body =
                json!({"code": "\u{1b}]0;title\u{7}", "detail": "no\u{9b}2J \u{202e}such"}).to_string();
            let head = "HTTP/1.1 404 X\r\ncontent-type: application/problem+json\r\nconnection: close\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    for args in
        [&["tail", "x", "--server", &url][..], &["chat", "--server", &url], &["chat", "x", "--server", &url]]
    {
        let output = run(args).await;
        let reported = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), harmful(&reported)), (Some(1), String::new()), "{reported}");
        assert!(
            reported.contains("\\u{1b}]0;title\\u{7}") && reported.contains("no\\u{9b}2J \\u{202e}such"),
            "{reported}"
        );
    }
    serving.abort();
}
