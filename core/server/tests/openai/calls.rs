//! Calls of tools, and reasoning, in the forms in which endpoints are known to stream them.

use mainstem_machine::{Block, Completion, FinishReason};
use mainstem_runtime::ports::Generated;
use serde_json::{Value, json};

use crate::provider::{Act, DONE, chunk, delta, end, finish, head};
use crate::run;

fn other(delta: Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }))
}

/// A delta with pieces of calls.
fn calls(calls: Value) -> String {
    other(json!({ "tool_calls": calls }))
}

/// The first piece of a call as OpenAI sends it.
fn begin(index: u32, id: &str, name: &str) -> String {
    let function = json!({ "name": name, "arguments": "" });
    calls(json!([{ "index": index, "id": id, "type": "function", "function": function }]))
}

fn more(index: u32, arguments: &str) -> String {
    calls(json!([{ "index": index, "function": { "arguments": arguments } }]))
}

/// The blocks of an answer, each with its whole text, and how it ended.
fn told(events: &[Generated]) -> (Vec<(Block, String)>, Generated) {
    let (last, parts) = events.split_last().expect("a run has an end");
    let mut blocks: Vec<(Block, String)> = vec![];
    for part in parts {
        let Generated::Part { begins, text } = part else { panic!("expected a part, came {part:?}") };
        match (begins, blocks.last_mut()) {
            (None, Some((block, whole))) => {
                assert!(block.takes(text), "S2: a piece of {block:?} is {text:?}");
                *whole += text;
            }
            (begins, _) => {
                let block = begins.clone().unwrap_or(Block::Text);
                assert!(block.takes(text), "S2: {block:?} begins with {text:?}");
                blocks.push((block, text.clone()));
            }
        }
    }
    (blocks, last.clone())
}

async fn answer(body: &[String]) -> (Vec<(Block, String)>, Option<FinishReason>) {
    let (blocks, last) = told(&run(vec![head(), chunk(body.concat()), end()]).await);
    let Generated::Done(Completion { finish_reason, .. }) = last else { panic!("{last:?}") };
    (blocks, finish_reason)
}

async fn failure(body: &[String]) -> (String, bool) {
    match told(&run(vec![head(), chunk(body.concat()), end()]).await).1 {
        Generated::Failed { error, retryable, .. } => (error.code.to_string(), retryable),
        other => panic!("expected a failure, came {other:?}"),
    }
}

fn call(id: &str, name: &str, arguments: &str) -> (Block, String) {
    (Block::tool_call(id, name), arguments.into())
}

fn text(text: &str) -> (Block, String) {
    (Block::Text, text.into())
}

fn thought(text: &str) -> (Block, String) {
    (Block::Reasoning, text.into())
}

fn over(reason: &str) -> String {
    finish(reason) + DONE
}

const CALLS: Option<FinishReason> = Some(FinishReason::ToolCalls);

#[tokio::test]
async fn a_call_comes_in_pieces_as_they_are_sent() {
    let body =
        [delta("I look"), begin(0, "c1", "find"), more(0, "{\"n\""), more(0, ": 1}"), over("tool_calls")];
    let events = run(vec![head(), chunk(body.concat()), end()]).await;
    let begins = Some(Block::tool_call("c1", "find"));
    let wanted = [
        Generated::text("I look"),
        Generated::Part { begins, text: String::new() },
        Generated::text("{\"n\""),
        Generated::text(": 1}"),
        Generated::Done(Completion { finish_reason: CALLS, usage: None }),
    ];
    assert_eq!(events, wanted);
}

#[tokio::test]
async fn interleaved_calls_are_told_one_after_the_other() {
    let body = [
        begin(0, "a", "f"),
        begin(1, "b", "g"),
        more(0, "{\"x\":\"}"),
        more(1, "{\"y\":"),
        more(0, "\\\"\"}"),
        delta("after"),
        more(1, "2}"),
        over("tool_calls"),
    ];
    let blocks = vec![call("a", "f", "{\"x\":\"}\\\"\"}"), call("b", "g", "{\"y\":2}"), text("after")];
    assert_eq!(answer(&body).await, (blocks, CALLS));
    // What waits for a call that is never whole comes at the end.
    let body = [begin(0, "a", "f"), begin(1, "b", "g"), more(1, "{}"), over("tool_calls")];
    assert_eq!(answer(&body).await.0, [call("a", "f", ""), call("b", "g", "{}")]);
}

#[tokio::test]
async fn whole_calls_come_in_one_event_with_or_without_index() {
    let whole = |index: Value, id: Value, name: &str, arguments: &str| json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } });
    let null = Value::Null;
    for (indexes, sent) in [
        ([json!(0), json!(1)], true),
        ([json!(0), json!(0)], true),
        ([null.clone(), null.clone()], true),
        ([json!(0), json!(1)], false),
        ([json!(0), json!(0)], false),
        ([null.clone(), null.clone()], false),
    ] {
        let ids = if sent { [json!("a"), json!("b")] } else { [null.clone(), null.clone()] };
        let [first, second] = if sent { ["a", "b"] } else { ["call_1_1_0", "call_1_1_1"] };
        let one = whole(indexes[0].clone(), ids[0].clone(), "f", "{\"n\":1}");
        let two = whole(indexes[1].clone(), ids[1].clone(), "f", "{\"n\":2}");
        let blocks = vec![call(first, "f", "{\"n\":1}"), call(second, "f", "{\"n\":2}")];
        let together = [calls(json!([one, two])), over("stop")];
        assert_eq!(answer(&together).await, (blocks.clone(), CALLS), "{indexes:?} {sent}");
        let apart = [calls(json!([one])), calls(json!([two])), over("stop")];
        assert_eq!(answer(&apart).await, (blocks, CALLS), "{indexes:?} {sent}");
    }
}

#[tokio::test]
async fn a_name_or_an_id_may_be_late_repeated_or_missing() {
    let piece = |id: &str, name: &str, arguments: &str| {
        calls(json!([{ "index": 0, "id": id, "function": { "name": name, "arguments": arguments } }]))
    };
    for (pieces, id) in [
        (vec![piece("a", "f", "{"), piece("a", "f", "}")], "a"),
        (vec![piece("a", "f", "{"), piece("other", "", "}")], "a"),
        (vec![piece("a", "", "{"), piece("", "f", "}")], "a"),
        (vec![piece("", "f", ""), piece("a", "", "{}")], "a"),
        (vec![piece("", "f", "{"), piece("", "f", "}"), piece("", "f", "")], "call_1_1_0"),
        (vec![piece("", "f", "{}"), piece("a", "", " \n")], "call_1_1_0"),
    ] {
        let body = [pieces.concat(), over("tool_calls")];
        assert_eq!(answer(&body).await.0, [call(id, "f", "{}")], "{body:?}");
    }
    let twice = [begin(0, "a", "f"), more(0, "{}"), begin(1, "a", "g"), more(1, "{}"), over("tool_calls")];
    assert_eq!(answer(&twice).await.0, [call("a", "f", "{}"), call("call_1_1_1", "g", "{}")]);
    assert_eq!(
        failure(&[piece("a", "", "{}"), over("tool_calls")]).await,
        ("provider_protocol".into(), true)
    );
}

#[tokio::test]
async fn the_legacy_form_and_empty_arguments_are_calls() {
    let body = [
        other(json!({ "function_call": { "name": "f", "arguments": "" } })),
        other(json!({ "function_call": { "arguments": "{\"n\"" } })),
        other(json!({ "function_call": { "arguments": ":1}" } })),
        over("function_call"),
    ];
    assert_eq!(answer(&body).await, (vec![call("call_1_1_0", "f", "{\"n\":1}")], CALLS));
    let body = [begin(0, "a", "now"), over("tool_calls")];
    assert_eq!(answer(&body).await, (vec![call("a", "now", "")], CALLS));
}

#[tokio::test]
async fn reasoning_is_a_block_of_its_own_each_time() {
    let thinks =
        |text: &str| other(json!({ "role": "assistant", "content": null, "reasoning_content": text }));
    let body = [
        thinks("h"),
        thinks("m"),
        other(json!({ "reasoning": "!", "reasoning_content": "!", "content": "" })),
        delta("so"),
        other(json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "or" }] }] })),
        delta("no"),
        over("stop"),
    ];
    let blocks = vec![thought("hm!"), text("so"), thought("or"), text("no")];
    assert_eq!(answer(&body).await, (blocks, Some(FinishReason::Stop)));
    let only = [thinks("hm"), over("length")];
    assert_eq!(answer(&only).await, (vec![thought("hm")], Some(FinishReason::Length)));
}

#[tokio::test]
async fn a_call_that_breaks_off_is_tried_again_and_one_that_is_too_long_has_ended() {
    let pieces = [begin(0, "a", "f"), more(0, "{\"n\"")].concat();
    for last in [Act::Close, end()] {
        let (blocks, last) = told(&run(vec![head(), chunk(&pieces), last]).await);
        assert_eq!(blocks, [call("a", "f", "{\"n\"")]);
        assert!(matches!(last, Generated::Failed { retryable: true, .. }), "{last:?}");
    }
    let blocks = vec![call("a", "f", "{\"n\"")];
    assert_eq!(answer(&[pieces, over("length")]).await, (blocks, Some(FinishReason::Length)));
}

#[tokio::test]
async fn what_waits_and_what_is_called_have_a_maximum() {
    let more_than_is_held = [begin(0, "a", "f"), begin(1, "b", "g"), more(1, &"x".repeat(9 << 20))];
    let many: Vec<String> = (0..257).map(|index| begin(index, &format!("c{index}"), "f")).collect();
    for body in [more_than_is_held.concat(), many.concat()] {
        assert_eq!(failure(&[body]).await, ("answer_too_large".into(), false), "B1");
    }
    let ended = [begin(0, "a", "f"), more(0, "{}"), begin(1, "b", "g"), more(0, "{}"), over("tool_calls")];
    assert_eq!(failure(&ended).await, ("provider_protocol".into(), true));
}

/// A piece of a call, whatever it says.
fn piece(index: Option<u32>, id: &str, name: &str, arguments: &str) -> String {
    calls(json!([{ "index": index, "id": id, "function": { "name": name, "arguments": arguments } }]))
}

#[tokio::test]
async fn a_call_that_is_told_under_two_indexes_is_one() {
    for pieces in [
        vec![piece(Some(0), "a", "f", ""), piece(Some(1), "a", "f", "{\"n\":1}")],
        vec![piece(Some(0), "a", "f", ""), piece(Some(1), "a", "f", ""), more(1, "{\"n\""), more(1, ":1}")],
        vec![piece(Some(0), "a", "f", "{\"n\""), piece(Some(1), "a", "", ":1}")],
        // As often as it likes, and from its beginning each time.
        vec![begin(0, "a", "f"), more(0, "{\"n\":1}"), begin(1, "a", "f"), more(1, "{\"n\":"), more(1, "1}")],
        vec![
            piece(Some(0), "a", "f", "{\"n\":1}"),
            piece(Some(1), "a", "f", "{\"n\":1}"),
            begin(2, "a", "f"),
        ],
    ] {
        let body = [pieces.concat(), over("tool_calls")];
        assert_eq!(answer(&body).await, (vec![call("a", "f", "{\"n\":1}")], CALLS), "{body:?}");
    }
    // Some give one id to all calls.
    let two = [
        piece(Some(0), "a", "f", "{\"n\":1}"),
        delta("and"),
        begin(1, "a", "f"),
        more(1, "{\"n\":2}"),
        over("tool_calls"),
    ];
    let blocks = vec![call("a", "f", "{\"n\":1}"), text("and"), call("call_1_1_1", "f", "{\"n\":2}")];
    assert_eq!(answer(&two).await, (blocks, CALLS));
}

#[tokio::test]
async fn the_rest_of_a_call_may_come_under_an_index_that_nothing_began() {
    let one = [begin(2, "a", "f"), more(1, "{\"n\""), more(1, ":1}"), over("tool_calls")];
    assert_eq!(answer(&one).await, (vec![call("a", "f", "{\"n\":1}")], CALLS));
    // The head of the second call collides with the first, and its rest does not.
    let two =
        [begin(0, "a", "f"), more(0, "{}"), begin(0, "b", "g"), more(1, "{\"n\":1}"), over("tool_calls")];
    assert_eq!(answer(&two).await.0, [call("a", "f", "{}"), call("b", "g", "{\"n\":1}")]);
    let three =
        [begin(0, "a", "f"), begin(1, "b", "g"), more(1, "{}"), more(7, "{\"n\":1}"), over("tool_calls")];
    assert_eq!(answer(&three).await.0, [call("a", "f", "{\"n\":1}"), call("b", "g", "{}")], "what is open");
    let nothing_open = [begin(0, "a", "f"), more(0, "{}"), more(7, "{\"n\":1}"), over("tool_calls")];
    assert_eq!(failure(&nothing_open).await, ("provider_protocol".into(), true));
}

#[tokio::test]
async fn an_id_may_be_another_in_every_piece_of_a_call() {
    for (index, name) in [(Some(0), ""), (Some(0), "f"), (None, ""), (None, "f")] {
        let pieces = [
            piece(index, "a", "f", "{\"n\""),
            piece(index, "b", name, ":{\"m\":"),
            piece(index, "c", name, "{"),
            piece(index, "d", name, "}}}"),
            piece(index, "e", "f", "{}"),
            over("tool_calls"),
        ];
        let blocks = vec![call("a", "f", "{\"n\":{\"m\":{}}}"), call("e", "f", "{}")];
        assert_eq!(answer(&pieces).await, (blocks, CALLS), "{index:?} {name:?}");
    }
    let other = [piece(Some(0), "a", "f", "{\"n\""), piece(Some(0), "b", "g", "{}"), over("tool_calls")];
    assert_eq!(answer(&other).await.0, [call("a", "f", "{\"n\""), call("b", "g", "{}")], "another name");
}

#[tokio::test]
async fn what_a_provider_wants_back_with_a_call_is_kept_behind_it() {
    let extra = json!({ "google": { "thought_signature": "x" } });
    let function = json!({ "name": "f", "arguments": "{}" });
    let whole = calls(json!([{ "index": 0, "id": "a", "function": function, "extra_content": extra }]));
    let data = r#"{"model":"small","tool_call_id":"a","extra_content":{"google":{"thought_signature":"x"}}}"#;
    let kept = format!(r#"{{"type":"data","name":"openai.tool_call_extra","data":{data}}}"#);
    let blocks = vec![call("a", "f", "{}"), (Block::Whole, kept)];
    assert_eq!(answer(&[whole, over("tool_calls")]).await, (blocks, CALLS));
}
