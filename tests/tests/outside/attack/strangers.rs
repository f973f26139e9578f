//! Another user's chat, asked for in every way that there is, by somebody it is not there for: each answer is, but for the name that was
//! asked for, the one of a chat that nobody has (S10). The requests are those that `/openapi.json` tells of, so that one which is
//! added is tried as well, and those of the faces.

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::openapi::{Document, Request};
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{TOKENS, is_sound};

/// A request, of which `CHAT` is the chat's id and `SIMPLE` the same without hyphens.
#[derive(Clone, Debug)]
struct Ask {
    name: String,
    method: Method,
    path: String,
    body: Option<String>,
    fields: Vec<(&'static str, &'static str)>,
}

impl Ask {
    fn new(method: Method, path: &str, body: Option<Value>) -> Self {
        let (name, body) = (format!("{method} {path}"), body.map(|body| body.to_string()));
        Self { name, method, path: path.to_owned(), body, fields: vec![] }
    }

    async fn of(&self, client: &Client, chat: &str) -> Answer {
        let simple = chat.replace('-', "");
        let filled = |text: &str| text.replace("CHAT", chat).replace("SIMPLE", &simple);
        let mut request = client.request(self.method.clone(), &filled(&self.path));
        for (name, value) in &self.fields {
            request = request.header(*name, *value);
        }
        if let Some(body) = &self.body {
            request = request.header("content-type", "application/json").body(filled(body));
        }
        client.ask(request).await
    }
}

/// An answer with its fields, but for the time and for the chat that was asked for.
fn seen(answer: &Answer, chat: &str) -> String {
    let mut fields: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != "date").collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    let text = format!("{} {fields:?} {}", answer.status, answer.text);
    text.replace(chat, "CHAT").replace(&chat.replace('-', ""), "SIMPLE")
}

/// What a request of the document brings, so that a caller who may is not refused for its body.
fn brought(id: &str) -> Value {
    match id {
        "sendMessage" | "editMessage" => json!({"content": "x"}),
        "share" => json!({"may": "read"}),
        "sendToolResults" => json!({"results": [{"tool_call_id": "a", "content": "x"}]}),
        "changeChat" => json!({"title": "theirs"}),
        _ => json!({}),
    }
}

/// What of the document names a chat in its path, with the code by which it is refused to somebody it is shared with to read.
fn documented(document: &Document) -> Vec<(Ask, Option<String>)> {
    let of_chats = document.requests().into_iter().filter(|request| request.path.contains("{chat}"));
    let ask = |request: Request| {
        let path = request.path.replace("{chat}", "CHAT").replace("{user}", "carl");
        // A message that waits, and one that does not.
        let path = path.replace("{id}", if path.contains("queue") { "3" } else { "1" });
        let brings = request.told["requestBody"].is_object().then(|| brought(&request.id));
        let mut codes = document.answers(&request).remove(&403).unwrap_or_default().into_iter();
        let code = codes.find(|code| code == "read_only" || code == "not_owner");
        let ask = Ask { name: request.id, ..Ask::new(request.method, &path, brings) };
        (ask, code)
    };
    of_chats.map(ask).collect()
}

/// Further ways to name a chat: wrong bodies, sockets, tickets, cursors, and what the faces call it.
fn others() -> Vec<Ask> {
    let user = json!([{"id": "m-1", "role": "user", "parts": [{"type": "text", "text": "x"}]}]);
    let socket = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let get = |path: &str| Ask::new(Method::GET, path, None);
    let post = |path: &str, body: Value| Ask::new(Method::POST, path, Some(body));
    let mut asks = vec![
        Ask { fields: socket.to_vec(), ..get("/v1/chats/CHAT/stream") },
        Ask { fields: vec![("last-event-id", "x")], ..get("/v1/chats/CHAT/stream") },
        get("/v1/chats/CHAT/stream?after=AAAA"),
        get("/v1/chats/CHAT/stream?after_id=1"),
        get("/v1/chats/CHAT/messages?after_id=x"),
        get("/v1/chats/CHAT/messages?limit=0"),
        get("/v1/chats/CHAT/turns/x"),
        get("/v1/chats/CHAT/turns/99999999999999999999"),
        Ask::new(Method::DELETE, "/v1/chats/CHAT/shares/bob", None),
        Ask::new(Method::DELETE, "/v1/chats/CHAT/shares/%FF", None),
        Ask::new(Method::DELETE, "/v1/chats/CHAT/queue/x", None),
        post("/v1/chats/CHAT/queue/x/promote", json!({})),
        Ask::new(Method::PATCH, "/v1/chats/CHAT/messages/x", Some(json!({"content": "x"}))),
        Ask::new(Method::PATCH, "/v1/chats/CHAT/messages/2", Some(json!({"content": ""}))),
        post("/v1/chats/CHAT/messages", json!({"content": 3})),
        post("/v1/chats/CHAT/messages", json!({"content": "x", "client_id": "named by ann"})),
        post("/v1/chats/CHAT/regenerate", json!({"message": 1})),
        post("/v1/chats/CHAT/interrupt", json!({"episode": {"history_version": 1, "attempt": 1}})),
        Ask {
            fields: vec![("idempotency-key", "ann-s-key")],
            ..post("/v1/chats/CHAT/messages", json!({"content": "under a key"}))
        },
        post("/v1/tickets", json!({"chat": "CHAT"})),
        get("/v1/chats?before=CHAT"),
        get("/v1/chats?external_id=CHAT"),
        get("/v1/chats?external_id=what%20ann%20calls%20it"),
        get("/v1/chats?shared=true&before=CHAT"),
        get("/ai/chat/CHAT/messages"),
        get("/ai/chat/CHAT/stream"),
        post("/ai/chat/CHAT/stop", json!({})),
        post(
            "/ai/chat",
            json!({"id": "CHAT", "trigger": "regenerate-message", "messages": [{"id": "a1-SIMPLE", "role": "assistant", "parts": []}]}),
        ),
        post(
            "/ai/chat",
            json!({"id": "CHAT", "messages": user, "trigger": "regenerate-message", "messageId": "a1-SIMPLE", "model": 3}),
        ),
        get("/ag-ui?threadId=CHAT"),
        get("/ag-ui?threadId=CHAT&runId=r-1"),
        get("/ag-ui?runId=r-1"),
        post("/ag-ui/stop", json!({"threadId": "CHAT"})),
        post("/ag-ui/stop", json!({"threadId": "CHAT", "runId": "r-1"})),
        post("/v1/responses", json!({"model": "demo", "input": "x", "conversation": "conv_SIMPLE"})),
        post(
            "/v1/responses",
            json!({"model": "demo", "input": "x", "previous_response_id": "resp_SIMPLE_1"}),
        ),
        post(
            "/v1/responses",
            json!({"model": "demo", "input": [{"type": "function_call_output", "call_id": "call_SIMPLE_a", "output": "x"}]}),
        ),
        get("/v1/responses/resp_SIMPLE_1"),
        get("/v1/responses/resp_SIMPLE_1?stream=true"),
        get("/v1/responses/resp_SIMPLE_1/input_items"),
        post("/v1/responses/resp_SIMPLE_1/cancel", json!({})),
        Ask::new(Method::DELETE, "/v1/responses/resp_SIMPLE_1", None),
        get("/v1/conversations/conv_SIMPLE"),
        post("/v1/conversations/conv_SIMPLE", json!({"metadata": {}})),
        Ask::new(Method::DELETE, "/v1/conversations/conv_SIMPLE", None),
        get("/v1/conversations/conv_SIMPLE/items"),
        get("/v1/conversations/conv_SIMPLE/items?after=msg_SIMPLE_1_0"),
        get("/v1/conversations/conv_SIMPLE/items/msg_SIMPLE_1_0"),
        get("/v1/conversations/conv_SIMPLE/items/msg_SIMPLE_1_1_0"),
    ];
    for (at, ask) in asks.iter_mut().enumerate() {
        ask.name = format!("{at}: {} {:?}", ask.name, ask.body);
    }
    asks
}

struct World {
    cluster: Cluster,
    _scratch: Scratch,
    document: Document,
    ann: Client,
    /// At another replica.
    bob: Client,
    chat: String,
}

/// A chat of ann's that has a history and a queue, and runs.
async fn world() -> World {
    let scratch = Scratch::new();
    let file = scratch.file("auth.toml", TOKENS);
    let auth = ["--auth-file", &*file];
    let cluster = Cluster::start(&[&auth, &[&auth[..], &["--workers", "0"]].concat()]).await;
    let ann = cluster.replicas[0].client().with_token("anns");
    let bob = cluster.replicas[1].client().with_token("bobs");
    let begin = json!({"external_id": "what ann calls it", "content": "/demo parts=2 interval=0"});
    let chat = ann.post("/v1/chats", begin).await.expect(201).body["id"].as_str().expect("an id").to_owned();
    ann.until_idle(&chat).await;
    let path = format!("/v1/chats/{chat}/messages");
    // It does not end while anybody looks at it.
    let run = json!({"content": "/demo parts=2 interval=0 stall=1", "client_id": "named by ann"});
    ann.post(&path, run).await.expect(202);
    ann.until_running(&chat).await;
    ann.post_with_key(&path, "ann-s-key", &json!({"content": "under a key"})).await.expect(202);
    // One of bob's own is older, and one is newer.
    bob.create("").await;
    let document = Document::of(&ann).await;
    World { cluster, _scratch: scratch, document, ann, bob, chat }
}

impl World {
    /// A chat that nobody has, with an id of the same time.
    fn nobodys(&self) -> String {
        let id = Uuid::parse_str(&self.chat).expect("an id").as_u128() ^ 1;
        Uuid::from_u128(id).to_string()
    }

    /// That it is to bob as if nobody had it.
    async fn is_not_there(&self) {
        let nobodys = self.nobodys();
        let documented = documented(&self.document).into_iter().map(|(ask, _)| ask);
        let mut asked = vec![];
        for ask in documented {
            let answer = ask.of(&self.bob, &self.chat).await;
            let expected = (404, &json!("no_such_chat"));
            assert_eq!((answer.status, &answer.body["code"]), expected, "S10: {}: {}", ask.name, answer.text);
            asked.push((ask, answer));
        }
        for ask in others() {
            let answer = ask.of(&self.bob, &self.chat).await;
            asked.push((ask, answer));
        }
        for (ask, answer) in asked {
            let none = ask.of(&self.bob, &nobodys).await;
            assert_eq!(seen(&answer, &self.chat), seen(&none, &nobodys), "S10: {}", ask.name);
            let told = answer.text.replace("what ann calls it", "");
            assert!(!told.contains("ann"), "S10: {}: {}", ask.name, answer.text);
        }
    }
}

#[tokio::test]
async fn a_chat_of_another_is_answered_like_one_that_nobody_has_on_every_route() {
    let world = world().await;
    let before = world.ann.chat(&world.chat).await;
    world.is_not_there().await;
    assert_eq!(world.ann.chat(&world.chat).await, before, "nothing of it changed anything");
    for replica in &world.cluster.replicas {
        is_sound(replica);
    }
}

#[tokio::test]
async fn a_chat_that_was_shared_is_refused_by_its_reason_and_is_gone_when_it_is_taken() {
    let world = world().await;
    let (ann, bob, chat) = (&world.ann, &world.bob, &world.chat);
    let share = format!("/v1/chats/{chat}/shares/bob");
    let give = async |may: &str| {
        ann.ask(ann.request(Method::PUT, &share).json(&json!({"may": may}))).await.expect(200);
    };
    let before = ann.chat(chat).await;
    for may in ["read", "write"] {
        give(may).await;
        let mut refused = 0;
        for (ask, code) in documented(&world.document) {
            // A stream that is open does not end by itself.
            if ask.name == "stream" {
                continue;
            }
            let code = code.filter(|code| may == "read" || code == "not_owner");
            match code {
                Some(code) => {
                    ask.of(bob, chat).await.expect_problem(403, &code);
                    refused += 1;
                }
                None if may == "read" => drop(ask.of(bob, chat).await.expect(200)),
                // What a writer may is changed elsewhere.
                None => {}
            }
        }
        assert!(refused >= if may == "read" { 12 } else { 4 }, "{may}: {refused}");
    }
    assert_eq!(ann.chat(chat).await["version"], before["version"], "nothing of it changed anything");
    ann.delete(&share).await.expect(204);
    world.is_not_there().await;
}
