//! Agents that keep to no rules: whatever can be understood is taken, and nothing of it hangs, or grows without end.

use std::time::Duration;

use mainstem::generators::{Agent, AgentConfig};
use mainstem_runtime::ports::Generated;
use serde_json::{Value, json};

use crate::faults::assert_fails;
use crate::provider::{Act, Provider, Seen, chunk, end, head};
use crate::tools::lost;
use crate::{
    answer, collect, config, conversation, event, events, finished, run, said, saying, script, started, text,
};

fn start(id: &str) -> Value {
    json!({ "type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "find" })
}

#[tokio::test]
async fn a_run_needs_no_begin_and_a_message_none_either() {
    let came = run(script(&[text("a"), started(), text("b"), finished()])).await;
    assert_eq!(answer(&came), json!([said("a"), said("b")]));
}

#[tokio::test]
async fn what_begins_or_ends_twice_does_so_once() {
    let of = |kind: &str| json!({ "type": kind, "messageId": "m" });
    let call = |kind: &str, delta: &str| json!({ "type": kind, "toolCallId": "c", "delta": delta });
    let came = saying(&[
        of("TEXT_MESSAGE_START"),
        of("TEXT_MESSAGE_START"),
        text("a"),
        of("TEXT_MESSAGE_END"),
        of("TEXT_MESSAGE_END"),
        text("late"),
        start("c"),
        start("c"),
        call("TOOL_CALL_ARGS", "{}"),
        call("TOOL_CALL_END", ""),
        call("TOOL_CALL_END", ""),
        call("TOOL_CALL_ARGS", "late"),
        start("c"),
        call("TOOL_CALL_ARGS", "later"),
    ])
    .await;
    let call = json!({ "type": "tool_call", "id": "c", "name": "find", "input": {} });
    assert_eq!(answer(&came), json!([said("a"), said("late"), call, lost("c")]));
}

#[tokio::test]
async fn what_belongs_to_nothing_or_says_nothing_is_passed_over() {
    let odd = [
        json!({ "type": "TOOL_CALL_ARGS", "toolCallId": "nobody", "delta": "{}" }),
        json!({ "type": "TOOL_CALL_END", "toolCallId": "nobody" }),
        json!({ "type": "TOOL_CALL_CHUNK", "delta": "{}" }),
        json!({ "type": "TOOL_CALL_CHUNK", "toolCallId": "c", "delta": "{}" }),
        json!({ "type": "TEXT_MESSAGE_END", "messageId": "nobody" }),
        json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": 7, "delta": { "x": 1 } }),
        json!({ "type": "OF_A_LATER_RELEASE", "delta": "x" }),
        json!({ "type": "" }),
        json!({ "type": "TEXT_MESSAGE_START", "messageId": "u", "role": "user" }),
        json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "u", "delta": "repeated" }),
    ];
    let body =
        [events(&odd), "data: [DONE]\n\ndata\n\ndata:  \n\nevent: ping\ndata: now\n\n".into()].concat();
    let body = [event(&started()), body, events(&[text("x"), finished()])].concat();
    assert_eq!(answer(&run(vec![head(), chunk(body), end()]).await), json!([said("x")]));
}

#[tokio::test]
async fn half_a_pair_voids_no_text() {
    let body = r#"data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"a\ud83d"}"#;
    let came = run(vec![head(), chunk(format!("{body}\n\n")), chunk(event(&finished())), end()]).await;
    assert_eq!(answer(&came), json!([said("a\u{fffd}\u{fffd}\u{fffd}")]));
}

#[tokio::test]
async fn what_is_no_event_is_a_fault_of_the_protocol() {
    let nameless = event(&json!({ "type": "TOOL_CALL_START", "toolCallId": "c" }));
    let long = event(&json!({ "type": "TEXT_MESSAGE_START", "messageId": "m".repeat(2000) }));
    for garbage in [
        "data: <html>\n\n",
        "data: {\"type\":\n\n",
        "data: []\n\n",
        "data: 7\n\n",
        "data: {}\n\n",
        "data: {\"type\":7}\n\n",
        "data: {\"type\":\"RAW\",\"type\":\"CUSTOM\"}\n\n",
        &nameless,
        &long,
    ] {
        let came = run(vec![head(), chunk(event(&text("x"))), chunk(garbage), end()]).await;
        assert_fails(&came, json!([said("x")]), "provider_protocol", true);
    }
    let invalid = b"data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"delta\":\"\xff\"}\n\n";
    assert_fails(&run(vec![head(), chunk(invalid), end()]).await, json!([]), "provider_protocol", true);
}

#[tokio::test]
async fn an_endless_event_is_given_up_for_good() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ";
    for endless in [vec![b'x'; 65_536], [&[b'x'; 65_536], "\ndata: ".as_bytes()].concat()] {
        let script = vec![Act::Send(head.into()), Act::Repeat(endless, Duration::ZERO)];
        let mut provider = Provider::start(vec![script]).await;
        let event_bytes_max = 1024 * 1024;
        let generator = Agent::new(AgentConfig { event_bytes_max, ..config(&provider) }).unwrap();
        assert_fails(&collect(&generator, conversation()).await, json!([]), "answer_too_large", false);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
    }
}

#[tokio::test]
async fn what_waits_behind_an_open_call_has_a_maximum() {
    let waiting = event(&json!({ "type": "CUSTOM", "name": "n", "value": "x".repeat(1000) }));
    let opened = (0..300).map(|at| start(&at.to_string())).collect::<Vec<_>>();
    for (begin, endless) in [
        (vec![start("a")], event(&text(&"x".repeat(10_000)))),
        (vec![start("a")], waiting.repeat(10)),
        (opened, ": so\n\n".to_owned()),
    ] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let begin = [head, &events(&begin)].concat();
        let script = vec![Act::Send(begin.into()), Act::Repeat(endless.into(), Duration::ZERO)];
        let mut provider = Provider::start(vec![script]).await;
        let came = collect(&Agent::new(config(&provider)).unwrap(), conversation()).await;
        let Some(Generated::Failed { error, retryable: false, .. }) = came.last() else { panic!("{came:?}") };
        assert_eq!(&*error.code, "answer_too_large");
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
    }
}

#[tokio::test]
async fn an_agent_may_repeat_all_that_it_was_asked() {
    let mut asking = conversation();
    let long = "ż".repeat(100_000);
    asking.history.messages = [crate::message(1, mainstem_machine::Role::User, json!([said(&long)]))].into();
    let mut echo = started();
    echo["input"] = json!({ "messages": [{ "id": "1", "role": "user", "content": long }] });
    let provider = Provider::start(vec![script(&[echo, text("x"), finished()])]).await;
    let small = AgentConfig { event_bytes_max: 1000, ..config(&provider) };
    let came = collect(&Agent::new(small).unwrap(), asking).await;
    assert_eq!(answer(&came), json!([said("x")]));
}
