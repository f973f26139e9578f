//! When a provider is asked again: not before it wants to be, not by everybody at once, and not for ever by a
//! model that says nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_tests::deadline::until;
use mainstem_tests::provider::{Provider, Reply, chunk, events};
use mainstem_tests::scratch::Scratch;
use serde_json::json;

use crate::providers::asking;

#[tokio::test]
async fn a_provider_is_left_alone_as_long_as_it_asks() {
    let rows = vec![
        ("seconds", vec![Reply::Status(429, "2"), Reply::Parts(vec!["fine"])]),
        ("date", vec![Reply::StatusUntil(503, 3), Reply::Parts(vec!["fine"])]),
    ];
    let provider = Provider::start_rows(rows).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    let mut chats = vec![];
    for (name, at_least) in [("seconds", 2000), ("date", 2000)] {
        chats.push((name, at_least, client.create(name).await));
    }
    for (name, at_least, chat) in chats {
        assert_eq!(client.until_idle(&chat).await["status"], "waiting", "{name}");
        let asked = provider.asked(name);
        assert_eq!(asked.len(), 2, "{name}");
        let waited = asked[1] - asked[0];
        assert!(waited >= Duration::from_millis(at_least), "{name}: {waited:?}");
    }
}

#[tokio::test]
async fn a_herd_does_not_come_back_at_once() {
    const CHATS: usize = 8;
    let provider = Provider::start(vec![Reply::Status(503, "30")]).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    let mut delays = BTreeSet::new();
    for _ in 0..CHATS {
        let chat = client.create("hi").await;
        let retry = until("the retry is told", async || {
            let retry = client.chat(&chat).await["retry"].clone();
            retry.is_object().then_some(retry)
        })
        .await;
        assert_eq!(retry["error"]["code"], "provider_unavailable");
        delays.insert(retry["delay_ms"].as_u64().expect("milliseconds"));
    }
    assert!(delays.iter().all(|delay| (30_000..=30_250).contains(delay)), "{delays:?}");
    assert!(delays.len() > 2, "delays are spread: {delays:?}");
}

#[tokio::test]
async fn silence_is_waited_for_twice_and_no_more() {
    let begun = events(&[chunk("so far", json!(null))]);
    let rows = vec![
        ("never begins", vec![Reply::Silence(": still here\n\n".into())]),
        ("breaks off", vec![Reply::Silence(begun)]),
    ];
    let provider = Provider::start_rows(rows).await;
    let scratch = Scratch::new();
    let flags = ["--model-first-byte-timeout", "400ms", "--model-idle-timeout", "200ms"];
    let replica = asking(&provider.base_url, &scratch, &flags).await;
    let client = replica.client();
    for (name, silence, messages) in [("never begins", 400, 1), ("breaks off", 200, 2)] {
        let chat = client.create(name).await;
        let reported = client.until_idle(&chat).await;
        assert_eq!(
            (&reported["status"], &reported["error"]["code"]),
            (&json!("error"), &json!("provider_timeout")),
            "{reported}"
        );
        let asked = provider.asked(name);
        assert_eq!(asked.len(), 2, "each time takes minutes");
        assert!(asked[1] - asked[0] >= Duration::from_millis(silence), "it is waited for");
        assert_eq!(client.messages(&chat).await.len(), messages, "what there is is kept");
    }
}
