//! The relay's port, used by connections that are not peers.

use std::time::{Duration, Instant};

use futures::future::join_all;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::deadline::{until, within};
use mainstem_tests::metrics::Metrics;
use mainstem_tests::process::free_port;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The greeting of the relay's protocol, without its nonce.
const MAGIC: &[u8; 8] = b"mainstm\x01";
/// More than the maximum number of unauthenticated connections.
const SILENT: usize = 160;

/// Sends `bytes`, and returns everything that is received until the other side closes, which it must.
async fn said_to(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the relay listens");
    stream.write_all(bytes).await.ok();
    let mut answer = vec![];
    // It may end normally or by a reset.
    within("the relay cuts off", stream.read_to_end(&mut answer)).await.ok();
    answer
}

#[tokio::test]
async fn a_peer_with_another_secret_gets_no_parts() {
    let scratch = Scratch::new();
    let ours = scratch.file("ours", "the secret of this cluster\n");
    let other = scratch.file("other", "the secret of another cluster\n");
    let cluster = Cluster::start(&[
        &["--peer-secret-file", &ours],
        &[&INTERNAL[..], &["--peer-secret-file", &ours, "--workers", "0"]].concat(),
        &[&INTERNAL[..], &["--peer-secret-file", &other, "--workers", "0"]].concat(),
    ])
    .await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=150 interval=20ms").await;
    let mut peer = Viewer::open(&b, &chat, Kind::EventStream).await;
    let mut stranger = Viewer::open(&c, &chat, Kind::EventStream).await;
    peer.until("a peer is shown parts", |s| s.seq > 20).await;
    for viewer in [&mut peer, &mut stranger] {
        viewer.until_idle().await;
        viewer.finish(&a).await;
        assert_eq!(viewer.screen.last_text(), counted(150), "what is durable is no secret of the relay's");
    }
    assert!(!stranger.types_from(0).contains(&"message_part"), "S10");
    assert!(peer.types_from(0).contains(&"message_part"));
    let dials = async |index: usize, result: &str| {
        let metrics = Metrics::of(&cluster.replicas[index]).await;
        metrics.sum("mainstem_relay_dials_total", &[("result", result)])
    };
    assert_eq!([dials(1, "denied").await, dials(2, "accepted").await], [0.0; 2]);
    assert!(dials(2, "denied").await >= 1.0 && dials(1, "accepted").await == 1.0);
}

#[tokio::test]
async fn who_is_no_peer_is_cut_off_and_the_others_stream_on() {
    let port = free_port();
    let relay = format!("127.0.0.1:{port}");
    let cluster =
        Cluster::start(&[&["--relay-listen", &relay], &["--workers", "0"], &["--workers", "0"]]).await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=2000 interval=5ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("parts are shown", |s| s.seq > 10).await;

    let nothing: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        &[0; 10_000],
        // No bytes at all.
        b"",
    ];
    for bytes in nothing {
        assert!(said_to(&relay, bytes).await.is_empty(), "S10: nothing is said to a stranger");
    }
    // A client that knows the protocol, but not the secret.
    let greeting = [&MAGIC[..], &[7; 32], &[9; 32]].concat();
    let answer = said_to(&relay, &greeting).await;
    assert!(answer.starts_with(MAGIC) && answer.len() <= 41, "S10: {answer:?}");
    assert!(answer.get(40).is_none_or(|byte| *byte == 0), "S10: denied");

    // Unauthenticated connections that take all slots do not keep a peer out for long.
    let mut silent = vec![];
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(&relay).await.expect("the relay listens"));
    }
    let seq = viewer.screen.seq;
    viewer.until("who was there streams on", |s| s.seq > seq + 200).await;
    let mut late = Viewer::open(&c, &chat, Kind::EventStream).await;
    let took = late.until("a peer that comes now is let in", |s| s.seq > 10).await;
    assert!(took < Duration::from_secs(20), "B3: {took:?}");
    drop(silent);
    c.interrupt(&chat).await.expect(202);
    for viewer in [&mut viewer, &mut late] {
        viewer.until_idle().await;
        viewer.finish(&a).await;
    }
}

/// Greets as a peer does, and proves nothing.
async fn prove_wrongly(address: &str) {
    let mut stream = TcpStream::connect(address).await.expect("the relay listens");
    let talk = async {
        stream.write_all(&[&MAGIC[..], &[7; 32]].concat()).await?;
        stream.read_exact(&mut [0; 40]).await?;
        stream.write_all(&[7; 32]).await?;
        stream.read_to_end(&mut vec![]).await
    };
    within("it is turned away", talk).await.ok();
}

#[tokio::test]
async fn wrong_proofs_are_logged_at_a_bounded_rate_with_their_count() {
    const WRONG: usize = 500;
    let relay = format!("127.0.0.1:{}", free_port());
    let cluster = Cluster::start(&[&["--relay-listen", &relay]]).await;
    let began = Instant::now();
    for _ in 0..WRONG / 50 {
        join_all((0..50).map(|_| prove_wrongly(&relay))).await;
    }
    let lines_max = began.elapsed().as_secs() as usize + 2;
    let reported = || cluster.replicas[0].log().matches("another secret").count();
    until("the first is logged", async || (reported() > 0).then_some(())).await;
    // One more, when the time for it has come, tells of all that were not logged.
    let counted = async || {
        prove_wrongly(&relay).await;
        let log = cluster.replicas[0].log();
        let lines = log.lines().filter(|line| line.contains("another secret"));
        let counts = lines.filter_map(|line| line.rsplit("suppressed=").next()?.trim().parse::<usize>().ok());
        (counts.sum::<usize>() + reported() >= WRONG).then_some(())
    };
    until("all are counted", counted).await;
    assert!(reported() <= lines_max + began.elapsed().as_secs() as usize, "B1: {} lines", reported());
    cluster.replicas[0].client().get("/readyz").await.expect(200);
}
