//! Keys behind a URL: which of them count, how an issuer goes over to another one, and what happens while it is away.

use std::time::{Duration, Instant};

use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::until;
use mainstem_tests::jwt::Issuer;
use mainstem_tests::key_set::{KeySet, Says};
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use serde_json::{Value, json};

const ALL: [&str; 2] = ["--jwt-algorithm", "RS256,ES256,EdDSA,HS256"];

async fn replica(scratch: &Scratch, set: &KeySet, flags: &[&str]) -> Replica {
    let url = set.url();
    alone(scratch, &[&["--jwks-url", &*url], flags].concat()).await
}

async fn status(replica: &Replica, issuer: &Issuer) -> u16 {
    let token = issuer.token("ann", "mainstem:write", json!({}));
    replica.client().with_token(&token).get("/v1/chats").await.status
}

#[tokio::test]
async fn keys_of_all_kinds_count_by_their_names_and_by_what_they_are_for() {
    let scratch = Scratch::new();
    let secret = Issuer::secret(b"a secret that a set of keys has, which few do").named("oct");
    let (rsa, ec, ed) = (Issuer::rsa().named("rsa"), Issuer::ec().named("ec"), Issuer::ed().named("ed"));
    let other = Issuer::other_rsa();
    let keys = [
        rsa.jwk(json!({"use": "sig"})),
        ec.jwk(json!({"key_ops": ["verify"]})),
        ed.jwk(json!({})),
        secret.jwk(json!({})),
        other.clone().named("enc").jwk(json!({"use": "enc"})),
        other.clone().named("sign").jwk(json!({"key_ops": ["sign"]})),
        other.clone().named("pss").jwk(json!({"alg": "PS256"})),
        json!({"kty": "of another time", "kid": "later"}),
    ];
    let set = KeySet::start(&keys).await;
    let replica = replica(&scratch, &set, &ALL).await;
    for good in [&rsa, &ec, &ed, &secret] {
        assert_eq!(status(&replica, good).await, 200);
    }
    // Without a name it is the only one of its algorithm.
    assert_eq!(status(&replica, &Issuer::ed()).await, 200);
    for kid in ["enc", "sign", "pss", "rsa", "ec", "", "none", "../../../dev/null", "' OR 1=1 --"] {
        assert_eq!(status(&replica, &other.clone().named(kid)).await, 401, "{kid}");
        assert_eq!(
            status(&replica, &Issuer::secret(b"0123456789abcdef0123456789abcdef").named(kid)).await,
            401
        );
    }
    assert!(set.asked() <= 2, "names that are not there are asked for once in an interval: {}", set.asked());
}

#[tokio::test]
async fn an_issuer_goes_over_to_another_key_and_streams_of_the_old_one_end() {
    let scratch = Scratch::new();
    let (old, new) = (Issuer::rsa().named("2025"), Issuer::other_rsa().named("2026"));
    let set = KeySet::start(&[old.jwk(json!({}))]).await;
    let replica = replica(&scratch, &set, &["--jwt-algorithm", "RS256"]).await;
    assert_eq!(status(&replica, &old).await, 200);
    let client =
        |issuer: &Issuer| replica.client().with_token(&issuer.token("ann", "mainstem:write", json!({})));
    let chat = client(&old).create("").await;
    let mut viewer = Viewer::open(&client(&old), &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    // First both are there, as issuers do it.
    set.has(&[old.jwk(json!({})), new.jwk(json!({}))]);
    until("the new key is found", async || (status(&replica, &new).await == 200).then_some(())).await;
    assert_eq!(status(&replica, &old).await, 200);
    client(&new).send(&chat, "/demo parts=2").await;
    viewer.until("the stream of the old one goes on", |screen| screen.messages.len() == 2).await;
    // Another key under a name that was one's before is another key.
    let stranger = Issuer::rsa().named("2026");
    assert_eq!(status(&replica, &stranger).await, 401);
    set.has(&[new.jwk(json!({}))]);
    let unknown = Issuer::ed().named("x");
    let ended = async || {
        let _ = status(&replica, &unknown).await;
        (status(&replica, &old).await == 401).then_some(())
    };
    assert_eq!(status(&replica, &unknown).await, 401, "not signed in a way that is taken");
    let asks = Issuer::rsa().named("unknown");
    until("the old key is gone", async || {
        let _ = status(&replica, &asks).await;
        ended().await
    })
    .await;
    assert_eq!(viewer.ended().await, Ended::Closed(4401), "S10");
    assert_eq!(status(&replica, &new).await, 200);
}

#[tokio::test]
async fn many_tokens_of_unknown_keys_at_once_ask_once() {
    let scratch = Scratch::new();
    let ours = Issuer::rsa().named("ours");
    let set = KeySet::start(&[ours.jwk(json!({}))]).await;
    let replica = replica(&scratch, &set, &["--jwt-algorithm", "RS256"]).await;
    assert_eq!(status(&replica, &ours).await, 200);
    let begun = (set.asked(), Instant::now());
    while begun.1.elapsed() < Duration::from_secs(8) {
        let tokens = (0..40).map(|number| {
            let (replica, issuer) = (&replica, Issuer::rsa().named(&format!("unknown-{number}")));
            async move { status(replica, &issuer).await }
        });
        let answers = futures::future::join_all(tokens).await;
        assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    }
    let asked = set.asked() - begun.0;
    let most = begun.1.elapsed().as_secs() as usize / 5 + 1;
    assert!((1..=most).contains(&asked), "{asked} in {:?}", begun.1.elapsed());
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_stay_and_nobody_is_called_wrong() {
    let scratch = Scratch::new();
    let (ours, new) = (Issuer::ec().named("1"), Issuer::ed().named("2"));
    // At the start it is not there yet.
    let reserved = KeySet::start(&[]).await;
    let port = reserved.port;
    reserved.says(Says::Nothing);
    let mut replica = replica(&scratch, &reserved, &["--jwt-algorithm", "ES256,EdDSA"]).await;
    let token = ours.token("ann", "mainstem:write", json!({}));
    let ann = replica.client().with_token(&token);
    let begun = Instant::now();
    let answer = ann.get("/v1/chats").await.expect_problem(503, "keys_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(answer.headers.contains_key("retry-after"));
    // An `EventSource` is to come back.
    let stream = ann.get("/v1/chats/0190d6f1-0000-7000-8000-000000000001/stream").await.expect(200);
    assert!(stream.text.contains("retry:"), "{}", stream.text);
    replica.client().get("/healthz").await.expect(200);
    reserved.has(&[ours.jwk(json!({}))]);
    until("its keys are there", async || (ann.get("/v1/chats").await.status == 200).then_some(())).await;
    let chat = ann.create("").await;
    let mut viewer = Viewer::open(&ann, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    for says in [
        Says::Answer(500, String::new()),
        Says::Answer(200, "<html>".into()),
        Says::Answer(200, format!("{{\"keys\":[], \"x\": \"{}\"}}", "x".repeat(300 << 10))),
        Says::Answer(302, String::new()),
    ] {
        let (before, warnings) = (reserved.asked(), warned(&replica));
        reserved.says(says.clone());
        // An unknown key makes it ask; what it is told then leaves the keys as they are.
        until("it has asked again and warned", async || {
            let answer = status(&replica, &new).await;
            assert!(matches!(answer, 401 | 503), "{answer}");
            (reserved.asked() >= before + 2 && warned(&replica) > warnings).then_some(())
        })
        .await;
        assert_eq!(status(&replica, &new).await, 503, "{says:?}: nobody knows");
        assert_eq!(status(&replica, &ours).await, 200, "{says:?}");
    }
    drop(reserved);
    until("it has seen that nobody listens", async || {
        let _ = status(&replica, &new).await;
        replica.log().contains("error sending request").then_some(())
    })
    .await;
    assert_eq!((status(&replica, &new).await, status(&replica, &ours).await), (503, 200));
    ann.send(&chat, "/demo parts=2").await;
    viewer.until("its stream has gone on all the time", |screen| screen.messages.len() == 2).await;
    let again = KeySet::start_on(port, &[ours.jwk(json!({})), new.jwk(json!({}))]).await;
    until("both are there", async || (status(&replica, &new).await == 200).then_some(())).await;
    assert!(again.asked() >= 1 && replica.is_running());
}

fn warned(replica: &Replica) -> usize {
    replica.log().matches("cannot be fetched").count()
}

#[tokio::test]
async fn a_file_and_a_set_count_beside_each_other() {
    let scratch = Scratch::new();
    let in_set = Issuer::rsa().named("1");
    let set = KeySet::start(&[in_set.jwk(json!({}))]).await;
    let key = scratch.file("key", std::str::from_utf8(super::SECRET).expect("text"));
    let flags = ["--jwt-key-file", &*key, "--jwt-algorithm", "HS256", "--jwt-algorithm", "RS256"];
    let replica = replica(&scratch, &set, &flags).await;
    assert_eq!(status(&replica, &super::issuer()).await, 200);
    assert_eq!(status(&replica, &in_set).await, 200);
    let public: Value = in_set.jwk(json!({}));
    let modulus = public["n"].as_str().expect("a modulus");
    assert_eq!(status(&replica, &Issuer::secret(modulus.as_bytes()).named("1")).await, 401);
}
