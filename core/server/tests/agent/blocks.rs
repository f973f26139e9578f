//! What an agent says, as blocks: each kind of event, and many messages and calls at once.

use mainstem_machine::Block;
use mainstem_runtime::ports::Generated;
use serde_json::{Value, json};

use crate::tools::lost;
use crate::{answer, conversation, said, saying, text};

fn typed(kind: &str, id: (&str, &str)) -> Value {
    json!({ "type": kind, id.0: id.1 })
}

pub(crate) fn message(kind: &str, id: &str) -> Value {
    typed(kind, ("messageId", id))
}

fn content(kind: &str, id: &str, delta: &str) -> Value {
    json!({ "type": kind, "messageId": id, "delta": delta })
}

pub(crate) fn call(id: &str) -> Value {
    json!({ "type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "find", "parentMessageId": "m" })
}

pub(crate) fn arguments(id: &str, delta: &str) -> Value {
    json!({ "type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta })
}

pub(crate) fn end_of_call(id: &str) -> Value {
    typed("TOOL_CALL_END", ("toolCallId", id))
}

pub(crate) fn result(id: &str, content: Value) -> Value {
    json!({ "type": "TOOL_CALL_RESULT", "messageId": "r", "toolCallId": id, "content": content })
}

pub(crate) fn kept_call(id: &str, input: Value) -> Value {
    json!({ "type": "tool_call", "id": id, "name": "find", "input": input })
}

pub(crate) fn kept_result(id: &str, content: Value) -> Value {
    json!({ "type": "tool_result", "tool_call_id": id, "content": content, "is_error": false })
}

fn data(name: &str, data: Value) -> Value {
    json!({ "type": "data", "name": name, "data": data })
}

fn thought(text: &str) -> Value {
    json!({ "type": "reasoning", "text": text })
}

async fn kept(said: &[Value]) -> Value {
    answer(&saying(said).await)
}

#[tokio::test]
async fn thoughts_texts_calls_and_results_are_blocks_in_their_order() {
    let came = kept(&[
        message("REASONING_START", "r"),
        json!({ "type": "REASONING_MESSAGE_START", "messageId": "r", "role": "reasoning" }),
        content("REASONING_MESSAGE_CONTENT", "r", "let me "),
        content("REASONING_MESSAGE_CONTENT", "r", "see"),
        message("REASONING_MESSAGE_END", "r"),
        message("REASONING_END", "r"),
        message("TEXT_MESSAGE_START", "m"),
        text("I look"),
        message("TEXT_MESSAGE_END", "m"),
        call("c"),
        arguments("c", "{\"n\":"),
        arguments("c", " 1}"),
        end_of_call("c"),
        result("c", json!("found")),
        message("TEXT_MESSAGE_START", "m2"),
        content("TEXT_MESSAGE_CONTENT", "m2", "Found."),
        message("TEXT_MESSAGE_END", "m2"),
    ])
    .await;
    let wanted = json!([
        thought("let me see"),
        said("I look"),
        kept_call("c", json!({ "n": 1 })),
        kept_result("c", json!("found")),
        said("Found."),
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn thoughts_of_earlier_releases_are_thoughts() {
    let plain = |kind: &str| json!({ "type": kind });
    let came = kept(&[
        json!({ "type": "THINKING_START", "title": "hm" }),
        plain("THINKING_TEXT_MESSAGE_START"),
        json!({ "type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "a" }),
        json!({ "type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "b" }),
        plain("THINKING_TEXT_MESSAGE_END"),
        plain("THINKING_END"),
        text("c"),
    ])
    .await;
    assert_eq!(came, json!([thought("ab"), said("c")]));
}

#[tokio::test]
async fn chunks_end_where_their_lane_goes_on_with_something_else() {
    let chunk = |id: Option<&str>, delta: &str| match id {
        Some(id) => content("TEXT_MESSAGE_CHUNK", id, delta),
        None => json!({ "type": "TEXT_MESSAGE_CHUNK", "delta": delta }),
    };
    let call = |id: Option<&str>, delta: &str| match id {
        Some(id) => {
            json!({ "type": "TOOL_CALL_CHUNK", "toolCallId": id, "toolCallName": "find", "delta": delta })
        }
        None => json!({ "type": "TOOL_CALL_CHUNK", "delta": delta }),
    };
    let came = kept(&[
        content("REASONING_MESSAGE_CHUNK", "r", "h"),
        json!({ "type": "REASONING_MESSAGE_CHUNK", "delta": "m" }),
        chunk(Some("m"), "a"),
        json!({ "type": "RAW", "event": {} }),
        json!({ "type": "ACTIVITY_SNAPSHOT", "messageId": "v", "activityType": "plan", "content": {} }),
        chunk(None, "b"),
        chunk(Some("m"), "c"),
        chunk(Some("m2"), "d"),
        call(Some("c1"), "{\"n\": "),
        call(None, "1}"),
        call(Some("c2"), ""),
        result("c1", json!("one")),
        chunk(Some("m3"), "e"),
        json!({ "type": "STEP_STARTED", "stepName": "s" }),
        chunk(Some("m4"), "f"),
    ])
    .await;
    let activity = json!({ "messageId": "v", "activityType": "plan", "content": {} });
    let wanted = json!([
        thought("hm"),
        said("abc"),
        { "type": "data", "name": "agui.activity_snapshot", "data": activity, "id": "v" },
        said("d"),
        kept_call("c1", json!({ "n": 1 })),
        kept_call("c2", json!({})),
        kept_result("c1", json!("one")),
        said("e"),
        said("f"),
        lost("c2"),
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn subagents_speak_in_lanes_of_their_own() {
    let of = |lane: &str, mut event: Value| {
        event["subagentRunId"] = lane.into();
        event
    };
    let chunk = |lane: &str, delta: &str| of(lane, content("TEXT_MESSAGE_CHUNK", lane, delta));
    let came = kept(&[
        chunk("a", "1"),
        chunk("b", "x"),
        chunk("a", "2"),
        chunk("b", "y"),
        of("a", json!({ "type": "TEXT_MESSAGE_CHUNK", "delta": "3" })),
        of("a", json!({ "type": "SUBAGENT_FINISHED" })),
        chunk("b", "z"),
    ])
    .await;
    assert_eq!(came, json!([said("123"), said("xyz")]), "S2: blocks are not mixed");
}

#[tokio::test]
async fn many_calls_at_once_are_told_one_after_the_other() {
    let came = saying(&[
        call("a"),
        call("b"),
        arguments("b", "{\"n\": 2}"),
        arguments("a", "{\"n\""),
        text("so"),
        end_of_call("b"),
        arguments("a", ": 1}"),
        result("b", json!("two")),
        end_of_call("a"),
        result("a", json!("one")),
    ])
    .await;
    let begins = |id: &str, text: &str| Generated::Part {
        begins: Some(Block::tool_call(id, "find")),
        text: text.into(),
    };
    assert_eq!(came[..3], [begins("a", ""), Generated::text("{\"n\""), Generated::text(": 1}")]);
    assert_eq!(came[3], begins("b", "{\"n\": 2}"), "what waited is told at once");
    let wanted = json!([
        kept_call("a", json!({ "n": 1 })),
        kept_call("b", json!({ "n": 2 })),
        said("so"),
        kept_result("b", json!("two")),
        kept_result("a", json!("one")),
    ]);
    assert_eq!(answer(&came), wanted);
}

#[tokio::test]
async fn a_text_goes_on_behind_a_call_that_comes_before_its_end() {
    let came = saying(&[
        message("TEXT_MESSAGE_START", "m"),
        text("let me "),
        json!({ "type": "CUSTOM", "name": "progress", "value": 1 }),
        text("look"),
        call("c"),
        arguments("c", "{}"),
        text("found"),
        end_of_call("c"),
        result("c", json!("x")),
        text(" it"),
        message("TEXT_MESSAGE_END", "m"),
    ])
    .await;
    let wanted = json!([
        said("let me look"),
        data("agui.custom", json!({ "name": "progress", "value": 1 })),
        kept_call("c", json!({})),
        said("found"),
        kept_result("c", json!("x")),
        said(" it"),
    ]);
    assert_eq!(answer(&came), wanted, "data waits for the end of a text");
}

#[tokio::test]
async fn calls_and_results_are_told_while_a_text_is_open() {
    use crate::provider::{Act, Provider, chunk, head};
    use crate::{events, generator, started};
    use futures::StreamExt;
    use mainstem_runtime::ports::Generator;

    let open = [started(), message("TEXT_MESSAGE_START", "m"), text("a"), call("c"), arguments("c", "{}")];
    let more = [end_of_call("c"), text("b"), result("c", json!("x")), text("c")];
    let script = vec![head(), chunk(events(&[&open[..], &more].concat())), Act::Hang];
    let provider = Provider::start(vec![script]).await;
    let run = generator(&provider).start(conversation());
    let parts = run.take(6).collect::<Vec<_>>();
    let parts = tokio::time::timeout(std::time::Duration::from_secs(20), parts).await;
    let parts = parts.expect("parts are told before the stream goes on");
    let wanted =
        json!([said("a"), kept_call("c", json!({})), said("b"), kept_result("c", json!("x")), said("c"),]);
    assert_eq!(crate::kept(&parts), wanted);
}

#[tokio::test]
async fn two_messages_at_once_are_two_texts() {
    let of = |id: &str, delta: &str| content("TEXT_MESSAGE_CONTENT", id, delta);
    let came = kept(&[
        message("TEXT_MESSAGE_START", "a"),
        message("TEXT_MESSAGE_START", "b"),
        of("b", "x"),
        of("a", "1"),
        of("b", "y"),
        of("a", "2"),
        message("TEXT_MESSAGE_END", "b"),
        message("TEXT_MESSAGE_END", "a"),
    ])
    .await;
    assert_eq!(came, json!([said("xy"), said("12")]), "S2: in the order of their first words");
}

#[tokio::test]
async fn results_are_text_or_parts_and_those_of_no_call_are_data() {
    let image = json!({ "type": "image", "source": { "type": "url", "value": "https://a/b.png" } });
    let parts = json!([{ "type": "text", "text": "see" }, image]);
    let came = kept(&[
        call("a"),
        end_of_call("a"),
        call("b"),
        result("b", json!({ "n": 1 })),
        result("a", parts),
        result("a", json!("once more")),
        result("of nobody", json!("x")),
    ])
    .await;
    let file = json!({ "type": "file", "media_type": "image/*", "url": "https://a/b.png" });
    let wanted = json!([
        kept_call("a", json!({})),
        kept_call("b", json!({})),
        kept_result("b", json!("{\"n\":1}")),
        kept_result("a", json!([said("see"), file])),
        data("agui.tool_call_result", json!({ "toolCallId": "a", "content": "once more" })),
        data("agui.tool_call_result", json!({ "toolCallId": "of nobody", "content": "x" })),
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn a_call_gets_no_name_that_the_history_has() {
    use crate::provider::Provider;
    use crate::{collect, finished, generator, script, started};
    use mainstem_machine::Role;
    use mainstem_machine::history::ModelHistory;

    let earlier = json!([kept_call("c", json!({})), kept_result("c", json!("old"))]);
    let mut asking = conversation();
    asking.history = ModelHistory::of([
        asking.history.messages[0].clone(),
        crate::message(2, Role::Assistant, earlier),
        crate::message(3, Role::User, json!([said("again")])),
    ]);
    let run = [started(), call("c"), end_of_call("c"), result("c", json!("new")), finished()];
    let provider = Provider::start(vec![script(&run)]).await;
    let came = answer(&collect(&generator(&provider), asking).await);
    let id = came[0]["id"].as_str().expect("an id");
    assert_ne!(id, "c");
    assert_eq!(came[1], kept_result(id, json!("new")), "a result names its call");
}

#[tokio::test]
async fn state_activities_and_custom_events_are_data() {
    let patch = json!([{ "op": "replace", "path": "/n", "value": 2 }]);
    let activity = |kind: &str, member: &str, value: &Value| json!({ "type": kind, "messageId": "v", "activityType": "plan", member: value });
    let mut kept_activity = activity("ACTIVITY_SNAPSHOT", "content", &json!({ "a": 2 }));
    kept_activity["replace"] = false.into();
    let came = kept(&[
        json!({ "type": "STATE_SNAPSHOT", "snapshot": { "n": 1 } }),
        json!({ "type": "STATE_DELTA", "delta": patch }),
        activity("ACTIVITY_SNAPSHOT", "content", &json!({ "a": 1 })),
        activity("ACTIVITY_DELTA", "patch", &patch),
        kept_activity,
        json!({ "type": "CUSTOM", "name": "own", "value": null }),
        json!({ "type": "MESSAGES_SNAPSHOT", "messages": [{ "id": "1", "role": "user", "content": "hi" }] }),
        json!({ "type": "STEP_FINISHED", "stepName": "s" }),
        json!({ "type": "REASONING_ENCRYPTED_VALUE", "subtype": "message", "entityId": "m", "encryptedValue": "x" }),
        json!({ "type": "RAW", "event": { "x": 1 } }),
    ])
    .await;
    let of = |member: &str, value: &Value| json!({ "messageId": "v", "activityType": "plan", member: value });
    let snapshot = of("content", &json!({ "a": 1 }));
    let wanted = json!([
        data("agui.state_snapshot", json!({ "n": 1 })),
        data("agui.state_delta", patch.clone()),
        { "type": "data", "name": "agui.activity_snapshot", "data": snapshot, "id": "v" },
        data("agui.activity_delta", of("patch", &patch)),
        data("agui.activity_snapshot", json!({ "messageId": "v", "activityType": "plan", "content": { "a": 2 }, "replace": false })),
        data("agui.custom", json!({ "name": "own", "value": null })),
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn changes_of_a_state_that_could_not_be_kept_are_left_out_until_it_is_told_anew() {
    let snapshot = |state: Value| json!({ "type": "STATE_SNAPSHOT", "snapshot": state });
    let delta =
        |n: u64| json!({ "type": "STATE_DELTA", "delta": [{ "op": "add", "path": "/n", "value": n }] });
    let large = "x".repeat(1 << 20);
    let came =
        kept(&[snapshot(json!({ "large": large })), delta(1), snapshot(json!({})), delta(2), text("so")])
            .await;
    let wanted = json!([
        data("agui.state_snapshot", json!({})),
        data("agui.state_delta", json!([{ "op": "add", "path": "/n", "value": 2 }])),
        said("so"),
    ]);
    assert_eq!(came, wanted);
}
