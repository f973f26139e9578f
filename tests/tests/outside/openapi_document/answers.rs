//! What requests are answered is what the document says of them, and all that it says is answered.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::until;
use mainstem_tests::jwt::Issuer;
use mainstem_tests::openapi::{Document, Witness};
use mainstem_tests::scratch::Scratch;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
const NOBODYS: &str = "0190d6f1-0000-7000-8000-000000000001";

/// Answers that no request brings about by itself, and what shows them: slow heads and bodies, replicas without places or
/// without a database, defects.
const OF_OTHERS: [(u16, &str); 9] = [
    (408, "timeout"),
    (500, "internal"),
    (503, "overloaded"),
    (503, "unavailable"),
    (503, "not_ready"),
    // Ids of chats are made anew, and no two are the same.
    (409, "exists"),
    // `jwt::key_sets` and `jwt::tickets` have them.
    (503, "keys_unavailable"),
    (429, "too_many_tickets"),
    // `rates` has it.
    (429, "rate_limited"),
];

fn plain(request: RequestBuilder) -> RequestBuilder {
    request
}

async fn created(witness: &Witness<'_>, body: Value) -> String {
    witness.send("createChat", &[], body).await.expect(201).body["id"].as_str().expect("an id").to_owned()
}

async fn until_status(client: &Client, chat: &str, status: &str) -> Value {
    until(status, async || Some(client.chat(chat).await).filter(|chat| chat["status"] == status)).await
}

/// A chat whose model has called the client.
async fn asked(witness: &Witness<'_>) -> (String, Vec<String>) {
    let tool = json!({"name": "find", "description": null, "input_schema": {"type": "object"}});
    let content = "/demo parts=2 interval=0 reasoning=1 call=find calls=2";
    let chat = created(witness, json!({"content": content, "tools": [tool]})).await;
    let told = until_status(&witness.client, &chat, "requires_action").await;
    witness.ask("readTurn", &[&chat, "1"], plain).await.expect(200);
    witness.ask("readChat", &[&chat], plain).await.expect(200);
    let calls = told["pending_calls"].as_array().expect("calls").iter();
    let ids = calls.map(|call| call["tool_call_id"].as_str().expect("an id").to_owned()).collect();
    (chat, ids)
}

/// Every kind of part, in a history that was told elsewhere.
fn history() -> Value {
    json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "client_id": "m-1", "content": [
            {"type": "text", "text": "see", "own": 1.5},
            {"type": "file", "media_type": "image/png", "url": "https://example.org/a.png", "name": "a"},
            {"type": "file", "media_type": "image/png", "data": "QQ=="},
            {"type": "data", "name": "n", "data": null, "id": "d"}]},
        {"role": "assistant", "content": [
            {"type": "reasoning", "text": "hm", "signature": "s"},
            {"type": "source", "url": "https://example.org", "title": "t"},
            {"type": "tool_call", "id": "b", "name": "find", "input_text": "{"},
            {"type": "tool_call", "id": "a", "name": "find", "input": {}}]},
        {"role": "tool", "content": [
            {"type": "tool_result", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}], "is_error": true}]},
        {"role": "assistant", "content": "found"}])
}

async fn all_that_succeeds(witness: &Witness<'_>) {
    for id in ["isAlive", "isReady", "readDocument"] {
        let answer = witness.ask(id, &[], plain).await.expect(200);
        if let Some(tag) = answer.headers.get("etag").cloned() {
            witness.ask(id, &[], |request| request.header("if-none-match", &tag)).await.expect(304);
        }
    }
    let told =
        created(witness, json!({"messages": history(), "external_id": "x-1", "title": "t", "model": null}))
            .await;
    witness.send("createChat", &[], json!({"external_id": "x-1"})).await.expect(200);
    witness.ask("listMessages", &[&told], |request| request.query(&[("limit", "2")])).await.expect(200);
    witness.ask("listMessages", &[&told], |request| request.query(&[("after_id", "2")])).await.expect(200);
    witness.ask("listChats", &[], |request| request.query(&[("limit", "1")])).await.expect(200);
    witness.ask("listChats", &[], |request| request.query(&[("external_id", "x-1")])).await.expect(200);
    witness.send("changeChat", &[&told], json!({"title": null, "instructions": "be"})).await.expect(200);
    witness.ask("deleteChat", &[&told], plain).await.expect(204);

    let (chat, calls) = asked(witness).await;
    for call in &calls {
        let body = json!({"results": [{"tool_call_id": call, "content": "", "is_error": null}]});
        witness.send("sendToolResults", &[&chat], body).await.expect(202);
    }
    witness.client.until_idle(&chat).await;
    witness.ask("listMessages", &[&chat], plain).await.expect(200);
    witness.send("regenerate", &[&chat], json!({})).await.expect(202);
    until_status(&witness.client, &chat, "requires_action").await;
    witness.send("interrupt", &[&chat], json!({})).await.expect(202);
    witness.client.until_idle(&chat).await;
    let sent =
        witness.send("sendMessage", &[&chat], json!({"content": "/demo parts=9000", "client_id": "c"})).await;
    assert!(sent.expect(202).body["message"].is_object());
    witness.client.until_running(&chat).await;
    for way in ["deleteQueued", "promoteQueued"] {
        let sent =
            witness.send("sendMessage", &[&chat], json!({"content": "/demo parts=9000", "busy": null})).await;
        let queued = sent.expect(202).body["queued"]["id"].to_string();
        witness.ask("readTurn", &[&chat, &queued], plain).await.expect(200);
        witness.ask("readChat", &[&chat], plain).await.expect(200);
        witness.ask(way, &[&chat, &queued], plain).await;
    }
    witness.client.until_running(&chat).await;
    witness.send("interrupt", &[&chat], json!({"episode": null})).await.expect(202);
    witness.client.until_idle(&chat).await;
    witness.send("editMessage", &[&chat, "1"], json!({"content": "/demo parts=1 fatal=1"})).await.expect(202);
    witness.client.until_idle(&chat).await;
    let failed = witness.ask("readChat", &[&chat], plain).await.expect(200).body;
    assert_eq!(failed["status"], "error");
    witness.ask("readTurn", &[&chat, &failed["turn"].to_string()], plain).await.expect(200);
    witness.send("sendMessage", &[&chat], json!({"content": "/demo parts=9 retryable=3"})).await.expect(202);
    until("a retry is told", async || {
        let chat = witness.ask("readChat", &[&chat], plain).await.expect(200).body;
        chat["retry"].is_object().then_some(())
    })
    .await;
    witness.client.until_idle(&chat).await;
}

async fn all_that_a_state_refuses(witness: &Witness<'_>) {
    let (asking, calls) = asked(witness).await;
    let large = json!("x".repeat(9 << 19));
    let result =
        |call: &str, content: &Value| json!({"results": [{"tool_call_id": call, "content": content}]});
    witness
        .send("sendToolResults", &[&asking], result("none", &json!("x")))
        .await
        .expect_problem(409, "not_pending");
    witness
        .send("sendToolResults", &[&asking], result(&calls[0], &large))
        .await
        .expect_problem(413, "too_large");
    witness
        .send("editMessage", &[&asking, "2"], json!({"content": "x"}))
        .await
        .expect_problem(409, "not_editable");
    let named = json!({"message": 2, "busy": "interrupt"});
    witness.send("regenerate", &[&asking], named).await.expect_problem(409, "not_editable");
    let missing = json!({"message": 99, "busy": "interrupt"});
    witness.send("regenerate", &[&asking], missing).await.expect_problem(404, "no_such_message");
    witness.send("regenerate", &[&asking], json!({})).await.expect_problem(409, "busy");
    let reject = json!({"content": "x", "busy": "reject"});
    witness.send("sendMessage", &[&asking], reject).await.expect_problem(409, "busy");
    witness.send("sendMessage", &[&asking], json!({"content": "x"})).await.expect(202);
    witness.send("sendMessage", &[&asking], json!({"content": "x"})).await.expect_problem(409, "queue_full");
    witness.ask("deleteChat", &[&asking], plain).await.expect_problem(409, "busy");
    let idle = created(witness, json!({})).await;
    witness.send("interrupt", &[&idle], json!({})).await.expect_problem(409, "not_running");
    witness
        .send("editMessage", &[&idle, "9"], json!({"content": "x"}))
        .await
        .expect_problem(404, "no_such_message");
    witness.ask("deleteQueued", &[&idle, "9"], plain).await.expect_problem(404, "no_such_queued");
    witness.ask("promoteQueued", &[&idle, "9"], plain).await.expect_problem(404, "no_such_queued");
    witness.ask("readTurn", &[&idle, "9"], plain).await.expect_problem(404, "no_such_turn");
    let uncalled = json!({"messages": [{"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "a", "content": ""}]}]});
    witness.send("createChat", &[], uncalled).await.expect_problem(422, "not_a_history");
    for cursor in ["x", ""] {
        let refused = witness.ask("stream", &[&idle], |request| request.query(&[("after", cursor)])).await;
        refused.expect_problem(400, "bad_cursor");
    }
}

/// Who reads what another shares, and who shares it.
async fn all_that_sharing_allows_and_refuses(witness: &Witness<'_>) {
    let chat = created(witness, json!({})).await;
    let read = json!({"may": "read"});
    witness.send("share", &[&chat, "bob"], read.clone()).await.expect(200);
    witness.ask("listShares", &[&chat], plain).await.expect(200);
    witness.send("share", &[&chat, "ann"], read.clone()).await.expect_problem(409, "own_chat");
    let bob = Issuer::secret(SECRET).token("bob", "mainstem:write", json!({}));
    let bob = witness.client.with_token(&bob);
    witness.ask_as(&bob, "listChats", &[], |request| request.query(&[("shared", "true")])).await.expect(200);
    for request in witness.document.requests() {
        let (id, answers) = (&*request.id, witness.document.answers(&request));
        let codes = answers.get(&403).into_iter().flatten();
        for code in codes.filter(|code| ["read_only", "not_owner"].contains(&code.as_str())) {
            let asked = |request: RequestBuilder| match id {
                "listShares" | "deleteChat" | "unshare" | "deleteQueued" => request,
                _ => request.json(&body_of(id)),
            };
            let answer = witness.ask_as(&bob, id, &[&chat, "1"], asked).await;
            answer.expect_problem(403, code);
        }
    }
    for nth in 1..100 {
        witness
            .client
            .ask(
                witness
                    .client
                    .request(reqwest::Method::PUT, &format!("/v1/chats/{chat}/shares/u{nth}"))
                    .json(&read),
            )
            .await
            .expect(200);
    }
    witness.send("share", &[&chat, "one more"], read).await.expect_problem(409, "too_many_shares");
    witness.ask("unshare", &[&chat, "bob"], plain).await.expect(204);
}

/// A body that each request takes.
fn body_of(id: &str) -> Value {
    match id {
        "sendMessage" | "editMessage" => json!({"content": "x"}),
        "sendToolResults" => json!({"results": [{"tool_call_id": "x", "content": "x"}]}),
        "share" => json!({"may": "read"}),
        _ => json!({}),
    }
}

/// One that no browser keeps.
fn long_token() -> String {
    "t".repeat(4000)
}

/// What may be said to every request, or to each of its kind.
async fn all_that_any_request_may_be_refused(witness: &Witness<'_>, chat: &str) {
    let unable = Issuer::secret(SECRET).token("ann", "", json!({}));
    for request in witness.document.requests() {
        let (id, answers) = (&*request.id, witness.document.answers(&request));
        let path = [chat, "1"];
        let refused = |code: &'static str, of: fn(RequestBuilder) -> RequestBuilder| async move {
            let answer = witness.ask(id, &path, of).await;
            assert_eq!(answer.body["code"], code, "{id}: {}", answer.text);
        };
        refused("malformed", |request| request.header("host", "localhost").header("host", "127.0.0.1")).await;
        refused("too_large", |request| request.header("x-large", "x".repeat(60_000))).await;
        refused("too_large", |request| request.query(&[("x", "x".repeat(60_000))])).await;
        if answers.contains_key(&401) {
            let nobody = witness.client.with_token("nobody's");
            witness.ask_as(&nobody, id, &path, plain).await.expect_problem(401, "unauthorized");
        }
        if answers.get(&403).is_some_and(|codes| codes.iter().any(|code| code == "insufficient_scope")) {
            let unable = witness.client.with_token(&unable);
            witness.ask_as(&unable, id, &path, plain).await.expect_problem(403, "insufficient_scope");
        }
        if id == "openSession" {
            let long = witness.client.with_token(&long_token());
            witness.ask_as(&long, id, &path, plain).await.expect_problem(413, "too_large");
            continue;
        }
        if id == "createTicket" {
            let answer = witness.send(id, &[], json!({"chat": NOBODYS})).await;
            answer.expect_problem(404, "no_such_chat");
        }
        if request.path.contains("{chat}") {
            let answer = witness.ask(id, &[NOBODYS, "1"], |request| request.json(&body_of(id))).await;
            answer.expect_problem(404, "no_such_chat");
        }
        if answers.contains_key(&413) {
            let large = "x".repeat(8 << 20);
            witness
                .ask(id, &path, |request| request.body(large.clone()))
                .await
                .expect_problem(413, "too_large");
            let spaced = format!("  {}", body_of(id));
            for body in [body_of(id).to_string(), spaced] {
                witness
                    .ask(id, &path, |request| request.header("idempotency-key", id).body(body.clone()))
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn all_that_the_document_says_is_answered_and_nothing_else() {
    let scratch = Scratch::new();
    let tokens = format!("[tokens]\n\"t-ann\" = \"ann\"\n{:?} = \"ann\"\n", long_token());
    let auth = scratch.file("auth.toml", &tokens);
    let key = scratch.file("key", std::str::from_utf8(SECRET).expect("a text"));
    let jwts = ["--jwt-key-file", &key, "--jwt-algorithm", "HS256"];
    let flags = [&["--auth-file", &auth, "--queue-max", "1"], &jwts[..]].concat();
    let replica = alone(&scratch, &flags).await;
    let client = replica.client().with_token("t-ann");
    let document = Document::of(&client).await;
    let witness = Witness::new(&document, client);
    all_that_succeeds(&witness).await;
    all_that_a_state_refuses(&witness).await;
    all_that_sharing_allows_and_refuses(&witness).await;
    let chat = created(&witness, json!({"content": "/demo parts=1 interval=0"})).await;
    witness.client.until_idle(&chat).await;
    witness.send("createTicket", &[], json!({"chat": chat})).await.expect(201);
    witness.ask("openSession", &[], plain).await.expect(204);
    witness.ask("closeSession", &[], plain).await.expect(204);
    all_that_any_request_may_be_refused(&witness, &chat).await;
    let mut seen = witness.seen();

    // A server without tokens, as a browser could be made to call it.
    let scratch = Scratch::new();
    let open = alone(&scratch, &[]).await;
    let of_open = Document::of(&open.client()).await;
    assert_eq!(of_open.json["components"]["securitySchemes"], Value::Null);
    let witness = Witness::new(&of_open, open.client());
    for request in of_open.requests() {
        assert!(request.told["security"].is_null() && !of_open.answers(&request).contains_key(&401));
        let path = [NOBODYS, "1"];
        let is_check = matches!(&*request.id, "isAlive" | "isReady");
        for (name, value, code) in
            [("origin", "http://evil.example", "cross_origin"), ("host", "evil.example", "host_not_allowed")]
        {
            let answer = witness.ask(&request.id, &path, |request| request.header(name, value)).await;
            assert_eq!(answer.body["code"] == code, !is_check, "{}: {}", request.id, answer.text);
        }
    }
    seen.extend(witness.seen());

    let mut missing = vec![];
    for request in document.requests() {
        for (status, codes) in document.answers(&request) {
            let codes = if status < 400 { vec![None] } else { codes.into_iter().map(Some).collect() };
            for code in codes {
                let of_others =
                    OF_OTHERS.iter().any(|(of, named)| *of == status && code.as_deref() == Some(*named));
                // A stream that begins does not end: what it tells is tested for itself.
                let begins = request.id == "stream" && status < 400;
                if !of_others && !begins && !seen.contains(&(request.id.clone(), status, code.clone())) {
                    missing.push(format!("{} {status} {code:?}", request.id));
                }
            }
        }
    }
    assert!(missing.is_empty(), "the document says what was not answered:\n{}", missing.join("\n"));
}
