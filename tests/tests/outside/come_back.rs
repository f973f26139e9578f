//! Streams that cannot be had now: a browser gives up for good at an error, and comes back after an end.

use std::process::Stdio;
use std::sync::Arc;

use mainstem_tests::browser::Page;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::{until, within};
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::Running;
use mainstem_tests::raw::{Raw, exchange, status};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shelled::Shelled;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// The whole answer to a request for the chat's stream, which must be one that a browser comes back after.
async fn comes_back(address: &str, chat: &str) {
    let head = format!(
        "GET /v1/chats/{chat}/stream HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    let answer = exchange(address, head.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(head.contains("text/event-stream") && head.contains("no-transform"), "{answer}");
    let retry = body.lines().find_map(|line| line.strip_prefix("retry: ")).expect("when to come back");
    assert!((500..=2000).contains(&retry.parse::<u64>().expect("milliseconds")), "{answer}");
    assert!(!body.contains("data:") && body.ends_with("\n\n"), "{answer}");
}

#[tokio::test]
async fn a_stream_asked_of_a_replica_that_drains_is_one_to_come_back_to() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &["--drain-timeout", "3s"]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=9 interval=0 stall=3").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |screen| screen.seq == 3).await;
    replica.terminate();
    let draining = async || (client.get("/readyz").await.status == 503).then_some(());
    until("it drains", draining).await;
    comes_back(replica.address(), &chat).await;
    // What is no event stream is told that it cannot be.
    assert_eq!(Viewer::refused(&client, &chat, Kind::WebSocket, "").await, (503, "overloaded".into()));
    // Who may not see it, or asks for nonsense, is not asked to come back.
    client.get("/v1/chats/x/stream").await.expect_problem(404, "no_such_chat");
    client.get(&format!("/v1/chats/{chat}/stream?after=x")).await.expect_problem(400, "bad_cursor");
    let url = replica.url();
    let tail = Running::start(&["tail", &chat, "--json", "--server", &url]);
    viewer.ended().await;
    assert_eq!(replica.ended().await.code(), Some(0));
    replica.start_again().await;
    let mut again = Viewer::open(&client, &chat, Kind::EventStream).await;
    again.until("the run begins again", |screen| screen.seq == 3).await;
    client.interrupt(&chat).await.expect(202);
    until("tail came back", async || tail.said().contains("\"interrupted\":true").then_some(())).await;
    viewer.resume_on(&client).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    assert_eq!(viewer.screen.last_text(), counted(3));
}

#[tokio::test]
async fn a_stream_asked_while_the_database_is_away_is_one_to_come_back_to() {
    let postgres = Arc::new(Postgres::new().expect("a PostgreSQL"));
    let cluster = Cluster::start_on(postgres.clone(), &[&[]]).await;
    let replica = &cluster.replicas[0];
    let client = replica.client();
    let chat = client.create("/demo parts=3 interval=0").await;
    client.until_idle(&chat).await;
    postgres.stop();
    let (tail, chatting) = (
        Running::start(&["tail", &chat, "--json", "--server", &replica.url()]),
        Running::start(&["chat", &chat, "--server", &replica.url()]),
    );
    within("a stream and a request are answered", async {
        let path = format!("/v1/chats/{chat}");
        let (_, read) = tokio::join!(comes_back(replica.address(), &chat), client.get(&path));
        read.expect_problem(503, "unavailable");
    })
    .await;
    postgres.start().expect("it starts again");
    until("tail came back", async || tail.said().contains("\"synced\"").then_some(())).await;
    until("chat came back", async || chatting.said().contains(&counted(3)).then_some(())).await;
}

/// Begins requests that stay unfinished, until there is no place for another connection.
async fn fill(address: &str) -> Vec<Raw> {
    let unfinished = b"POST /v1/chats HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
    let mut taken = vec![];
    until("all places are taken", async || {
        for _ in 0..16 {
            let mut connection = Raw::open(address).await;
            connection.send(unfinished).await;
            taken.push(connection);
        }
        let asked =
            exchange(address, b"GET /v1/chats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        (status(&asked.await) == 503).then_some(())
    })
    .await;
    taken
}

#[tokio::test]
async fn a_stream_asked_where_no_connection_has_a_place_is_one_to_come_back_to() {
    let scratch = Scratch::new();
    let url = scratch.sqlite_url();
    let replica =
        Shelled::start("ulimit -n 96", &["--database", &url, "--log", "error"], Stdio::inherit()).await;
    let (address, client) = (replica.address(), replica.client());
    let chat = client.create("/demo parts=3 interval=0").await;
    client.until_idle(&chat).await;
    let taken = fill(address).await;
    comes_back(address, &chat).await;
    // However its head is cut, and whatever it has besides.
    let stream = format!("GET /v1/chats/{chat}/stream?after_id=1 HTTP/1.1\r\nhost: localhost\r\n");
    let long = format!("cookie: {}\r\n\r\n", "x".repeat(8000));
    let mut cut = Raw::open(address).await;
    for piece in [&stream[..9], &stream[9..], &long[..4000], &long[4000..]] {
        cut.send(piece.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    let answer = cut.rest().await;
    assert!(status(&answer) == 200 && answer.contains("retry: "), "{answer}");
    // Everything else is told so, also what is no request, or never becomes one.
    let endless = format!("{stream}x: {}", "y".repeat(200_000));
    for other in [
        format!("{stream}connection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        stream.replace("GET", "POST") + "\r\n",
        stream.replace("/stream", "/streams") + "\r\n",
        stream.replace("/v1", "/v2") + "\r\n",
        stream.replace("HTTP/1.1", "HTTP/7") + "\r\n",
        "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        format!(
            "POST /v1/chats HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60000\r\n\r\n{endless:.60000}"
        ),
        "nonsense\r\n\r\n".to_owned(),
        "nonsense".to_owned(),
        stream.clone(),
        endless,
    ] {
        let begin = &other[..other.len().min(100)];
        let mut connection = Raw::open(address).await;
        // It may be answered before it has said all.
        connection.send_some(other.as_bytes()).await;
        let answer = connection.rest().await;
        assert_eq!(status(&answer), 503, "B1: {begin}: {answer}");
        assert!(answer.contains("retry-after: ") && answer.contains("\"overloaded\""), "{begin}: {answer}");
    }
    // Who says nothing keeps nobody else waiting for long.
    let mut silent = vec![];
    for _ in 0..200 {
        silent.push(Raw::open(address).await);
    }
    until("a stream is answered again", async || {
        let asked = exchange(address, format!("{stream}\r\n").as_bytes()).await;
        (status(&asked) == 200).then_some(())
    })
    .await;
    drop((taken, silent));
    let mut viewer = None;
    until("there are places again", async || {
        let served = client.get("/readyz").await.status == 200;
        if served {
            viewer = Some(Viewer::open(&client, &chat, Kind::EventStream).await);
        }
        served.then_some(())
    })
    .await;
    viewer.expect("it is open").until_idle().await;
}

#[tokio::test]
async fn a_browsers_event_source_comes_back_to_a_replica_that_drained() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &["--drain-timeout", "4s"]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=9 interval=0 stall=3").await;
    client.until_running(&chat).await;
    // A page of the server's own origin.
    let mut page = Page::open(&format!("{}/healthz", replica.url())).await;
    replica.terminate();
    let draining = async || (client.get("/readyz").await.status == 503).then_some(());
    until("it drains", draining).await;
    let begin = format!(
        "seen = []; source = new EventSource('/v1/chats/{chat}/stream');
         source.onerror = () => seen.push(source.readyState == EventSource.CLOSED ? 'gave up' : 'waits');
         source.addEventListener('synced', () => seen.push('synced')); seen"
    );
    assert_eq!(page.evaluate(&begin).await, json!([]));
    let mut saw = async |what: &str| {
        until(what, async || {
            let seen = page.evaluate("seen").await;
            assert!(!seen.to_string().contains("gave up"), "it gave up for good: {seen}");
            seen.to_string().contains(what).then_some(())
        })
        .await;
    };
    saw("waits").await;
    assert_eq!(replica.ended().await.code(), Some(0));
    replica.start_again().await;
    saw("synced").await;
}
