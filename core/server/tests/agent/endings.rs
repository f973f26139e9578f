//! How a run ends.

use mainstem_machine::{Completion, FinishReason, Usage};
use mainstem_runtime::ports::Generated;
use serde_json::{Value, json};

use crate::provider::{Act, chunk, end, head};
use crate::tools::lost;
use crate::{answer, event, events, finished, kept, run, said, saying, script, started, text};

fn finished_with(more: Value) -> Value {
    let mut event = finished();
    for (name, value) in more.as_object().expect("members") {
        event[name] = value.clone();
    }
    event
}

async fn ending(more: Value) -> (Value, Completion) {
    let came = run(script(&[started(), text("x"), finished_with(more)])).await;
    let Some(Generated::Done(completion)) = came.last() else { panic!("{came:?}") };
    (answer(&came), *completion)
}

fn data(name: &str, data: Value) -> Value {
    json!({ "type": "data", "name": name, "data": data })
}

#[tokio::test]
async fn the_usage_of_all_models_is_summed_if_each_says_all() {
    for (usage, wanted) in [
        (json!([{ "inputTokens": 3, "outputTokens": 5, "totalTokens": 8 }]), Some((3, 5))),
        (
            json!([{ "model": "a", "inputTokens": 3, "outputTokens": 5 }, { "model": "b", "inputTokens": 1, "outputTokens": 0 }]),
            Some((4, 5)),
        ),
        (json!([{ "inputTokens": 3, "outputTokens": 5 }, { "inputTokens": 1 }]), None),
        (json!([{ "inputTokens": u64::MAX, "outputTokens": 5 }]), Some(((1 << 53) - 1, 5))),
        (json!([]), None),
        (json!({ "inputTokens": 3, "outputTokens": 5 }), None),
        (Value::Null, None),
    ] {
        let (_, completion) = ending(json!({ "usage": usage })).await;
        let wanted = wanted.map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens });
        assert_eq!(completion, Completion { usage: wanted, ..Completion::STOPPED }, "{usage}");
    }
}

#[tokio::test]
async fn what_an_agent_waits_for_is_data_before_the_end() {
    let interrupt = json!({ "id": "i", "reason": "approval", "message": "May I?", "toolCallId": "c" });
    for outcome in [
        json!({ "outcome": { "type": "interrupt", "interrupts": [interrupt] } }),
        json!({ "outcome": "interrupt", "interrupt": interrupt }),
    ] {
        let (kept, completion) = ending(outcome).await;
        assert_eq!(kept, json!([said("x"), data("agui.interrupt", json!([interrupt]))]));
        assert_eq!(completion, Completion::STOPPED);
    }
}

#[tokio::test]
async fn a_run_that_stopped_short_has_no_reason_and_a_result_is_data() {
    let (kept, completion) = ending(json!({ "outcome": { "type": "cancelled" } })).await;
    assert_eq!(kept, json!([said("x"), data("agui.cancelled", json!({ "type": "cancelled" }))]));
    assert_eq!(completion.finish_reason, None);
    for outcome in
        [json!({ "type": "success" }), json!({ "type": "of a later release" }), json!(7), Value::Null]
    {
        let (kept, completion) = ending(json!({ "outcome": outcome, "result": { "n": 1 } })).await;
        assert_eq!(kept, json!([said("x"), data("agui.result", json!({ "n": 1 }))]));
        assert_eq!(completion.finish_reason, Some(FinishReason::Stop));
    }
}

#[tokio::test]
async fn an_agent_may_say_nothing() {
    assert_eq!(saying(&[]).await, [Generated::Done(Completion::STOPPED)]);
}

#[tokio::test]
async fn texts_that_an_agent_tells_with_its_messages_alone_are_its_answer() {
    let message = |role: &str, content: Value| json!({ "id": role, "role": role, "content": content });
    let snapshot = |last: &str| {
        let messages = json!([
            message("assistant", json!("earlier")),
            message("user", json!([{ "type": "text", "text": "hi" }])),
            message("assistant", json!("one")),
            message("tool", json!("a result")),
            message("assistant", Value::Null),
            message("assistant", json!(last)),
        ]);
        json!({ "type": "MESSAGES_SNAPSHOT", "messages": messages })
    };
    let came = saying(&[snapshot("not yet"), snapshot("two")]).await;
    assert_eq!(answer(&came), json!([said("one"), said("two")]));
    let came = saying(&[snapshot("x"), text("x"), snapshot("x")]).await;
    assert_eq!(answer(&came), json!([said("x")]), "what was said is not said again");
    let odd = [json!(7), json!([7, { "role": "assistant", "content": 7 }, null]), Value::Null];
    for messages in odd {
        let came = saying(&[json!({ "type": "MESSAGES_SNAPSHOT", "messages": messages })]).await;
        assert_eq!(answer(&came), json!([]));
    }
}

#[tokio::test]
async fn what_is_open_at_the_end_ends_there() {
    let call = json!({ "type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "find" });
    let came = saying(&[json!({ "type": "TEXT_MESSAGE_START", "messageId": "m" }), call, text("so")]).await;
    let call = json!({ "type": "tool_call", "id": "c", "name": "find", "input": {} });
    assert_eq!(answer(&came), json!([call, said("so"), lost("c")]));
}

#[tokio::test]
async fn a_stream_may_have_more_than_one_run() {
    let usage = json!({ "usage": [{ "inputTokens": 1, "outputTokens": 2 }] });
    let run_of = |delta: &str| [started(), text(delta), finished_with(usage.clone())];
    let came = run(script(&[run_of("a"), run_of("b")].concat())).await;
    assert_eq!(answer(&came), json!([said("a"), said("b")]));
    let usage = Some(Usage { input_tokens: 2, output_tokens: 4 });
    assert_eq!(came.last(), Some(&Generated::Done(Completion { usage, ..Completion::STOPPED })));
}

#[tokio::test]
async fn a_failure_behind_the_end_is_a_failure() {
    let error = json!({ "type": "RUN_ERROR", "message": "flush" });
    let came = run(script(&[started(), text("x"), finished(), error])).await;
    assert_eq!(kept(&came[..1]), json!([said("x")]));
    assert!(matches!(came[1..], [Generated::Failed { retryable: false, .. }]), "{came:?}");
}

#[tokio::test]
async fn a_run_that_finished_is_whole_whatever_becomes_of_the_connection() {
    let all = || chunk(events(&[started(), text("x"), finished()]));
    let repeat = Act::Repeat(chunk_of(": still here\n\n"), std::time::Duration::from_millis(1));
    for after in [vec![Act::Hang], vec![Act::Close], vec![chunk("data: {\"ty"), end()], vec![repeat]] {
        let came = run([head(), all()].into_iter().chain(after).collect()).await;
        assert_eq!(answer(&came), json!([said("x")]));
    }
    let unended = events(&[started(), text("x")]) + event(&finished()).trim_end();
    assert_eq!(answer(&run(vec![head(), chunk(unended), end()]).await), json!([said("x")]));
}

fn chunk_of(text: &str) -> Vec<u8> {
    crate::provider::chunk_bytes(text)
}
