//! The generators: the demo with its settings, and an OpenAI-compatible provider over real HTTP.

use mainstem_tests::client::{counted, is_counted};
use mainstem_tests::cluster::alone;
use mainstem_tests::process::Replica;
use mainstem_tests::provider::{Provider, Reply};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};

#[tokio::test]
async fn the_demo_generator_does_what_its_settings_say() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    for (asked, answered) in [
        ("hello", counted(60)),
        ("/demo", counted(60)),
        ("say /demo parts=3", counted(60)),
        ("/demo parts=3", counted(3)),
        ("/demo parts=0", String::new()),
        ("/demo parts=2 size=6 and colour=blue", "1.... 2.... ".into()),
        ("/demo parts=5 interval=0 retryable=2", counted(5)),
    ] {
        let chat = client.create(asked).await;
        assert_eq!(client.until_idle(&chat).await["status"], "waiting", "{asked}");
        let text = client.messages(&chat).await.get(1).map(|message| message.text()).unwrap_or_default();
        assert_eq!(text, answered, "{asked}");
    }
}

#[tokio::test]
async fn a_stamp_is_the_time_of_its_part() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=5 interval=30ms stamp=1").await;
    client.until_idle(&chat).await;
    let text = client.messages(&chat).await[1].text();
    let stamps: Vec<u64> = text
        .split_whitespace()
        .zip(1..)
        .map(|(part, number)| {
            let (i, stamp) = part.split_once('@').expect("a stamp");
            assert_eq!(i, number.to_string());
            stamp.parse().expect("microseconds")
        })
        .collect();
    assert_eq!(stamps.len(), 5);
    assert!(stamps[4] - stamps[0] >= 4 * 30_000 - 31_000, "{stamps:?}");
    assert!(stamps.is_sorted(), "{stamps:?}");
}

#[tokio::test]
async fn a_retryable_failure_is_told_and_tried_again() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=12 interval=20ms retryable=8").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until("the retry is told", |s| s.retry.is_object()).await;
    for member in ["attempt", "delay_ms", "error", "at"] {
        assert!(!viewer.screen.retry[member].is_null(), "{}", viewer.screen.retry);
    }
    assert_eq!(viewer.screen.resets, ["retry"]);
    viewer.until("the retry is over", |s| s.retry.is_null()).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!(
        (viewer.screen.last_text(), viewer.screen.messages[1].episode.map(|e| e.attempt)),
        (counted(12), Some(2))
    );
}

#[tokio::test]
async fn a_failure_for_good_keeps_what_there_is_and_the_next_message_runs() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=50 interval=5ms fatal=7").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until("why is told", |s| s.error.is_object()).await;
    assert_eq!((&*viewer.screen.status, viewer.screen.last_text()), ("error", counted(7)));
    assert!(viewer.screen.messages[1].interrupted);
    let reported = client.chat(&chat).await;
    assert_eq!(reported["error"], viewer.screen.error);
    client.send(&chat, "/demo parts=2 interval=0").await;
    viewer.until("it goes on", |s| s.messages.len() == 4 && s.status == "waiting").await;
    viewer.finish(&client).await;
    assert!(client.chat(&chat).await["error"].is_null());
}

#[tokio::test]
async fn a_stalled_model_is_interrupted_with_what_it_gave() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=50 interval=0 stall=9").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until("it stalls", |s| s.seq == 9).await;
    client.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!(viewer.screen.last_text(), counted(9));
    let silent = client.create("/demo stall=0").await;
    client.until_running(&silent).await;
    client.interrupt(&silent).await.expect(202);
    client.until_idle(&silent).await;
    assert_eq!(client.messages(&silent).await.len(), 1, "no part, no message");
}

#[tokio::test]
async fn an_answer_that_outgrows_its_bound_ends_there() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--episode-bytes-max", "1000"]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=5000 interval=1ms").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until("why is told", |s| s.error.is_object()).await;
    assert_eq!(viewer.screen.error["code"], "answer_too_large");
    viewer.finish(&client).await;
    let answer = &viewer.screen.messages[1];
    assert!(answer.interrupted && is_counted(&answer.text()), "{answer:?}");
    assert!((900..=1000).contains(&answer.text().len()), "{}", answer.text().len());
}

async fn asking(provider: &Provider, scratch: &Scratch) -> Replica {
    asking_with(provider, scratch, &[]).await
}

async fn asking_with(provider: &Provider, scratch: &Scratch, more: &[&str]) -> Replica {
    let url = scratch.sqlite_url();
    let flags = ["--database", &url, "--generator", "openai", "--openai-model", "tiny", "--openai-base-url"];
    let flags = [&flags[..], &[&*provider.base_url], more].concat();
    Replica::start_with("alone", &flags, &[("OPENAI_API_KEY", "k-123")]).await
}

#[tokio::test]
async fn a_provider_is_asked_with_the_conversation_and_its_parts_are_streamed() {
    let scratch = Scratch::new();
    let provider =
        Provider::start(vec![Reply::Parts(vec!["Hel", "lo, ", "wörld"]), Reply::Parts(vec!["Bye"])]).await;
    let replica = asking(&provider, &scratch).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    assert_eq!(viewer.screen.texts(), ["hi", "Hello, wörld"]);
    client.send(&chat, "ciao").await;
    viewer.until("it answers", |s| s.messages.len() == 4).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    let seen = provider.seen();
    assert!(seen[0].head.starts_with("POST /v1/chat/completions"), "{}", seen[0].head);
    assert!(seen[0].head.to_lowercase().contains("authorization: bearer k-123"), "{}", seen[0].head);
    assert_eq!((&seen[1].body["model"], &seen[1].body["stream"]), (&"tiny".into(), &true.into()));
    assert_eq!(seen[1].roles(), ["user", "assistant", "user"]);
    assert!(!replica.log().contains("k-123") && !replica.log().contains("ciao"), "logs tell lengths only");
}

#[tokio::test]
async fn the_instructions_of_the_file_come_before_all_that_is_said() {
    let scratch = Scratch::new();
    let file = scratch.file("instructions.txt", "Be brief.\nBe kind.\n");
    let provider = Provider::start(vec![Reply::Parts(vec!["Yes."])]).await;
    let replica = asking_with(&provider, &scratch, &["--instructions-file", &file]).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    client.until_idle(&chat).await;
    let seen = provider.seen();
    assert_eq!(seen[0].roles(), ["system", "user"]);
    assert_eq!(seen[0].body["messages"][0]["content"], "Be brief.\nBe kind.");
    assert_eq!(client.messages(&chat).await.len(), 2, "they are no message of the chat");
    assert!(!replica.log().contains("Be kind"), "logs tell lengths only");
}

#[tokio::test]
async fn a_provider_that_is_busy_or_breaks_off_is_asked_again() {
    let scratch = Scratch::new();
    let replies = vec![Reply::Status(429, "1"), Reply::Broken(vec!["par"]), Reply::Parts(vec!["whole"])];
    let provider = Provider::start(replies).await;
    let replica = asking(&provider, &scratch).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!((viewer.screen.last_text(), provider.seen().len()), ("whole".into(), 3));
    assert!(viewer.screen.retry.is_null());
}

#[tokio::test]
async fn a_provider_that_refuses_is_not_asked_again() {
    let scratch = Scratch::new();
    let provider = Provider::start(vec![Reply::Status(401, "")]).await;
    let replica = asking(&provider, &scratch).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    let reported = client.until_idle(&chat).await;
    assert_eq!(reported["status"], "error");
    assert!(reported["error"]["code"].is_string() && reported["retry"].is_null(), "{reported}");
    assert_eq!((provider.seen().len(), client.messages(&chat).await.len()), (1, 1));
}
