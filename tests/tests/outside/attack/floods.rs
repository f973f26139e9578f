//! Floods of frames on one connection of HTTP/2, each of which has cost some server dearly: it ends, or is answered, a neighbour's stream
//! goes on meanwhile, and nothing is left of it.

use std::time::Duration;

use mainstem_tests::viewer::{Kind, Viewer};
use tokio::time::timeout;

use super::dice::Dice;
use super::frames::{
    CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, get, head, setting,
};
use super::{memory_of, secured};

/// What a calm-minded server says (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 11;
const SEED: u64 = 11;

/// What a flood sends over and over, by the number of the time.
type Flood = (&'static str, fn(u32) -> Vec<u8>, u32);

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head("POST", "/v1/chats", "bobs"))
}

fn floods() -> Vec<Flood> {
    vec![
        (
            "requests that are taken back (CVE-2023-44487)",
            |n| {
                [get(2 * n + 1, "/v1/chats", "bobs"), frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())]
                    .concat()
            },
            4000,
        ),
        (
            "a head without an end (CVE-2024-27316)",
            |n| match n {
                0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/v1/chats", "bobs")),
                _ => frame(CONTINUATION, 0, 1, &field(&format!("x-{n}"), &[b'a'; 1000])),
            },
            20_000,
        ),
        (
            "a head in nothing at all",
            |n| match n {
                0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/v1/chats", "bobs")),
                _ => frame(CONTINUATION, 0, 1, b""),
            },
            20_000,
        ),
        (
            "a head that unfolds to megabytes",
            |n| {
                // One entry of the table, of 4000 bytes, named 12,000 times.
                let entry = [&b"\x40\x01a\x7f\x81\x1e"[..], &[b'b'; 4000], &[0xbe; 12_000]].concat();
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    2 * n + 1,
                    &[head("GET", "/v1/chats", "bobs"), entry].concat(),
                )
            },
            50,
        ),
        ("settings (CVE-2019-9515)", |_| frame(SETTINGS, 0, 0, &setting(3, 100)), 50_000),
        ("pings (CVE-2019-9512)", |_| frame(PING, 0, 0, b"12345678"), 50_000),
        (
            "data of nothing (CVE-2019-9518)",
            |n| if n == 0 { post(1) } else { frame(DATA, 0, 1, b"") },
            50_000,
        ),
        ("windows", |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()), 50_000),
        ("priorities (CVE-2019-9513)", |n| frame(2, 0, 1 + 2 * (n % 100), &[0, 0, 0, 0, 16]), 50_000),
        ("bodies that never come", |n| post(2 * n + 1), 5000),
    ]
}

#[tokio::test]
async fn a_flood_of_frames_ends_or_is_answered_and_the_neighbours_stream_on() {
    let server = secured(&["--client-timeout", "5s"]).await;
    let ann = server.client("anns");
    let chat = ann.create("/demo parts=100000 interval=2ms").await;
    let mut neighbour = Viewer::open(&ann, &chat, Kind::EventStream).await;
    neighbour.until("parts", |screen| screen.seq > 5).await;
    let before = memory_of(&server.replica);
    for (name, piece, times) in floods() {
        let mut flooder = Connection::open(server.address(), &server.authority, &[]).await;
        let mut sent = vec![];
        for n in 0..times {
            sent.extend(piece(n));
            if sent.len() > 60_000 || n + 1 == times {
                // It may refuse to read: whoever only sends has filled all buffers then.
                if timeout(Duration::from_millis(500), flooder.send(&sent)).await.is_err() {
                    break;
                }
                sent.clear();
            }
        }
        let seq = neighbour.screen.seq;
        let took = neighbour.until("B3: a neighbour's stream goes on", |screen| screen.seq > seq + 20).await;
        assert!(took < Duration::from_secs(5), "B3: {name}: {took:?}");
    }
    neighbour.until("it is judged part by part", |_| true).await;
    ann.get("/v1/chats").await.expect(200);
    server.is_unharmed().await;
    let after = memory_of(&server.replica);
    println!("memory: {before} kB, then {after} kB");
    assert!(after < before + 14_000, "B1: {before} kB became {after} kB");
}

#[tokio::test]
async fn floods_that_are_known_by_their_kind_are_cut_off_by_their_name() {
    let server = secured(&[]).await;
    for (name, piece, times) in floods().into_iter().filter(|(name, ..)| {
        ["requests that", "a head", "data of nothing"].iter().any(|begin| name.starts_with(begin))
    }) {
        let mut flooder = Connection::open(server.address(), &server.authority, &[]).await;
        for n in 0..times.min(8000) {
            if timeout(Duration::from_millis(500), flooder.send(&piece(n))).await.is_err() {
                break;
            }
        }
        let mut said = None;
        while let Some(frame) = flooder.next().await {
            if frame.kind == GOAWAY {
                said = Some(u32::from_be_bytes(frame.payload[4..8].try_into().expect("four")));
            }
        }
        // A reset may be quicker than what was said before it.
        assert!(said.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{name}: {said:?}");
    }
    server.is_unharmed().await;
}

#[tokio::test]
async fn frames_of_any_bytes_end_their_connection_and_no_other() {
    println!("seed {SEED}");
    let server = secured(&[]).await;
    let (mut dice, bob) = (Dice::new(SEED), server.client("bobs"));
    for round in 0..150 {
        let mut connection = Connection::open(server.address(), &server.authority, &[]).await;
        let mut sent = vec![];
        for _ in 0..=dice.below(6) {
            let (kind, flags, length) = (dice.below(12) as u8, dice.byte(), dice.below(300));
            let stream = [0, 1, 3, 5, 2, u32::MAX][dice.below(6)];
            let payload = match dice.below(3) {
                0 => dice.bytes(length),
                1 => head(
                    ["GET", "POST", "CONNECT", ""][dice.below(4)],
                    ["/v1/chats", "", "*", "//", "/\u{e9}"][dice.below(5)],
                    "bobs",
                ),
                _ => vec![0; [0, 4, 5, 6, 8, 40][dice.below(6)]],
            };
            sent.extend(frame(kind, flags, stream, &payload));
        }
        if dice.below(3) == 0 {
            let length = dice.below(2000);
            sent.extend(dice.bytes(length));
        }
        connection.send(&sent).await;
        // What makes no sense as a frame at all ends it, whatever came before.
        connection.send(&frame(SETTINGS, 0, 1, b"odd")).await;
        let ended = timeout(Duration::from_secs(10), connection.until_cut()).await;
        assert!(ended.is_ok(), "seed {SEED}, round {round}: {sent:?}");
    }
    bob.get("/v1/chats").await.expect(200);
    server.is_unharmed().await;
}
