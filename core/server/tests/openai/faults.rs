//! Faults of a provider, and the errors they lead to: retryable or final, and without any content of the
//! conversation or the key.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use mainstem::generators::{OpenAi, OpenAiConfig};
use mainstem_machine::RunError;
use mainstem_runtime::ports::{Generated, Generator};

use crate::provider::{Act, DONE, Provider, Seen, chunk, chunk_bytes, delta, end, finish, head, plain};
use crate::{KEY, SAID, answer, collect, config, conversation, generator, run};

/// Longest message of an error.
const MESSAGE_BYTES_MAX: usize = 200;

/// The failure at the end of a run, and the text before it.
fn failure(events: &[Generated]) -> (String, RunError, bool) {
    let (last, texts) = events.split_last().expect("a run has an end");
    let Generated::Failed { error, retryable, .. } = last else {
        panic!("expected a failure, came {last:?}")
    };
    let text = |event: &Generated| match event {
        Generated::Part { text, .. } => text.clone(),
        other => panic!("expected text before the end, came {other:?}"),
    };
    for secret in [KEY, SAID] {
        assert!(!error.message.contains(secret), "S10: {secret:?} is in {:?}", error.message);
    }
    assert!(error.message.len() <= MESSAGE_BYTES_MAX, "B1: {:?}", error.message);
    (texts.iter().map(text).collect(), error.clone(), *retryable)
}

fn assert_fails(events: &[Generated], text: &str, code: &str, retryable: bool) {
    let (came, error, is_retryable) = failure(events);
    assert_eq!((came.as_str(), &*error.code, is_retryable), (text, code, retryable), "{}", error.message);
}

#[tokio::test]
async fn a_status_decides_whether_it_is_tried_again() {
    let echo = format!(r#"{{"error":{{"message":"{KEY}: {SAID}","type":"{KEY}","code":"{SAID}"}}}}"#);
    for (status, code, retryable) in [
        ("400 Bad Request", "provider_rejected", false),
        ("401 Unauthorized", "provider_unauthorized", false),
        ("403 Forbidden", "provider_unauthorized", false),
        ("404 Not Found", "provider_rejected", false),
        ("408 Request Timeout", "provider_unavailable", true),
        ("409 Conflict", "provider_unavailable", true),
        ("422 Unprocessable Content", "provider_rejected", false),
        ("429 Too Many Requests", "provider_rate_limited", true),
        ("500 Internal Server Error", "provider_unavailable", true),
        ("503 Service Unavailable", "provider_unavailable", true),
    ] {
        let events = run(plain(status, "application/json", &echo)).await;
        assert_fails(&events, "", code, retryable);
        assert!(failure(&events).1.message.contains(&status[..3]), "the status is named");
    }
}

#[tokio::test]
async fn after_a_429_the_next_run_may_be_answered() {
    let limited = plain("429 Too Many Requests", "application/json", "{}");
    let fine = vec![head(), chunk([delta("x"), finish("stop")].concat()), end()];
    let provider = Provider::start(vec![limited, fine]).await;
    let generator = generator(&provider);
    assert_fails(&collect(&generator).await, "", "provider_rate_limited", true);
    assert_eq!(answer(&collect(&generator).await), "x");
}

#[tokio::test]
async fn what_a_provider_asks_for_before_the_next_attempt_is_told() {
    for (header, wanted) in [
        ("retry-after: 7", Some(Duration::from_secs(7))),
        (
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:09 GMT",
            Some(Duration::from_secs(9)),
        ),
        ("retry-after: whenever", None),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let answer = format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: 0\r\n\r\n");
            let events = run(vec![Act::Send(answer.into())]).await;
            let [Generated::Failed { retryable: true, retry_after, .. }] = &events[..] else {
                panic!("{events:?}");
            };
            assert_eq!(*retry_after, wanted, "{header}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let away = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://u:secret@127.0.0.1:9/secret?secret\r\ncontent-length: 0\r\n\r\n";
    let events = run(vec![Act::Send(away.into())]).await;
    assert_fails(&events, "", "provider_rejected", false);
    let message = failure(&events).1.message;
    assert!(message.contains("http://127.0.0.1:9,") && !message.contains("secret"), "{message}");
}

#[tokio::test]
async fn an_endless_error_body_is_read_to_its_maximum() {
    let head = "HTTP/1.1 500 Oh\r\ncontent-type: text/plain\r\n\r\n";
    let mut provider =
        Provider::start(vec![vec![Act::Send(head.into()), Act::Repeat(vec![b'x'; 4096], Duration::ZERO)]])
            .await;
    assert_fails(&collect(&generator(&provider)).await, "", "provider_unavailable", true);
    assert!(matches!(provider.seen().await, Seen::Request { .. }));
    assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
}

#[tokio::test]
async fn a_filtered_answer_keeps_its_text_and_fails_for_good() {
    let events = run(vec![head(), chunk([delta("x"), finish("content_filter")].concat()), end()]).await;
    assert_fails(&events, "x", "content_filtered", false);
}

#[tokio::test]
async fn a_stream_without_an_end_is_tried_again() {
    let close_delimited = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    for script in [
        vec![head(), chunk(delta("x")), end()],
        vec![Act::Send(close_delimited.into()), Act::Send(delta("x").into()), Act::Close],
        vec![head(), chunk(delta("x")), Act::Close],
        vec![head(), chunk(delta("x")), chunk("data: {\"choices\":[{\"finish_reason\":\"stop\"}"), end()],
    ] {
        assert_fails(&run(script).await, "x", "provider_unavailable", true);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    // Before the answer, and in the middle of it. A reset may overtake data that was sent before it.
    assert_fails(&run(vec![Act::Reset]).await, "", "provider_unavailable", true);
    let (text, error, retryable) = failure(&run(vec![head(), chunk(delta("x")), Act::Reset]).await);
    assert!(text.is_empty() || text == "x", "{text:?}");
    assert_eq!((&*error.code, retryable), ("provider_unavailable", true));
}

#[tokio::test]
async fn nobody_listening_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let generator = OpenAi::new(OpenAiConfig::new(base_url, "m", None)).unwrap();
    assert_fails(&collect(&generator).await, "", "provider_unavailable", true);
}

#[tokio::test]
async fn what_never_comes_is_waited_for_no_longer_than_the_time_out() {
    for (script, text) in [
        (vec![Act::Hang], ""),
        (vec![head(), Act::Hang], ""),
        (vec![head(), Act::Repeat(chunk_bytes(": still here\n\n"), Duration::from_millis(20))], ""),
        (vec![head(), chunk(delta("x")), Act::Hang], "x"),
        (vec![head(), chunk(delta("x")), chunk("data: {\"ch"), Act::Hang], "x"),
    ] {
        let mut provider = Provider::start(vec![script]).await;
        let (first_byte_timeout, idle_timeout) = (Duration::from_millis(400), Duration::from_millis(200));
        let config = OpenAiConfig { first_byte_timeout, idle_timeout, ..config(&provider) };
        let hasty = OpenAi::new(config).unwrap();
        assert_fails(&collect(&hasty).await, text, "provider_timeout", true);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B2: what was given up is closed");
    }
}

#[tokio::test]
async fn an_error_in_the_stream_ends_it() {
    let error_event = |error: &str| format!("data: {{\"error\":{error}}}\n\n");
    let secret = format!(r#"{{"message":"{KEY} {SAID}","type":"server_error","code":null}}"#);
    for (error, code, retryable) in [
        (secret.as_str(), "provider_unavailable", true),
        (r#"{"code":429,"message":"slow down"}"#, "provider_rate_limited", true),
        (r#"{"code":"context_length_exceeded"}"#, "provider_rejected", false),
        (r#"{"code":"content_filter"}"#, "content_filtered", false),
    ] {
        let script = vec![head(), chunk(delta("x")), chunk(error_event(error)), chunk(delta("never")), end()];
        assert_fails(&run(script).await, "x", code, retryable);
    }
}

#[tokio::test]
async fn garbage_is_told_as_a_fault_of_the_protocol() {
    for garbage in ["data: <html>\n\n", "data: {\"choices\":[\n\n", "data: \u{1F422}\n\n", "data: []\n\n"] {
        let script = vec![head(), chunk(delta("x")), chunk(garbage), chunk(finish("stop")), end()];
        assert_fails(&run(script).await, "x", "provider_protocol", true);
    }
    let script = vec![head(), chunk(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n"), end()];
    assert_fails(&run(script).await, "", "provider_protocol", true);
    // Not HTTP.
    assert_fails(
        &run(vec![Act::Send(b"220 mail\r\n".to_vec()), Act::Hang]).await,
        "",
        "provider_unavailable",
        true,
    );
}

#[tokio::test]
async fn an_answer_that_is_no_stream_fails_for_good() {
    for (kind, body) in [
        ("application/json", "{}"),
        ("application/json", r#"{"choices":[{"message":{"content":"x"}}]}"#),
        ("text/html", "<html>"),
    ] {
        assert_fails(&run(plain("200 OK", kind, body)).await, "", "provider_protocol", false);
    }
}

#[tokio::test]
async fn a_success_that_tells_of_an_error_is_that_error() {
    for (kind, body, code, retryable) in [
        ("application/json", r#"{"error":{"code":429,"message":"x"}}"#, "provider_rate_limited", true),
        (
            "application/json",
            r#"{"object":"error","code":401,"message":"x"}"#,
            "provider_unauthorized",
            false,
        ),
        ("application/json", r#"[{"error":{"status":"UNAVAILABLE"}}]"#, "provider_unavailable", true),
        ("text/event-stream", r#"{"error":{"code":429,"message":"x"}}"#, "provider_rate_limited", true),
        ("text/event-stream", "event: error\ndata: away", "provider_unavailable", true),
    ] {
        assert_fails(&run(plain("200 OK", kind, body)).await, "", code, retryable);
    }
}

#[tokio::test]
async fn a_used_up_quota_is_told_as_such_for_good() {
    let body = r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let events = run(plain("429 Too Many Requests", "application/json", body)).await;
    assert_fails(&events, "", "provider_quota_exhausted", false);
    assert!(failure(&events).1.message.contains("quota"));
}

#[tokio::test]
async fn silence_is_waited_for_at_most_twice() {
    for (attempt, retryable) in [(1, true), (2, false)] {
        let provider = Provider::start(vec![vec![Act::Hang]]).await;
        let first_byte_timeout = Duration::from_millis(100);
        let hasty = OpenAi::new(OpenAiConfig { first_byte_timeout, ..config(&provider) }).unwrap();
        let mut asked = conversation();
        asked.episode.attempt = attempt;
        let events: Vec<_> = hasty.start(asked).collect().await;
        assert_fails(&events, "", "provider_timeout", retryable);
    }
}

#[tokio::test]
async fn a_model_that_thinks_for_long_is_waited_for_until_it_begins() {
    let think = Act::Sleep(Duration::from_millis(500));
    let script =
        vec![head(), chunk(delta("")), think, chunk([&delta("x"), &*finish("stop"), DONE].concat()), end()];
    let provider = Provider::start(vec![script]).await;
    let idle_timeout = Duration::from_millis(200);
    let generator = OpenAi::new(OpenAiConfig { idle_timeout, ..config(&provider) }).unwrap();
    assert_eq!(answer(&collect(&generator).await), "x");
}

/// Events in which nothing is said.
fn wordless() -> [String; 6] {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    [": keep-alive\n\n", "\n", &delta(""), "data: {}\n\n", "event: ping\ndata: {}\n\n", usage]
        .map(str::to_owned)
}

#[tokio::test]
async fn signs_of_life_are_no_answer_and_do_not_keep_a_run_for_ever() {
    join_all(wordless().map(async |sign| {
        let signs = Act::Repeat(chunk_bytes(&sign), Duration::from_millis(20));
        let mut provider = Provider::start(vec![vec![head(), chunk(delta("x")), signs]]).await;
        let (first_byte_timeout, idle_timeout) = (Duration::from_millis(600), Duration::from_millis(200));
        let config = OpenAiConfig { first_byte_timeout, idle_timeout, ..config(&provider) };
        let begun = Instant::now();
        assert_fails(&collect(&OpenAi::new(config).unwrap()).await, "x", "provider_timeout", true);
        assert!(begun.elapsed() >= first_byte_timeout, "{sign:?}: it may think for as long as at first");
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B2: what was given up is closed");
    }))
    .await;
}

#[tokio::test]
async fn a_model_that_thinks_between_parts_and_gives_signs_of_life_is_waited_for() {
    join_all(wordless().map(async |sign| {
        let pause = Act::Sleep(Duration::from_millis(100));
        let thinks = (0..6).flat_map(|_| [chunk(&sign), pause.clone()]);
        let begin = [head(), chunk(delta("x"))].into_iter().chain(thinks);
        let last = chunk([&delta("y"), &*finish("stop"), DONE].concat());
        let provider = Provider::start(vec![begin.chain([last, end()]).collect()]).await;
        let idle_timeout = Duration::from_millis(400);
        let generator = OpenAi::new(OpenAiConfig { idle_timeout, ..config(&provider) }).unwrap();
        assert_eq!(answer(&collect(&generator).await), "xy", "{sign:?}");
    }))
    .await;
}

#[tokio::test]
async fn what_comes_without_a_word_has_a_maximum() {
    // Parts are bounded by who keeps them.
    let nothing = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"\"}}]}\n\n".repeat(1000);
    for endless in [nothing, delta("").repeat(1000), ": hm\n\n".repeat(10_000)] {
        let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let endless = Act::Repeat(endless.into(), Duration::ZERO);
        let mut provider =
            Provider::start(vec![vec![Act::Send([begin, &delta("x")].concat().into()), endless]]).await;
        let wordless_bytes_max = 1024 * 1024;
        let generator = OpenAi::new(OpenAiConfig { wordless_bytes_max, ..config(&provider) }).unwrap();
        assert_fails(&collect(&generator).await, "x", "provider_timeout", true);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
    }
}

#[tokio::test]
async fn an_endless_event_is_given_up_for_good() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ";
    for endless in [vec![b'x'; 65_536], [&[b'x'; 65_536], "\ndata: ".as_bytes()].concat()] {
        let mut provider =
            Provider::start(vec![vec![Act::Send(head.into()), Act::Repeat(endless, Duration::ZERO)]]).await;
        let event_bytes_max = 1024 * 1024;
        let generator = OpenAi::new(OpenAiConfig { event_bytes_max, ..config(&provider) }).unwrap();
        assert_fails(&collect(&generator).await, "", "answer_too_large", false);
        assert!(matches!(provider.seen().await, Seen::Request { .. }));
        assert_eq!(provider.seen().await, Seen::ClientGone, "B1");
    }
}
