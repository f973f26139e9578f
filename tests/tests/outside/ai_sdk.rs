//! The AI SDK as it is published, against three replicas: after everything, what the client shows is what the database has.

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::node::NodeProgram;
use serde_json::{Value, json};

/// The major versions, each with what it says of itself in the query.
const ALL: [(u64, &str); 4] = [(5, ""), (6, ""), (7, ""), (7, "?ai=7")];

/// A page that shows a chat.
struct Page {
    program: NodeProgram,
    chat: String,
}

impl Page {
    fn open(version: u64, query: &str, client: &Client, chat: &str, has: Value) -> Self {
        let (version, has) = (version.to_string(), has.to_string());
        let program = NodeProgram::start("page.mjs", &[&version, &client.base, chat, query, &has]);
        Self { program, chat: chat.to_owned() }
    }

    fn fresh(version: u64, query: &str, client: &Client) -> Self {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        Self::open(version, query, client, &chat, json!({}))
    }

    async fn tell(&mut self, command: Value) -> Value {
        self.program.ask(&command).await
    }

    async fn send(&mut self, text: &str) {
        self.tell(json!({"do": "send", "text": text})).await;
    }

    async fn state(&mut self) -> Value {
        self.tell(json!({"do": "state"})).await
    }

    async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.state().await).filter(&is_it)).await
    }

    async fn until_status(&mut self, status: &str) -> Value {
        self.until(&format!("the page is {status}"), |state| state["status"] == status).await
    }

    /// Waits until an answer is being shown, of at least so many characters.
    async fn until_shown(&mut self, characters: usize) {
        self.until("an answer is shown", |state| last_text(state).len() >= characters).await;
    }

    /// Asserts that the page shows what the database has, and answers that: the texts of the messages.
    async fn compare(&mut self, client: &Client) -> Vec<String> {
        let chat = self.chat_id(client).await;
        client.until_idle(&chat).await;
        let kept = kept(client, &chat).await;
        let state = self.state().await;
        let shown: Vec<Value> = messages(&state).iter().map(shown).collect();
        assert_eq!(shown, kept, "what is shown, and what the database has: {state}");
        let first = client.get(&format!("/ai/chat/{}/messages", self.chat)).await.expect(200).body;
        let rendered: Vec<Value> =
            first.as_array().expect("messages").iter().map(|message| self::shown(message)).collect();
        assert_eq!(rendered, kept, "a first render, and what the database has");
        let ids = |of: &[Value]| of.iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(messages(&state)), ids(first.as_array().expect("messages")), "names are the same");
        kept.iter().map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }

    async fn chat_id(&self, client: &Client) -> String {
        let named = client.get(&format!("/v1/chats?external_id={}", self.chat)).await.expect(200).body;
        named["chats"][0]["id"].as_str().expect("the chat is there").to_owned()
    }
}

fn messages(state: &Value) -> &[Value] {
    state["messages"].as_array().expect("messages")
}

fn last_text(state: &Value) -> String {
    let last = messages(state).last().filter(|last| last["role"] == "assistant");
    last.map(|last| shown(last)["text"].as_str().expect("a text").to_owned()).unwrap_or_default()
}

/// What a user sees of a message: its texts, and of each call what came of it.
fn shown(message: &Value) -> Value {
    let parts = message["parts"].as_array().expect("parts");
    let texts = |kind: &str| {
        let of_kind = parts.iter().filter(|part| part["type"] == kind);
        of_kind.map(|part| part["text"].as_str().expect("a text")).collect::<String>()
    };
    let is_tool = |part: &&Value| part["type"].as_str().is_some_and(|kind| kind.starts_with("tool-"));
    let calls = parts.iter().filter(is_tool).map(|part| {
        let output = if part["state"] == "output-error" { &part["errorText"] } else { &part["output"] };
        json!([part["toolCallId"], part["type"], part["input"], output])
    });
    let steps = parts.iter().filter(|part| part["type"] == "step-start").count();
    json!({
        "role": message["role"], "text": texts("text"), "reasoning": texts("reasoning"),
        "calls": calls.collect::<Vec<_>>(), "steps": steps,
    })
}

/// The same of what the database has: all that answers one message is one.
async fn kept(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages?limit=100")).await.expect(200).body;
    let mut kept: Vec<(Value, Value)> = vec![];
    for message in page["messages"].as_array().expect("messages") {
        let is_user = message["role"] == "user";
        if is_user || kept.last().is_none_or(|(turn, of)| *turn != message["turn"] || of["role"] == "user") {
            let role = if is_user { "user" } else { "assistant" };
            let empty = json!({"role": role, "text": "", "reasoning": "", "calls": [], "steps": 0});
            kept.push((message["turn"].clone(), empty));
        }
        let (_, of) = kept.last_mut().expect("one was pushed");
        if message["role"] == "assistant" {
            of["steps"] = json!(of["steps"].as_u64().expect("a count") + 1);
        }
        for part in message["content"].as_array().expect("parts") {
            match part["type"].as_str().expect("a type") {
                kind @ ("text" | "reasoning") => {
                    let text = part["text"].as_str().expect("a text");
                    of[kind] = json!(format!("{}{text}", of[kind].as_str().expect("a text")));
                }
                "tool_call" => {
                    let kind = format!("tool-{}", part["name"].as_str().expect("a name"));
                    let call = json!([part["id"], kind, part["input"], null]);
                    of["calls"].as_array_mut().expect("calls").push(call);
                }
                "tool_result" => {
                    let calls = of["calls"].as_array_mut().expect("calls");
                    let call = calls.iter_mut().find(|call| call[0] == part["tool_call_id"]);
                    let content = &part["content"];
                    let data =
                        content.get(0).filter(|only| only["name"] == "output").map(|only| &only["data"]);
                    call.expect("its call came before")[3] = data.unwrap_or(content).clone();
                }
                _ => {}
            }
        }
    }
    kept.into_iter().map(|(_, of)| of).collect()
}

async fn cluster() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start(&[&[], &[], &[]]).await;
    let clients = [0, 1, 2].map(|at| cluster.replicas[at].client());
    (cluster, clients)
}

#[tokio::test]
async fn a_plain_answer_is_shown_as_it_is_kept() {
    let (_cluster, [a, b, _]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=50 interval=1ms").await;
        page.until_status("ready").await;
        let texts = page.compare(&b).await;
        assert_eq!(texts[1], counted(50), "{version}");
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=7 interval=1ms").await;
        page.until("the second is shown", |state| messages(state).len() == 4 && state["status"] == "ready")
            .await;
        assert_eq!(page.compare(&a).await[3], counted(7), "{version}: on another replica");
    }
}

#[tokio::test]
async fn a_page_that_comes_back_to_another_replica_shows_the_answer_once() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=150 interval=10ms").await;
        page.until_shown(20).await;
        page.tell(json!({"do": "stop"})).await;
        page.until_status("ready").await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "resume"})).await;
        page.until_status("streaming").await;
        page.until_status("ready").await;
        assert_eq!(page.compare(&c).await[1], counted(150), "{version}: leaving is not stopping");
        page.tell(json!({"do": "resume"})).await;
        page.until_status("ready").await;
        page.compare(&a).await;
        // A page that is opened anew has what is kept, and the rest as it comes.
        page.send("/demo parts=150 interval=10ms").await;
        page.until_shown(20).await;
        let first = c.get(&format!("/ai/chat/{}/messages", page.chat)).await.expect(200).body;
        let mut other = Page::open(version, query, &c, &page.chat, json!({"messages": first}));
        other.tell(json!({"do": "resume"})).await;
        other.until_shown(20).await;
        other.until_status("ready").await;
        page.until_status("ready").await;
        let texts = other.compare(&a).await;
        assert_eq!((page.compare(&b).await, texts[3].clone()), (texts, counted(150)), "{version}: two tabs");
    }
}

#[tokio::test]
async fn a_worker_that_dies_costs_a_page_nothing_but_a_while() {
    for (at, (version, query)) in (0..).zip(ALL.into_iter().chain(ALL)) {
        let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        // Its own replica dies, or another one.
        let is_own = at < ALL.len();
        let mut page = Page::fresh(version, query, if is_own { &a } else { &b });
        page.send("/demo parts=200 interval=10ms").await;
        page.until_shown(20).await;
        assert_eq!(page.state().await["status"], "streaming");
        cluster.add("c", &[]).await;
        cluster.replicas[0].kill();
        let is_cut = is_own || query.is_empty();
        if is_cut {
            let cut = page.until_status("error").await;
            assert_eq!(cut["error"], "terminated", "it is no end");
            page.tell(json!({"do": "go", "to": cluster.replicas[2].url()})).await;
            page.tell(json!({"do": "resume"})).await;
            let state = page.until("it goes on", |state| state["status"] != "submitted").await;
            if state["status"] == "error"
                || page.until("it ends", |s| s["status"] != "streaming").await["status"] == "error"
            {
                // What there was of the first attempt was told once more, and then voided.
                page.tell(json!({"do": "resume"})).await;
            }
        }
        page.until_status("ready").await;
        assert_eq!(page.compare(&b).await[1], counted(200), "{version}{query}");
        let requests = page.state().await["requests"].as_array().map(Vec::len);
        assert!(if is_cut { requests > Some(1) } else { requests == Some(1) }, "{requests:?}");
    }
}

#[tokio::test]
async fn a_replica_that_drains_cuts_and_never_ends_what_goes_on() {
    for (version, query) in ALL {
        let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &["--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=200 interval=10ms").await;
        page.until_shown(20).await;
        cluster.add("c", &[]).await;
        cluster.replicas[0].terminate();
        let cut = page.until_status("error").await;
        assert_eq!(
            (&cut["error"], cut["requests"].as_array().map(Vec::len)),
            (&json!("terminated"), Some(1))
        );
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "resume"})).await;
        page.until_status("streaming").await;
        let state = page.until("it is over", |state| state["status"] != "streaming").await;
        if state["status"] == "error" {
            // The hand-over itself is another attempt.
            assert_eq!(state["error"], "terminated");
            page.tell(json!({"do": "resume"})).await;
        }
        page.until_status("ready").await;
        assert_eq!(page.compare(&b).await[1], counted(200), "{version}{query}");
        assert_eq!(cluster.replicas[0].ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_stop_keeps_what_was_said_and_is_shown_as_no_error() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=3000 interval=5ms").await;
        page.until_shown(20).await;
        let stop = format!("/ai/chat/{}/stop", page.chat);
        let stale = json!({"activeStreamId": "a99-none", "assistantMessage": {"id": "x"}});
        assert_eq!(b.post(&stop, stale).await.expect(200).body, json!({"success": true}));
        assert_eq!(page.state().await["status"], "streaming", "another answer was meant");
        b.post(&stop, json!({})).await.expect(200);
        let state = page.until_status("ready").await;
        assert_eq!(state["error"], Value::Null);
        let texts = page.compare(&c).await;
        assert!(!texts[1].is_empty() && texts[1].len() < counted(3000).len(), "{version}");
        b.post(&stop, json!({})).await.expect(200);
        assert_eq!(a.post("/ai/chat/none/stop", json!({})).await.status, 404);

        let query = if query.is_empty() { "?on_close=stop" } else { "?ai=7&on_close=stop" };
        let mut page = Page::fresh(version, query, &b);
        page.send("/demo parts=3000 interval=5ms").await;
        page.until_shown(20).await;
        page.tell(json!({"do": "stop"})).await;
        let chat = page.chat_id(&a).await;
        a.until_idle(&chat).await;
        let turn = a.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
        assert_eq!(turn["status"], "interrupted", "{version}: leaving is stopping");
    }
}

#[tokio::test]
async fn an_edit_and_a_second_answer_are_shown_as_they_are_kept() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        for parts in [3, 4] {
            page.send(&format!("/demo parts={parts} interval=1ms")).await;
            page.until("it is answered", |state| {
                last_text(state) == counted(parts) && state["status"] == "ready"
            })
            .await;
        }
        let state = page.state().await;
        let ids: Vec<Value> = messages(&state).iter().map(|message| message["id"].clone()).collect();
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.tell(json!({"do": "regenerate"})).await;
        page.until_status("ready").await;
        assert_eq!(page.compare(&c).await.len(), 4, "{version}");
        // The first question again, in other words, and once more: it goes by its name of before.
        for parts in [5, 6] {
            page.tell(json!({"do": "edit", "messageId": ids[0], "text": format!("/demo parts={parts} interval=1ms")})).await;
            page.until("it is answered", |state| {
                last_text(state) == counted(parts) && state["status"] == "ready"
            })
            .await;
            let texts = page.compare(&a).await;
            assert_eq!(texts, [format!("/demo parts={parts} interval=1ms"), counted(parts)], "{version}");
        }
        assert_eq!(messages(&page.state().await)[0]["id"], ids[0]);
        page.send("/demo parts=7 interval=1ms").await;
        page.until("it is answered", |state| messages(state).len() == 4 && state["status"] == "ready").await;
        let answer = messages(&page.state().await)[1]["id"].clone();
        page.tell(json!({"do": "regenerate", "messageId": answer})).await;
        page.until("it is answered", |state| messages(state).len() == 2 && state["status"] == "ready").await;
        assert_eq!(page.compare(&b).await[1], counted(6), "{version}: of an answer by its name");
    }
}

#[tokio::test]
async fn calls_and_thoughts_are_shown_and_results_let_the_answer_go_on() {
    let (_cluster, [a, b, c]) = cluster().await;
    let tools = json!({"find": {"description": "finds it", "parameters": {"type": "object"}}});
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({"automatic": true}));
        let text = "/demo parts=4 interval=1ms reasoning=2 call=find calls=2";
        page.tell(json!({"do": "body", "text": text, "body": {"tools": tools}})).await;
        let asked = |state: &Value| {
            state["status"] == "ready"
                && messages(state).last().is_some_and(|last| last["role"] == "assistant")
        };
        let state = page.until("the page is asked", asked).await;
        let calls = shown(&messages(&state)[1])["calls"].clone();
        assert_eq!((calls.as_array().map(Vec::len), &calls[1][2]), (Some(2), &json!({"n": 2})), "{version}");
        page.tell(json!({"do": "go", "to": b.base})).await;
        for (at, output) in [(0, json!({"found": [1.5, null]})), (1, json!("a string"))] {
            page.tell(json!({"do": "output", "tool": "find", "toolCallId": calls[at][0], "output": output}))
                .await;
        }
        page.until("it goes on", |state| {
            state["requests"] == json!(["POST", "POST"]) && state["status"] == "ready"
        })
        .await;
        let texts = page.compare(&c).await;
        assert_eq!(texts.len(), 2);
        let state = page.state().await;
        let shown = shown(&messages(&state)[1]);
        assert_eq!(
            (&shown["steps"], &shown["calls"][0][3]),
            (&json!(2), &json!({"found": [1.5, null]})),
            "S11"
        );
        assert_eq!(shown["reasoning"], "1 2 1 2 ", "{version}: {shown}");
        // The same results again change nothing, and are answered with the rest.
        let body = json!({"id": chat, "messages": [messages(&state)[1]], "trigger": "submit-message"});
        let again = a.post("/ai/chat", body).await.expect(200).text;
        assert!(again.contains("finish-step") && again.ends_with("data: [DONE]\n\n"), "{again}");
        page.compare(&a).await;
    }
}

#[tokio::test]
async fn two_questions_in_a_row_are_answered_one_after_the_other() {
    let (_cluster, [a, b, _]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        page.send("/demo parts=100 interval=10ms").await;
        page.until_shown(5).await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=9 interval=1ms").await;
        let chat = page.chat_id(&a).await;
        let both = async || {
            let kept = kept(&b, &chat).await;
            (kept.len() == 4 && kept[3]["text"] == json!(counted(9))).then_some(kept)
        };
        let kept = until("both are answered", both).await;
        assert_eq!(kept[1]["text"], json!(counted(100)), "{version}");
        page.until_status("ready").await;
        let news = page.state().await["news"].to_string();
        assert!(news.contains("data-mainstem-queue") && news.contains("data-mainstem-status"), "{news}");
        assert_eq!(last_text(&page.state().await), counted(9), "{version}");
    }
}

#[tokio::test]
async fn errors_are_text_that_a_user_can_read() {
    let (_cluster, [a, _, _]) = cluster().await;
    let mut page = Page::fresh(7, "", &a);
    page.send("/demo parts=9 interval=1ms fatal=4").await;
    let state = page.until_status("error").await;
    let error = state["error"].as_str().expect("an error").to_owned();
    assert!(!error.is_empty() && !error.contains('{'), "{error}");
    assert_eq!(page.compare(&a).await[1], counted(4));
    page.tell(json!({"do": "send", "text": ""})).await;
    let state = page
        .until("it is refused", |state| state["error"] != json!(error) && state["status"] == "error")
        .await;
    let error = state["error"].as_str().expect("an error");
    assert!(error.contains("content") && !error.contains('{'), "{error}");
    for (path, status) in [("/ai/chat/x/y", 404), ("/ai/chat", 400), ("/ai/chat/x/messages", 405)] {
        let answer = a.post(path, json!({})).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().ok()),
            (status, Some("text/plain; charset=utf-8")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_socket_carries_many_answers_and_its_stop_is_no_leaving() {
    let mut cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &[], &["--workers", "0"]]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=60 interval=1ms").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&b).await[1], counted(60));
    page.tell(json!({"do": "resume"})).await;
    page.until_status("ready").await;
    // A stop is one.
    page.send("/demo parts=3000 interval=5ms").await;
    page.until_shown(20).await;
    page.tell(json!({"do": "stop"})).await;
    let id = page.chat_id(&a).await;
    b.until_idle(&id).await;
    let turn = b.chat(&id).await["turn"].clone();
    let turn = b.get(&format!("/v1/chats/{id}/turns/{turn}")).await.expect(200).body;
    assert_eq!(turn["status"], "interrupted", "leaving is another thing");
    page.send("").await;
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("content")), "{state}");

    // Its replica drains: the socket is closed, and all is told again elsewhere.
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=250 interval=10ms").await;
    page.until_shown(20).await;
    cluster.replicas[0].terminate();
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("1001")), "{state}");
    page.tell(json!({"do": "go", "to": c.base})).await;
    page.tell(json!({"do": "resume"})).await;
    page.until_status("streaming").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&c).await[1], counted(250));
    assert_eq!(page.state().await["requests"], json!(["SOCKET", "SOCKET"]));
    let answer = c.get("/ai/chat/socket").await;
    assert_eq!((answer.status, answer.text.contains("WebSocket")), (400, true));
}
