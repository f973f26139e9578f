//! Sessions of browsers: a token as a cookie, and from which pages it counts.

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::jwt::now;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::json;

use super::{client, issuer, replica};

const PAGE: &str = "https://page.example";

/// What `set-cookie` says, the name and the value first.
fn set(answer: &Answer) -> Vec<String> {
    let fields = answer.headers.get_all("set-cookie").iter();
    fields.map(|field| field.to_str().expect("text").to_owned()).collect()
}

async fn begin(client: &Client, fields: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::POST, "/v1/session");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.ask(request).await
}

/// Begins a session, and gives what a browser sends from then on.
async fn session(client: &Client) -> String {
    let answer = begin(client, &[]).await.expect(204);
    set(&answer)[0].split(';').next().expect("a first piece").to_owned()
}

async fn asked(replica: &Replica, method: Method, path: &str, cookie: &str, fields: &[(&str, &str)]) -> u16 {
    let client = replica.client();
    let mut request = client.request(method.clone(), path).header("cookie", cookie);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    if method == Method::POST {
        request = request.json(&json!({"content": "/demo parts=1"}));
    }
    client.ask(request).await.status
}

const SOCKET: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_cookie_is_kept_from_pages_and_from_other_hosts_and_ends_with_its_token() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let ann = client(&replica, "ann", "mainstem:read");
    let here = set(&begin(&ann, &[]).await.expect(204));
    let (value, attributes) = here[0].split_once(';').expect("attributes");
    assert!(value.starts_with("mainstem_session=ey"), "{value}");
    for wanted in ["Path=/", "HttpOnly", "SameSite=Strict"] {
        assert!(attributes.split("; ").any(|attribute| attribute.trim() == wanted), "{attributes}");
    }
    let age = attributes.split("Max-Age=").nth(1).and_then(|age| age.parse::<u64>().ok()).expect("an age");
    assert!((590..=600).contains(&age), "{age}");
    assert!(!attributes.contains("Secure"));
    for fields in [[("host", "chat.example")], [("x-forwarded-proto", "https")]] {
        let elsewhere = set(&begin(&ann, &fields).await.expect(204));
        assert!(elsewhere[0].starts_with("__Host-mainstem_session=ey"), "{elsewhere:?}");
        assert!(elsewhere[0].contains("; Secure") && !elsewhere[0].contains("Domain"), "{elsewhere:?}");
    }
    // Only who has the token begins a session with it, and no page of another does.
    assert_eq!(
        asked(&replica, Method::POST, "/v1/session", value, &[("sec-fetch-site", "same-origin")]).await,
        401
    );
    begin(&replica.client(), &[]).await.expect(401);
    begin(&ann, &[("origin", "https://evil.example")]).await.expect_problem(403, "cross_origin");
    // An end, though the token is good no more.
    let old = issuer().sign(&json!({"sub": "ann", "scope": "mainstem:read", "exp": now() - 100}));
    let old = format!("mainstem_session={old}");
    assert_eq!(asked(&replica, Method::GET, "/v1/chats", &old, &[]).await, 401);
    let client = replica.client();
    let end =
        client.ask(client.request(Method::DELETE, "/v1/session").header("cookie", &old)).await.expect(204);
    let end = set(&end);
    assert!(end.len() == 2 && end.iter().all(|cookie| cookie.contains("Max-Age=0")), "{end:?}");
    let evil = client.request(Method::DELETE, "/v1/session").header("origin", "https://evil.example");
    client.ask(evil).await.expect_problem(403, "cross_origin");
    // What no browser would keep is said at once.
    let wide = issuer().token("ann", &format!("mainstem:read {}", "x ".repeat(1500)), json!({}));
    begin(&replica.client().with_token(&wide), &[]).await.expect_problem(413, "too_large");
}

#[tokio::test]
async fn what_comes_by_cookie_changes_nothing_from_a_page_of_another() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &["--allowed-origin", PAGE]).await;
    let ann = client(&replica, "ann", "mainstem:write");
    let cookie = session(&ann).await;
    let chat = ann.create("").await;
    let own = format!("http://{}", replica.address());
    let other_port = "http://127.0.0.1:3000";
    let ours = [
        vec![("origin", &*own)],
        vec![("sec-fetch-site", "same-origin")],
        vec![("origin", PAGE)],
        vec![("origin", PAGE), ("sec-fetch-site", "cross-site")],
    ];
    let others = [
        vec![("origin", "https://evil.example"), ("content-type", "text/plain")],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        vec![],
        vec![("origin", "null")],
        vec![("origin", other_port)],
        vec![("origin", other_port), ("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
    ];
    let stream = format!("/v1/chats/{chat}/stream");
    let messages = format!("/v1/chats/{chat}/messages");
    for (pages, status, upgraded) in [(&ours[..], 202, 101), (&others[..], 403, 403)] {
        for fields in pages {
            assert_eq!(asked(&replica, Method::POST, &messages, &cookie, fields).await, status, "{fields:?}");
            let fields = [&SOCKET[..], fields].concat();
            for path in [&*stream, "/ai/chat/socket"] {
                assert_eq!(
                    asked(&replica, Method::GET, path, &cookie, &fields).await,
                    upgraded,
                    "{path} {fields:?}"
                );
            }
        }
    }
    ann.until_idle(&chat).await;
    let before = ann.messages(&chat).await.len();
    for fields in &others {
        for path in ["/v1/chats", "/v1/responses", "/ai/chat", "/ag-ui", "/v1/tickets"] {
            assert_eq!(asked(&replica, Method::POST, path, &cookie, fields).await, 403, "{path} {fields:?}");
        }
        let deleted = asked(&replica, Method::DELETE, &format!("/v1/chats/{chat}"), &cookie, fields).await;
        assert_eq!(deleted, 403);
    }
    assert_eq!(ann.messages(&chat).await.len(), before, "nothing has changed");
    // A bearer beside a cookie counts alone.
    let client = replica.client();
    let both =
        |bearer: &str| client.with_token(bearer).request(Method::POST, &messages).header("cookie", &cookie);
    let bobs = issuer().token("bob", "mainstem:write", json!({}));
    let body = json!({"content": "x"});
    client.ask(both(&bobs).json(&body)).await.expect_problem(404, "no_such_chat");
    client.ask(both("nonsense").json(&body)).await.expect(401);
    let anns = ann.token.clone().expect("a token");
    client.ask(both(&anns).json(&body)).await.expect(202);
}

#[tokio::test]
async fn all_that_is_read_and_streamed_is_had_by_cookie_on_every_face() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let ann = client(&replica, "ann", "mainstem:write");
    let cookie = session(&ann).await;
    let reader = session(&client(&replica, "ann", "mainstem:read")).await;
    let chat = ann.create("/demo parts=3").await;
    ann.until_idle(&chat).await;
    let page = [("sec-fetch-site", "same-origin")];
    for path in [
        "/v1/chats".to_owned(),
        format!("/v1/chats/{chat}/messages"),
        format!("/ai/chat/{chat}/messages"),
        format!("/ag-ui?threadId={chat}"),
        "/v1/models".to_owned(),
    ] {
        assert_eq!(asked(&replica, Method::GET, &path, &cookie, &[]).await, 200, "{path}");
        assert_eq!(
            asked(&replica, Method::GET, &path, "mainstem_session=nonsense", &[]).await,
            401,
            "{path}"
        );
        // The secure name is taken here as well, where a proxy hands on another name than the browser's.
        let secure = cookie.replacen("mainstem", "__Host-mainstem", 1);
        assert_eq!(asked(&replica, Method::GET, &path, &secure, &[("host", "chat.example")]).await, 200);
        assert_eq!(asked(&replica, Method::GET, &path, &cookie, &[("host", "chat.example")]).await, 401);
    }
    let stream = replica.client().request(Method::GET, &format!("/v1/chats/{chat}/stream"));
    let stream = stream.header("cookie", &cookie).send().await.expect("an answer");
    assert_eq!(stream.status(), 200);
    assert_eq!(asked(&replica, Method::POST, "/v1/chats", &cookie, &page).await, 201);
    assert_eq!(asked(&replica, Method::POST, "/v1/chats", &reader, &page).await, 403);
    assert_eq!(asked(&replica, Method::POST, "/v1/tickets", &reader, &page).await, 201);
}
