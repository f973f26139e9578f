//! Where an answer ends, and where it does not: no piece of one is lost in silence, and none is taken for whole
//! that is not.

use mainstem_machine::{Completion, FinishReason, Usage};
use mainstem_runtime::ports::Generated;

use crate::provider::{Act, DONE, Provider, Seen, chunk, delta, end, finish, head, plain};
use crate::{answer, collect, generator, run};

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// A piece of text with a finish reason.
fn ended(text: &str, reason: &str) -> String {
    event(&format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}},"finish_reason":"{reason}"}}]}}"#))
}

/// A delta with another member than text.
fn other(delta: &str) -> String {
    event(&format!(r#"{{"choices":[{{"delta":{delta},"finish_reason":null}}]}}"#))
}

async fn stream(body: String) -> Vec<Generated> {
    run(vec![head(), chunk(body), end()]).await
}

/// The text of a stream, and the code of the failure it ends in.
async fn failing(body: String) -> (String, String, bool) {
    let events = stream(body).await;
    let (last, texts) = events.split_last().expect("a run has an end");
    let Generated::Failed { error, retryable, .. } = last else {
        panic!("expected a failure, came {last:?}")
    };
    let text = texts.iter().map(|event| match event {
        Generated::Part { text, .. } => text.as_str(),
        other => panic!("expected text, came {other:?}"),
    });
    (text.collect(), error.code.to_string(), *retryable)
}

#[tokio::test]
async fn an_empty_reason_is_none() {
    let body = [&*ended("Hello", ""), &ended(" big", ""), &ended(" world", ""), &finish("stop"), DONE];
    assert_eq!(answer(&stream(body.concat()).await), "Hello big world");
}

#[tokio::test]
async fn what_comes_after_a_reason_still_counts() {
    let reasoning = event(r#"{"choices":[{"delta":{"reasoning_content":"hm"},"finish_reason":"stop"}]}"#);
    let stops = [ended("Hello", "stop"), ended(" big", "stop"), ended(" world", "stop")].concat();
    for (body, thought) in [
        (stops.clone() + DONE, ""),
        (stops.clone(), ""),
        (reasoning.clone() + &stops + DONE, "hm"),
        (finish("stop") + &delta("Hello big world"), ""),
        ([reasoning, delta("Hello"), delta(" big"), ended(" world", "length"), DONE.into()].concat(), "hm"),
    ] {
        assert_eq!(answer(&stream(body).await), format!("{thought}Hello big world"));
    }
    // Whether it was whole, nobody can tell who hears "stop" all the time.
    let broken = run(vec![head(), chunk(stops), Act::Close]).await;
    assert!(matches!(broken.last(), Some(Generated::Failed { retryable: true, .. })), "{broken:?}");
}

#[tokio::test]
async fn an_answer_whose_end_was_told_is_whole_though_what_follows_is_cut() {
    for rest in ["data: [DO", "data: {\"usage\":{\"prompt_tok", "dat"] {
        let body = [&*delta("Hello"), &finish("stop"), rest].concat();
        assert_eq!(answer(&stream(body).await), "Hello", "{rest}");
    }
    let cut = [&*delta("Hello"), "data: {\"choices\":[{\"delta\":{\"content\":\" wor"].concat();
    assert_eq!(failing(cut).await.0, "Hello", "an end that was not told is none");
}

#[tokio::test]
async fn a_reason_that_nobody_knows_is_a_failure() {
    for reason in ["abort", "STOP", "null", "eos_token"] {
        let body = [&*delta("Hello big"), &finish(reason), DONE].concat();
        assert_eq!(failing(body).await, ("Hello big".into(), "provider_protocol".into(), true), "{reason}");
    }
    let body = [&*delta("Hello big"), &finish("error"), DONE].concat();
    assert_eq!(failing(body).await, ("Hello big".into(), "provider_unavailable".into(), true));
}

#[tokio::test]
async fn an_answer_without_a_word_is_a_failure() {
    for (body, code, retryable) in [
        (DONE.to_owned(), "answer_empty", true),
        (finish("stop") + DONE, "answer_empty", true),
        (delta("") + &finish("stop") + DONE, "answer_empty", true),
        (other(r#"{"tool_calls":[],"reasoning":""}"#) + &finish("tool_calls") + DONE, "answer_empty", true),
    ] {
        assert_eq!(failing(body.clone()).await, (String::new(), code.into(), retryable), "{body}");
    }
    assert_eq!(failing(String::new()).await.1, "provider_unavailable");
}

#[tokio::test]
async fn what_is_said_twice_in_one_event_cannot_be_understood() {
    let stopped = |choice: &str| event(&format!(r#"{{"choices":[{choice}]}}"#)) + &finish("stop") + DONE;
    for choice in [
        r#"{"delta":{"content":"a","content":"b"}}"#,
        r#"{"delta":{"content":"a"},"delta":{"content":"b"}}"#,
        r#"{"delta":{"content":"a"},"finish_reason":null,"finish_reason":"stop"}"#,
        r#"{"delta":{"content":"a","refusal":"b","refusal":null}}"#,
        r#"{"delta":{"reasoning":"a","reasoning":"b","content":"c"}}"#,
        r#"{"delta":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b","text":"c"}]}}"#,
        r#"{"delta":{"content":{"type":"text","type":"text","text":"a"}}}"#,
        r#"{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","name":"g"}}]}}"#,
    ] {
        let body = delta("x") + &stopped(choice);
        assert_eq!(failing(body).await, ("x".into(), "provider_protocol".into(), true), "{choice}");
    }
    // Nobody looks into what has no meaning here.
    let other = r#"{"index":0,"index":1,"delta":{"role":"a","role":"b","content":"a"}}"#;
    assert_eq!(answer(&stream(stopped(other)).await), "a");
}

#[tokio::test]
async fn a_refusal_is_what_the_model_says() {
    let body = [&*other(r#"{"refusal":"I "}"#), &other(r#"{"refusal":"will not"}"#), &finish("stop"), DONE];
    assert_eq!(answer(&stream(body.concat()).await), "I will not");
}

#[tokio::test]
async fn an_error_of_any_form_ends_the_stream() {
    for (error, code, retryable) in [
        (r#"{"object":"error","code":500,"message":"x"}"#, "provider_unavailable", true),
        (r#"{"error":{"code":429}}"#, "provider_rate_limited", true),
        (r#"{"error":"x"}"#, "provider_unavailable", true),
        (r#"{"code":401,"message":"x"}"#, "provider_unauthorized", false),
        (r#"{"type":"error","error":{"type":"overloaded_error"}}"#, "provider_unavailable", true),
        (
            r#"{"choices":[{"delta":{}}],"error":{"code":"insufficient_quota"}}"#,
            "provider_quota_exhausted",
            false,
        ),
    ] {
        let body = [&*delta("Hello"), &event(error), DONE].concat();
        assert_eq!(failing(body).await, ("Hello".into(), code.into(), retryable), "{error}");
    }
    let named = [&*delta("Hello"), "event: error\ndata: upstream is away\n\n", DONE].concat();
    assert_eq!(failing(named).await, ("Hello".into(), "provider_unavailable".into(), true));
}

#[tokio::test]
async fn events_may_be_parted_by_one_line_end_and_the_last_may_lack_its_own() {
    let lines = [delta("a"), delta("b"), finish("stop"), DONE.into()].concat().replace("\n\n", "\n");
    for body in [
        lines.clone(),
        lines.replace('\n', "\r\n"),
        lines.replace('\n', "\r"),
        lines.trim_end().to_owned(),
        [&*delta("a"), delta("b").trim_end()].concat() + "\n\ndata: [DONE]",
        [&*delta("a"), &delta("b"), finish("stop").trim_end()].concat(),
        lines.replace("data: ", "data:"),
    ] {
        assert_eq!(answer(&stream(body.clone()).await), "ab", "{body}");
    }
}

#[tokio::test]
async fn a_member_that_cannot_be_read_voids_no_more_than_itself() {
    let parts = r#"{"content":[{"type":"text","text":"b"},{"type":"x"},7]}"#;
    let body = [
        delta("a"),
        event(r#"{"choices":7}"#),
        event(r#"{"choices":[{"delta":{"content":{},"role":7},"finish_reason":[]}],"usage":"much"}"#),
        other(parts),
        finish("stop"),
        DONE.into(),
    ];
    assert_eq!(answer(&stream(body.concat()).await), "ab");
}

#[tokio::test]
async fn the_reason_and_the_usage_are_kept() {
    let usage = event(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#);
    let early = event(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#);
    let cost = Usage { input_tokens: 3, output_tokens: 5 };
    for (body, finish_reason, cost) in [
        ([&*delta("x"), &finish("stop"), DONE].concat(), Some(FinishReason::Stop), None),
        ([&*delta("x"), &finish("length"), &usage, DONE].concat(), Some(FinishReason::Length), Some(cost)),
        (
            [&*early, &delta("x"), &finish("function_call"), &usage].concat(),
            Some(FinishReason::ToolCalls),
            Some(cost),
        ),
        ([&*delta("x"), &usage, DONE].concat(), None, Some(cost)),
    ] {
        let events = stream(body).await;
        assert_eq!(events.last(), Some(&Generated::Done(Completion { finish_reason, usage: cost })));
    }
}

#[tokio::test]
async fn an_endpoint_that_tells_no_usage_is_asked_without_from_then_on() {
    let refused =
        plain("400 Bad Request", "application/json", r#"{"detail":"stream_options: what is that?"}"#);
    let fine = vec![head(), chunk([&*delta("x"), &finish("stop"), DONE].concat()), end()];
    let mut provider = Provider::start(vec![refused.clone(), fine.clone()]).await;
    let generator = generator(&provider);
    let mut asked = vec![];
    for _ in 0..2 {
        assert_eq!(answer(&collect(&generator).await), "x");
    }
    for _ in 0..3 {
        let Seen::Request { body, .. } = provider.seen().await else { panic!("a request") };
        asked.push(body["stream_options"]["include_usage"].as_bool());
    }
    assert_eq!(asked, [Some(true), None, None]);
    // Where it is told, a refusal has another reason.
    let mut provider = Provider::start(vec![fine, refused]).await;
    let generator = crate::generator(&provider);
    assert_eq!(answer(&collect(&generator).await), "x");
    assert!(matches!(collect(&generator).await.last(), Some(Generated::Failed { retryable: false, .. })));
    for _ in 0..2 {
        let Seen::Request { body, .. } = provider.seen().await else { panic!("a request") };
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
}
