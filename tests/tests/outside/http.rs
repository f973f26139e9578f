//! HTTP: every answer that docs/protocol.md names, from a real server.

use std::collections::BTreeMap;

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::process::Replica;
use mainstem_tests::raw::{Raw, raw, status};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use reqwest::Method;
use serde_json::{Value, json};

const NOBODYS: &str = "0190d6f1-0000-7000-8000-000000000001";

async fn server(flags: &[&str]) -> (Scratch, Replica, Client) {
    let scratch = Scratch::new();
    let replica = alone(&scratch, flags).await;
    let client = replica.client();
    (scratch, replica, client)
}

#[tokio::test]
async fn a_chat_and_its_messages_have_the_fields_of_the_interface() {
    let (_scratch, _replica, client) = server(&[]).await;
    let asked =
        json!({"title": "t", "content": [{"type": "text", "text": "/demo parts=2 interval=0", "mine": 7}]});
    let created = client.post("/v1/chats", asked).await.expect(201);
    let id = created.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(created.headers["location"], format!("/v1/chats/{id}"));
    let chat = client.until_idle(&id).await;
    let mut fields: Vec<_> = chat.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    for field in [
        "attempt",
        "created_at",
        "error",
        "history_version",
        "id",
        "queue",
        "queue_version",
        "retry",
        "snapshot_version",
        "status",
        "title",
        "updated_at",
        "worker",
    ] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    assert_eq!((&chat["title"], &chat["worker"]), (&json!("t"), &Value::Null));
    let page = client.get(&format!("/v1/chats/{id}/messages?limit=1")).await.expect(200).body;
    let message = &page["messages"][0];
    assert_eq!(message["content"][0]["mine"], 7, "unknown members survive");
    assert_eq!((&message["role"], &message["episode"]), (&json!("user"), &Value::Null));
    assert_eq!(page["next"], message["id"]);
    let next =
        client.get(&format!("/v1/chats/{id}/messages?after_id={}", page["next"])).await.expect(200).body;
    let answer = &next["messages"][0];
    assert_eq!((&next["next"], &answer["role"]), (&Value::Null, &json!("assistant")));
    assert_eq!(answer["content"], json!([{"type": "text", "text": counted(2)}]));
    assert!(answer["episode"]["history_version"].is_u64() && answer["created_at"].is_string());
    assert!(next["reset_version"].is_u64());
    let health = client.get("/healthz").await.expect(200).body;
    assert_eq!((&health["replica"], health["version"].is_string()), (&json!("alone"), true));
}

#[tokio::test]
async fn every_accepted_change_raises_the_version_by_one() {
    let (_scratch, _replica, client) = server(&["--workers", "0"]).await;
    let chat = client.create("").await;
    let mut version = client.chat(&chat).await["snapshot_version"].as_u64().expect("a version");
    for number in 0..5 {
        let sent = client.send(&chat, "x").await;
        version += 1;
        assert_eq!(sent["snapshot_version"], version, "send {number}");
        client.send_as(&chat, "x", "reject").await.expect_problem(409, "busy");
        assert_eq!(client.chat(&chat).await["snapshot_version"], version);
    }
}

#[tokio::test]
async fn chats_are_listed_newest_first_in_pages() {
    let (_scratch, _replica, client) = server(&[]).await;
    let mut made = vec![];
    for _ in 0..5 {
        made.push(client.create("").await);
    }
    made.reverse();
    let (mut listed, mut path) = (vec![], "/v1/chats?limit=2".to_owned());
    loop {
        let page = client.get(&path).await.expect(200).body;
        let chats = page["chats"].as_array().expect("chats");
        assert!(chats.len() <= 2);
        listed.extend(chats.iter().filter_map(|chat| chat["id"].as_str().map(str::to_owned)));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/chats?limit=2&before={next}"),
            None => break,
        }
    }
    assert_eq!(listed, made);
}

#[tokio::test]
async fn what_is_malformed_is_told_as_400_and_never_500() {
    let (_scratch, _replica, client) = server(&[]).await;
    let chat = client.create("").await;
    let posts =
        [format!("/v1/chats/{chat}/messages"), format!("/v1/chats/{chat}/interrupt"), "/v1/chats".into()];
    for path in &posts {
        for body in ["{", "[]", "null", "3", "\"x\"", "{\"a\":", "\u{feff}{}", "{}{}", "{'a':1}"] {
            let request = client.request(Method::POST, path).body(body);
            client.ask(request).await.expect_problem(400, "malformed");
        }
        let request = client.request(Method::POST, path).body(&b"{\"content\":\"\xff\xfe\"}"[..]);
        client.ask(request).await.expect_problem(400, "malformed");
    }
    let messages = &posts[0];
    for content in [
        json!(3),
        json!(""),
        json!([]),
        json!({}),
        json!(null),
        json!([{}]),
        json!([{"type": "text"}]),
        json!([{"type": "text", "text": 3}]),
        json!(["x"]),
        json!(true),
    ] {
        client.post(messages, json!({"content": content})).await.expect_problem(400, "malformed");
        if !content.is_null() {
            client.post("/v1/chats", json!({"content": content})).await.expect_problem(400, "malformed");
        }
    }
    client.post(messages, json!({"content": "x", "busy": "later"})).await.expect_problem(400, "malformed");
    client.post("/v1/chats", json!({"title": 3})).await.expect_problem(400, "malformed");
    client.post("/v1/chats", json!({"title": "x".repeat(100_000)})).await.expect_problem(400, "malformed");
    client.post(&posts[1], json!({"episode": 3})).await.expect_problem(400, "malformed");
    for query in ["after_id=-1", "after_id=x", "after_id=", "after_id=1.5", "limit=0", "limit=x", "limit=-1"]
    {
        client.get(&format!("/v1/chats/{chat}/messages?{query}")).await.expect_problem(400, "malformed");
    }
    for query in ["limit=0", "before=x", "limit=1&limit=2"] {
        client.get(&format!("/v1/chats?{query}")).await.expect_problem(400, "malformed");
    }
    for key in ["", "a b", &"k".repeat(300)] {
        client.post_with_key(messages, key, &json!({"content": "x"})).await.expect_problem(400, "malformed");
    }
    assert_eq!(client.messages(&chat).await.len(), 0, "nothing of it happened");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_not_taken_405() {
    let (_scratch, _replica, client) = server(&[]).await;
    let chat = client.create("/demo parts=1 interval=0").await;
    client.until_idle(&chat).await;
    for id in [NOBODYS, "x", "..", "%00", "%ff", "0190d6f1000070008000000000000001", "🦀"] {
        for path in ["", "/messages", "/stream"] {
            client.get(&format!("/v1/chats/{id}{path}")).await.expect(404).expect_document();
        }
        let send = client.post(&format!("/v1/chats/{id}/messages"), json!({"content": "x"})).await;
        send.expect(404).expect_document();
        client.delete(&format!("/v1/chats/{id}")).await.expect(404).expect_document();
        client.interrupt(id).await.expect(404).expect_document();
    }
    for id in ["999", "0", "x", "-1", "18446744073709551616"] {
        let path = format!("/v1/chats/{chat}/messages/{id}");
        client.patch(&path, json!({"content": "x"})).await.expect_problem(404, "no_such_message");
        let path = format!("/v1/chats/{chat}/queue/{id}");
        client.delete(&path).await.expect_problem(404, "no_such_queued");
        client.post(&format!("{path}/promote"), json!({})).await.expect_problem(404, "no_such_queued");
    }
    for path in ["/v1", "/v2/chats", "/v1/chats/", "/v1/chat", "/healthz/x", "//", "/v1/chats/x/y/z"] {
        client.get(path).await.expect(404).expect_document();
    }
    for (method, path) in [
        (Method::PUT, "/v1/chats".to_owned()),
        (Method::PUT, format!("/v1/chats/{chat}")),
        (Method::GET, format!("/v1/chats/{chat}/tool_results")),
        (Method::DELETE, format!("/v1/chats/{chat}/messages")),
        (Method::POST, format!("/v1/chats/{chat}/stream")),
        (Method::POST, "/healthz".into()),
    ] {
        let answer =
            client.ask(client.request(method, &path)).await.expect_problem(405, "method_not_allowed");
        assert!(answer.headers.contains_key("allow"), "{path}");
    }
    client.interrupt(&chat).await.expect_problem(409, "not_running");
    let cursors = ["x", "", "AAAA", &"A".repeat(5000), "%00", "💥", "null"];
    for cursor in cursors {
        for kind in [Kind::EventStream, Kind::WebSocket] {
            if kind == Kind::WebSocket && cursor == "💥" {
                continue;
            }
            let refused = Viewer::refused(&client, &chat, kind, &format!("?after={cursor}")).await;
            assert_eq!(refused, (400, "bad_cursor".into()), "{cursor:.20}");
        }
    }
    let request =
        client.request(Method::GET, &format!("/v1/chats/{chat}/stream")).header("last-event-id", "x");
    client.ask(request).await.expect_problem(400, "bad_cursor");
    let refused = Viewer::refused(&client, &chat, Kind::EventStream, "?after_id=x").await;
    assert_eq!(refused, (400, "malformed".into()));
}

#[tokio::test]
async fn what_is_too_large_is_413_and_a_full_queue_409() {
    let (_scratch, _replica, client) =
        server(&["--message-bytes-max", "1000", "--queue-max", "2", "--workers", "0"]).await;
    let chat = client.create("").await;
    let path = format!("/v1/chats/{chat}/messages");
    client.post(&path, json!({"content": "x".repeat(1001)})).await.expect_problem(413, "too_large");
    client.post(&path, json!({"content": "x".repeat(5_000_000)})).await.expect_problem(413, "too_large");
    client.post("/v1/chats", json!({"content": "é".repeat(501)})).await.expect_problem(413, "too_large");
    for _ in 0..3 {
        client.post(&path, json!({"content": "\"".repeat(1000)})).await.expect(202);
    }
    client.post(&path, json!({"content": "x"})).await.expect_problem(409, "queue_full");
    assert_eq!(client.chat(&chat).await["queue"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_key_makes_a_request_happen_once() {
    let cluster = Cluster::start(&[&["--workers", "0"], &["--workers", "0"]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let create = json!({"title": "one", "content": "x"});
    let first = a.post_with_key("/v1/chats", "create", &create).await.expect(201);
    let again = b.post_with_key("/v1/chats", "create", &create).await.expect(201);
    assert_eq!(first.body, again.body, "on any replica");
    let chat = first.body["id"].as_str().expect("an id");
    assert_eq!(a.get("/v1/chats").await.body["chats"].as_array().map(Vec::len), Some(1));
    let path = format!("/v1/chats/{chat}/messages");
    let body = json!({"content": "y"});
    let (x, y, z, w) = tokio::join!(
        a.post_with_key(&path, "k", &body),
        b.post_with_key(&path, "k", &body),
        a.post_with_key(&path, "k", &body),
        b.post_with_key(&path, "k", &body)
    );
    let one = x.expect(202).body;
    for other in [y, z, w] {
        assert_eq!(other.expect(202).body, one, "S6: at the same time");
    }
    b.post_with_key(&path, "k", &json!({"content": "z"})).await.expect_problem(422, "idempotency_mismatch");
    assert_eq!(b.chat(chat).await["queue"].as_array().map(Vec::len), Some(1), "S6");
    // A key is valid for one path.
    let other = a.create("").await;
    b.post_with_key(&format!("/v1/chats/{other}/messages"), "k", &body).await.expect(202);
    // Rejections are recorded as well.
    let reject = json!({"content": "y", "busy": "reject"});
    a.post_with_key(&path, "r", &reject).await.expect_problem(409, "busy");
    b.post_with_key(&path, "r", &reject).await.expect_problem(409, "busy");
}

#[tokio::test]
async fn a_chat_belongs_to_its_creator_and_to_others_it_is_not_there() {
    let scratch = Scratch::new();
    let auth = scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n\"t-bob\" = \"bob\"\n");
    let replica = alone(&scratch, &["--auth-file", &auth]).await;
    let nobody = replica.client();
    let (ann, bob) = (nobody.with_token("t-ann"), nobody.with_token("t-bob"));
    let chat = ann.create("/demo parts=5000 interval=10ms").await;
    ann.until_running(&chat).await;
    ann.send(&chat, "queued").await;
    let queued = ann.chat(&chat).await["queue"][0]["id"].clone();
    let content = json!({"content": "x"});
    let requests = [
        (Method::GET, String::new()),
        (Method::GET, "/messages".into()),
        (Method::GET, "/stream".into()),
        (Method::POST, "/messages".into()),
        (Method::PATCH, "/messages/1".into()),
        (Method::DELETE, format!("/queue/{queued}")),
        (Method::POST, format!("/queue/{queued}/promote")),
        (Method::POST, "/interrupt".into()),
        (Method::DELETE, String::new()),
    ];
    for (method, path) in requests {
        let path = format!("/v1/chats/{chat}{path}");
        let strangers = [nobody.clone(), nobody.with_token("t-eve"), nobody.with_token("")];
        for (client, status) in [(&bob, 404)].into_iter().chain(strangers.iter().map(|client| (client, 401)))
        {
            let request = client.request(method.clone(), &path);
            let request = if method_has_body(&path) { request.json(&content) } else { request };
            let answer = client.ask(request).await.expect(status).expect_document();
            assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        }
    }
    nobody.post("/v1/chats", json!({})).await.expect(401).expect_document();
    nobody.get("/v1/chats").await.expect(401).expect_document();
    assert_eq!(bob.get("/v1/chats").await.expect(200).body["chats"], json!([]));
    assert_eq!(Viewer::refused(&bob, &chat, Kind::WebSocket, "").await.0, 404);
    assert_eq!(Viewer::refused(&nobody, &chat, Kind::WebSocket, "").await.0, 401);
    for (token, status) in [("t-bob", 404), ("x", 401)] {
        let query = format!("?access_token={token}");
        assert_eq!(Viewer::refused(&nobody, &chat, Kind::EventStream, &query).await.0, status);
    }
    nobody.get(&format!("/v1/chats/{chat}?access_token=t-ann")).await.expect(401);
    for kind in [Kind::EventStream, Kind::WebSocket] {
        let mut viewer = Viewer::open_with(&nobody, &chat, kind, "?access_token=t-ann").await;
        viewer.until("the creator sees it", |s| s.seq > 2).await;
    }
    nobody.get("/healthz").await.expect(200);
    nobody.get("/readyz").await.expect(200);
    assert_eq!(ann.chat(&chat).await["queue"].as_array().map(Vec::len), Some(1), "S10: nothing was done");
    assert!(!replica.log().contains("t-ann"), "tokens are not logged");
    // A key belongs to its caller.
    let (one, other) = (json!({"title": "a"}), json!({"title": "b"}));
    ann.post_with_key("/v1/chats", "k", &one).await.expect(201);
    bob.post_with_key("/v1/chats", "k", &other).await.expect(201);
}

fn method_has_body(path: &str) -> bool {
    path.contains("/messages") || path.ends_with("/interrupt") || path.ends_with("/promote")
}

/// Whether there is a head, and as much of a body as it says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    !text.contains("transfer-encoding") && request.len() - (end + 4) >= length.unwrap_or(0)
}

#[tokio::test]
async fn no_bytes_are_answered_with_500_or_end_the_server() {
    let (_scratch, mut replica, client) = server(&[]).await;
    let chat = client.create("").await;
    let begin =
        format!("POST /v1/chats/{chat}/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    let body = "{\"content\":\"/demo parts=1\",\"busy\":\"queue\"}";
    let whole =
        format!("{begin}content-length: {}\r\nidempotency-key: k\r\n\r\n{body}", body.len()).into_bytes();
    // A small random generator (xorshift), so that every run sends the same bytes.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("it is below")
    };
    let mut requests: Vec<Vec<u8>> = vec![
        whole.clone(),
        vec![],
        vec![0; 4096],
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![b'A'; 200_000],
        [b"GET /".to_vec(), vec![b'a'; 100_000], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
        [b"GET / HTTP/1.1\r\n".to_vec(), b"x: y\r\n".repeat(1000), b"\r\n".to_vec()].concat(),
        format!("{begin}content-length: -1\r\n\r\n").into_bytes(),
        format!("{begin}content-length: 99999999999999999999\r\n\r\n").into_bytes(),
        format!("{begin}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\nzzzz\r\n").into_bytes(),
        format!("{begin}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n").into_bytes(),
        format!("GET /v1/chats/{chat}/stream HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
            .into_bytes(),
    ];
    for _ in 0..400 {
        let mut mutated = whole.clone();
        for _ in 0..=draw(4) {
            let at = draw(mutated.len().max(1));
            match draw(10) {
                0..=2 if at < mutated.len() => mutated[at] = u8::try_from(draw(256)).expect("a byte"),
                3..=5 if at < mutated.len() => drop(mutated.remove(at)),
                6..=8 => mutated.insert(at.min(mutated.len()), u8::try_from(draw(256)).expect("a byte")),
                _ => mutated.truncate(at.max(1)),
            }
        }
        requests.push(mutated);
    }
    let mut answered = BTreeMap::new();
    for request in requests {
        let answer = if is_whole(&request) {
            let mut connection = Raw::open(replica.address()).await;
            connection.send(&request).await;
            connection.until("it is answered", |came| came.contains("\r\n\r\n")).await.to_owned()
        } else {
            // It has to end, so that nobody waits for the rest.
            raw(replica.address(), &request).await
        };
        let status = status(&answer);
        assert!(status < 500, "{answer} to {:?}", String::from_utf8_lossy(&request));
        *answered.entry(status).or_insert(0) += 1;
    }
    for status in [202, 400, 404, 421] {
        assert!(answered.contains_key(&status), "they get as far as can be: {answered:?}");
    }
    client.get("/healthz").await.expect(200);
    assert!(replica.is_running() && !replica.log().contains("ERROR"), "{}", replica.log());
}
