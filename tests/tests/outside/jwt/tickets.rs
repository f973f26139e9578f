//! Tickets: each opens one stream, once, at any replica, as the token would that it was asked for with.

use std::time::Duration;

use mainstem_tests::client::Client;
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::jwt::now;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use serde_json::{Value, json};

use super::{SECRET, client, issuer};

/// Asks for a ticket, and gives the query that has it.
async fn ticket(client: &Client, body: Value) -> String {
    let answer = client.post("/v1/tickets", body).await.expect(201);
    assert!(answer.body["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", answer.text);
    format!("?access_token={}", answer.body["ticket"].as_str().expect("a ticket"))
}

/// Two replicas that take what [`issuer`] signs, and the tokens of a file.
async fn cluster(scratch: &Scratch, more: &[&str]) -> Cluster {
    let key = scratch.file("key", std::str::from_utf8(SECRET).expect("text"));
    let tokens = scratch.file("tokens.toml", "[tokens]\nanns = \"ann\"\nbobs = \"bob\"\n");
    let flags = ["--jwt-key-file", &*key, "--jwt-algorithm", "HS256", "--auth-file", &tokens];
    let flags = [&flags[..], more].concat();
    Cluster::start(&[&flags, &[&flags[..], &["--workers", "0"]].concat()]).await
}

#[tokio::test]
async fn a_ticket_opens_one_stream_at_any_replica_and_never_another() {
    let scratch = Scratch::new();
    let cluster = cluster(&scratch, &["--token-grace", "1s"]).await;
    let [here, there] = [&cluster.replicas[0], &cluster.replicas[1]];
    let nobody = there.client();
    let file = here.client().with_token("anns");
    let chat = file.create("/demo parts=3").await;
    for ann in [&file, &client(here, "ann", "mainstem:read")] {
        for kind in [Kind::EventStream, Kind::WebSocket] {
            for body in [json!({}), json!({"chat": chat}), json!({"chat": null})] {
                let query = ticket(ann, body).await;
                Viewer::open_with(&nobody, &chat, kind, &query).await.until_idle().await;
                for again in [&nobody, &here.client()] {
                    let refused = Viewer::refused(again, &chat, kind, &query).await;
                    assert_eq!(refused, (401, "unauthorized".into()), "S10: it was used");
                }
            }
        }
    }
    // Of many that come at once, one is let in.
    let query = ticket(&file, json!({})).await;
    let path = format!("/v1/chats/{chat}/stream{query}");
    let opened = futures::future::join_all((0..16).map(|number| {
        let client = cluster.replicas[number % 2].client();
        let request = client.request(reqwest::Method::GET, &path);
        async move { request.send().await.expect("an answer").status().as_u16() }
    }))
    .await;
    assert_eq!(opened.iter().filter(|status| **status == 200).count(), 1, "S10: {opened:?}");
    assert_eq!(opened.iter().filter(|status| **status == 401).count(), 15, "S10: {opened:?}");
    for replica in &cluster.replicas {
        assert!(!replica.log().contains("mst_"), "no log has a ticket");
    }
}

#[tokio::test]
async fn a_ticket_gives_leave_to_no_more_than_its_token_and_no_longer() {
    let scratch = Scratch::new();
    let cluster = cluster(&scratch, &["--token-grace", "1s"]).await;
    let [here, there] = [&cluster.replicas[0], &cluster.replicas[1]];
    let nobody = there.client();
    let ann = here.client().with_token("anns");
    let (chat, other) = (ann.create("").await, ann.create("").await);
    let bobs = here.client().with_token("bobs").create("").await;
    let refused =
        async |chat: &str, query: String| Viewer::refused(&nobody, chat, Kind::WebSocket, &query).await.0;
    // Another user's chat, another chat, and chats that are none.
    assert_eq!(refused(&bobs, ticket(&ann, json!({})).await).await, 404, "S10");
    assert_eq!(refused(&other, ticket(&ann, json!({"chat": chat})).await).await, 404, "S10");
    for none in [json!(bobs), json!("x"), json!("0190d6f1-0000-7000-8000-000000000001")] {
        ann.post("/v1/tickets", json!({"chat": none})).await.expect_problem(404, "no_such_chat");
    }
    ann.post("/v1/tickets", json!({"chat": 3})).await.expect_problem(400, "malformed");
    let token = issuer().token("ann", "mainstem:read", json!({"chats": [chat]}));
    let limited = here.client().with_token(&token);
    assert_eq!(refused(&other, ticket(&limited, json!({})).await).await, 404, "S10");
    limited.post("/v1/tickets", json!({"chat": other})).await.expect(404);
    // A ticket is for streams: nothing is changed with it, and nothing else is read.
    let query = ticket(&ann, json!({})).await;
    nobody.post(&format!("/v1/chats/{chat}/messages{query}"), json!({"content": "x"})).await.expect(401);
    nobody.get(&format!("/v1/chats/{chat}{query}")).await.expect(401);
    let as_bearer = nobody.with_token(query.rsplit('=').next().expect("a ticket"));
    as_bearer.get(&format!("/v1/chats/{chat}")).await.expect(401);
    // Nobody gets one without a token, or with one that gives leave to nothing.
    nobody.post("/v1/tickets", json!({})).await.expect(401);
    client(here, "ann", "openid").post("/v1/tickets", json!({})).await.expect(403);
    // Its stream ends as the token's would have.
    let expires = now() + 3;
    let short = issuer().sign(&json!({"sub": "ann", "scope": "mainstem:write", "exp": expires}));
    let short = here.client().with_token(&short);
    let (used, unused) = (ticket(&short, json!({})).await, ticket(&short, json!({})).await);
    let mut viewer = Viewer::open_with(&nobody, &chat, Kind::WebSocket, &used).await;
    let mut stays = Viewer::open_with(&nobody, &chat, Kind::WebSocket, &ticket(&ann, json!({})).await).await;
    assert_eq!(viewer.ended().await, Ended::Closed(4401), "S10");
    assert!(now() > expires, "it has the grace");
    assert_eq!(refused(&chat, unused).await, 401, "S10: it ran out with its token");
    let kept = ticket(&ann, json!({})).await;
    stays.until_idle().await;
    scratch.file("tokens.toml", "[tokens]\nbobs = \"bob\"\n");
    assert_eq!(stays.ended().await, Ended::Closed(4401), "S10: the token was removed");
    let forgotten = async || (nobody.with_token("anns").get("/v1/chats").await.status == 401).then_some(());
    until("the other replica has read the file", forgotten).await;
    assert_eq!(refused(&chat, kept).await, 401, "S10");
}

#[tokio::test]
async fn a_user_has_only_so_many_tickets_and_others_have_theirs() {
    let scratch = Scratch::new();
    let cluster = cluster(&scratch, &[]).await;
    let ann = cluster.replicas[0].client().with_token("anns");
    let mut last = None;
    for _ in 0..100 {
        last = Some(ticket(&ann, json!({})).await);
    }
    ann.post("/v1/tickets", json!({})).await.expect_problem(429, "too_many_tickets");
    cluster.replicas[1].client().with_token("bobs").post("/v1/tickets", json!({})).await.expect(201);
    let chat = ann.create("").await;
    let nobody = cluster.replicas[1].client();
    Viewer::open_with(&nobody, &chat, Kind::EventStream, &last.expect("there were some"))
        .await
        .until_idle()
        .await;
    ticket(&ann, json!({})).await;
}

#[tokio::test]
async fn which_tokens_an_address_may_carry_is_a_setting_and_tickets_always_may() {
    let scratch = Scratch::new();
    let key = scratch.file("key", std::str::from_utf8(SECRET).expect("text"));
    let tokens = scratch.file("tokens.toml", "[tokens]\nanns = \"ann\"\n");
    for (setting, of_file, of_jwt) in [("none", false, false), ("file", true, false), ("any", true, true)] {
        let flags = ["--jwt-key-file", &*key, "--jwt-algorithm", "HS256", "--auth-file", &tokens];
        let scratch = Scratch::new();
        let replica = alone(&scratch, &[&flags[..], &["--query-tokens", setting]].concat()).await;
        let ann = replica.client().with_token("anns");
        let chat = ann.create("").await;
        let jwt = issuer().token("ann", "mainstem:read", json!({}));
        for (token, may) in [("anns", of_file), (&*jwt, of_jwt)] {
            let path = format!("/v1/chats/{chat}/stream?access_token={token}");
            let request = replica.client().request(reqwest::Method::GET, &path);
            let opened = request.timeout(Duration::from_secs(10)).send().await.expect("an answer");
            assert_eq!(opened.status(), if may { 200 } else { 401 }, "{setting}");
        }
        let query = ticket(&ann, json!({})).await;
        Viewer::open_with(&replica.client(), &chat, Kind::EventStream, &query).await.until_idle().await;
    }
}

#[tokio::test]
async fn where_nobody_is_asked_for_a_token_a_ticket_is_given_and_not_looked_at() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("").await;
    let query = ticket(&client, json!({"chat": chat})).await;
    for _ in 0..2 {
        Viewer::open_with(&client, &chat, Kind::EventStream, &query).await.until_idle().await;
    }
}
