//! What a model's stream says, against a real server: no answer is lost in silence, none is taken for whole that
//! is not, and a viewer is told why it ended.

use mainstem_tests::cluster::alone_with;
use mainstem_tests::deadline::until;
use mainstem_tests::process::Replica;
use mainstem_tests::provider::{DONE, Provider, Reply, chunk, events};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

/// A server whose model is at `base_url`.
pub(crate) async fn asking(base_url: &str, scratch: &Scratch, flags: &[&str]) -> Replica {
    let ours = ["--generator", "openai", "--openai-model", "tiny", "--openai-base-url", base_url];
    alone_with(scratch, &[&ours, flags].concat(), &[("OPENAI_API_KEY", "k-123")]).await
}

fn with_delta(delta: Value, reason: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
}

fn stream(chunks: &[Value]) -> Reply {
    Reply::Stream(events(chunks) + DONE)
}

#[tokio::test]
async fn an_answer_is_all_that_was_said_and_tells_why_it_ended() {
    let null = Value::Null;
    let each = |reason: &str| ["Hello", " big", " world"].map(|text| chunk(text, reason.into()));
    let stop = || chunk("", "stop".into());
    let thinking = with_delta(json!({"reasoning_content": "hm"}), "stop".into());
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}});
    let listed = json!({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hello big"}, {"type": "text", "text": " world"},
    ]});
    let lines = events(&each("")) + &events(&[stop()]) + DONE;
    let whole = "Hello big world";
    let stopped = Some("stop");
    let rows: Vec<(&'static str, Reply, &str, Option<&str>, Value)> = vec![
        ("empty reasons", stream(&[&each("")[..], &[stop()]].concat()), whole, stopped, null.clone()),
        ("stop all along", stream(&each("stop")), whole, stopped, null.clone()),
        ("stop without a mark", Reply::Stream(events(&each("stop"))), whole, stopped, null.clone()),
        (
            "stop while thinking",
            stream(&[&[thinking][..], &each("stop")].concat()),
            whole,
            stopped,
            null.clone(),
        ),
        (
            "usage last",
            stream(&[&each("")[..], &[stop(), usage.clone()]].concat()),
            whole,
            stopped,
            json!({"input_tokens": 3, "output_tokens": 5}),
        ),
        (
            "cut by length",
            stream(&[&each("")[..], &[chunk("", "length".into())]].concat()),
            whole,
            Some("length"),
            null.clone(),
        ),
        (
            "old name",
            stream(&[chunk(whole, "function_call".into())]),
            whole,
            Some("tool_calls"),
            null.clone(),
        ),
        ("list of parts", stream(&[with_delta(listed, null.clone()), stop()]), whole, stopped, null.clone()),
        (
            "refusal",
            stream(&[with_delta(json!({"refusal": "I will not"}), null.clone()), stop()]),
            "I will not",
            stopped,
            null.clone(),
        ),
        ("single line ends", Reply::Stream(lines.replace("\n\n", "\n")), whole, stopped, null.clone()),
        ("no last line end", Reply::Stream(lines.trim_end().to_owned()), whole, stopped, null.clone()),
        (
            "odd members",
            stream(&[
                json!({"choices": 7}),
                with_delta(json!({"content": whole, "role": 7}), json!({})),
                stop(),
            ]),
            whole,
            stopped,
            null.clone(),
        ),
        (
            "half a pair",
            Reply::Stream(
                events(&[chunk("a", null.clone())])
                    + "data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\n"
                    + &events(&[stop()])
                    + DONE,
            ),
            "a\u{fffd}\u{fffd}\u{fffd}",
            stopped,
            null.clone(),
        ),
    ];
    let replies = rows.iter().map(|(name, reply, ..)| (*name, vec![reply.clone()])).collect();
    let provider = Provider::start_rows(replies).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    for (name, _, text, reason, usage) in rows {
        let chat = client.create(name).await;
        let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
        viewer.until_idle().await;
        viewer.finish(&client).await;
        assert_eq!((viewer.screen.last_text(), provider.asked(name).len()), (text.to_owned(), 1), "{name}");
        let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
        let (asked, answer) = (&page["messages"][0], &page["messages"][1]);
        assert_eq!((&answer["finish_reason"], &answer["usage"]), (&json!(reason), &usage), "{name}");
        assert_eq!((&asked["finish_reason"], &asked["usage"]), (&null, &null), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_did_not_end_well_is_tried_again() {
    let (null, hello) = (Value::Null, || chunk("Hello", Value::Null));
    let error = json!({"object": "error", "code": 500, "message": "gone"});
    let rows: Vec<(&'static str, Reply)> = vec![
        ("unknown reason", stream(&[hello(), chunk(" big", "abort".into())])),
        ("loud reason", stream(&[hello(), chunk(" big", "STOP".into())])),
        ("nothing but the mark", Reply::Stream(DONE.into())),
        ("nothing but stop", stream(&[chunk("", "stop".into())])),
        ("nothing at all", Reply::Stream(String::new())),
        ("error object", stream(&[hello(), error])),
        ("error of another form", stream(&[hello(), json!({"code": 503, "message": "gone"})])),
        ("error by name", Reply::Stream(events(&[hello()]) + "event: error\ndata: gone\n\n" + DONE)),
        ("no reason and no mark", Reply::Stream(events(&[hello()]))),
        (
            "cut in an event",
            Reply::Stream(events(&[hello()]) + "data: {\"choices\":[{\"finish_reason\":\"stop\""),
        ),
        (
            "busy in a success",
            Reply::Raw(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json".into(),
                json!({"error": {"code": 429, "message": "slow"}}).to_string(),
            ),
        ),
        ("busy in a stream", Reply::Stream(json!({"error": {"code": 429, "message": "slow"}}).to_string())),
    ];
    let whole = || stream(&[chunk("whole", null.clone()), chunk("", "stop".into())]);
    let replies = rows.into_iter().map(|(name, reply)| (name, vec![reply, whole()])).collect::<Vec<_>>();
    let names: Vec<_> = replies.iter().map(|(name, _)| *name).collect();
    let provider = Provider::start_rows(replies).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    let mut chats = vec![];
    for name in &names {
        chats.push((name, client.create(name).await));
    }
    for (name, chat) in chats {
        let reported = client.until_idle(&chat).await;
        let answers: Vec<_> =
            client.messages(&chat).await.iter().skip(1).map(|message| message.text()).collect();
        assert_eq!(
            (&reported["status"], &answers[..]),
            (&json!("waiting"), &["whole".to_owned()][..]),
            "{name}: {reported}"
        );
        assert_eq!(provider.asked(name).len(), 2, "{name}");
    }
    let log = replica.log();
    assert!(log.contains("WARN") && log.contains("provider_protocol"), "what failed is logged: {log}");
    assert!(!log.contains("Hello") && !log.contains("k-123"), "logs tell no content and no key");
}

#[tokio::test]
async fn what_will_not_change_fails_at_once_and_says_why() {
    let stop = |reason: &str| chunk("", reason.into());
    let quota = json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}).to_string();
    let rows: Vec<(&'static str, Reply, &str)> = vec![
        ("filtered", stream(&[stop("content_filter")]), "content_filtered"),
        (
            "quota",
            Reply::Raw(
                "HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-type: application/json".into(),
                quota.clone(),
            ),
            "provider_quota_exhausted",
        ),
        ("spent in a stream", Reply::Stream(quota), "provider_quota_exhausted"),
        (
            "too long",
            Reply::Stream(events(&[chunk(&"x".repeat(100_000), Value::Null), stop("stop")])),
            "answer_too_large",
        ),
        ("endless", Reply::Stream("data: ".to_owned() + &"x".repeat(100_000)), "answer_too_large"),
        ("unauthorized", Reply::Status(401, ""), "provider_unauthorized"),
        (
            "a page",
            Reply::Raw("HTTP/1.1 200 OK\r\ncontent-type: text/html".into(), "<html>".into()),
            "provider_protocol",
        ),
    ];
    let replies = rows.iter().map(|(name, reply, _)| (*name, vec![reply.clone()])).collect();
    let provider = Provider::start_rows(replies).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &["--episode-bytes-max", "1000"]).await;
    let client = replica.client();
    for (name, _, code) in rows {
        let chat = client.create(name).await;
        let reported = client.until_idle(&chat).await;
        assert_eq!(
            (&reported["status"], &reported["error"]["code"]),
            (&json!("error"), &json!(code)),
            "{name}: {reported}"
        );
        assert_eq!((provider.asked(name).len(), client.messages(&chat).await.len()), (1, 1), "{name}");
    }
}

#[tokio::test]
async fn strict_templates_take_the_history_after_stops_and_failures() {
    let rows = vec![
        ("stopped", vec![Reply::Silence(String::new())]),
        ("refused", vec![Reply::Status(401, "")]),
        ("", vec![Reply::Strict(vec!["fine"])]),
    ];
    let provider = Provider::start_rows(rows).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("stopped").await;
    until("it is asked", async || (!provider.seen().is_empty()).then_some(())).await;
    client.interrupt(&chat).await.expect(202);
    client.until_idle(&chat).await;
    for (question, answers) in [("once more", 1), ("and again", 2)] {
        client.send(&chat, question).await;
        let reported = client.until_idle(&chat).await;
        assert_eq!(
            (&reported["status"], &reported["error"]),
            (&json!("waiting"), &Value::Null),
            "{reported}"
        );
        let messages = client.messages(&chat).await;
        assert_eq!(messages.iter().filter(|message| message.text() == "fine").count(), answers);
    }
    let last = provider.seen().pop().expect("requests");
    assert_eq!(last.roles(), ["user", "assistant", "user"]);
    assert_eq!(last.body["messages"][0]["content"], "stopped\n\nonce more");
    // The same where the provider failed for good.
    let chat = client.create("refused").await;
    assert_eq!(client.until_idle(&chat).await["status"], "error");
    client.send(&chat, "once more").await;
    assert_eq!(client.until_idle(&chat).await["status"], "waiting");
}
