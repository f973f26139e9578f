//! TLS: for clients in both versions of HTTP, and between replicas.

use mainstem_tests::authority::{Authority, Issued};
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::{Cluster, INTERNAL, TIMES, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::process::{Replica, run, run_with};
use mainstem_tests::raw::exchange;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use reqwest::Version;
use serde_json::json;

const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

/// The files of a certificate, as flags.
fn files(scratch: &Scratch, issued: &Issued) -> [String; 4] {
    let certificate = scratch.file("leaf.pem", &issued.certificate);
    ["--tls-cert".into(), certificate, "--tls-key".into(), scratch.file("leaf-key.pem", &issued.key)]
}

async fn secured(scratch: &Scratch, authority: &Authority, flags: &[&str]) -> Replica {
    let files = files(scratch, &authority.issue(&LOCAL));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    alone(scratch, &[&INTERNAL[..], &files, flags].concat()).await
}

#[tokio::test]
async fn answers_are_streamed_whole_in_tls_by_each_transport_and_version() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let replica = secured(&scratch, &authority, &[]).await;
    for takes_http2 in [false, true] {
        let client = Client::trusting(&replica.url(), &authority, takes_http2);
        let version =
            client.request(reqwest::Method::GET, "/v1/chats").send().await.expect("an answer").version();
        assert_eq!(version, if takes_http2 { Version::HTTP_2 } else { Version::HTTP_11 });
        let chat = client.create("/demo parts=200 interval=2ms size=100").await;
        let mut viewers = vec![];
        // In HTTP/2, requests share a connection, and streams too.
        for kind in [Kind::EventStream, Kind::EventStream, Kind::WebSocket] {
            viewers.push(Viewer::open(&client, &chat, kind).await);
        }
        client.send(&chat, "/demo parts=20").await;
        for viewer in &mut viewers {
            viewer.until_idle().await;
            viewer.finish(&client).await;
            assert_eq!(viewer.screen.last_text(), counted(20));
        }
        client.get("/nothing").await.expect_problem(404, "not_found");
        client.post("/v1/chats", json!({"content": 7})).await.expect_problem(400, "malformed");
        let large = json!({"content": "x".repeat(2 << 20)});
        client.post("/v1/chats", large).await.expect_problem(413, "too_large");
    }
    let stranger = Client::trusting(&replica.url(), &Authority::new(), true);
    assert_eq!(stranger.get("/healthz").await.status, 0, "who does not trust it says nothing to it");
}

#[tokio::test]
async fn what_measures_judges_streams_in_tls() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let replica = secured(&scratch, &authority, &[]).await;
    let roots = scratch.file("roots.pem", &authority.pem());
    let url = replica.url();
    let load = [
        "load",
        "--server",
        &url,
        "--chats",
        "3",
        "--viewers",
        "3",
        "--rate",
        "100",
        "--duration",
        "2s",
        "--json",
    ];
    let done = run_with(&load, &[("SSL_CERT_FILE", &roots)], "").await;
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let told: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(told["violations"], 0, "{told}");
}

#[tokio::test]
async fn a_new_certificate_counts_for_new_connections_and_ends_none() {
    let (scratch, before, after) = (Scratch::new(), Authority::new(), Authority::new());
    let replica = secured(&scratch, &before, &[]).await;
    let client = Client::trusting(&replica.url(), &before, true);
    let chat = client.create("/demo parts=400 interval=20ms").await;
    let mut viewers = [
        Viewer::open(&client, &chat, Kind::EventStream).await,
        Viewer::open(&Client::trusting(&replica.url(), &before, false), &chat, Kind::EventStream).await,
        Viewer::open(&client, &chat, Kind::WebSocket).await,
    ];
    // A key without its certificate changes nothing.
    let next = after.issue(&LOCAL);
    scratch.file("leaf-key.pem", &next.key);
    replica.hang_up();
    until("the files are refused", async || {
        replica.log().contains("its contents stay as they were").then_some(())
    })
    .await;
    Client::trusting(&replica.url(), &before, true).get("/healthz").await.expect(200);
    scratch.file("leaf.pem", &next.certificate);
    let fresh = || Client::trusting(&replica.url(), &after, true);
    until("the new one is shown", async || (fresh().get("/healthz").await.status == 200).then_some(())).await;
    assert_eq!(Client::trusting(&replica.url(), &before, true).get("/healthz").await.status, 0);
    client.get("/healthz").await.expect(200);
    let told = replica.log().matches("the file was read again").count();
    assert_eq!(told, 1, "{}", replica.log());
    for viewer in &mut viewers {
        viewer.until_idle().await;
        viewer.finish(&fresh()).await;
        assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(400), 0));
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_nothing_and_harms_nobody() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let replica = secured(&scratch, &authority, &[]).await;
    for bytes in [
        &b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0\0\0\0",
        b"",
    ] {
        let answer = exchange(replica.address(), bytes).await;
        assert!(!answer.contains("HTTP/"), "{answer:?}");
    }
    Client::trusting(&replica.url(), &authority, true).get("/healthz").await.expect(200);
}

#[tokio::test]
async fn in_http2_who_takes_nothing_for_too_long_and_who_is_let_in_no_more_is_cut_off() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let tokens = scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n\"t-bob\" = \"bob\"\n");
    let flags = ["--client-timeout", "1s", "--auth-file", &tokens];
    let replica = secured(&scratch, &authority, &flags).await;
    let client = |token| Client::trusting(&replica.url(), &authority, true).with_token(token);
    let (ann, bob) = (client("t-ann"), client("t-bob"));
    let chat = ann.create("/demo parts=2000 interval=5ms size=4096").await;
    let stalled = ann.request(reqwest::Method::GET, &format!("/v1/chats/{chat}/stream")).send().await;
    let stalled = stalled.expect("the stream begins");
    let open = async || Metrics::of(&replica).await.sum("mainstem_viewers", &[]);
    until("it is open", async || (open().await == 1.0).then_some(())).await;
    until("who takes nothing is cut off", async || (open().await == 0.0).then_some(())).await;
    drop(stalled);

    let chat = bob.create("/demo parts=4000 interval=5ms").await;
    let mut watching = Viewer::open(&bob, &chat, Kind::EventStream).await;
    watching.until("parts are shown", |screen| screen.seq > 5).await;
    scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n");
    replica.hang_up();
    assert_eq!(watching.ended().await, Ended::Body, "S10");
    ann.get("/v1/chats").await.expect(200);
    bob.get("/v1/chats").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn an_idle_replica_in_tls_drains_at_once() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let mut replica = secured(&scratch, &authority, &[]).await;
    let client = Client::trusting(&replica.url(), &authority, true);
    let chat = client.create("/demo parts=1").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    replica.terminate();
    assert_eq!(viewer.ended().await, Ended::Body);
    assert_eq!(replica.ended().await.code(), Some(0));
    assert!(!replica.log().contains("connections were cut"), "{}", replica.log());
}

fn relay(
    scratch: &Scratch,
    name: &str,
    signs: &Authority,
    trusted: &Authority,
    names: &[&str],
) -> [String; 6] {
    let issued = signs.issue(names);
    let file = |what: &str, text: &str| scratch.file(&format!("{name}-{what}.pem"), text);
    [
        "--relay-tls-cert".into(),
        file("cert", &issued.certificate),
        "--relay-tls-key".into(),
        file("key", &issued.key),
        "--relay-tls-ca".into(),
        file("ca", &trusted.pem()),
    ]
}

#[tokio::test]
async fn replicas_relay_in_tls_to_those_that_their_authority_has_signed_and_to_nobody_else() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let worker = relay(&scratch, "a", &authority, &authority, &LOCAL);
    let peer = relay(&scratch, "b", &authority, &authority, &LOCAL);
    // One whom the others do not trust, though it trusts them.
    let strange = relay(&scratch, "c", &other, &authority, &LOCAL);
    let viewing = ["--workers", "0"];
    let flags = |files: &'static [&'static str], more: &[String; 6]| -> Vec<String> {
        files.iter().map(|flag| (*flag).to_owned()).chain(more.iter().cloned()).collect()
    };
    let all = [flags(&[], &worker), flags(&["--workers", "0"], &peer), flags(&["--workers", "0"], &strange)];
    let all: Vec<Vec<&str>> = all.iter().map(|flags| flags.iter().map(String::as_str).collect()).collect();
    let all: Vec<&[&str]> = all.iter().map(Vec::as_slice).collect();
    let mut cluster = Cluster::start(&all).await;
    cluster.add("d", &viewing).await;
    let clients = [0, 1, 2, 3].map(|i| cluster.replicas[i].client());
    let chat = clients[0].create("/demo parts=150 interval=20ms").await;
    let mut viewers = vec![];
    for client in &clients[1..] {
        viewers.push(Viewer::open(client, &chat, Kind::WebSocket).await);
    }
    viewers[0].until("parts are relayed", |screen| screen.seq > 20).await;
    for (viewer, client) in viewers.iter_mut().zip(&clients[1..]) {
        viewer.until_idle().await;
        viewer.finish(client).await;
        assert_eq!(viewer.screen.last_text(), counted(150));
    }
    let parts =
        |viewer: &Viewer| viewer.events.iter().filter(|event| event["type"] == "message_part").count();
    assert!(parts(&viewers[0]) > 10, "a peer is told as it goes");
    assert_eq!([&viewers[1], &viewers[2]].map(parts), [0, 0], "S10: who is no peer is not");
}

#[tokio::test]
async fn the_doctor_calls_replicas_in_tls_as_they_call_each_other() {
    let (scratch, authority, other) = (Scratch::new(), Authority::new(), Authority::new());
    let strings = |files: [String; 6]| files.to_vec();
    let worker = strings(relay(&scratch, "a", &authority, &authority, &LOCAL));
    let worker: Vec<&str> = worker.iter().map(String::as_str).collect();
    let cluster = Cluster::start(&[&worker]).await;
    let unsigned = strings(relay(&scratch, "c", &other, &authority, &LOCAL));
    let broken = strings(relay(&scratch, "d", &authority, &authority, &LOCAL));
    scratch.file("d-key.pem", "nonsense");
    for (files, code, said) in [
        (strings(relay(&scratch, "b", &authority, &authority, &LOCAL)), 0, "ok    peers: a at "),
        (unsigned, 1, "fail  peers: a at "),
        (vec![], 1, "fail  peers: a at "),
        (broken, 1, "warn  peers: they were not called"),
    ] {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let asked = ["doctor", "--listen", "127.0.0.1:0", "--database", &cluster.database];
        let told = run(&[&asked[..], &TIMES, &files].concat()).await;
        let (text, is_well) = (String::from_utf8_lossy(&told.stdout), told.status.code() == Some(code));
        let line = text.lines().find(|line| line.contains("  peers: ")).unwrap_or_default();
        assert!(is_well && line.starts_with(said), "{files:?}: {text}");
        assert_eq!(line.contains("--relay-tls-ca"), code == 1, "it says what to mend: {line}");
    }
}

#[tokio::test]
async fn peers_may_have_one_name_for_all() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let [worker, peer] =
        ["a", "b"].map(|id| relay(&scratch, id, &authority, &authority, &["replica.mainstem"]));
    let name = ["--relay-tls-name", "replica.mainstem"];
    let strings = |files: &'_ [String; 6]| files.to_vec();
    let (worker, peer) = (strings(&worker), strings(&peer));
    let with = |files: &'_ [String], more: &[&'static str]| -> Vec<String> {
        files.iter().cloned().chain(name.iter().chain(more).map(|flag| (*flag).to_owned())).collect()
    };
    let (worker, peer) = (with(&worker, &[]), with(&peer, &["--workers", "0"]));
    let worker: Vec<&str> = worker.iter().map(String::as_str).collect();
    let peer: Vec<&str> = peer.iter().map(String::as_str).collect();
    let cluster = Cluster::start(&[&worker, &peer]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=50 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("parts are relayed", |screen| screen.seq > 5).await;
    viewer.until_idle().await;
    viewer.finish(&b).await;
    assert_eq!(viewer.screen.last_text(), counted(50));
}

#[tokio::test]
async fn files_that_make_no_sense_are_refused_by_their_flags() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let (one, another) = (authority.issue(&LOCAL), authority.issue(&LOCAL));
    let certificate = scratch.file("one.pem", &one.certificate);
    let [key, others, nonsense] =
        [("key.pem", &*one.key), ("others.pem", &*another.key), ("nonsense.pem", "nonsense")]
            .map(|(name, text)| scratch.file(name, text));
    let url = scratch.sqlite_url();
    for (flags, code, said) in [
        (vec!["--tls-cert", &*certificate], 64, "--tls-key"),
        (vec!["--tls-key", &*key], 64, "--tls-cert"),
        (vec!["--tls-cert", &*certificate, "--tls-key", &*others], 64, "belong together"),
        (vec!["--tls-cert", &*nonsense, "--tls-key", &*key], 64, "in PEM"),
        (vec!["--tls-cert", &*certificate, "--tls-key", &*nonsense], 64, "in PEM"),
        (vec!["--tls-cert", "/nowhere", "--tls-key", &*key], 1, "/nowhere"),
        (vec!["--relay-tls-cert", &*certificate], 64, "--relay-tls-ca"),
        (vec!["--relay-tls-name", "x"], 64, "--relay-tls-name"),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--database", &url], &flags[..]].concat();
        let ended = run(&arguments).await;
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{flags:?}: {errors}");
        assert!(errors.lines().last().is_some_and(|line| line.contains(said)), "{flags:?}: {errors}");
        assert!(!errors.contains("PRIVATE"), "{errors}");
    }
}
