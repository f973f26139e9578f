//! The relay's port, and the internal one, under any bytes. Who does not know the secret is told nothing and cut off; who knows it and talks
//! nonsense gets no further than one connection; and viewers at other replicas go on getting every part.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::within;
use mainstem_tests::process::free_port;
use mainstem_tests::raw::Raw;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dice::Dice;
use super::frames::{
    CONTINUATION, Connection, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, field,
    frame, setting,
};
use super::{is_sound, memory_of, server};

const SEED: u64 = 23;
const SECRET: &str = "a secret of the cluster";
const MAGIC: &[u8; 8] = b"mainstm\x01";

/// A connection that has proved that it knows the secret.
async fn admitted(relay: &str) -> Connection {
    let mut stream = TcpStream::connect(relay).await.expect("it listens");
    let ours = [7; 32];
    stream.write_all(&[&MAGIC[..], &ours].concat()).await.expect("it reads");
    let mut greeting = [0; 40];
    within("it greets", stream.read_exact(&mut greeting)).await.expect("it greets");
    let said = [b"mainstem relay client", &ours[..], &greeting[8..]].concat();
    let proof = sign(&said, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256).expect("a proof");
    stream.write_all(&URL_SAFE_NO_PAD.decode(proof).expect("base64")).await.expect("it reads");
    let mut answer = [0; 33];
    within("it answers", stream.read_exact(&mut answer)).await.expect("it answers");
    assert_eq!(answer[0], 1, "the secret is the right one");
    Connection::over(stream)
}

/// A call of the relay's, with this message in gRPC's framing.
fn call(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "relay"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value.as_bytes())).collect();
    [frame(HEADERS, END_HEADERS, stream, &fields), frame(0, END_STREAM, stream, message)].concat()
}

const FOLLOW: &str = "/mainstem.relay.v1.Relay/Follow";
const FOLLOW_MANY: &str = "/mainstem.relay.v1.Relay/FollowMany";

/// A message of these asks, each of a follow, in gRPC's framing.
fn asks<'a>(of: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let one = |(follow, kind): (u8, &[u8])| [&[0x0a, kind.len() as u8 + 2, 8, follow], kind].concat();
    let all: Vec<u8> = of.into_iter().flat_map(one).collect();
    [&[0], &u32::try_from(all.len()).expect("short").to_be_bytes()[..], &all].concat()
}

const EMPTY_BEGIN: &[u8] = &[0x12, 0];
/// Of a chat that nobody has.
const STRANGE_BEGIN: &[u8] =
    b"\x12\x1a\x0a\x18\x0a\x10\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08\x12\x01f\x1a\x01w";
const LEAVE: &[u8] = &[0x1a, 0];

#[tokio::test]
async fn whatever_comes_to_the_relay_with_or_without_the_secret_viewers_elsewhere_get_every_part() {
    println!("seed {SEED}");
    let scratch = Scratch::new();
    let secret = scratch.file("secret", SECRET);
    let relay = format!("127.0.0.1:{}", free_port());
    let ours = ["--peer-secret-file", &*secret];
    let worker = [&ours[..], &["--relay-listen", &relay]].concat();
    let cluster = Cluster::start(&[&worker, &[&ours[..], &["--workers", "0"]].concat()]).await;
    let [a, b] = [0, 1].map(|at: usize| cluster.replicas[at].client());
    let chat = a.create("/demo parts=100000 interval=2ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts", |screen| screen.seq > 5).await;
    let before = memory_of(&cluster.replicas[0]);
    let mut dice = Dice::new(SEED);

    // Without the secret: any bytes, the greeting with any proof, and a greeting that is cut at every byte.
    for round in 0..150 {
        let length = dice.below(3000);
        let mut bytes = dice.bytes(length);
        match dice.below(3) {
            0 => drop(bytes.splice(0..0, MAGIC.iter().copied())),
            1 => bytes = [&MAGIC[..], &[7; 32], &[9; 64]].concat()[..round % 105].to_vec(),
            _ => {}
        }
        let mut stream = TcpStream::connect(&relay).await.expect("it listens");
        stream.write_all(&bytes).await.ok();
        stream.shutdown().await.ok();
        let mut answer = vec![];
        within("it cuts off", stream.read_to_end(&mut answer)).await.ok();
        let knows_the_greeting = bytes.starts_with(MAGIC) && bytes.len() >= 40;
        let told = if knows_the_greeting { 41 } else { 0 };
        assert!(
            answer.len() <= told && answer.get(40).is_none_or(|byte| *byte == 0),
            "S10: {bytes:?}: {answer:?}"
        );
    }

    // With it: calls that make no sense, floods, and any frames.
    let calls: Vec<Vec<u8>> = vec![
        call(1, FOLLOW, b""),
        call(1, FOLLOW, b"\0\0\0\0\0"),
        call(1, FOLLOW, b"\0\xff\xff\xff\xff"),
        call(1, FOLLOW, b"\x01\0\0\0\x04abcd"),
        call(1, FOLLOW, &[&b"\0\0\0\x10\0"[..], &[b'x'; 4096]].concat()),
        call(1, FOLLOW, b"\0\0\0\0\x12\x0a\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        call(1, FOLLOW_MANY, b"\0\0\0\0\0"),
        call(1, FOLLOW_MANY, b"\0\xff\xff\xff\xff"),
        call(1, FOLLOW_MANY, &asks([(0, EMPTY_BEGIN)])),
        call(1, FOLLOW_MANY, &asks([(1, EMPTY_BEGIN), (1, EMPTY_BEGIN)])),
        call(
            1,
            FOLLOW_MANY,
            &asks([(1, STRANGE_BEGIN), (1, &[0x20, 0xff, 0x7f]), (1, &[0xf2, 0x07, 0]), (9, LEAVE)]),
        ),
        call(1, FOLLOW_MANY, &asks((1..=120).flat_map(|n| [(n, STRANGE_BEGIN), (n, LEAVE)]))),
        (0..3000u32)
            .flat_map(|n| {
                let message = asks((1..=40).map(|n| (n, EMPTY_BEGIN)));
                [call(2 * n + 1, FOLLOW_MANY, &message), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])]
                    .concat()
            })
            .collect(),
        call(1, "/mainstem.relay.v1.Relay/Nothing", b"\0\0\0\0\0"),
        call(1, "/", b""),
        (0..3000u32)
            .flat_map(|n| {
                [call(2 * n + 1, FOLLOW, b"\0\0\0\0\0"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])]
                    .concat()
            })
            .collect(),
        (0..3000u32)
            .flat_map(|n| frame(if n == 0 { HEADERS } else { CONTINUATION }, 0, 1, &field("x", &[b'a'; 500])))
            .collect(),
        (0..20_000).flat_map(|_| frame(PING, 0, 0, b"12345678")).collect(),
        frame(SETTINGS, 0, 0, &[setting(4, 0), setting(1, u32::MAX), setting(3, 0)].concat()),
    ];
    for (number, bytes) in calls.iter().enumerate() {
        let mut peer = admitted(&relay).await;
        peer.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        timeout(Duration::from_secs(1), peer.send(bytes)).await.ok();
        peer.send(&frame(SETTINGS, 0, 1, b"odd")).await;
        let ended = timeout(Duration::from_secs(10), peer.until_cut()).await;
        assert!(ended.is_ok(), "call {number} holds its connection");
    }
    for round in 0..100 {
        let mut peer = admitted(&relay).await;
        let mut bytes = if dice.below(4) == 0 { vec![] } else { PREFACE.to_vec() };
        for _ in 0..=dice.below(5) {
            let (kind, flags, length) = (dice.below(12) as u8, dice.byte(), dice.below(200));
            bytes.extend(frame(kind, flags, dice.below(6) as u32, &dice.bytes(length)));
        }
        bytes.extend(frame(SETTINGS, 0, 1, b"odd"));
        peer.send(&bytes).await;
        let ended = timeout(Duration::from_secs(10), peer.until_cut()).await;
        assert!(ended.is_ok(), "seed {SEED}, round {round}: {bytes:?}");
    }
    let seq = viewer.screen.seq;
    viewer.until("every part comes, in order", |screen| screen.seq > seq + 50).await;
    for replica in &cluster.replicas {
        is_sound(replica);
    }
    let after = memory_of(&cluster.replicas[0]);
    println!("memory: {before} kB, then {after} kB");
    assert!(after < before + 40_000, "B1: {before} kB became {after} kB");
}

#[tokio::test]
async fn the_internal_port_answers_any_bytes_and_goes_on_showing() {
    println!("seed {SEED}");
    let server = server(&[]).await;
    let shown = server.replica.internal();
    let address = shown.base.strip_prefix("http://").expect("a URL").to_owned();
    let mut dice = Dice::new(SEED);
    for round in 0..300 {
        let path = [
            "/healthz",
            "/metrics",
            "/debug/chats?limit=9999999999999999999999",
            "/debug/chats?limit=%ff",
            "/debug/replica",
            "/v1/chats",
        ];
        let mut bytes =
            format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", path[dice.below(path.len())]).into_bytes();
        let at = dice.below(bytes.len());
        match dice.below(3) {
            0 => {}
            1 => bytes[at] = dice.byte(),
            _ => drop(bytes.splice(at..at, dice.bytes(9))),
        }
        let mut connection = Raw::open(&address).await;
        connection.send_some(&bytes).await;
        let answer = connection.ended(Duration::from_secs(5)).await;
        let text = String::from_utf8_lossy(&bytes);
        for piece in answer
            .split("HTTP/1.1 ")
            .skip(1)
            .filter(|piece| piece.as_bytes()[..3].iter().all(u8::is_ascii_digit))
        {
            assert!(!piece.starts_with('5'), "seed {SEED}, round {round}: {text:?}: {answer}");
        }
    }
    shown.get("/metrics").await.expect(200);
    server.is_unharmed().await;
}
