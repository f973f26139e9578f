//! Viewers that read slowly or not at all: their memory, and when they are closed.

use std::time::Duration;

use mainstem_tests::cluster::{alone, alone_with};
use mainstem_tests::deadline::{until, within};
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// 200 000 parts of 40 bytes: just below the maximum size of an answer.
const ANSWER: &str = "/demo parts=200000 interval=0 size=40";
const PARTS: u64 = 200_000;
const ANSWER_BYTES: usize = 200_000 * 40;
const STALLED: usize = 50;
/// B1: the memory that one stalled viewer may cost, far below the size of an answer.
const VIEWER_BYTES_MAX: u64 = 512 * 1024;
/// Additional memory that the process may need when the same work is done again.
const SLACK_BYTES: u64 = 48 * 1024 * 1024;

/// Lets the allocator give back at once what is free, so that the measured memory is what is in use.
const MEASURABLE: [(&str, &str); 1] = [("MIMALLOC_PURGE_DELAY", "0")];

/// Opens a stream with small buffers, and reads nothing.
async fn stalled(replica: &Replica, chat: &str, kind: Kind) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a size");
    let address = replica.address().parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("it listens");
    let upgrade = match kind {
        Kind::EventStream => "",
        Kind::WebSocket => {
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    let request = format!("GET /v1/chats/{chat}/stream HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

#[tokio::test]
async fn event_streams_that_nobody_reads_cost_little_and_are_closed() {
    assert_stalled_viewers_are_bounded(Kind::EventStream).await;
}

#[tokio::test]
async fn web_sockets_that_nobody_reads_cost_little_and_are_closed() {
    assert_stalled_viewers_are_bounded(Kind::WebSocket).await;
}

async fn assert_stalled_viewers_are_bounded(kind: Kind) {
    let scratch = Scratch::new();
    let replica = alone_with(&scratch, &["--client-timeout", "3s"], &MEASURABLE).await;
    let client = replica.client();
    // The process has everything that it keeps for such an answer before the measurement.
    let first = client.create(ANSWER).await;
    let mut viewer = Viewer::open(&client, &first, Kind::EventStream).await;
    viewer.until_idle().await;

    let chat = client.create("").await;
    let sockets_before = replica.sockets();
    let mut streams = vec![];
    for _ in 0..STALLED {
        streams.push(stalled(&replica, &chat, kind).await);
    }
    let connected = async || (replica.sockets() >= sockets_before + STALLED).then_some(());
    until("all are connected", connected).await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    let memory_before = replica.resident_bytes();
    // The answer is not over: only parts are pending.
    client.send(&chat, &format!("{ANSWER} stall={PARTS}")).await;
    viewer.until("who reads is told all parts", |s| s.seq == PARTS).await;
    assert_eq!((viewer.screen.preview.len(), viewer.screen.resets.len()), (ANSWER_BYTES, 0), "B3");
    assert!(viewer.screen.part_bytes_max <= 64 * 1024, "{}", viewer.screen.part_bytes_max);
    let memory = replica.resident_bytes().saturating_sub(memory_before);
    let memory_max = STALLED as u64 * VIEWER_BYTES_MAX + SLACK_BYTES;
    assert!(memory <= memory_max, "B1: {memory} bytes for {STALLED} viewers");

    let closed = async || (replica.sockets() <= sockets_before + 1).then_some(());
    until("those who read nothing are closed", closed).await;
    client.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&client).await;
    for mut stream in streams {
        let mut taken = vec![];
        let read = within("the stream is over", stream.read_to_end(&mut taken)).await;
        assert!(read.is_err() || taken.len() < ANSWER_BYTES, "{} bytes were taken", taken.len());
    }
}

/// Viewers to which one large message is pending share it, however much each has read of it (B1).
async fn assert_a_large_message_is_shared(kind: Kind) {
    const VIEWERS: usize = 20;
    let scratch = Scratch::new();
    let replica = alone_with(&scratch, &["--client-timeout", "60s"], &MEASURABLE).await;
    let client = replica.client();
    let chat = client.create(ANSWER).await;
    // A viewer that reads, and the hub with the message, exist before the measurement.
    let mut viewer = Viewer::open(&client, &chat, kind).await;
    viewer.until_idle().await;
    let mut streams = vec![];
    let before = replica.resident_bytes();
    for _ in 0..VIEWERS {
        let mut stream = stalled(&replica, &chat, kind).await;
        // After this many bytes, it has begun to write the message.
        within("it begins", stream.read_exact(&mut [0; 64 * 1024])).await.expect("it is not closed");
        streams.push(stream);
    }
    let memory = replica.resident_bytes().saturating_sub(before);
    let memory_max = VIEWERS as u64 * VIEWER_BYTES_MAX + ANSWER_BYTES as u64;
    assert!(memory <= memory_max, "B1: {memory} bytes for {VIEWERS} viewers of one message");
}

#[tokio::test]
async fn event_streams_that_wait_for_a_large_message_share_it() {
    assert_a_large_message_is_shared(Kind::EventStream).await;
}

#[tokio::test]
async fn web_sockets_that_wait_for_a_large_message_share_it() {
    assert_a_large_message_is_shared(Kind::WebSocket).await;
}

#[tokio::test]
async fn a_viewer_that_reads_slowly_is_not_closed_and_misses_nothing() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--client-timeout", "1s"]).await;
    let client = replica.client();
    let chat = client.create("").await;
    let mut slow = stalled(&replica, &chat, Kind::EventStream).await;
    client.send(&chat, ANSWER).await;
    let mut taken = vec![];
    let mut chunk = [0; 4096];
    // Three times the time after which a client that reads nothing is disconnected.
    for _ in 0..30 {
        let length = within("more comes", slow.read(&mut chunk)).await.expect("it is not closed");
        assert!(length > 0, "it has not ended");
        taken.extend_from_slice(&chunk[..length]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.until_idle(&chat).await;
    let is_over = |taken: &[u8]| {
        let tail = String::from_utf8_lossy(&taken[taken.len().saturating_sub(4096)..]).into_owned();
        tail.contains("\"status\":\"waiting\"") && taken.len() > ANSWER_BYTES
    };
    let mut chunk = vec![0; 256 * 1024];
    while !is_over(&taken) {
        let length = within("more comes", slow.read(&mut chunk)).await.expect("it is not closed");
        assert!(length > 0, "it has not ended");
        taken.extend_from_slice(&chunk[..length]);
    }
    let text = String::from_utf8_lossy(&taken);
    assert!(text.contains("\"synced\"") && text.contains("199999..") && text.contains("200000.."));
}
