//! A client of OpenAI's, and what it is told.

use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::line_program::LineProgram;
use mainstem_tests::{node, python};
use serde_json::{Value, json};

/// One of the packages.
pub(super) struct Sdk {
    program: LineProgram,
    pub(super) kind: &'static str,
    token: Option<String>,
}

impl Sdk {
    pub(super) fn start(kind: &'static str) -> Self {
        let program = match kind {
            "node" => node::start("openai.mjs", &[]),
            _ => python::start("openai_client.py"),
        };
        Self { program, kind, token: None }
    }

    /// The same, as another user.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    pub(super) fn is_python(&self) -> bool {
        self.kind == "python"
    }

    async fn tell(&mut self, what: &str, at: &Client, of: &str, rest: Value) -> Value {
        let of = if self.is_python() { of.replace("inputItems", "input_items") } else { of.to_owned() };
        let mut command = json!({"do": what, "at": at.base, "of": of});
        if let Some(token) = &self.token {
            command["token"] = json!(token);
        }
        command.as_object_mut().expect("it is one").extend(rest.as_object().expect("members").clone());
        self.program.ask(&command).await
    }

    /// A method with all that is said of it: `id`, `with`, `beside`, `query`, `retries`, `breaks`. What it raises is the error.
    pub(super) async fn try_call(&mut self, at: &Client, of: &str, rest: Value) -> Result<Value, Value> {
        let answer = self.tell("call", at, of, rest).await;
        if answer["error"].is_null() { Ok(answer["value"].clone()) } else { Err(answer["error"].clone()) }
    }

    /// The same of what is answered.
    #[track_caller]
    pub(super) fn call(&mut self, at: &Client, of: &str, rest: Value) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.try_call(at, of, rest).await;
            answer.unwrap_or_else(|error| panic!("{} at {caller}: {error}", self.kind))
        }
    }

    pub(super) async fn create(&mut self, at: &Client, with: Value) -> Value {
        self.call(at, "responses.create", json!({"with": with})).await
    }

    pub(super) async fn retrieve(&mut self, at: &Client, id: &str) -> Value {
        self.call(at, "responses.retrieve", json!({"id": id})).await
    }

    /// Waits until the response is of this status.
    pub(super) async fn until_response(&mut self, at: &Client, id: &str, status: &str) -> Value {
        until(&format!("the response is {status}"), async || {
            Some(self.retrieve(at, id).await).filter(|response| response["status"] == status)
        })
        .await
    }

    /// All items of a list.
    pub(super) async fn list(&mut self, at: &Client, of: &str, id: &str, with: Value) -> Vec<Value> {
        let answer = self.tell("list", at, of, json!({"id": id, "with": with})).await;
        answer["values"].as_array().unwrap_or_else(|| panic!("{}: {answer}", self.kind)).clone()
    }

    /// Begins a stream under a name, with all that is said of it as for a method, and `stopAfter`.
    pub(super) async fn begin(&mut self, name: &str, at: &Client, of: &str, mut rest: Value) {
        rest["name"] = json!(name);
        self.tell("begin", at, of, rest).await;
    }

    /// Begins a response that is streamed: as it comes, or by the package's helper.
    pub(super) async fn begin_response(&mut self, name: &str, at: &Client, way: Way, mut with: Value) {
        let of = match way {
            Way::Raw => {
                with["stream"] = json!(true);
                "responses.create"
            }
            Way::Helper => {
                // Python's helper asks for nothing without one.
                with["model"] = json!("demo");
                "responses.stream"
            }
        };
        self.begin(name, at, of, json!({"with": with})).await;
    }

    /// Goes on with a response behind an event; with all of it behind none.
    pub(super) async fn begin_again(
        &mut self,
        name: &str,
        at: &Client,
        way: Way,
        id: &str,
        after: Option<u64>,
    ) {
        let mut with = after.map_or(json!({}), |after| json!({"starting_after": after}));
        match way {
            Way::Raw => {
                with["stream"] = json!(true);
                self.begin(name, at, "responses.retrieve", json!({"id": id, "with": with})).await;
            }
            Way::Helper => {
                with["response_id"] = json!(id);
                self.begin(name, at, "responses.stream", json!({"with": with})).await;
            }
        }
    }

    async fn of_stream(&mut self, what: &str, name: &str) -> Value {
        self.program.ask(&json!({"do": what, "name": name})).await
    }

    /// Waits until the stream has told so many characters of text.
    pub(super) async fn until_text(&mut self, name: &str, characters: usize) {
        until("it is told so much", async || {
            let state = self.of_stream("state", name).await;
            let text = state["text"].as_str().expect("a text");
            assert!(text.len() >= characters || state["status"] == "streaming", "{}: {state}", self.kind);
            (text.len() >= characters).then_some(())
        })
        .await;
    }

    /// Waits until the stream has told so many events.
    pub(super) async fn until_events(&mut self, name: &str, count: u64) {
        until("it is told so many events", async || {
            let state = self.of_stream("state", name).await;
            (state["count"].as_u64() >= Some(count)).then_some(())
        })
        .await;
    }

    /// Waits until the stream is over, however it is, and returns what it told.
    pub(super) async fn until_over(&mut self, name: &str) -> Told {
        until("the stream is over", async || {
            (self.of_stream("state", name).await["status"] != "streaming").then_some(())
        })
        .await;
        Told::of(&self.of_stream("told", name).await)
    }

    /// Waits until it has ended as it is to.
    #[track_caller]
    pub(super) fn until_ended(&mut self, name: &str) -> impl Future<Output = Told> {
        let caller = std::panic::Location::caller();
        async move {
            let told = self.until_over(name).await;
            let last = told.events.last();
            assert_eq!(told.status, "ended", "{} at {caller}: {} behind {last:?}", self.kind, told.error);
            told
        }
    }

    pub(super) async fn leave(&mut self, name: &str) -> Told {
        self.of_stream("leave", name).await;
        Told::of(&self.of_stream("told", name).await)
    }

    /// What was asked of the servers.
    pub(super) async fn requests(&mut self) -> Vec<Value> {
        let answer = self.program.ask(&json!({"do": "requests"})).await;
        answer["requests"].as_array().expect("requests").clone()
    }
}

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Raw,
    Helper,
}

pub(super) const WAYS: [Way; 2] = [Way::Raw, Way::Helper];

/// What a stream has told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: String,
    pub(super) error: Value,
    pub(super) events: Vec<Value>,
    /// What a helper made of it.
    pub(super) last: Value,
    pub(super) messages: Value,
}

impl Told {
    fn of(answer: &Value) -> Self {
        Self {
            status: answer["status"].as_str().expect("a status").to_owned(),
            error: answer["error"].clone(),
            events: answer["events"].as_array().expect("events").iter().cloned().map(as_told).collect(),
            last: as_told(answer["final"].clone()),
            messages: answer["messages"].clone(),
        }
    }

    /// The number of the last event.
    pub(super) fn number(&self) -> u64 {
        self.events.last().map(number).expect("it was told something")
    }

    pub(super) fn types(&self) -> Vec<&str> {
        self.events.iter().map(kind).collect()
    }

    /// The name of the response, which its first events have.
    pub(super) fn id(&self) -> String {
        let named = self.events.iter().find_map(|event| event["response"]["id"].as_str());
        named.expect("the response is named").to_owned()
    }
}

/// Without what helpers add where nothing was to be parsed.
fn as_told(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, value| !(name.contains("parsed") && value.is_null()));
            members.values_mut().for_each(|value| *value = as_told(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = as_told(value.take())),
        _ => {}
    }
    value
}

pub(super) fn kind(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_else(|| panic!("no type: {event}"))
}

pub(super) fn number(event: &Value) -> u64 {
    event["sequence_number"].as_u64().unwrap_or_else(|| panic!("no number: {event}"))
}

/// The chat of a response, of a conversation, or of an item, as the database names it.
pub(super) fn chat_of(name: &str) -> String {
    let of = name.split('_').nth(1).expect("a name has a chat");
    uuid::Uuid::parse_str(of).unwrap_or_else(|error| panic!("{name}: {error}")).to_string()
}

pub(super) fn conversation_of(name: &str) -> String {
    format!("conv_{}", name.split('_').nth(1).expect("a name has a chat"))
}

pub(super) async fn cluster() -> (Cluster, [Client; 3]) {
    let cluster = Cluster::start(&[&[], &[], &[]]).await;
    let clients = [0, 1, 2].map(|at| cluster.replicas[at].client());
    (cluster, clients)
}
