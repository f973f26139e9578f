//! The generator for agents, against a real server that misbehaves.

mod blocks;
mod endings;
mod faults;
mod nonsense;
#[path = "../common/provider.rs"]
mod provider;
mod requests;
mod tools;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use mainstem::generators::{Agent, AgentConfig, ApiKey};
use mainstem_machine::history::ModelHistory;
use mainstem_machine::{
    Block, ChatId, Completion, Content, Episode, Message, MessageId, Role, Time, Version, WallTime,
};
use mainstem_runtime::contract::generator::{Subject, check};
use mainstem_runtime::ports::{Boxed, Conversation, Generated, Generator};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use provider::{Act, Provider, Seen, chunk, end, head};

const KEY: &str = "sk-this-is-secret";
const SAID: &str = "what the user said";

fn message(id: u64, role: Role, content: Value) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(id),
        revision: Version(1),
        role,
        content: Content::from_stored(content.to_string()),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: None,
        created_at: WallTime(0),
    })
}

fn conversation() -> Conversation {
    Conversation {
        chat: ChatId(uuid::Uuid::from_u128(7)),
        model: None,
        episode: Episode { history_version: Version(3), attempt: 1 },
        instructions: None,
        tools: [].into(),
        history: ModelHistory::of([message(1, Role::User, json!([{ "type": "text", "text": SAID }]))]),
    }
}

fn config(provider: &Provider) -> AgentConfig {
    AgentConfig::new(&provider.base_url, Some(ApiKey::new(KEY)))
}

fn generator(provider: &Provider) -> Agent {
    Agent::new(config(provider)).unwrap()
}

/// A whole run against an agent that plays one script.
async fn run(script: Vec<Act>) -> Vec<Generated> {
    let provider = Provider::start(vec![script]).await;
    collect(&generator(&provider), conversation()).await
}

async fn collect(generator: &Agent, conversation: Conversation) -> Vec<Generated> {
    let run = generator.start(conversation).collect();
    tokio::time::timeout(Duration::from_secs(20), run).await.expect("the run ends within 20 s")
}

fn event(event: &Value) -> String {
    format!("data: {event}\n\n")
}

fn events(said: &[Value]) -> String {
    said.iter().map(event).collect()
}

fn started() -> Value {
    json!({ "type": "RUN_STARTED", "threadId": "t", "runId": "r" })
}

fn finished() -> Value {
    json!({ "type": "RUN_FINISHED", "threadId": "t", "runId": "r" })
}

/// A piece of the message `m`.
fn text(delta: &str) -> Value {
    json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": delta })
}

fn script(said: &[Value]) -> Vec<Act> {
    vec![head(), chunk(events(said)), end()]
}

/// A run in which these events come between the begin and the end.
async fn saying(said: &[Value]) -> Vec<Generated> {
    run(script(&[&[started()], said, &[finished()]].concat())).await
}

/// What is kept of parts, which have to be what they are said to be.
fn kept(parts: &[Generated]) -> Value {
    serde_json::from_str(content(parts, false).as_json()).expect("a content is JSON")
}

/// The content that these parts are kept as, in an answer that is whole or cut short.
fn content(parts: &[Generated], is_cut: bool) -> Content {
    let mut blocks: Vec<(Block, String)> = vec![];
    for part in parts {
        let Generated::Part { begins, text } = part else { panic!("expected a part, came {part:?}") };
        let block = begins.clone().or_else(|| blocks.is_empty().then_some(Block::Text));
        let says = block.as_ref().map_or(!text.is_empty(), |block| block.takes(text));
        assert!(says, "S2: {part:?}");
        match block {
            Some(block) => blocks.push((block, text.clone())),
            None => {
                let (last, said) = blocks.last_mut().expect("a block");
                assert!(last.is_streamed(), "S2: what is whole has one part");
                *said += text;
            }
        }
    }
    Content::of_blocks(blocks.iter().map(|(block, text)| (block, &**text)), is_cut)
}

/// What is kept of a run that completed.
fn answer(events: &[Generated]) -> Value {
    let (last, parts) = events.split_last().expect("a run has an end");
    assert!(matches!(last, Generated::Done(_)), "{last:?}");
    kept(parts)
}

fn said(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[tokio::test]
async fn an_answer_comes_in_parts_and_ends() {
    let start = json!({ "type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant" });
    let end = json!({ "type": "TEXT_MESSAGE_END", "messageId": "m" });
    let came = saying(&[start, text("one "), text(""), text("two "), text("three"), end]).await;
    let texts = ["one ", "two ", "three"].map(Generated::text);
    assert_eq!(came[..3], texts, "S2: empty deltas are no parts");
    assert_eq!(came[3..], [Generated::Done(Completion::STOPPED)]);
}

#[tokio::test]
async fn bytes_may_be_cut_anywhere_and_lines_end_in_any_way() {
    let words = "żółw 🐢 \"quoted\"\r\n";
    let plain = events(&[started(), text(words), text("end"), finished()]);
    let framed = format!("\u{feff}: hello\n\nid: 1\nevent: X\nretry: 5\n{plain}: bye\n\n");
    for body in [framed.clone(), framed.replace('\n', "\r\n"), framed.replace('\n', "\r")] {
        for size in [1, 2, 3, 7] {
            let chunks = body.as_bytes().chunks(size).map(chunk);
            let came = run([head()].into_iter().chain(chunks).chain([end()]).collect()).await;
            assert_eq!(answer(&came), json!([said(&format!("{words}end"))]), "S2: cut every {size}");
        }
    }
}

#[tokio::test]
async fn one_event_may_have_its_data_on_many_lines() {
    let body = "data: {\"type\":\ndata: \"CUSTOM\", \"name\": \"n\",\ndata: \"value\": [1,\ndata: 2]}\n\n";
    let came = run(vec![head(), chunk(body), chunk(event(&finished())), end()]).await;
    let custom = json!({ "name": "n", "value": [1, 2] });
    assert_eq!(answer(&came), json!([{ "type": "data", "name": "agui.custom", "data": custom }]));
}

#[tokio::test]
async fn a_slow_answer_is_told_as_it_comes() {
    let go = Arc::new(Semaphore::new(0));
    let script = vec![
        head(),
        chunk(events(&[started(), text("a")])),
        Act::Await(go.clone()),
        chunk(events(&[text("b"), finished()])),
        end(),
    ];
    let provider = Provider::start(vec![script]).await;
    let mut run = generator(&provider).start(conversation());
    assert_eq!(run.next().await, Some(Generated::text("a")));
    go.add_permits(1);
    assert_eq!(run.next().await, Some(Generated::text("b")));
    assert_eq!(run.next().await, Some(Generated::Done(Completion::STOPPED)));
    assert_eq!(run.next().await, None);
}

#[tokio::test]
async fn a_dropped_run_closes_its_connection() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let open_call = json!({ "type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "find" });
    let hanging = [
        vec![Act::Hang],
        vec![head(), Act::Hang],
        vec![head(), chunk(events(&[started(), text("x")])), Act::Hang],
        vec![head(), chunk(events(&[started(), open_call, text("x")])), Act::Hang],
        vec![Act::Send(endless.into()), Act::Repeat(event(&text("x")).repeat(100).into(), Duration::ZERO)],
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
    generator: Agent,
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
        chunk(events(&[started(), text("a"), text("b")])),
        Act::Sleep(Duration::from_millis(250)),
        chunk(events(&[text("c"), finished()])),
        end(),
    ];
    let provider = Provider::start(vec![script]).await;
    let generator = generator(&provider);
    check(&OverHttp { provider, generator, started: Instant::now() }).await;
}
