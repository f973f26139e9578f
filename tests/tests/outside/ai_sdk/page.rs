//! A page of the SDK, and what the database has of its chat.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::line_program::LineProgram;
use mainstem_tests::node;
use serde_json::{Value, json};

/// A page that shows a chat.
pub(super) struct Page {
    program: LineProgram,
    pub(super) chat: String,
}

impl Page {
    pub(super) fn open(version: u64, query: &str, client: &Client, chat: &str, has: Value) -> Self {
        let (version, has) = (version.to_string(), has.to_string());
        let program = node::start("page.mjs", &[&version, &client.base, chat, query, &has]);
        Self { program, chat: chat.to_owned() }
    }

    pub(super) fn fresh(version: u64, query: &str, client: &Client) -> Self {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        Self::open(version, query, client, &chat, json!({}))
    }

    pub(super) async fn tell(&mut self, command: Value) -> Value {
        self.program.ask(&command).await
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.tell(json!({"do": "send", "text": text})).await;
    }

    pub(super) async fn state(&mut self) -> Value {
        self.tell(json!({"do": "state"})).await
    }

    pub(super) async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.state().await).filter(&is_it)).await
    }

    pub(super) async fn until_status(&mut self, status: &str) -> Value {
        self.until(&format!("the page is {status}"), |state| state["status"] == status).await
    }

    /// Takes up what goes on, and once more if what there was of it is void meanwhile.
    pub(super) async fn resume_until_ready(&mut self) {
        until("what goes on is taken up", async || {
            (self.tell(json!({"do": "resumeToEnd"})).await["status"] == "ready").then_some(())
        })
        .await;
    }

    /// Waits until an answer is being shown, of at least so many characters.
    pub(super) async fn until_shown(&mut self, characters: usize) {
        self.until("an answer is shown", |state| last_text(state).len() >= characters).await;
    }

    /// Asserts that the page shows what the database has, and answers that: the texts of the messages.
    pub(super) async fn compare(&mut self, client: &Client) -> Vec<String> {
        let chat = self.chat_id(client).await;
        client.until_idle(&chat).await;
        let kept = kept(client, &chat).await;
        let state = self.state().await;
        let shown: Vec<Value> = messages(&state).iter().map(shown).collect();
        assert_eq!(shown, kept, "what is shown, and what the database has: {state}");
        let first = client.get(&format!("/ai/chat/{}/messages", self.chat)).await.expect(200).body;
        let rendered: Vec<Value> = first.as_array().expect("messages").iter().map(self::shown).collect();
        assert_eq!(rendered, kept, "a first render, and what the database has");
        let ids = |of: &[Value]| of.iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(messages(&state)), ids(first.as_array().expect("messages")), "names are the same");
        kept.iter().map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }

    pub(super) async fn chat_id(&self, client: &Client) -> String {
        let named = client.get(&format!("/v1/chats?external_id={}", self.chat)).await.expect(200).body;
        named["chats"][0]["id"].as_str().expect("the chat is there").to_owned()
    }
}

pub(super) fn messages(state: &Value) -> &[Value] {
    state["messages"].as_array().expect("messages")
}

pub(super) fn last_text(state: &Value) -> String {
    let last = messages(state).last().filter(|last| last["role"] == "assistant");
    last.map(|last| shown(last)["text"].as_str().expect("a text").to_owned()).unwrap_or_default()
}

/// What a user sees of a message: its texts, and of each call what came of it.
pub(super) fn shown(message: &Value) -> Value {
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
    let beside = parts.iter().filter_map(|part| match part["type"].as_str().expect("a type") {
        "file" => Some(json!(["file", part["mediaType"], part["url"]])),
        "source-url" => Some(json!(["source", part["url"], part["title"]])),
        kind => kind.strip_prefix("data-").map(|name| json!(["data", name, part["data"], part["id"]])),
    });
    let steps = parts.iter().filter(|part| part["type"] == "step-start").count();
    json!({
        "role": message["role"], "text": texts("text"), "reasoning": texts("reasoning"),
        "calls": calls.collect::<Vec<_>>(), "beside": beside.collect::<Vec<_>>(), "steps": steps,
    })
}

fn file_url(part: &Value) -> String {
    match part["url"].as_str() {
        Some(url) => url.to_owned(),
        None => {
            format!("data:{};base64,{}", part["media_type"].as_str().unwrap(), part["data"].as_str().unwrap())
        }
    }
}

/// The same of what the database has: all that answers one message is one.
pub(super) async fn kept(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages?limit=100")).await.expect(200).body;
    let mut kept: Vec<(Value, Value)> = vec![];
    for message in page["messages"].as_array().expect("messages") {
        let is_user = message["role"] == "user";
        if is_user || kept.last().is_none_or(|(turn, of)| *turn != message["turn"] || of["role"] == "user") {
            let role = if is_user { "user" } else { "assistant" };
            let empty =
                json!({"role": role, "text": "", "reasoning": "", "calls": [], "beside": [], "steps": 0});
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
                kind => {
                    let beside = match kind {
                        "file" => json!([kind, part["media_type"], file_url(part)]),
                        "source" => json!([kind, part["url"], part["title"]]),
                        _ => json!([kind, part["name"], part["data"], part["id"]]),
                    };
                    of["beside"].as_array_mut().expect("parts").push(beside);
                }
            }
        }
    }
    kept.into_iter().map(|(_, of)| of).collect()
}

pub(super) async fn cluster() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start(&[&[], &[], &[]]).await;
    let clients = [0, 1, 2].map(|at| cluster.replicas[at].client());
    (cluster, clients)
}
