use jsonwebtoken::{EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use std::time::Duration;

use super::*;
use crate::limits::access::TOKEN_LIFE_MAX;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn jwts(config: JwtConfig) -> Jwts {
    let keys = Keys::from_file(SECRET, &config.algorithms).expect("a secret");
    Jwts::new(&config, Some(watch::Sender::new(keys).subscribe()), None)
}

fn config() -> JwtConfig {
    JwtConfig {
        key_file: None,
        set: None,
        algorithms: vec![JwtAlgorithm::Hs256],
        audiences: vec![],
        issuers: vec![],
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn signed_by(secret: &[u8], header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret)).expect("it is signed")
}

fn signed(more: Value) -> String {
    let mut claims = json!({"sub": "ann", "exp": now() + 100});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    signed_by(SECRET, &Header::default(), &claims)
}

async fn detail(jwts: &Jwts, token: &str) -> String {
    let problem = jwts.verify(token).await.expect_err(token);
    assert_eq!((problem.status.as_u16(), problem.code), (401, "unauthorized"));
    assert!(problem.challenge.contains("invalid_token"), "{}", problem.challenge);
    problem.detail.into()
}

#[tokio::test]
async fn a_token_is_its_subjects_until_it_ends() {
    let jwts = jwts(config());
    let verified = jwts.verify(&signed(json!({"scope": "mainstem:read"}))).await.expect("it is good");
    assert_eq!(&**verified.principal.user(), "ann");
    let left = verified.ends - Instant::now();
    assert!(left > Duration::from_secs(95) && left <= Duration::from_secs(100), "{left:?}");
    let forever = jwts.verify(&signed(json!({"exp": 1e300}))).await.map(|verified| verified.ends);
    assert!(forever.is_err() || forever.is_ok_and(|ends| ends <= Instant::now() + TOKEN_LIFE_MAX));
}

#[tokio::test]
async fn times_count_but_for_what_clocks_may_be_off() {
    let jwts = jwts(config());
    let leeway = CLOCK_LEEWAY.as_secs();
    assert_eq!(detail(&jwts, &signed(json!({"exp": now() - leeway - 2}))).await, "the token has expired");
    assert!(jwts.verify(&signed(json!({"exp": now() - leeway + 2}))).await.is_ok());
    assert_eq!(detail(&jwts, &signed(json!({"nbf": now() + leeway + 2}))).await, "the token is not good yet");
    assert!(jwts.verify(&signed(json!({"nbf": now() + leeway - 2}))).await.is_ok());
    for lacking in [json!({"exp": null}), json!({"exp": "1"}), json!({"sub": null}), json!({"nbf": "x"})] {
        assert!(detail(&jwts, &signed(lacking)).await.contains("claims"));
    }
}

#[tokio::test]
async fn whom_it_is_for_and_from_counts_where_it_is_set_up() {
    let strict = jwts(JwtConfig {
        audiences: vec!["here".into(), "there".into()],
        issuers: vec!["us".into()],
        ..config()
    });
    let fine = [json!({"aud": "here", "iss": "us"}), json!({"aud": ["x", "there"], "iss": "us"})];
    for claims in fine {
        assert!(strict.verify(&signed(claims.clone())).await.is_ok(), "{claims}");
        assert!(jwts(config()).verify(&signed(claims)).await.is_ok(), "nobody asks");
    }
    for (claims, said) in [
        (json!({"aud": "elsewhere", "iss": "us"}), "`aud`"),
        (json!({"aud": [], "iss": "us"}), "`aud`"),
        (json!({"iss": "us"}), "`aud`"),
        (json!({"aud": "here", "iss": "them"}), "`iss`"),
        (json!({"aud": "here"}), "`iss`"),
    ] {
        let why = detail(&strict, &signed(claims.clone())).await;
        assert!(why.contains(said), "{claims}: {why}");
    }
}

#[tokio::test]
async fn no_token_says_how_it_is_checked() {
    let jwts = jwts(config());
    let claims = json!({"sub": "ann", "exp": now() + 100});
    let other = Header::new(Algorithm::HS384);
    assert!(detail(&jwts, &signed_by(SECRET, &other, &claims)).await.contains("signed in a way"));
    assert!(detail(&jwts, &signed_by(&[7; 32], &Header::default(), &claims)).await.contains("not known"));
    let extended = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    assert!(detail(&jwts, &signed_by(SECRET, &extended, &claims)).await.contains("extensions"));
    let good = signed(json!({}));
    let (message, signature) = good.rsplit_once('.').expect("three pieces");
    let none = "eyJhbGciOiJub25lIn0";
    let payload = message.split_once('.').expect("three pieces").1;
    for bad in [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{message}."),
        format!("{message}.{signature}A"),
        format!("{message}.{}", &signature[1..]),
        format!("{good}{}", "x".repeat(TOKEN_BYTES_MAX)),
    ] {
        detail(&jwts, &bad).await;
    }
}

proptest! {
    #[test]
    fn no_bytes_at_all_are_taken_for_a_token_of_another(bytes in "\\PC{0,200}", at in 0_usize..200, with in "[A-Za-z0-9_.-]") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let jwts = jwts(config());
            assert!(jwts.verify(&bytes).await.is_err());
            let mut token = signed(json!({"sub": "ann"}));
            let at = at % token.len();
            // What is signed: the header and the claims.
            if token[at..].chars().next() != with.chars().next() && token[at + 1..].contains('.') {
                token.replace_range(at..=at, &with);
                assert!(jwts.verify(&token).await.is_err(), "{token}");
            }
        });
    }
}
