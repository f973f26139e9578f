//! Faults of an agent, and the errors they lead to: retryable or final, and without any content of the conversation or
//! the key.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use mainstem::generators::{Agent, AgentConfig};
use mainstem_machine::RunError;
use mainstem_runtime::ports::{Generated, Generator};
use serde_json::{Value, json};

use crate::provider::{Act, Provider, Seen, chunk, chunk_bytes, end, head, plain};
use crate::{
    KEY, SAID, answer, collect, config, conversation, event, events, finished, generator, kept, run, said,
    script, started, text,
};

/// Longest message of an error.
const MESSAGE_BYTES_MAX: usize = 200;

/// The failure at the end of a run, and what is kept of what came before it.
fn failure(events: &[Generated]) -> (Value, RunError, bool) {
    let (last, parts) = events.split_last().expect("a run has an end");
    let Generated::Failed { error, retryable, .. } = last else {
        panic!("expected a failure, came {last:?}")
    };
    for secret in [KEY, SAID] {
        assert!(!error.message.contains(secret), "S10: {secret:?} is in {:?}", error.message);
    }
    assert!(error.message.len() <= MESSAGE_BYTES_MAX, "B1: {:?}", error.message);
    assert!(error.message.contains("agent") || error.message.contains("AG-UI"), "{:?}", error.message);
    (kept(parts), error.clone(), *retryable)
}

pub(crate) fn assert_fails(events: &[Generated], kept: Value, code: &str, retryable: bool) {
    let (came, error, is_retryable) = failure(events);
    assert_eq!((came, &*error.code, is_retryable), (kept, code, retryable), "{}", error.message);
}

#[tokio::test]
async fn a_status_decides_whether_it_is_tried_again() {
    let echo = json!({ "detail": format!("{KEY}: {SAID}") }).to_string();
    for (status, code, retryable) in [
        ("400 Bad Request", "provider_rejected", false),
        ("401 Unauthorized", "provider_unauthorized", false),
        ("404 Not Found", "provider_rejected", false),
        ("409 Conflict", "provider_unavailable", true),
        ("422 Unprocessable Content", "provider_rejected", false),
        ("429 Too Many Requests", "provider_rate_limited", true),
        ("500 Internal Server Error", "provider_unavailable", true),
        ("503 Service Unavailable", "provider_unavailable", true),
    ] {
        let came = run(plain(status, "application/json", &echo)).await;
        assert_fails(&came, json!([]), code, retryable);
        assert!(failure(&came).1.message.contains(&status[..3]), "the status is named");
    }
}

#[tokio::test]
async fn what_an_agent_asks_for_before_the_next_attempt_is_told() {
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let came = run(vec![Act::Send(busy.into())]).await;
    let [Generated::Failed { retryable: true, retry_after, .. }] = &came[..] else { panic!("{came:?}") };
    assert_eq!(*retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let away = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://u:secret@127.0.0.1:9/secret?secret\r\ncontent-length: 0\r\n\r\n";
    let came = run(vec![Act::Send(away.into())]).await;
    assert_fails(&came, json!([]), "provider_rejected", false);
    let message = failure(&came).1.message;
    assert!(message.contains("http://127.0.0.1:9,") && !message.contains("secret"), "{message}");
}

#[tokio::test]
async fn an_answer_that_is_no_stream_fails_for_good() {
    for (kind, body) in [("application/json", "{}"), ("application/json", "[]"), ("text/html", "<html>")] {
        assert_fails(&run(plain("200 OK", kind, body)).await, json!([]), "provider_protocol", false);
    }
    let told = r#"{"error":{"code":401,"message":"x"}}"#;
    for kind in ["application/json", "text/event-stream"] {
        let body =
            if kind == "application/json" { told.into() } else { format!("event: error\ndata: {told}\n\n") };
        assert_fails(&run(plain("200 OK", kind, &body)).await, json!([]), "provider_unauthorized", false);
    }
}

#[tokio::test]
async fn a_plain_text_stream_is_a_stream() {
    let came = run(plain("200 OK", "text/plain", &events(&[started(), text("x"), finished()]))).await;
    assert_eq!(answer(&came), json!([said("x")]));
}

#[tokio::test]
async fn a_run_that_failed_is_tried_again_only_if_it_had_said_nothing() {
    let error =
        |code: Value| json!({ "type": "RUN_ERROR", "message": format!("{KEY} {SAID}"), "code": code });
    let state = json!({ "type": "STATE_SNAPSHOT", "snapshot": 1 });
    let data = json!({ "type": "data", "name": "agui.state_snapshot", "data": 1 });
    let call = json!({ "type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "find" });
    let kept_call = json!({ "type": "tool_call", "id": "c", "name": "find", "input": {} });
    for (before, code, kept, retryable) in [
        (vec![], Value::Null, json!([]), true),
        (vec![started()], json!(7), json!([]), true),
        (vec![started(), state], Value::Null, json!([data]), true),
        (vec![started()], json!("insufficient_quota"), json!([]), false),
        (vec![started()], json!("rate_limit_exceeded"), json!([]), true),
        (vec![started(), text("x")], Value::Null, json!([said("x")]), false),
        (vec![started(), text("x")], json!("rate_limit_exceeded"), json!([said("x")]), false),
        // What waited is told before the failure.
        (vec![started(), call, text("x")], Value::Null, json!([kept_call, said("x")]), false),
    ] {
        let all = [before, vec![error(code.clone()), text("never"), finished()]].concat();
        assert_fails(&run(script(&all)).await, kept, "agent_failed", retryable);
    }
}

#[tokio::test]
async fn a_stream_without_an_end_is_tried_again() {
    let begun = || chunk(events(&[started(), text("x")]));
    let cut = event(&finished());
    for script in [
        vec![head(), begun(), end()],
        vec![head(), begun(), Act::Close],
        vec![head(), begun(), chunk(&cut[..cut.len() / 2]), end()],
    ] {
        assert_fails(&run(script).await, json!([said("x")]), "provider_unavailable", true);
    }
    assert_fails(&run(vec![head(), end()]).await, json!([]), "provider_unavailable", true);
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    assert_fails(&run(vec![Act::Reset]).await, json!([]), "provider_unavailable", true);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/agent", listener.local_addr().unwrap());
    drop(listener);
    let nobody = Agent::new(AgentConfig::new(url, None)).unwrap();
    assert_fails(&collect(&nobody, conversation()).await, json!([]), "provider_unavailable", true);
}

#[tokio::test]
async fn what_never_comes_is_waited_for_no_longer_than_the_time_out() {
    let begun = || chunk(events(&[started(), text("x")]));
    let still_here = |text: &str| Act::Repeat(chunk_bytes(text), Duration::from_millis(20));
    let step = event(&json!({ "type": "STEP_STARTED", "stepName": "s" }));
    let scripts = [
        (vec![Act::Hang], json!([])),
        (vec![head(), Act::Hang], json!([])),
        (vec![head(), chunk(event(&started())), Act::Hang], json!([])),
        (vec![head(), still_here(": still here\n\n")], json!([])),
        (vec![head(), begun(), Act::Hang], json!([said("x")])),
        (vec![head(), begun(), chunk("data: {\"ty"), Act::Hang], json!([said("x")])),
        (vec![head(), begun(), still_here(": still here\n\n")], json!([said("x")])),
        (vec![head(), begun(), still_here(&step)], json!([said("x")])),
        (vec![head(), begun(), still_here(&event(&text("")))], json!([said("x")])),
    ];
    join_all(scripts.map(async |(script, kept)| {
        let mut provider = Provider::start(vec![script]).await;
        // On a busy machine, too, the first word comes before the one runs out. The other begins with it.
        let (first_byte_timeout, idle_timeout) = (Duration::from_secs(4), Duration::from_millis(200));
        let hasty = AgentConfig { first_byte_timeout, idle_timeout, ..config(&provider) };
        let asked = Instant::now();
        let came = collect(&Agent::new(hasty).unwrap(), conversation()).await;
        let (waited, has_begun) = (asked.elapsed(), kept != json!([]));
        assert!(has_begun || waited >= first_byte_timeout, "{waited:?}");
        assert_fails(&came, kept, "provider_timeout", true);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B2: what was given up is closed");
    }))
    .await;
}

#[tokio::test]
async fn an_agent_that_works_between_parts_and_gives_signs_of_life_is_waited_for() {
    let step = chunk(event(&json!({ "type": "STEP_STARTED", "stepName": "s" })));
    let works = (0..6).flat_map(|_| [step.clone(), Act::Sleep(Duration::from_millis(400))]);
    let begin = [head(), chunk(events(&[started(), text("x")]))].into_iter().chain(works);
    let last = chunk(events(&[text("y"), finished()]));
    let provider = Provider::start(vec![begin.chain([last, end()]).collect()]).await;
    let idle_timeout = Duration::from_secs(2);
    let generator = Agent::new(AgentConfig { idle_timeout, ..config(&provider) }).unwrap();
    let begun = Instant::now();
    let kept = answer(&collect(&generator, conversation()).await);
    assert!(begun.elapsed() >= idle_timeout);
    assert_eq!(kept, json!([said("x"), said("y")]), "a step ends what has no end of its own");
}

#[tokio::test]
async fn silence_is_waited_for_at_most_twice() {
    for (attempt, retryable) in [(1, true), (2, false)] {
        let provider = Provider::start(vec![vec![Act::Hang]]).await;
        let first_byte_timeout = Duration::from_millis(100);
        let hasty = Agent::new(AgentConfig { first_byte_timeout, ..config(&provider) }).unwrap();
        let mut asked = conversation();
        asked.episode.attempt = attempt;
        let came: Vec<_> = hasty.start(asked).collect().await;
        assert_fails(&came, json!([]), "provider_timeout", retryable);
    }
}

#[tokio::test]
async fn what_comes_without_a_word_has_a_maximum() {
    let raw = event(&json!({ "type": "RAW", "event": "x" })).repeat(1000);
    for endless in [raw, event(&text("")).repeat(1000), ": hm\n\n".repeat(10_000)] {
        let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let script = vec![
            Act::Send([begin, &event(&text("x"))].concat().into()),
            Act::Repeat(endless.into(), Duration::ZERO),
        ];
        let mut provider = Provider::start(vec![script]).await;
        let wordless_bytes_max = 1024 * 1024;
        let generator = Agent::new(AgentConfig { wordless_bytes_max, ..config(&provider) }).unwrap();
        let came = collect(&generator, conversation()).await;
        assert_fails(&came, json!([said("x")]), "provider_timeout", true);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
    }
}

#[tokio::test]
async fn after_a_failure_the_next_run_may_be_answered() {
    let limited = plain("429 Too Many Requests", "application/json", "{}");
    let provider = Provider::start(vec![limited, script(&[started(), text("x"), finished()])]).await;
    let generator = generator(&provider);
    assert_fails(&collect(&generator, conversation()).await, json!([]), "provider_rate_limited", true);
    assert_eq!(answer(&collect(&generator, conversation()).await), json!([said("x")]));
}
