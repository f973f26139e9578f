//! Tokens that were never issued, or not for here, or not for now.

use mainstem_tests::cluster::alone;
use mainstem_tests::jwt::{EC_PUBLIC, ED_PUBLIC, Issuer, RSA_PUBLIC, forged, now};
use mainstem_tests::process::run;
use mainstem_tests::raw::{exchange, status};
use mainstem_tests::scratch::Scratch;
use serde_json::{Value, json};

use super::{challenge, issuer, replica};

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "scope": "mainstem:write", "exp": now() + 600});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    claims
}

#[tokio::test]
async fn a_key_of_each_kind_lets_in_what_it_signed_and_nothing_else() {
    let kinds = [
        ("RS256", RSA_PUBLIC, Issuer::rsa()),
        ("ES256", EC_PUBLIC, Issuer::ec()),
        ("EdDSA", ED_PUBLIC, Issuer::ed()),
    ];
    for (algorithm, key, ours) in &kinds {
        let scratch = Scratch::new();
        let file = scratch.file("key.pem", key);
        let replica = alone(&scratch, &["--jwt-key-file", &file, "--jwt-algorithm", algorithm]).await;
        let ask = async |token: &str| {
            let answer = replica.client().with_token(token).get("/v1/chats").await;
            assert!(answer.status == 200 || challenge(&answer).contains("error=\"invalid_token\""));
            assert!(token.is_empty() || !answer.text.contains(token), "no error repeats a token");
            answer.status
        };
        let good = ours.sign(&claims(json!({})));
        assert_eq!(ask(&good).await, 200, "{algorithm}");
        // Who has the public key signs with it, and says that it is a secret.
        for secret in [key.as_bytes(), key.trim_end().as_bytes(), key.trim_end().as_bytes()] {
            assert_eq!(ask(&Issuer::secret(secret).sign(&claims(json!({})))).await, 401, "{algorithm}");
        }
        for (_, _, others) in kinds.iter().filter(|kind| kind.0 != *algorithm) {
            assert_eq!(ask(&others.sign(&claims(json!({})))).await, 401, "{algorithm}");
        }
        assert_eq!(ask(&Issuer::other_rsa().sign(&claims(json!({})))).await, 401, "{algorithm}");
        for none in ["none", "None", "nOnE", "", "HS256", "RS512", algorithm] {
            let header = json!({"alg": none, "typ": "JWT"});
            for signature in [&b""[..], &[0; 64], &[0; 256]] {
                assert_eq!(ask(&forged(&header, &claims(json!({})), signature)).await, 401, "{none}");
            }
        }
        let brought = json!({"alg": algorithm, "jwk": Issuer::other_rsa().jwk(json!({})), "jku": "http://127.0.0.1:1/"});
        assert_eq!(ask(&forged(&brought, &claims(json!({})), &[0; 256])).await, 401);
        // Somebody else's claims under a good signature.
        let (head, signature) =
            (good.split('.').next().expect("three"), good.rsplit('.').next().expect("three"));
        let bobs = ours.sign(&claims(json!({"sub": "bob"})));
        let payload = bobs.split('.').nth(1).expect("three");
        assert_eq!(ask(&format!("{head}.{payload}.{signature}")).await, 401, "{algorithm}");
    }
}

#[tokio::test]
async fn a_token_for_another_time_or_place_is_refused() {
    let scratch = Scratch::new();
    let flags = ["--jwt-audience", "here,there", "--jwt-issuer", "https://id.example"];
    let replica = replica(&scratch, &flags).await;
    let ours = json!({"aud": ["else", "there"], "iss": "https://id.example"});
    let signed = |more: Value| {
        let mut all = claims(ours.clone());
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        issuer().sign(&all)
    };
    let ask = async |token: &str| replica.client().with_token(token).get("/v1/chats").await;
    ask(&signed(json!({"nbf": now() - 5}))).await.expect(200);
    for bad in [
        json!({"exp": now() - 60}),
        json!({"exp": null}),
        json!({"exp": "never"}),
        json!({"exp": -1}),
        json!({"nbf": now() + 60}),
        json!({"nbf": "now"}),
        json!({"aud": "elsewhere"}),
        json!({"aud": null}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"sub": ""}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "x".repeat(300)}),
        json!({"chats": "*"}),
        json!({"chats": null}),
        json!({"chats": ["not an id"]}),
    ] {
        let answer = ask(&signed(bad.clone())).await.expect_problem(401, "unauthorized");
        assert!(challenge(&answer).contains("error=\"invalid_token\""), "{bad}");
    }
}

#[tokio::test]
async fn garbage_and_megabytes_are_answered_and_cost_nothing() {
    let scratch = Scratch::new();
    let mut replica = replica(&scratch, &[]).await;
    let address = replica.address().to_owned();
    let head = |value: &[u8]| {
        let mut request =
            b"GET /v1/chats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: ".to_vec();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n\r\n");
        request
    };
    let mut any = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 0..200 {
        let garbage = (0..length).map(|_| {
            any = any.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (any >> 33) as u8
        });
        let garbage: Vec<u8> = garbage.filter(|byte| !b"\r\n".contains(byte)).collect();
        for value in
            [garbage.clone(), [b"Bearer ", &*garbage].concat(), [b"Bearer a.", &*garbage, b".b"].concat()]
        {
            let answer = exchange(&address, &head(&value)).await;
            assert!(matches!(status(&answer), 400 | 401), "{value:?}: {answer}");
        }
    }
    let good = issuer().token("ann", "mainstem:read", json!({}));
    for (pieces, expected) in [(9 * 1024, 401), (1 << 20, 431)] {
        let long = format!("Bearer {good}{}", "A".repeat(pieces));
        let answer = exchange(&address, &head(long.as_bytes())).await;
        assert_eq!(status(&answer), expected, "{:.200}", answer);
    }
    // A claim that takes most of what a token may be.
    let wide = issuer().token("ann", &format!("mainstem:read {}", "x ".repeat(2000)), json!({}));
    replica.client().with_token(&wide).get("/v1/chats").await.expect(200);
    assert!(replica.is_running() && !replica.log().contains("panicked"));
    assert!(!replica.log().contains(&good), "no log has a token");
}

#[tokio::test]
async fn what_is_set_up_to_let_in_nobody_or_anybody_does_not_start() {
    let scratch = Scratch::new();
    let database = scratch.sqlite_url();
    let secret = scratch.file("secret", "0123456789abcdef0123456789abcdef");
    let short = scratch.file("short", "hush");
    let public = scratch.file("public.pem", RSA_PUBLIC);
    let both = scratch.file("tokens.toml", "[tokens]\na = \"b\"\n");
    for (flags, said) in [
        (&["--jwt-key-file", &*secret][..], "--jwt-algorithm"),
        (&["--jwt-algorithm", "HS256"], "--jwt-key-file"),
        (&["--jwt-audience", "x"], "--jwt-key-file"),
        (&["--jwks-url", "http://127.0.0.1:1/"], "--jwt-algorithm"),
        (&["--jwks-url", "ftp://x/", "--jwt-algorithm", "RS256"], "--jwks-url"),
        (&["--jwt-issuer", "x", "--auth-file", &both], "--jwt-key-file"),
        (&["--jwt-key-file", &secret, "--jwt-algorithm", "none"], "--jwt-algorithm"),
        (&["--jwt-key-file", &secret, "--jwt-algorithm", "RS256"], "is for HS256"),
        (&["--jwt-key-file", &public, "--jwt-algorithm", "HS256"], "is for RS256"),
        (&["--jwt-key-file", &short, "--jwt-algorithm", "HS256"], "32 bytes"),
        (&["--jwt-key-file", "/nowhere", "--jwt-algorithm", "HS256"], "/nowhere"),
        (&["--jwt-key-file", &secret, "--jwt-algorithm", "HS256", "--jwt-audience", ""], "--jwt-audience"),
        (&["--token-grace", "2h"], "--token-grace"),
    ] {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--database", &database], flags].concat();
        let output = run(&args).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{flags:?}: {told}");
        assert!(!told.contains("hush") && !told.contains("0123"), "{told}");
    }
}
