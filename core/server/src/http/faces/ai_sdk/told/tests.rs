use mainstem_machine::{Content, Role};
use mainstem_machine::{FinishReason, MessageId, RunError, Turn, Version, WallTime};
use serde_json::{Value, json};

use super::*;

fn telling(dialect: Dialect) -> Telling {
    let tool = Tool { name: "ask".into(), description: "".into(), input_schema: "{}".into() };
    Telling::new(dialect, "m1".into(), &[tool], false)
}

fn piece(place: u32, block: Block, text: &'static str) -> TurnEvent {
    TurnEvent::Piece { place, block, text: text.into() }
}

fn call(id: &str, name: &str, input: &str) -> TurnEvent {
    let input = CallInput::Whole(serde_json::from_str(input).expect("JSON"));
    TurnEvent::Call(CommittedCall { id: id.into(), name: name.into(), input })
}

fn over(status: TurnStatus) -> TurnEvent {
    let error =
        (status == TurnStatus::Failed).then(|| RunError { code: "c".into(), message: "it broke".into() });
    let finish_reason = (status == TurnStatus::Completed).then_some(FinishReason::Stop);
    TurnEvent::End(End::Over(Turn { status, finish_reason, error, ..Turn::queued(MessageId(1)) }))
}

fn results(json: &str) -> TurnEvent {
    TurnEvent::Results(Arc::new(Message {
        id: MessageId(3),
        revision: Version(3),
        role: Role::Tool,
        content: Content::from_stored(json),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: Some(MessageId(1)),
        created_at: WallTime::default(),
    }))
}

/// The chunks of all events, and what follows the last one.
fn told(dialect: Dialect, events: Vec<TurnEvent>) -> (Vec<Value>, Then) {
    let mut telling = telling(dialect);
    let (mut all, mut last) = (vec![], Then::GoOn);
    for event in events {
        let (chunks, then) = telling.tell(event);
        all.extend(chunks.iter().map(|chunk| serde_json::from_str::<Value>(chunk.get()).expect("JSON")));
        last = then;
    }
    (all, last)
}

#[test]
fn a_plain_answer_has_its_steps_always() {
    let events = vec![
        piece(0, Block::Text, "a "),
        piece(0, Block::Text, "b"),
        TurnEvent::Answer,
        over(TurnStatus::Completed),
    ];
    let expected = json!([
        {"type": "start", "messageId": "m1"},
        {"type": "start-step"},
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "a "},
        {"type": "text-delta", "id": "0", "delta": "b"},
        {"type": "text-end", "id": "0"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]);
    for dialect in [Dialect::Any, Dialect::Five, Dialect::Seven] {
        let (chunks, then) = told(dialect, events.clone());
        assert_eq!((json!(chunks), then), (expected.clone(), Then::Finish));
    }
}

#[test]
fn all_kinds_of_parts_are_told() {
    let events = vec![
        piece(0, Block::Reasoning, "hm"),
        piece(1, Block::Whole, r#"{"type":"source","url":"https://x","title":"X"}"#),
        piece(2, Block::Whole, r#"{"type":"file","media_type":"image/png","data":"QQ=="}"#),
        piece(3, Block::Whole, r#"{"type":"data","name":"place","data":{"n":1.50},"id":"p"}"#),
        piece(4, Block::Unknown, ""),
        piece(5, Block::Text, "so"),
        TurnEvent::Answer,
    ];
    let expected = json!([
        {"type": "start", "messageId": "m1"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "0"},
        {"type": "reasoning-delta", "id": "0", "delta": "hm"},
        {"type": "reasoning-end", "id": "0"},
        {"type": "source-url", "sourceId": "https://x", "url": "https://x", "title": "X"},
        {"type": "file", "url": "data:image/png;base64,QQ==", "mediaType": "image/png"},
        {"type": "data-place", "id": "p", "data": {"n": 1.5}},
        {"type": "text-start", "id": "5"},
        {"type": "text-delta", "id": "5", "delta": "so"},
        {"type": "text-end", "id": "5"},
        {"type": "finish-step"},
    ]);
    assert_eq!(json!(told(Dialect::Any, events).0), expected);
}

#[test]
fn a_call_is_told_when_it_is_kept_and_in_pieces_only_to_who_replaces_them() {
    let events = || {
        vec![
            piece(0, Block::tool_call("a", "ask"), "{\"n\""),
            piece(0, Block::tool_call("a", "ask"), ": 1}"),
            call("a", "ask", "{\"n\": 1}"),
            TurnEvent::Answer,
            TurnEvent::End(End::Asked),
        ]
    };
    let whole =
        json!({"type": "tool-input-available", "toolCallId": "a", "toolName": "ask", "input": {"n": 1}});
    let (chunks, then) = told(Dialect::Any, events());
    assert_eq!(chunks[2], whole);
    assert_eq!((&chunks[4]["finishReason"], then), (&json!("tool-calls"), Then::Finish));
    let (chunks, _) = told(Dialect::Six, events());
    let expected = json!([
        {"type": "tool-input-start", "toolCallId": "a", "toolName": "ask"},
        {"type": "tool-input-delta", "toolCallId": "a", "inputTextDelta": "{\"n\""},
        {"type": "tool-input-delta", "toolCallId": "a", "inputTextDelta": ": 1}"},
        whole,
    ]);
    assert_eq!(json!(chunks[2..6]), expected);
}

#[test]
fn an_output_has_its_call_before_it_and_says_who_carried_it_out() {
    let own = vec![
        piece(0, Block::tool_call("a", "find"), "{\"n\": 1}"),
        piece(1, Block::Whole, r#"{"type":"tool_result","tool_call_id":"a","content":"x"}"#),
        call("a", "find", "{\"n\": 1}"),
        TurnEvent::Answer,
    ];
    let expected = json!([
        {"type": "tool-input-available", "toolCallId": "a", "toolName": "find", "input": {"n": 1}, "providerExecuted": true},
        {"type": "tool-output-available", "toolCallId": "a", "output": "x", "providerExecuted": true},
        {"type": "finish-step"},
    ]);
    assert_eq!(json!(told(Dialect::Any, own).0[2..]), expected, "S11: once");
    let json = concat!(
        r#"[{"type":"tool_result","tool_call_id":"a","content":[{"type":"data","name":"output","data":42}]},"#,
        r#"{"type":"tool_result","tool_call_id":"b","content":"no","is_error":true}]"#
    );
    let servers = vec![call("a", "find", "{}"), call("b", "ask", "null"), TurnEvent::Answer, results(json)];
    let expected = json!([
        {"type": "tool-output-available", "toolCallId": "a", "output": 42, "providerExecuted": true},
        {"type": "tool-output-error", "toolCallId": "b", "errorText": "no"},
    ]);
    assert_eq!(json!(told(Dialect::Any, servers).0[5..]), expected);
}

#[test]
fn what_is_void_is_reset_or_cut() {
    let events = || vec![piece(0, Block::Text, "a"), TurnEvent::Void];
    assert_eq!(told(Dialect::Six, events()).1, Then::Cut);
    let mut seven = events();
    seven.extend([piece(0, Block::Text, "b"), TurnEvent::Answer]);
    let (chunks, then) = told(Dialect::Seven, seven);
    let kinds: Vec<_> = chunks.iter().map(|chunk| chunk["type"].as_str().expect("a type")).collect();
    let expected = [
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "reset-step",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
    ];
    assert_eq!((kinds, then), (expected.to_vec(), Then::GoOn));
}

#[test]
fn every_end_is_told_in_words_that_do_not_break_the_client() {
    let last = |dialect, event| {
        let (chunks, then) = told(dialect, vec![piece(0, Block::Text, "a"), TurnEvent::Answer, event]);
        (json!(chunks[6..]), then)
    };
    let interrupted = json!([{"type": "abort"}, {"type": "finish"}]);
    assert_eq!(last(Dialect::Five, over(TurnStatus::Interrupted)), (interrupted, Then::Finish));
    let interrupted = json!([{"type": "abort"}, {"type": "finish", "finishReason": "interrupted"}]);
    assert_eq!(last(Dialect::Seven, over(TurnStatus::Interrupted)), (interrupted, Then::Finish));
    let failed = json!([{"type": "error", "errorText": "it broke"}]);
    assert_eq!(last(Dialect::Any, over(TurnStatus::Failed)), (failed, Then::Finish));
    assert_eq!(last(Dialect::Seven, TurnEvent::End(End::Cut)), (json!([]), Then::Cut), "never a clean end");
    assert_eq!(last(Dialect::Any, TurnEvent::End(End::Gone)).0[0]["type"], "error");
}

#[test]
fn a_call_that_was_cut_short_is_no_call_that_waits() {
    let cut = CommittedCall { id: "a".into(), name: "ask".into(), input: CallInput::Cut("{\"n".into()) };
    let (chunks, _) = told(Dialect::Any, vec![TurnEvent::Call(cut), TurnEvent::Answer]);
    let expected = json!({
        "type": "tool-input-error", "toolCallId": "a", "toolName": "ask", "input": "{\"n", "errorText": CUT_SHORT,
    });
    assert_eq!(chunks[2], expected);
}

#[test]
fn news_are_for_the_pages_own_code_and_begin_no_message() {
    let status = || TurnEvent::Status(Status::Running);
    let events = vec![status(), TurnEvent::Queue([].into()), status(), TurnEvent::Retry(None)];
    let (chunks, _) = told(Dialect::Any, events);
    let expected = json!([
        {"type": "data-mainstem-status", "data": {"status": "running"}, "transient": true},
        {"type": "data-mainstem-queue", "data": {"queue": []}, "transient": true},
        {"type": "data-mainstem-retry", "data": {"retry": null}, "transient": true},
    ]);
    assert_eq!(json!(chunks), expected);
}

#[test]
fn behind_results_there_is_a_step_always_or_the_client_asks_on_and_on() {
    let kinds = |telling: &mut Telling, events: Vec<TurnEvent>| -> Vec<String> {
        let chunks: Vec<_> = events.into_iter().flat_map(|event| telling.tell(event).0).collect();
        let kind = |chunk: Box<RawValue>| {
            let chunk: Value = serde_json::from_str(chunk.get()).expect("JSON");
            chunk["type"].as_str().expect("a type").to_owned()
        };
        chunks.into_iter().map(kind).collect()
    };
    let tool = Tool { name: "ask".into(), description: "".into(), input_schema: "{}".into() };
    let mut brought = Telling::new(Dialect::Any, "m1".into(), &[tool], true);
    let expected = ["start", "start-step", "start", "finish-step", "abort", "finish"];
    assert_eq!(kinds(&mut brought, vec![over(TurnStatus::Interrupted)]), expected);
    let json = r#"[{"type":"tool_result","tool_call_id":"a","content":"x"}]"#;
    let mut told = telling(Dialect::Any);
    let events =
        vec![call("a", "ask", "{}"), TurnEvent::Answer, results(json), over(TurnStatus::Interrupted)];
    assert_eq!(
        kinds(&mut told, events)[3..],
        ["finish-step", "tool-output-available", "start-step", "start", "finish-step", "abort", "finish"]
    );
}

#[test]
fn a_call_of_what_is_void_is_told_anew() {
    let own = || {
        vec![
            piece(0, Block::tool_call("a", "find"), "{\"n\": 1}"),
            piece(1, Block::Whole, r#"{"type":"tool_result","tool_call_id":"a","content":"x"}"#),
        ]
    };
    let mut events = own();
    events.push(TurnEvent::Void);
    events.extend(own());
    let (chunks, _) = told(Dialect::Seven, events);
    let begin = chunks.iter().position(|chunk| chunk["type"] == "reset-step").expect("it is reset");
    let again: Vec<_> = chunks[begin + 1..].iter().map(|chunk| &chunk["type"]).collect();
    let expected = ["tool-input-start", "tool-input-delta", "tool-input-available", "tool-output-available"];
    assert_eq!(again, expected, "an output without its call breaks the client");
}
