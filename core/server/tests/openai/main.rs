//! The generator for OpenAI-compatible models, against a real server that misbehaves.

mod calls;
mod endings;
mod faults;
mod provider;
mod requests;
mod thoughts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use mainstem::generators::{ApiKey, OpenAi, OpenAiConfig};
use mainstem_machine::history::ModelHistory;
use mainstem_machine::{
    ChatId, Completion, Content, Episode, Message, MessageId, Role, Time, Version, WallTime,
};
use mainstem_runtime::contract::generator::{Subject, check};
use mainstem_runtime::ports::{Boxed, Conversation, Generated, Generator};
use serde_json::json;
use tokio::sync::Semaphore;

use provider::{Act, DONE, Provider, Seen, chunk, delta, end, finish, head};

const KEY: &str = "sk-this-is-secret";
const SAID: &str = "what the user said";

fn conversation() -> Conversation {
    let message = |role, text| {
        Arc::new(Message {
            id: MessageId(1),
            revision: Version(1),
            role,
            content: Content::text(text),
            interrupted: false,
            episode: None,
            finish_reason: None,
            usage: None,
            queued_as: None,
            client_id: None,
            turn: None,
            created_at: WallTime(0),
        })
    };
    Conversation {
        chat: ChatId(uuid::Uuid::nil()),
        model: None,
        episode: Episode { history_version: Version(1), attempt: 1 },
        instructions: None,
        tools: [].into(),
        history: ModelHistory::of(
            [(Role::System, "be brief"), (Role::User, "hi"), (Role::Assistant, "yes?"), (Role::User, SAID)]
                .map(|(role, text)| message(role, text)),
        ),
    }
}

fn config(provider: &Provider) -> OpenAiConfig {
    OpenAiConfig::new(&provider.base_url, "small", Some(ApiKey::new(KEY)))
}

fn generator(provider: &Provider) -> OpenAi {
    OpenAi::new(config(provider)).unwrap()
}

/// A whole run against a provider that plays one script.
async fn run(script: Vec<Act>) -> Vec<Generated> {
    let provider = Provider::start(vec![script]).await;
    collect(&generator(&provider)).await
}

async fn collect(generator: &OpenAi) -> Vec<Generated> {
    let run = generator.start(conversation()).collect();
    tokio::time::timeout(Duration::from_secs(20), run).await.expect("the run ends within 20 s")
}

/// The text of a run that completed.
fn answer(events: &[Generated]) -> String {
    let (last, texts) = events.split_last().expect("a run has an end");
    assert!(matches!(last, Generated::Done(_)), "{last:?}");
    let text = |event: &Generated| match event {
        Generated::Part { text, .. } => text.clone(),
        other => panic!("expected text before the end, came {other:?}"),
    };
    texts.iter().map(text).collect()
}

#[tokio::test]
async fn it_asks_with_the_conversation_the_model_and_the_key() {
    let script = vec![head(), chunk(finish("stop")), end()];
    let mut provider = Provider::start(vec![script]).await;
    collect(&generator(&provider)).await;
    let Seen::Request { head, body } = provider.seen().await else { panic!("a request comes first") };
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {KEY}\r\n")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let wanted = json!({
        "model": "small",
        "stream": true,
        "stream_options": { "include_usage": true },
        "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": "yes?" },
            { "role": "user", "content": SAID },
        ],
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_chat_may_name_its_model_and_a_key_is_not_needed() {
    let script = vec![head(), chunk(finish("stop")), end()];
    let mut provider = Provider::start(vec![script]).await;
    let keyless = OpenAi::new(OpenAiConfig { key: None, ..config(&provider) }).unwrap();
    let conversation = Conversation { model: Some("big".into()), ..conversation() };
    keyless.start(conversation).collect::<Vec<_>>().await;
    let Seen::Request { head, body } = provider.seen().await else { panic!("a request comes first") };
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    assert_eq!(body["model"], "big");
}

#[tokio::test]
async fn an_answer_comes_in_parts_and_ends() {
    let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    let usage = r#"data: {"choices":[],"usage":{"total_tokens":3}}"#;
    let events = run(vec![
        head(),
        chunk(format!(": hello\n\n{role}\n\n")),
        chunk(delta("one ")),
        chunk(delta("")),
        chunk([delta("two "), delta("three")].concat()),
        chunk(format!("{usage}\n\n")),
        chunk([finish("stop").as_str(), DONE].concat()),
        end(),
    ])
    .await;
    let texts = ["one ", "two ", "three"].map(Generated::text);
    assert_eq!(events[..3], texts, "S2: empty deltas are no parts");
    assert_eq!(events[3..], [Generated::Done(Completion::STOPPED)]);
}

#[tokio::test]
async fn bytes_may_be_cut_anywhere() {
    let text = "żółw 🐢 \"quoted\"\r\n";
    let body = [": x\r\n\r\n", &delta(text).replace('\n', "\r\n"), &delta("end"), &finish("stop")].concat();
    for size in [1, 2, 3, 7] {
        let chunks = body.as_bytes().chunks(size).map(chunk);
        let events = run([head()].into_iter().chain(chunks).chain([end()]).collect()).await;
        assert_eq!(answer(&events), format!("{text}end"), "S2: cut every {size}");
    }
}

#[tokio::test]
async fn one_event_may_have_its_data_on_many_lines() {
    let body = "event: chunk\ndata: {\"choices\":\ndata: [{\"delta\":{\"content\":\"x\"}}]}\nid: 1\n\ndata: [DONE]\n\n";
    assert_eq!(answer(&run(vec![head(), chunk(body), end()]).await), "x");
}

#[tokio::test]
async fn a_slow_answer_is_told_as_it_comes() {
    let go = Arc::new(Semaphore::new(0));
    let script =
        vec![head(), chunk(delta("a")), Act::Await(go.clone()), chunk([&delta("b"), DONE].concat()), end()];
    let provider = Provider::start(vec![script]).await;
    let mut run = generator(&provider).start(conversation());
    assert_eq!(run.next().await, Some(Generated::text("a")));
    go.add_permits(1);
    assert_eq!(run.next().await, Some(Generated::text("b")));
    assert_eq!(run.next().await, Some(Generated::Done(Completion::default())));
    assert_eq!(run.next().await, None);
}

#[tokio::test]
async fn an_answer_that_reached_the_token_limit_is_done() {
    let events = run(vec![head(), chunk([delta("cut"), finish("length")].concat()), end()]).await;
    assert_eq!(answer(&events), "cut");
}

#[tokio::test]
async fn text_and_finish_reason_may_come_together() {
    let last = r#"data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#;
    assert_eq!(answer(&run(vec![head(), chunk(format!("{last}\n\n")), Act::Close]).await), "x");
}

#[tokio::test]
async fn either_a_finish_reason_or_done_is_an_end() {
    assert_eq!(answer(&run(vec![head(), chunk([delta("x"), finish("stop")].concat()), end()]).await), "x");
    assert_eq!(answer(&run(vec![head(), chunk([&delta("x"), DONE].concat()), end()]).await), "x");
}

#[tokio::test]
async fn a_dropped_run_closes_its_connection() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let hanging = [
        vec![Act::Hang],
        vec![head(), Act::Hang],
        vec![head(), chunk(delta("x")), Act::Hang],
        vec![Act::Send(endless.into()), Act::Repeat(delta("x").repeat(100).into(), Duration::ZERO)],
    ];
    for script in hanging {
        let mut provider = Provider::start(vec![script]).await;
        let generator = generator(&provider);
        let mut run = generator.start(conversation());
        let asked = tokio::select! {
            seen = provider.seen() => seen,
            _ = async { while run.next().await.is_some() {} std::future::pending().await } => unreachable!(),
        };
        assert!(matches!(asked, Seen::Request { .. }));
        drop(run);
        assert_eq!(provider.seen().await, Seen::ClientGone, "B2: the connection is closed");
    }
}

struct OverHttp {
    provider: Provider,
    generator: OpenAi,
    started: Instant,
}

impl Subject for OverHttp {
    fn generator(&self) -> &dyn Generator {
        &self.generator
    }

    fn conversation(&self) -> Conversation {
        conversation()
    }

    fn runs_open(&self) -> usize {
        self.provider.open()
    }

    fn now(&self) -> Time {
        Time::from_micros(self.started.elapsed().as_micros() as u64)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_generators() {
    let script = vec![
        head(),
        chunk([delta("a"), delta("b")].concat()),
        Act::Sleep(Duration::from_millis(250)),
        chunk([&delta("c"), &finish("stop"), DONE].concat()),
        end(),
    ];
    let provider = Provider::start(vec![script]).await;
    let generator = generator(&provider);
    check(&OverHttp { provider, generator, started: Instant::now() }).await;
}
