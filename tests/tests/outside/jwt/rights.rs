//! What a token gives leave to: reading, changing, and in which chats.

use mainstem_tests::jwt::now;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use reqwest::Method;
use serde_json::{Value, json};

use super::{challenge, client, issuer, replica};

#[tokio::test]
async fn who_may_read_reads_and_who_may_write_does_both_and_who_may_nothing_does_nothing() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let [reader, writer, nobody] =
        ["mainstem:read", "mainstem:write", "openid"].map(|scope| client(&replica, "ann", scope));
    let chat = writer.create("/demo parts=3").await;
    writer.until_idle(&chat).await;
    for path in [
        "/v1/chats".to_owned(),
        format!("/v1/chats/{chat}"),
        format!("/v1/chats/{chat}/messages"),
        format!("/ai/chat/{chat}/messages"),
        format!("/ag-ui?threadId={chat}"),
        format!("/v1/conversations/conv_{}", chat.replace('-', "")),
        "/v1/models".to_owned(),
    ] {
        reader.get(&path).await.expect(200);
        writer.get(&path).await.expect(200);
        let answer = nobody.get(&path).await;
        assert_eq!((answer.status, challenge(&answer).contains("insufficient_scope")), (403, true), "{path}");
    }
    for kind in [Kind::EventStream, Kind::WebSocket] {
        let mut viewer = Viewer::open(&reader, &chat, kind).await;
        viewer.until_idle().await;
        assert_eq!(Viewer::refused(&nobody, &chat, kind, "").await, (403, "insufficient_scope".into()));
    }
    let path = format!("/v1/chats/{chat}");
    for (method, path) in [
        (Method::POST, "/v1/chats".to_owned()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/messages")),
        (Method::PATCH, format!("{path}/messages/1")),
        (Method::POST, format!("{path}/interrupt")),
        (Method::POST, format!("{path}/regenerate")),
        (Method::POST, format!("{path}/tool_results")),
        (Method::DELETE, format!("{path}/queue/1")),
        (Method::POST, format!("{path}/queue/1/promote")),
        (Method::POST, "/ai/chat".to_owned()),
        (Method::POST, format!("/ai/chat/{chat}/stop")),
        (Method::POST, "/ag-ui".to_owned()),
        (Method::POST, "/v1/responses".to_owned()),
        (Method::POST, "/v1/conversations".to_owned()),
        (Method::POST, "/v1/chat/completions".to_owned()),
    ] {
        for client in [&reader, &nobody] {
            let request = client.request(method.clone(), &path).json(&json!({"content": "x"}));
            let answer = client.ask(request).await.expect(403);
            assert!(challenge(&answer).contains("scope=\"mainstem:write\""), "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(writer.messages(&chat).await.len(), 2, "nothing has changed");
    // Another user of the same issuer.
    client(&replica, "bob", "mainstem:write").get(&path).await.expect_problem(404, "no_such_chat");
}

#[tokio::test]
async fn who_only_reads_stops_no_turn_by_going_away() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let [reader, writer] = ["mainstem:read", "mainstem:write"].map(|scope| client(&replica, "ann", scope));
    let body = json!({"model": "demo", "input": "/demo parts=40 interval=20ms", "background": true});
    let response = writer.post("/v1/responses", body).await.expect(200).body;
    let id = response["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/responses/{id}?stream=true&on_close=stop");
    let opened = reader.request(Method::GET, &path).send().await.expect("an answer");
    assert_eq!(opened.status(), 200);
    drop(opened);
    let done = mainstem_tests::deadline::until("the response ends", async || {
        let standing = writer.get(&format!("/v1/responses/{id}")).await.expect(200).body;
        (standing["status"] != "in_progress" && standing["status"] != "queued").then_some(standing)
    });
    assert_eq!(done.await["status"], "completed");
}

#[tokio::test]
async fn a_token_for_given_chats_is_for_these_and_creates_none() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let ann = client(&replica, "ann", "mainstem:write");
    let bob = client(&replica, "bob", "mainstem:write");
    let bobs = bob.create("").await;
    let mut chats = vec![];
    for _ in 0..4 {
        chats.push(ann.create("").await);
    }
    let named = ann.post("/v1/chats", json!({"external_id": "mine"})).await.expect(201).body;
    let only = |chats: Value| {
        replica.client().with_token(&issuer().token("ann", "mainstem:write", json!({"chats": chats})))
    };
    let three = only(json!([chats[0], chats[1], chats[3], bobs]));
    let listed = three.get("/v1/chats?limit=2").await.expect(200).body;
    let ids = |listed: &Value| -> Vec<String> {
        let chats = listed["chats"].as_array().expect("an array").iter();
        chats.map(|chat| chat["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&listed), [chats[3].clone(), chats[1].clone()]);
    assert_eq!(listed["next"], *chats[1]);
    let rest = three.get(&format!("/v1/chats?before={}", chats[1])).await.expect(200).body;
    assert_eq!((ids(&rest), &rest["next"]), (vec![chats[0].clone()], &Value::Null));
    assert_eq!(ids(&three.get("/v1/chats?external_id=mine").await.expect(200).body), [""; 0]);
    three.send(&chats[0], "/demo parts=1").await;
    for hidden in [&chats[2], &bobs, named["id"].as_str().expect("an id")] {
        for path in ["", "/messages", "/stream", "/turns/1"] {
            three.get(&format!("/v1/chats/{hidden}{path}")).await.expect_problem(404, "no_such_chat");
        }
        three.send_as(hidden, "x", "queue").await.expect_problem(404, "no_such_chat");
        three.delete(&format!("/v1/chats/{hidden}")).await.expect_problem(404, "no_such_chat");
        three.post(&format!("/ai/chat/{hidden}/stop"), json!({})).await.expect(404);
    }
    for limited in [&three, &only(json!([]))] {
        let refused = limited.post("/v1/chats", json!({})).await;
        refused.expect_problem(403, "insufficient_scope");
        let refused = limited.post("/v1/chats", json!({"external_id": "mine"})).await;
        refused.expect_problem(403, "insufficient_scope");
    }
    assert_eq!(ids(&only(json!([])).get("/v1/chats").await.expect(200).body), [""; 0]);
    only(json!(["*"])).create("").await;
    only(json!([chats[0], "*"])).get(&format!("/v1/chats/{}", chats[2])).await.expect(200);
}

#[tokio::test]
async fn an_admin_sees_the_chats_of_all_and_changes_only_its_own() {
    let scratch = Scratch::new();
    let replica = replica(&scratch, &[]).await;
    let (ann, root) = (client(&replica, "ann", "mainstem:write"), client(&replica, "root", "mainstem:admin"));
    let chat = ann.create("/demo parts=3").await;
    ann.until_idle(&chat).await;
    assert_eq!(root.messages(&chat).await.len(), 2);
    root.chat(&chat).await;
    Viewer::open(&root, &chat, Kind::WebSocket).await.until_idle().await;
    root.send_as(&chat, "x", "queue").await.expect_problem(404, "no_such_chat");
    root.delete(&format!("/v1/chats/{chat}")).await.expect_problem(404, "no_such_chat");
    let own = root.create("").await;
    root.send(&own, "/demo parts=1").await;
}

#[tokio::test]
async fn tokens_of_a_file_and_jwts_are_taken_beside_each_other() {
    let scratch = Scratch::new();
    let jwt = issuer().token("ann", "mainstem:read", json!({}));
    // A token of the file that is a JWT as well is the file's.
    let text = format!("[tokens]\ns3cret = \"ann\"\n\"{jwt}\" = \"bob\"\n");
    let file = scratch.file("tokens.toml", &text);
    let replica = replica(&scratch, &["--auth-file", &file]).await;
    let ann = replica.client().with_token("s3cret");
    let chat = ann.create("").await;
    client(&replica, "ann", "mainstem:read openid").chat(&chat).await;
    let bob = replica.client().with_token(&jwt);
    bob.get(&format!("/v1/chats/{chat}")).await.expect(404);
    bob.create("").await;
    // In an address only tokens of the file are taken.
    let nobody = replica.client();
    let claims = json!({"sub": "ann", "scope": "mainstem:read", "exp": now() + 100});
    let query = format!("?access_token={}", issuer().sign(&claims));
    assert_eq!(Viewer::refused(&nobody, &chat, Kind::EventStream, &query).await.0, 401);
    Viewer::open_with(&nobody, &chat, Kind::EventStream, "?access_token=s3cret").await.until_idle().await;
    let answer = nobody.get("/v1/chats").await.expect(401);
    assert_eq!(challenge(&answer), "Bearer realm=\"mainstem\"", "nothing was wrong with what was not there");
}
