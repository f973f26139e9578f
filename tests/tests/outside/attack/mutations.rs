//! Requests with random damage. Whatever is left of one, its answers are statuses that are documented and no defect of the server, a
//! neighbour's stream misses nothing, and nothing stays behind.

use std::time::Duration;

use mainstem_tests::deadline::within;
use mainstem_tests::raw::Raw;
use mainstem_tests::viewer::{Kind, Viewer};

use super::dice::Dice;
use super::{is_sound, memory_of, server};

const SEED: u64 = 7;
const ROUNDS: usize = 1500;
/// What may be answered to anything: 500 is a defect, and 501 and 502 are not what is asked for here.
const EXPECTED: [u16; 21] =
    [200, 201, 202, 204, 101, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 421, 422, 429, 431, 503, 505];

fn valid(chat: &str) -> Vec<String> {
    let with = |line: &str, fields: &str, body: &str| {
        format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer bobs\r\n{fields}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    vec![
        with("GET /v1/chats?limit=5&shared=false", "", ""),
        with(
            "POST /v1/chats",
            "idempotency-key: k\r\n",
            r#"{"title":"t","messages":[{"role":"system","content":"x"}]}"#,
        ),
        with(
            &format!("POST /v1/chats/{chat}/messages"),
            "",
            r#"{"content":[{"type":"text","text":"x"},{"type":"data","name":"d","data":{"a":[1,2.5e3,null]}}],"busy":"reject"}"#,
        ),
        with(
            &format!("PATCH /v1/chats/{chat}"),
            "",
            r#"{"title":"\u00e9","model":null,"tools":[{"name":"t","description":"d","input_schema":{}}]}"#,
        ),
        with(&format!("GET /v1/chats/{chat}/messages?after_id=1&limit=2"), "", ""),
        with(&format!("GET /v1/chats/{chat}/stream?after_id=0"), "last-event-id: AAAA\r\n", ""),
        with(
            &format!("GET /v1/chats/{chat}/stream"),
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "",
        ),
        with(&format!("PUT /v1/chats/{chat}/shares/ann%2Fx"), "", r#"{"may":"read"}"#),
        with(
            &format!("POST /v1/chats/{chat}/tool_results"),
            "",
            r#"{"results":[{"tool_call_id":"a","content":"x"}]}"#,
        ),
        with("POST /v1/tickets", "", r#"{"chat":null}"#),
        with(
            "POST /v1/session",
            "cookie: a=b; mainstem_session=c\r\norigin: http://localhost\r\nsec-fetch-site: same-origin\r\n",
            "",
        ),
        with(
            "GET /openapi.json",
            "if-none-match: \"x\"\r\naccept-encoding: gzip\r\nrange: bytes=0-9\r\n",
            "",
        ),
        with(
            "POST /ai/chat",
            "",
            r#"{"id":"c","trigger":"submit-message","messages":[{"id":"m","role":"user","parts":[{"type":"text","text":"/demo parts=1 interval=0"}]}]}"#,
        ),
        with(
            "POST /ag-ui",
            "",
            r#"{"threadId":"t","runId":"r","state":{},"tools":[],"context":[],"forwardedProps":{},"messages":[{"id":"m","role":"user","content":"/demo parts=1 interval=0"}]}"#,
        ),
        with(
            "POST /v1/responses",
            "",
            r#"{"model":"demo","input":[{"role":"user","content":[{"type":"input_text","text":"/demo parts=1 interval=0"}]}],"stream":true}"#,
        ),
        with(
            "POST /v1/chat/completions",
            "",
            r#"{"model":"demo","messages":[{"role":"user","content":"/demo parts=1 interval=0"}]}"#,
        ),
        with("OPTIONS /v1/chats", "origin: http://localhost\r\naccess-control-request-method: POST\r\n", ""),
    ]
}

/// What parsers trip over.
const PIECES: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\x7f",
    b"\xff",
    b"%00",
    b"%FF",
    b"%2e%2e/",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"1e999",
    b"-0",
    b"99999999999999999999",
    b"null",
    b"{",
    b"[[[[[[[[[[[[[[[[",
    b"\"",
    b",",
    b": ",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"?access_token=mst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"Host: evil\r\n",
];

fn damaged(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] = dice.byte(),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.drain(at..(at + dice.below(20)).min(bytes.len()))),
            3 => {
                let end = (at + dice.below(200)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied())),
        }
    }
    bytes
}

#[tokio::test]
async fn whatever_is_left_of_a_damaged_request_is_answered_by_what_is_documented_and_disturbs_nobody() {
    println!("seed {SEED}");
    let server = server(&[]).await;
    let (ann, bob) = (server.client("anns"), server.client("bobs"));
    let watched = ann.create("/demo parts=100000 interval=2ms").await;
    let mut neighbour = Viewer::open(&ann, &watched, Kind::EventStream).await;
    neighbour.until("parts", |screen| screen.seq > 5).await;
    let chat = bob.create("").await;
    let (valid, mut dice) = (valid(&chat), Dice::new(SEED));
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    let before = memory_of(&server.replica);
    for round in 0..ROUNDS {
        let mut request = damaged(valid[dice.below(valid.len())].clone().into_bytes(), &mut dice);
        if dice.below(4) == 0 {
            let next = valid[dice.below(valid.len())].clone().into_bytes();
            request.extend(damaged(next, &mut dice));
        }
        let mut connection = Raw::open(server.address()).await;
        connection.send_some(&request).await;
        // Who has ended says so: nobody waits for the rest of a body.
        let answer = within("it answers or closes", connection.ended(Duration::from_millis(400))).await;
        for piece in answer.split("HTTP/1.1 ").skip(1) {
            let Some(status) = piece.get(..3).and_then(|text| text.parse().ok()) else { continue };
            *seen.entry(status).or_default() += 1;
            let request = String::from_utf8_lossy(&request);
            assert!(EXPECTED.contains(&status), "seed {SEED}, round {round}: {request:?}: {answer}");
        }
    }
    assert!(seen.len() >= 8, "it gets behind the head as well: {seen:?}");
    let seq = neighbour.screen.seq;
    neighbour
        .until("a neighbour's stream goes on, judged part by part", |screen| screen.seq > seq + 20)
        .await;
    server.is_unharmed().await;
    is_sound(&server.replica);
    let after = memory_of(&server.replica);
    println!("memory: {before} kB, then {after} kB");
    assert!(after < before + 60_000, "B1: {before} kB became {after} kB");
}
