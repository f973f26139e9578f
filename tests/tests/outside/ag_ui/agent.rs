//! A client of AG-UI, and what the database has of its chat.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::line_program::LineProgram;
use mainstem_tests::node;
use serde_json::{Value, json};

/// A client that shows a thread.
pub(super) struct Agent {
    program: LineProgram,
    kind: String,
    pub(super) thread: String,
}

impl Agent {
    pub(super) fn open(kind: &str, query: &str, client: &Client, thread: &str, options: Value) -> Self {
        let options = options.to_string();
        let program = node::start("agent.mjs", &[kind, &client.base, thread, query, &options]);
        Self { program, kind: kind.to_owned(), thread: thread.to_owned() }
    }

    pub(super) fn fresh(kind: &str, client: &Client, options: Value) -> Self {
        Self::open(kind, "", client, &fresh_name("thread"), options)
    }

    pub(super) fn is_tanstack(&self) -> bool {
        self.kind == "tanstack"
    }

    pub(super) async fn tell(&mut self, command: Value) -> Value {
        self.program.ask(&command).await
    }

    pub(super) async fn go(&mut self, to: &Client) {
        self.tell(json!({"do": "go", "to": to.base})).await;
    }

    /// Sends, and waits until the client has begun to ask.
    pub(super) async fn send(&mut self, text: &str) {
        let asked = requests(&self.tell(json!({"do": "send", "text": text})).await);
        if asked == 0 || self.is_tanstack() {
            self.until("it is asked", |state| state["status"] != "submitted" && requests(state) > 0).await;
        }
    }

    /// Sends, and waits for the answer.
    pub(super) async fn ask(&mut self, text: &str) {
        let before = requests(&self.state().await);
        self.tell(json!({"do": "send", "text": text})).await;
        self.until("it is answered", |state| requests(state) > before && state["status"] == "ready").await;
    }

    /// Runs again, and waits for the end.
    pub(super) async fn run(&mut self, with: Value) -> Value {
        let before = requests(&self.state().await);
        let mut command = json!({"do": "run"});
        command.as_object_mut().expect("it is one").extend(with.as_object().expect("members").clone());
        self.tell(command).await;
        self.until("it has run", |state| requests(state) > before && state["status"] != "streaming").await
    }

    pub(super) async fn state(&mut self) -> Value {
        self.tell(json!({"do": "state"})).await
    }

    pub(super) async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.state().await).filter(&is_it)).await
    }

    pub(super) async fn until_status(&mut self, status: &str) -> Value {
        self.until(&format!("the client is {status}"), |state| state["status"] == status).await
    }

    /// Waits until an answer is being shown, of at least so many characters.
    pub(super) async fn until_shown(&mut self, characters: usize) {
        self.until("an answer is shown", |state| last_text(state).len() >= characters).await;
    }

    /// Asserts that the client shows what the database has, and answers that: the texts of questions and answers.
    pub(super) async fn compare(&mut self, client: &Client) -> Vec<String> {
        let chat = self.chat_id(client).await;
        client.until_idle(&chat).await;
        let kept = kept(client, &chat).await;
        let state = self.state().await;
        assert_eq!(shown(&state), kept, "what is shown, and what the database has: {state}");
        let first = client.get(&format!("/ag-ui?threadId={}", self.thread)).await.expect(200).body;
        assert_eq!(shown(&first), kept, "a first render, and what the database has");
        kept.iter().map(|of| of["text"].as_str().expect("a text").to_owned()).collect()
    }

    pub(super) async fn chat_id(&self, client: &Client) -> String {
        until("the chat is there", async || {
            let named = client.get(&format!("/v1/chats?external_id={}", self.thread)).await.expect(200).body;
            named["chats"][0]["id"].as_str().map(str::to_owned)
        })
        .await
    }
}

pub(super) fn fresh_name(of: &str) -> String {
    format!("{of}-{}", uuid::Uuid::now_v7().simple())
}

pub(super) fn requests(state: &Value) -> usize {
    state["requests"].as_array().map_or(0, Vec::len)
}

/// The types of the events that the client was told.
pub(super) fn types(state: &Value) -> Vec<&str> {
    let events = state["events"].as_array().expect("events");
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

pub(super) fn last_text(state: &Value) -> String {
    let shown = shown(state);
    let last = shown.last().filter(|last| last["role"] == "assistant");
    last.map(|last| last["text"].as_str().expect("a text").to_owned()).unwrap_or_default()
}

fn empty(role: &str) -> Value {
    json!({"role": role, "text": "", "reasoning": "", "calls": []})
}

fn append(of: &mut Value, member: &str, text: &Value) {
    let text = text.as_str().unwrap_or_default();
    of[member] = json!(format!("{}{text}", of[member].as_str().expect("a text")));
}

/// Notes what came of a call, as text.
fn result(of: &mut Value, call: &Value, content: &Value) {
    let calls = of["calls"].as_array_mut().expect("calls");
    let found = calls.iter_mut().find(|known| known[0] == *call).expect("its call came before");
    found[3] = content.clone();
}

fn call(of: &mut Value, id: &Value, name: &Value, arguments: &Value) {
    let input: Value = serde_json::from_str(arguments.as_str().expect("JSON")).expect("JSON");
    of["calls"].as_array_mut().expect("calls").push(json!([id, name, input, null]));
}

/// What a user sees: each question, and all that answers it as one.
pub(super) fn shown(state: &Value) -> Vec<Value> {
    let mut shown: Vec<Value> = vec![];
    for message in state["messages"].as_array().expect("messages") {
        let is_user = message["role"] == "user";
        if is_user || shown.last().is_none_or(|last| last["role"] == "user") {
            shown.push(empty(if is_user { "user" } else { "assistant" }));
        }
        let of = shown.last_mut().expect("one was pushed");
        match message["role"].as_str() {
            Some("reasoning") => append(of, "reasoning", &message["content"]),
            Some("tool") => result(of, &message["toolCallId"], &message["content"]),
            _ => append(of, "text", &message["content"]),
        }
        for made in message["toolCalls"].as_array().into_iter().flatten() {
            call(of, &made["id"], &made["function"]["name"], &made["function"]["arguments"]);
        }
        for part in message["parts"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("text") => append(of, "text", &part["content"]),
                Some("thinking") => append(of, "reasoning", &part["content"]),
                Some("tool-call") => call(of, &part["id"], &part["name"], &part["arguments"]),
                Some("tool-result") => result(of, &part["toolCallId"], &part["content"]),
                _ => {}
            }
        }
    }
    shown
}

/// The same of what the database has.
pub(super) async fn kept(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages?limit=100")).await.expect(200).body;
    let mut kept: Vec<Value> = vec![];
    for message in page["messages"].as_array().expect("messages") {
        let is_user = message["role"] == "user";
        if is_user || kept.last().is_none_or(|last| last["role"] == "user") {
            kept.push(empty(if is_user { "user" } else { "assistant" }));
        }
        let of = kept.last_mut().expect("one was pushed");
        for part in message["content"].as_array().expect("parts") {
            match part["type"].as_str().expect("a type") {
                kind @ ("text" | "reasoning") => append(of, kind, &part["text"]),
                "tool_call" => call(of, &part["id"], &part["name"], &json!(part["input"].to_string())),
                "tool_result" => result(of, &part["tool_call_id"], &part["content"]),
                _ => {}
            }
        }
    }
    kept
}

pub(super) async fn cluster() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start(&[&[], &[], &[]]).await;
    let clients = [0, 1, 2].map(|at| cluster.replicas[at].client());
    (cluster, clients)
}
