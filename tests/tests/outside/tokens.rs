//! Tokens that come, go and change hands while the server runs.

use std::time::Duration;

use mainstem_tests::client::Client;
use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::{until, within};
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const BOTH: &str = "[tokens]\nanns = \"ann\"\nbobs = \"bob\"\n";
const BOB_ALONE: &str = "[tokens]\nbobs = \"bob\"\n";

/// Puts a file in the place of another, as editors and deployments do.
fn replace(scratch: &Scratch, text: &str) {
    let new = scratch.file("new.toml", text);
    std::fs::rename(new, scratch.path().join("auth.toml")).expect("it can be renamed");
}

async fn until_status(client: &Client, status: u16) {
    let answered = async || (client.get("/v1/chats").await.status == status).then_some(());
    until("the tokens are those of the file", answered).await;
}

#[tokio::test]
async fn streams_of_a_token_end_when_it_is_removed_or_anothers_and_no_others_do() {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", BOTH);
    let replica = alone(&scratch, &["--auth-file", &file]).await;
    let [ann, bob] = ["anns", "bobs"].map(|token| replica.client().with_token(token));
    let (anns, bobs) = (ann.create("").await, bob.create("").await);
    for text in [BOB_ALONE, "[tokens]\nanns = \"bob\"\nbobs = \"bob\"\n"] {
        replace(&scratch, BOTH);
        until_status(&ann, 200).await;
        until("ann is ann", async || {
            (ann.get(&format!("/v1/chats/{anns}")).await.status == 200).then_some(())
        })
        .await;
        let mut viewers = [
            Viewer::open(&ann, &anns, Kind::EventStream).await,
            Viewer::open(&ann, &anns, Kind::WebSocket).await,
        ];
        let mut other = Viewer::open(&bob, &bobs, Kind::EventStream).await;
        other.until_idle().await;
        replace(&scratch, text);
        assert_eq!(viewers[0].ended().await, Ended::Body, "S10");
        assert_eq!(viewers[1].ended().await, Ended::Closed(4401), "S10");
        let refused = if text == BOB_ALONE { 401 } else { 404 };
        assert_eq!(Viewer::refused(&ann, &anns, Kind::WebSocket, "").await.0, refused, "S10");
        bob.send(&bobs, "/demo parts=3").await;
        other.until("who still has a token is told more", |s| s.seq > 0 || s.messages.len() > 1).await;
    }
}

/// An answer of 8 MB, and far more than buffers take.
const ANSWER: &str = "/demo parts=200000 interval=0 size=40";
const ANSWER_BYTES: usize = 200_000 * 40;

/// Opens a stream with a small buffer, and reads until it is in the midst of that answer.
async fn begun(replica: &Replica, chat: &str, upgrade: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a size");
    let mut stream =
        socket.connect(replica.address().parse().expect("an address")).await.expect("it listens");
    let path = format!("/v1/chats/{chat}/stream?access_token=anns");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    within("it begins", stream.read_exact(&mut [0; 64 * 1024])).await.expect("it is not closed");
    stream
}

/// Reads to the end, slowly at first, and gives how much came.
async fn taken(mut stream: TcpStream, pause: Duration) -> usize {
    let mut chunk = [0; 1024];
    let mut taken = 0;
    loop {
        match within("the stream goes on or ends", stream.read(&mut chunk)).await {
            Ok(length @ 1..) => taken += length,
            Ok(0) | Err(_) => return taken,
        }
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn a_stream_in_the_midst_of_a_large_message_ends_with_its_token_whoever_reads() {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", BOTH);
    let replica = alone(&scratch, &["--auth-file", &file, "--client-timeout", "5m"]).await;
    let [ann, bob] = ["anns", "bobs"].map(|token| replica.client().with_token(token));
    let chat = ann.create(ANSWER).await;
    ann.until_idle(&chat).await;
    let web_socket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                      sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (mut silent, mut slow) = (vec![], vec![]);
    for upgrade in ["", web_socket] {
        silent.push(begun(&replica, &chat, upgrade).await);
        let stream = begun(&replica, &chat, upgrade).await;
        slow.push(tokio::spawn(taken(stream, Duration::from_millis(20))));
    }
    let begun = replica.sockets();
    replace(&scratch, BOB_ALONE);
    until_status(&ann, 401).await;
    let ended = async || (replica.sockets() + silent.len() + slow.len() <= begun + 1).then_some(());
    until("S10: all end, also those that nobody reads", ended).await;
    for stream in silent {
        assert!(taken(stream, Duration::ZERO).await < ANSWER_BYTES / 2, "S10: it was cut");
    }
    for reader in slow {
        let taken = within("S10: who reads slowly is cut, too", reader).await.expect("it reads");
        assert!(taken < ANSWER_BYTES / 2, "S10: {taken} bytes");
    }
    bob.get("/v1/chats").await.expect(200);
}

#[tokio::test]
async fn a_file_that_makes_no_sense_changes_nothing_and_a_good_one_later_does() {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", BOTH);
    let mut replica = alone(&scratch, &["--auth-file", &file]).await;
    let [ann, bob] = ["anns", "bobs"].map(|token| replica.client().with_token(token));
    let chat = ann.create("").await;
    let mut viewer = Viewer::open(&ann, &chat, Kind::EventStream).await;
    for bad in ["", "[tokens]\nanns = ", "[tokens]\n\"\" = \"x\""] {
        let before = replica.log().matches("stay as they were").count();
        scratch.file("auth.toml", bad);
        let warned = async || (replica.log().matches("stay as they were").count() > before).then_some(());
        until("it warns", warned).await;
        ann.get("/v1/chats").await.expect(200);
    }
    std::fs::remove_file(&file).expect("it is there");
    let warned = async || (replica.log().matches("stay as they were").count() > 3).then_some(());
    until("it warns", warned).await;
    ann.send(&chat, "/demo parts=3").await;
    viewer.until("its stream goes on", |s| s.messages.len() == 2).await;
    scratch.file("auth.toml", "[tokens]\nnew = \"ann\"\n");
    viewer.ended().await;
    until_status(&ann, 401).await;
    until_status(&bob, 401).await;
    let new = ann.with_token("new");
    viewer.resume_on(&new).await;
    viewer.until_idle().await;
    // It is told to read again, and goes on.
    scratch.file("auth.toml", BOTH);
    replica.hang_up();
    until_status(&bob, 200).await;
    assert_eq!(viewer.ended().await, Ended::Body, "S10");
    assert!(replica.is_running() && replica.log().contains("SIGHUP"));
}
