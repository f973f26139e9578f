//! Traces: what a collector of OpenTelemetry's is told of turns, attempts, follows and operations.

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::{Cluster, alone_with};
use mainstem_tests::collector::{Collector, Told};
use mainstem_tests::process::run_with;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};

async fn cluster(collector: &Collector, flags: &[&[&str]]) -> Cluster {
    let mut cluster = Cluster::start(&[]).await;
    let environment = collector.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    for (flags, id) in flags.iter().zip('a'..) {
        cluster.add_with(&id.to_string(), flags, &environment).await;
    }
    cluster
}

fn is_of(told: &Told, chat: &str) -> bool {
    let of = told.attributes.get("mainstem.chat").or(told.attributes.get("gen_ai.conversation.id"));
    of.is_some_and(|of| of == chat)
}

#[tokio::test]
async fn a_turn_is_one_trace_and_a_follow_is_another_and_both_cross_replicas() {
    let collector = Collector::start().await;
    let cluster = cluster(&collector, &[&[], &["--workers", "0"]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=40 interval=10ms secretive").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    viewer.finish(&b).await;
    drop(viewer);
    let turn = collector.until("the turn is told", |told| told.name == "turn" && is_of(told, &chat)).await;
    assert_eq!((&*turn.replica, &*turn.service, turn.is_error), ("a", "mainstem", false));
    assert_eq!(turn.attributes["mainstem.turn.status"], "completed");
    assert!(turn.parent.is_empty() && turn.nanoseconds >= 400_000_000, "{turn:?}");
    let attempt = collector.until("the attempt is told", |told| told.name == "chat demo").await;
    assert_eq!((&attempt.trace, &attempt.parent), (&turn.trace, &turn.span));
    assert_eq!((attempt.kind, attempt.is_error), (3, false));
    let conventions = [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "mainstem.demo"),
        ("gen_ai.request.model", "demo"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.conversation.id", &chat),
        ("gen_ai.response.finish_reasons", "stop"),
        ("mainstem.attempt", "1"),
    ];
    for (name, value) in conventions {
        assert_eq!(attempt.attributes.get(name).map(String::as_str), Some(value), "{name}: {attempt:?}");
    }
    assert!(attempt.attributes.contains_key("gen_ai.response.time_to_first_chunk"));
    let commit = collector.until("the commit is told", |told| told.name == "finish_turn").await;
    assert_eq!((&commit.trace, &commit.parent), (&turn.trace, &turn.span));
    assert_eq!(commit.attributes["db.system.name"], "postgresql");
    let follow = collector.until("the follow is told", |told| told.name == "relay follow").await;
    let serve = collector.until("its other end is told", |told| told.name == "relay serve").await;
    assert_eq!((&*follow.replica, &*serve.replica), ("b", "a"));
    assert_eq!((&serve.trace, &serve.parent), (&follow.trace, &follow.span));
    assert_eq!((follow.kind, serve.kind), (3, 2));
    let all = format!("{:?}", collector.spans());
    assert!(!all.contains("secretive") && !all.contains("39 40"), "nothing that was said is told");
}

#[tokio::test]
async fn an_answer_that_is_taken_over_stays_in_its_trace() {
    let collector = Collector::start().await;
    let mut cluster = cluster(&collector, &[&[], &[]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=100 interval=10ms").await;
    let worker = cluster.index_of(&b.until_running(&chat).await);
    let there: &Client = [&b, &a][worker];
    let mut viewer = Viewer::open(there, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |screen| screen.seq > 5).await;
    cluster.replicas[worker].kill();
    viewer.until_idle().await;
    viewer.finish(there).await;
    assert_eq!(viewer.screen.last_text(), counted(100));
    let dead = ["a", "b"][worker];
    let turn = collector.until("the turn is told", |told| told.name == "turn").await;
    let attempt = collector.until("the attempt is told", |told| told.name == "chat demo").await;
    assert_eq!((&attempt.trace, &attempt.parent), (&turn.trace, &turn.span));
    assert_eq!(attempt.attributes["mainstem.attempt"], "2");
    for op in ["acquire", "finish_turn"] {
        let is_it = |told: &Told| told.name == op && told.replica != dead && told.trace == turn.trace;
        collector.until(&format!("{op} is told in the turn's trace"), is_it).await;
    }
}

#[tokio::test]
async fn what_was_said_is_told_on_demand_and_failures_are_told_as_such() {
    let (collector, scratch) = (Collector::start().await, Scratch::new());
    let environment = collector.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let replica = alone_with(&scratch, &["--trace-content"], &environment).await;
    let client = replica.client();
    let chat = client.create("/demo parts=3 fatal=2 tell me").await;
    client.until_idle(&chat).await;
    let attempt = collector.until("the attempt is told", |told| told.name == "chat demo").await;
    let turn = collector.until("the turn is told", |told| told.name == "turn").await;
    assert!(attempt.is_error && turn.is_error, "{attempt:?} {turn:?}");
    assert_eq!(attempt.attributes["error.type"], turn.attributes["error.type"]);
    assert_eq!(turn.attributes["mainstem.turn.status"], "failed");
    let input = &attempt.attributes["gen_ai.input.messages"];
    assert!(input.contains(r#""role":"user""#) && input.contains("tell me"), "{input}");
    assert!(attempt.attributes["gen_ai.output.messages"].contains("1 2 "), "{attempt:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_costs_no_answer_and_no_end() {
    for endpoint in ["http://127.0.0.1:9", "hanging"] {
        let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let hangs = format!("http://{}", hanging.local_addr().expect("it is bound"));
        let endpoint = if endpoint == "hanging" { &hangs } else { endpoint };
        let scratch = Scratch::new();
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
        let mut replica = alone_with(&scratch, &[], &environment).await;
        let client = replica.client();
        let chat = client.create("/demo parts=20 interval=5ms").await;
        let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
        viewer.until_idle().await;
        viewer.finish(&client).await;
        assert_eq!(viewer.screen.last_text(), counted(20));
        drop(viewer);
        replica.terminate();
        assert_eq!(replica.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn variables_that_make_no_sense_here_are_refused() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &url];
        let ended = run_with(&arguments, &[endpoint, (name, value)], "").await;
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(64), "{errors}");
        assert!(errors.lines().last().is_some_and(|line| line.contains(name)), "{errors}");
    }
}
