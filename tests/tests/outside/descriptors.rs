//! A process that may open few files: who is served goes on being served, and health checks get in.

use std::process::Stdio;

use mainstem_tests::client::counted;
use mainstem_tests::deadline::{until, within};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shelled::Shelled;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VIEWERS: usize = 150;
const IDLE: usize = 256;

async fn start(scratch: &Scratch, prelude: &str) -> Shelled {
    let url = scratch.sqlite_url();
    Shelled::start(prelude, &["--database", &url, "--log", "warn"], Stdio::inherit()).await
}

/// Asks for a stream as a WebSocket, and gives the connection with the status of the answer; 0 if none came.
async fn watch(replica: &Shelled, chat: &str) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(replica.address()).await.expect("the kernel takes it");
    let request = format!(
        "GET /v1/chats/{chat}/stream HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        replica.address()
    );
    let mut answer = [0; 12];
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_exact(&mut answer).await
    };
    let answered = within("it is answered or closed", asked).await.is_ok();
    let status = std::str::from_utf8(&answer[9..]).ok().and_then(|status| status.parse().ok());
    (stream, status.filter(|_| answered).unwrap_or(0))
}

#[tokio::test]
async fn viewers_beyond_the_limit_of_files_are_told_so_and_the_earlier_ones_get_all_parts() {
    let scratch = Scratch::new();
    let replica = start(&scratch, "ulimit -n 128").await;
    let client = replica.client();
    let chat = client.create("").await;
    let mut viewers = [
        Viewer::open(&client, &chat, Kind::EventStream).await,
        Viewer::open(&client, &chat, Kind::WebSocket).await,
    ];
    let mut others = vec![];
    for _ in 0..VIEWERS {
        others.push(watch(&replica, &chat).await);
    }
    let of_status = |status| others.iter().filter(|(_, reported)| *reported == status).count();
    let (taken, refused) = (of_status(101), of_status(503));
    assert!(taken > 32 && refused > 32 && taken + refused == VIEWERS, "B1: {taken} taken, {refused} refused");
    client.get("/readyz").await.expect(200);
    let sent_back = client.request(reqwest::Method::GET, &format!("/v1/chats/{chat}/stream"));
    let sent_back = sent_back.send().await.expect("it is answered").text().await.expect("the answer ends");
    assert!(sent_back.contains("retry: ") && !sent_back.contains("event: "), "{sent_back}");
    client.send(&chat, "/demo parts=50 interval=1ms").await;
    for viewer in &mut viewers {
        viewer.until("it is answered", |s| s.last_text() == counted(50)).await;
        viewer.finish(&client).await;
    }
    // Who left made room.
    others.clear();
    let taken = async || (watch(&replica, &chat).await.1 == 101).then_some(());
    until("another one is taken", taken).await;
}

#[tokio::test]
async fn connections_that_say_nothing_give_way_to_those_that_ask() {
    let scratch = Scratch::new();
    let replica = start(&scratch, "ulimit -n 128").await;
    let client = replica.client();
    let chat = client.create("").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    let mut idle = vec![];
    for begun in ["", "GET /readyz HT"].into_iter().cycle().take(IDLE) {
        let mut stream = TcpStream::connect(replica.address()).await.expect("the kernel takes it");
        stream.write_all(begun.as_bytes()).await.ok();
        idle.push(stream);
    }
    for _ in 0..5 {
        // A health check's connection is a new one each time.
        replica.client().get("/healthz").await.expect(200);
        replica.client().get("/readyz").await.expect(200);
    }
    client.send(&chat, "/demo parts=50 interval=1ms").await;
    viewer.until("who was there gets all parts", |s| s.last_text() == counted(50)).await;
    viewer.finish(&client).await;
}

#[tokio::test]
async fn the_soft_limit_of_files_is_raised_to_the_hard_one() {
    let scratch = Scratch::new();
    let replica = start(&scratch, "ulimit -S -n 64; ulimit -H -n 512").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", replica.process_id())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is one");
    assert_eq!(line.split_whitespace().nth(3), Some("512"), "{line}");
}
