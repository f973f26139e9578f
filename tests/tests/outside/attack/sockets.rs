//! WebSockets whose clients speak any frames (RFC 6455): those of a chat's stream and those on which a face's requests come. Each is answered or
//! closed, for its own reasons, and no other is disturbed.

use std::time::Duration;

use mainstem_tests::deadline::within;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dice::Dice;
use super::{Server, memory_of, server};

const SEED: u64 = 41;

/// An upgraded connection of bob's.
async fn upgraded(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer bobs\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut head = [0; 12];
    within("it is answered", stream.read_exact(&mut head)).await.expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 101", "{path}");
    stream
}

/// A frame, which says of itself that it has this length.
fn frame(head: u8, masked: bool, length: u64, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![head];
    match length {
        0..126 => bytes.push(mask | length as u8),
        126..65_536 => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    if masked {
        // Nothing is changed by it.
        bytes.extend([0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn any_frames(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..=dice.below(8) {
        let length = dice.below(200);
        let payload = match dice.below(4) {
            0 => dice.bytes(length),
            1 => br#"{"id":"c","trigger":"submit-message","messages":[]}"#.to_vec(),
            2 => b"{\"type\":\"".repeat(length),
            _ => vec![b'['; length],
        };
        let told = if dice.below(10) == 0 {
            [u64::MAX, 1 << 62, 70_000, 0][dice.below(4)]
        } else {
            payload.len() as u64
        };
        // Mostly whole texts, or what controls.
        let head = [0x81, 0x81, 0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x09, 0xf1, dice.byte()]
            [dice.below(13)];
        bytes.extend(frame(head, dice.below(8) > 0, told, &payload));
    }
    bytes
}

#[tokio::test]
async fn sockets_on_which_anything_is_said_are_closed_and_the_others_go_on() {
    println!("seed {SEED}");
    let server = server(&["--client-timeout", "5s"]).await;
    let (ann, bob) = (server.client("anns"), server.client("bobs"));
    let watched = ann.create("/demo parts=100000 interval=2ms").await;
    let mut neighbour = Viewer::open(&ann, &watched, Kind::WebSocket).await;
    neighbour.until("parts", |screen| screen.seq > 5).await;
    let chat = bob.create("/demo parts=3 interval=0").await;
    let paths = [format!("/v1/chats/{chat}/stream"), "/ai/chat/socket".to_owned()];
    let before = memory_of(&server.replica);
    let mut dice = Dice::new(SEED);
    for round in 0..200 {
        let mut stream = upgraded(&server, &paths[round % 2]).await;
        stream.write_all(&any_frames(&mut dice)).await.ok();
        // It may have been closed by then; whoever was not says goodbye.
        stream.write_all(&frame(0x88, true, 0, b"")).await.ok();
        stream.shutdown().await.ok();
        let mut told = vec![];
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut told)).await;
        assert!(ended.is_ok(), "seed {SEED}, round {round}: it is not closed");
    }
    // Floods of what controls, of texts that never end, and of what is too much.
    let floods = [
        frame(0x89, true, 125, &[b'p'; 125]).repeat(20_000),
        [frame(0x01, true, 1, b"x"), frame(0x00, true, 100, &[b'x'; 100]).repeat(200_000)].concat(),
        frame(0x81, true, 0, b"").repeat(1_000_000),
        frame(0x81, true, 50_000_000, &vec![b'x'; 50_000_000]),
    ];
    for (number, flood) in floods.iter().enumerate() {
        for path in &paths {
            let mut stream = upgraded(&server, path).await;
            let (mut from, mut to) = stream.split();
            let sending = async {
                to.write_all(flood).await.ok();
                to.write_all(&frame(0x88, true, 0, b"")).await.ok();
            };
            let mut told = vec![];
            let reading = async { from.read_to_end(&mut told).await.ok() };
            let both = async { tokio::join!(sending, reading) };
            let ended = tokio::time::timeout(Duration::from_secs(15), both).await;
            assert!(ended.is_ok(), "B1: flood {number} at {path} is not ended");
        }
        let seq = neighbour.screen.seq;
        neighbour.until("B3: a neighbour's socket goes on", |screen| screen.seq > seq + 20).await;
    }
    server.is_unharmed().await;
    let after = memory_of(&server.replica);
    println!("memory: {before} kB, then {after} kB");
    assert!(after < before + 60_000, "B1: {before} kB became {after} kB");
}
