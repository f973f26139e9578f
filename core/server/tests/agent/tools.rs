//! Tools that the agent is told of, and that others carry out: the chat's client, or the server.

use mainstem_machine::history::ModelHistory;
use mainstem_machine::{Completion, FinishReason, NewMessage, Role};
use mainstem_runtime::ports::{Conversation, Generated, Tool};
use serde_json::{Value, json};

use crate::blocks::{arguments, call, end_of_call, kept_call, kept_result, result};
use crate::provider::Provider;
use crate::requests::{received, sent};
use crate::{
    answer, collect, content, conversation, finished, generator, message, said, script, started, text,
};

/// A conversation in which the agent may call `find`, and has tools of its own.
fn with_tools() -> Conversation {
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let find = Tool { name: "find".into(), description: "finds".into(), input_schema: schema.into() };
    Conversation { tools: [find].into(), ..conversation() }
}

async fn asked(conversation: Conversation, said: &[Value]) -> (Value, Option<FinishReason>) {
    let provider = Provider::start(vec![script(said)]).await;
    let came = collect(&generator(&provider), conversation).await;
    let Some(Generated::Done(Completion { finish_reason, .. })) = came.last() else { panic!("{came:?}") };
    (answer(&came), *finish_reason)
}

fn own_call(id: &str) -> Value {
    json!({ "type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "own" })
}

#[tokio::test]
async fn it_is_told_of_the_tools_that_others_carry_out() {
    let parameters = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let wanted = json!([{ "name": "find", "description": "finds", "parameters": parameters }]);
    assert_eq!(received(with_tools()).await.1["tools"], wanted);
}

#[tokio::test]
async fn a_call_of_them_without_a_result_is_carried_out_by_others() {
    let run =
        [started(), text("I look"), call("a"), arguments("a", "{\"n\":1}"), end_of_call("a"), finished()];
    let (came, reason) = asked(with_tools(), &run).await;
    assert_eq!(came, json!([said("I look"), kept_call("a", json!({ "n": 1 }))]), "S11: it is open");
    assert_eq!(reason, Some(FinishReason::ToolCalls));
    // Of a tool that it was not told of, it is the agent's own affair, and nobody knows what it did.
    let kept = json!([said("I look"), kept_call("a", json!({ "n": 1 })), lost("a")]);
    assert_eq!(asked(conversation(), &run).await, (kept, Some(FinishReason::Stop)));
}

#[tokio::test]
async fn a_call_that_has_its_result_or_was_cancelled_waits_for_nobody() {
    let answered = [started(), call("a"), result("a", json!("found")), finished()];
    let kept = json!([kept_call("a", json!({})), kept_result("a", json!("found"))]);
    assert_eq!(asked(with_tools(), &answered).await, (kept.clone(), Some(FinishReason::Stop)));
    // The result may come with another run for the same question.
    let later = [started(), call("a"), finished(), started(), result("a", json!("found")), finished()];
    assert_eq!(asked(with_tools(), &later).await, (kept, Some(FinishReason::Stop)));
    let mut cancelled = finished();
    cancelled["outcome"] = json!({ "type": "cancelled" });
    let kept = json!([kept_call("a", json!({})), data(&cancelled["outcome"]), lost("a")]);
    let run = [started(), call("a"), cancelled];
    assert_eq!(asked(with_tools(), &run).await, (kept, None), "S11: nobody carries it out any more");
}

/// What is kept of how a run was cancelled.
fn data(outcome: &Value) -> Value {
    json!({ "type": "data", "name": "agui.cancelled", "data": outcome })
}

/// The result of a call of which none is known.
pub(crate) fn lost(id: &str) -> Value {
    let content = "error: nobody knows what became of this call";
    json!({ "type": "tool_result", "tool_call_id": id, "content": content, "is_error": true })
}

#[tokio::test]
async fn each_call_has_exactly_one_result_however_the_run_ends() {
    let own = |id: &str| json!({ "type": "tool_call", "id": id, "name": "own", "input": {} });
    let ending = |outcome: Value| {
        let mut finished = finished();
        finished["outcome"] = outcome;
        finished
    };
    let success = ending(json!({ "type": "success" }));
    let cancelled = ending(json!({ "type": "cancelled" }));
    let [open, answered] = [kept_call("a", json!({})), kept_result("c", json!("found"))];
    for (run, wanted, reason) in [
        // The turn goes on: an open call gets its result behind the answer.
        (
            vec![own_call("b"), call("a"), success.clone()],
            vec![own("b"), open.clone(), lost("b")],
            Some(FinishReason::ToolCalls),
        ),
        (vec![own_call("b"), success.clone()], vec![own("b"), lost("b")], Some(FinishReason::Stop)),
        (
            vec![own_call("z"), own_call("c"), result("c", json!("found")), own_call("b"), success.clone()],
            vec![own("z"), own("c"), answered, own("b"), lost("z"), lost("b")],
            Some(FinishReason::Stop),
        ),
        (
            vec![own_call("b"), call("a"), cancelled.clone()],
            vec![own("b"), open, data(&cancelled["outcome"]), lost("b"), lost("a")],
            None,
        ),
        // The next run for the same question may bring it yet.
        (
            vec![own_call("b"), success.clone(), started(), result("b", json!("found")), success],
            vec![own("b"), kept_result("b", json!("found"))],
            Some(FinishReason::Stop),
        ),
    ] {
        let run = [vec![started()], run].concat();
        assert_eq!(asked(with_tools(), &run).await, (json!(wanted), reason), "S11: {run:?}");
    }
}

#[tokio::test]
async fn what_is_kept_of_a_run_can_be_told_to_a_new_chat() {
    let mut cancelled = finished();
    cancelled["outcome"] = json!({ "type": "cancelled" });
    let failed = json!({ "type": "RUN_ERROR", "message": "so" });
    let (own, offered, answered) = (own_call("b"), call("a"), result("b", json!("found")));
    for (run, is_cut) in [
        (vec![&own, &offered, &cancelled], false),
        (vec![&own, &finished()], false),
        (vec![&own, &offered, &failed], true),
        (vec![&own, &answered, &offered, &failed], true),
    ] {
        let run: Vec<Value> = [&started()].into_iter().chain(run).cloned().collect();
        let provider = Provider::start(vec![script(&run)]).await;
        let came = collect(&generator(&provider), with_tools()).await;
        let content = content(&came[..came.len() - 1], is_cut);
        let answer = NewMessage { role: Role::Assistant, content, client_id: None };
        assert_eq!(NewMessage::check(&[answer]), Ok(()), "S11: {run:?}");
    }
}

#[tokio::test]
async fn what_came_of_them_goes_last() {
    let came = sent(&[
        (Role::User, json!([said("where?")])),
        (
            Role::Assistant,
            json!([
                kept_call("a", json!({})),
                said("I look"),
                kept_call("own", json!({})),
                kept_result("own", json!("there")),
                said("and look"),
            ]),
        ),
        (Role::Tool, json!([kept_result("a", json!("found"))])),
    ])
    .await;
    let form = |id: &str| json!([{ "id": id, "type": "function", "function": { "name": "find", "arguments": "{}" } }]);
    let wanted = json!([
        { "id": "1", "role": "user", "content": "where?" },
        { "id": "2", "role": "assistant", "content": "I look", "toolCalls": form("own") },
        { "id": "2-2", "role": "tool", "toolCallId": "own", "content": "there" },
        { "id": "2-3", "role": "assistant", "content": "and look", "toolCalls": form("a") },
        { "id": "2-4", "role": "tool", "toolCallId": "a", "content": "found" },
    ]);
    assert_eq!(came, wanted);
}

#[tokio::test]
async fn a_snapshot_of_messages_tells_no_text_of_an_answer_before_again() {
    let history = ModelHistory::of([
        message(1, Role::User, json!([said("where?")])),
        message(2, Role::Assistant, json!([said("I look"), kept_call("a", json!({}))])),
        message(3, Role::Tool, json!([kept_result("a", json!("found"))])),
    ]);
    let snapshot = json!({ "type": "MESSAGES_SNAPSHOT", "messages": [
        { "id": "1", "role": "user", "content": "where?" },
        { "id": "2", "role": "assistant", "content": "I look" },
        { "id": "3", "role": "tool", "toolCallId": "a", "content": "found" },
        { "id": "4", "role": "assistant", "content": "There." },
    ] });
    let run = [started(), snapshot, finished()];
    let asking = Conversation { history, ..with_tools() };
    assert_eq!(asked(asking, &run).await, (json!([said("There.")]), Some(FinishReason::Stop)));
}

#[tokio::test]
async fn tools_of_one_name_are_the_agents_if_it_gives_the_result() {
    let run = [started(), call("a"), call("b"), result("b", json!("own")), finished()];
    let (came, reason) = asked(with_tools(), &run).await;
    let [a, b] = ["a", "b"].map(|id| kept_call(id, json!({})));
    assert_eq!(came, json!([a, b, kept_result("b", json!("own"))]));
    assert_eq!(reason, Some(FinishReason::ToolCalls), "one of them waits");
}
