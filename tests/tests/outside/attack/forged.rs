//! JWTs that are made to be misread: heads that say where to find a key, members that stand twice, numbers that are none, and floods of
//! names of keys that nobody has.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use mainstem_tests::client::Answer;
use mainstem_tests::cluster::alone;
use mainstem_tests::jwt::{Issuer, RSA_PUBLIC, forged, now};
use mainstem_tests::key_set::KeySet;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use serde_json::json;

use super::is_sound;

const SECRET: &[u8] = b"a secret that is shared and 32 bytes or more long";

/// A good signature under whatever is written in its head and its claims.
fn signed(head: &str, claims: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(text.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    format!("{text}.{}", signature.expect("it is signed"))
}

const HEAD: &str = r#"{"alg":"HS256"}"#;

fn claims() -> String {
    format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{}}}"#, now() + 600)
}

async fn ask(replica: &Replica, token: &str) -> Answer {
    replica.client().with_token(token).get("/v1/chats").await
}

#[tokio::test]
async fn a_token_that_can_be_read_in_two_ways_is_read_in_none() {
    let scratch = Scratch::new();
    let file = scratch.file("key", std::str::from_utf8(SECRET).expect("text"));
    let replica = alone(&scratch, &["--jwt-key-file", &file, "--jwt-algorithm", "HS256"]).await;
    let later = now() + 600;
    ask(&replica, &signed(HEAD, &claims())).await.expect(200);
    for wrong in [
        format!(r#"{{"sub":"bob","sub":"ann","scope":"mainstem:write","exp":{later}}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":1,"exp":{later}}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{later},"exp":1}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:read","scope":"mainstem:admin","exp":{later}}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{later},"chats":[],"chats":["*"]}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":"{later}"}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":[{later}]}}"#),
        r#"{"sub":"ann","scope":"mainstem:write","exp":true}"#.into(),
        r#"{"sub":"ann","scope":"mainstem:write","exp":1e999}"#.into(),
        r#"{"sub":"ann","scope":"mainstem:write","exp":-1e300}"#.into(),
        r#"{"sub":"ann","scope":"mainstem:write","exp":NaN}"#.into(),
        r#"{"sub":"ann","scope":"mainstem:write","exp":0}"#.into(),
        r#"{"sub":"ann","scope":"mainstem:write"}"#.into(),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{later},"nbf":{}}}"#, u64::MAX),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{later},"nbf":1e300}}"#),
        format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{later},"nbf":"{later}"}}"#),
        format!(r#"{{"sub":["ann"],"scope":"mainstem:write","exp":{later}}}"#),
        format!(r#"{{"sub":"\ud800","scope":"mainstem:write","exp":{later}}}"#),
        format!(r#"{{"SUB":"ann","scope":"mainstem:write","exp":{later}}}"#),
        format!(r#"[{{"sub":"ann","scope":"mainstem:write","exp":{later}}}]"#),
        format!("{} ", &claims()[..claims().len() - 1]),
        format!("{}{}", claims(), claims()),
        "null".into(),
        String::new(),
    ] {
        ask(&replica, &signed(HEAD, &wrong)).await.expect_problem(401, "unauthorized");
    }
    for wrong in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
        "",
        "null",
    ] {
        ask(&replica, &signed(wrong, &claims())).await.expect_problem(401, "unauthorized");
    }
    let good = signed(HEAD, &claims());
    let (text, signature) = good.rsplit_once('.').expect("three pieces");
    for cut in 0..signature.len() {
        ask(&replica, &format!("{text}.{}", &signature[..cut])).await.expect_problem(401, "unauthorized");
    }
    for wrong in [
        format!("{good}="),
        format!("{good}A"),
        format!(".{good}"),
        format!("{good}."),
        good.replace('.', ".."),
        good.replace('.', "%2e"),
        good.to_lowercase(),
        good.to_uppercase(),
        format!("{text}. {signature}"),
        format!("{text}.{signature},{good}"),
    ] {
        ask(&replica, &wrong).await.expect_problem(401, "unauthorized");
    }
    // However deep a claim is that means nothing here.
    let deep = format!(r#"{{"sub":"ann","exp":{later},"x":{}1{}}}"#, "[".repeat(2500), "]".repeat(2500));
    let answer = ask(&replica, &signed(HEAD, &deep)).await;
    assert!(matches!(answer.status, 401 | 403), "{}", answer.text);
    // An end that is far away is one that is not beyond what clocks have.
    for exp in ["4102444800.5", "18446744073709551615", "1e18"] {
        let token = signed(HEAD, &format!(r#"{{"sub":"ann","scope":"mainstem:write","exp":{exp}}}"#));
        let answer = ask(&replica, &token).await;
        assert!(matches!(answer.status, 200 | 401), "{exp}: {}", answer.text);
    }
    is_sound(&replica);
}

/// The issuer answers while tokens are signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_never_says_where_its_key_is_and_names_of_keys_in_floods_fetch_once_in_a_while() {
    let (scratch, issuer) = (Scratch::new(), Issuer::rsa().named("ours"));
    let set = KeySet::start(&[issuer.jwk(json!({}))]).await;
    let evil = Issuer::other_rsa().named("evil");
    let evils = KeySet::start(&[evil.jwk(json!({}))]).await;
    let flags = ["--jwks-url", &*set.url(), "--jwt-algorithm", "RS256"];
    let replica = alone(&scratch, &flags).await;
    ask(&replica, &issuer.token("ann", "mainstem:read", json!({}))).await.expect(200);
    let by_evil = evil
        .clone()
        .named("ours")
        .sign(&json!({"sub": "ann", "scope": "mainstem:admin", "exp": now() + 600}));
    let long = "k".repeat(5000);
    let begun = std::time::Instant::now();
    for round in 0..8 {
        let kids = [
            "evil",
            "",
            "../../etc/passwd",
            "ours\u{0}",
            "OURS",
            "' OR 1=1 --",
            "http://127.0.0.1:1/",
            &long,
            "\u{1f980}",
        ];
        let asked = kids.iter().flat_map(|kid| {
            let kid = format!("{kid}{}", if round == 0 { String::new() } else { round.to_string() });
            let head = json!({"alg": "RS256", "kid": kid, "jku": evils.url(), "x5u": evils.url(), "jwk": evil.jwk(json!({})), "x5c": ["AAAA"]});
            let claims = json!({"sub": "ann", "scope": "mainstem:admin", "exp": now() + 600});
            // Under the name of a good key, and signed by the evil one; or as a secret that everybody has.
            let ours = json!({"alg": "HS256", "kid": "ours"});
            [
                forged(&head, &claims, &[7; 256]),
                forged(&ours, &claims, RSA_PUBLIC.as_bytes()),
                by_evil.clone(),
            ]
        });
        let asked: Vec<_> = asked.collect();
        let answers = futures::future::join_all(asked.iter().map(|token| ask(&replica, token))).await;
        for answer in answers {
            answer.expect_problem(401, "unauthorized");
        }
    }
    // Five seconds are between two fetches.
    let most = 2 + begun.elapsed().as_secs() as usize / 5;
    assert!(set.asked() <= most, "B1: {} fetches in {:?}", set.asked(), begun.elapsed());
    assert_eq!(evils.asked(), 0, "RFC 8725: it is never followed");
    let good = issuer.token("ann", "mainstem:read", json!({}));
    let quick = tokio::time::timeout(Duration::from_secs(5), ask(&replica, &good));
    quick.await.expect("B3: who has a good key does not wait").expect(200);
    is_sound(&replica);
}
