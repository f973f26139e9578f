//! Tools that the server carries out, behind an HTTP endpoint and at an MCP server, for a model that thinks and calls both
//! at once: three replicas, of which two work, and whichever works is killed in each phase of the turn.

use mainstem_programs::PYTHON;
use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::provider::{DONE, Provider, Reply, chunk, events};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::tool_endpoint::ToolEndpoint;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/server/tests/tools/server.py");

/// What the user asks.
const QUESTION: &str = "how is it?";

fn delta(delta: Value) -> Value {
    json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn call(index: u64, id: &str, name: &str, arguments: &str) -> [Value; 2] {
    let head =
        json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
    let rest = json!({"index": index, "function": {"arguments": arguments}});
    [head, rest].map(|piece| delta(json!({"tool_calls": [piece]})))
}

/// The begin of an answer: what the model thinks.
fn thoughts() -> String {
    events(&[delta(json!({"reasoning_content": "let me "})), delta(json!({"reasoning_content": "see"}))])
}

/// An answer that ends with two calls at once.
fn step() -> String {
    let calls = [call(0, "w1", "weather", r#"{"place": "Ulm"}"#), call(1, "e1", "echo", r#"{"n": 1}"#)];
    thoughts() + &events(calls.as_flattened()) + &events(&[chunk("", "tool_calls".into())]) + DONE
}

/// Two replicas that work, and one that only serves viewers.
struct Scene {
    cluster: Cluster,
    provider: Provider,
    weather: ToolEndpoint,
    _scratch: Scratch,
}

impl Scene {
    async fn new(first: Vec<Reply>, then: Vec<Reply>) -> Self {
        let provider = Provider::start_rows(vec![(QUESTION, first), ("", then)]).await;
        let weather = ToolEndpoint::start("it rains").await;
        let python = PYTHON.path().expect("Python");
        let file = format!(
            "[[tools]]\nname = \"weather\"\ndescription = \"of a place\"\nrun = \"http\"\nurl = {:?}\n\
             input_schema = {{ type = \"object\" }}\n\n\
             [mcp.tests]\ncommand = {python:?}\nargs = [{SERVER:?}]\nallow = [\"echo\"]\n",
            weather.url
        );
        let scratch = Scratch::new();
        let file = scratch.file("tools.toml", &file);
        let flags = ["--generator", "openai", "--openai-model", "m", "--openai-base-url", &provider.base_url];
        let flags = [&flags[..], &["--tools", &file]].concat();
        let serving = [&flags[..], &["--workers", "0"]].concat();
        let cluster = Cluster::start(&[&flags, &flags, &serving]).await;
        Self { cluster, provider, weather, _scratch: scratch }
    }

    fn viewing(&self) -> Client {
        self.cluster.replicas[2].client()
    }

    async fn until_called(&self) {
        until("the tool is called", async || (!self.weather.called().is_empty()).then_some(())).await;
    }

    /// The replica that works on the chat.
    async fn worker(&self, chat: &str) -> usize {
        let told = self.viewing().chat(chat).await;
        self.cluster.index_of(told["worker"].as_str().expect("a worker"))
    }

    async fn kill_worker(&mut self, chat: &str) {
        let at = self.worker(chat).await;
        self.cluster.replicas[at].kill();
    }
}

async fn history(client: &Client, chat: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    page["messages"].as_array().expect("messages").clone()
}

fn roles(history: &[Value]) -> Vec<&str> {
    history.iter().map(|message| message["role"].as_str().expect("a role")).collect()
}

/// What came of the first call, and of the second.
fn results(history: &[Value]) -> [Value; 2] {
    let content = history[2]["content"].as_array().expect("results");
    assert_eq!(
        (&content[0]["tool_call_id"], &content[1]["tool_call_id"]),
        (&json!("w1"), &json!("e1")),
        "S11"
    );
    assert_eq!(content.len(), 2, "S11");
    [content[0].clone(), content[1].clone()]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Thinking,
    Calling,
    Answering,
}

#[tokio::test]
async fn a_turn_with_two_calls_ends_well_though_its_worker_is_killed_in_any_phase() {
    for phase in [Phase::Thinking, Phase::Calling, Phase::Answering] {
        let silence = |body: String| Reply::Silence(body);
        let mut first = vec![Reply::Stream(step())];
        let mut then = vec![Reply::Parts(vec!["take ", "a coat"])];
        match phase {
            Phase::Thinking => first.insert(0, silence(thoughts())),
            Phase::Calling => {}
            Phase::Answering => then.insert(0, silence(events(&[chunk("take ", Value::Null)]))),
        }
        let mut scene = Scene::new(first, then).await;
        let c = scene.viewing();
        let chat = c.create(QUESTION).await;
        let mut viewer = Viewer::open(&c, &chat, Kind::EventStream).await;
        match phase {
            Phase::Thinking => {
                viewer.until("it thinks", |screen| screen.seq > 0).await;
                scene.kill_worker(&chat).await;
                scene.until_called().await;
                scene.weather.answer();
            }
            Phase::Calling => {
                scene.until_called().await;
                scene.kill_worker(&chat).await;
            }
            Phase::Answering => {
                scene.until_called().await;
                scene.weather.answer();
                viewer.until("it answers", |screen| screen.preview.contains("take")).await;
                scene.kill_worker(&chat).await;
            }
        }
        viewer.until_idle().await;
        viewer.finish(&c).await;

        let history = history(&c, &chat).await;
        assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant"], "S11, {phase:?}");
        let [weather, echo] = results(&history);
        match phase {
            Phase::Calling => {
                let told = weather["content"].as_str().expect("a text");
                assert!(weather["is_error"] == true && told.contains("Nobody knows"), "S11: {weather}");
            }
            _ => assert_eq!(weather["content"], "it rains", "S11, {phase:?}"),
        }
        // It may be called again, and so it is.
        assert_eq!(
            (&echo["content"], &echo["is_error"]),
            (&json!(r#"{"n": 1}"#), &json!(false)),
            "{phase:?}"
        );
        assert_eq!(history[1]["content"][0], json!({"type": "reasoning", "text": "let me see"}), "S4");
        assert_eq!(history[3]["content"], json!([{"type": "text", "text": "take a coat"}]), "S4");

        let called = scene.weather.called();
        assert_eq!(called.len(), 1, "S11: at most once, {phase:?}");
        let Value::Object(body) = &called[0].body else { panic!("{called:?}") };
        assert_eq!((&body["chat"], &body["turn"]), (&json!(chat), &history[0]["id"]));
        assert_eq!((&body["name"], &body["input"]), (&json!("weather"), &json!({"place": "Ulm"})));
        assert_eq!((&body["tool_call_id"], called[0].key.contains("w1")), (&json!("w1"), true));
        let seen = scene.provider.seen();
        let offered = seen[0].body["tools"].as_array().expect("tools");
        let names: Vec<_> = offered.iter().map(|tool| tool["function"]["name"].as_str()).collect();
        assert_eq!(names, [Some("weather"), Some("echo")]);
        let turn = c.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
        assert_eq!(
            (&turn["status"], turn["messages"].as_array().map(Vec::len)),
            (&json!("completed"), Some(4))
        );
        let statuses = viewer.events.iter().filter(|event| event["type"] == "status");
        assert!(
            statuses.clone().all(|status| status["pending_calls"] == json!([])),
            "S9: nothing is asked of the client"
        );
    }
}

#[tokio::test]
async fn who_interrupts_a_call_cancels_it_and_the_tool_is_told_by_its_connection() {
    let scene = Scene::new(vec![Reply::Stream(step())], vec![Reply::Parts(vec!["never"])]).await;
    let c = scene.viewing();
    let chat = c.create(QUESTION).await;
    let mut viewer = Viewer::open(&c, &chat, Kind::WebSocket).await;
    scene.until_called().await;
    c.delete(&format!("/v1/chats/{chat}")).await.expect(409);
    c.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&c).await;
    until("the call is given up", async || scene.weather.called()[0].is_given_up.then_some(())).await;
    let history = history(&c, &chat).await;
    assert_eq!(roles(&history), ["user", "assistant", "tool"], "S11");
    let [weather, _] = results(&history);
    assert_eq!(
        (&weather["content"], &weather["is_error"]),
        (&json!("The call was cancelled."), &json!(true))
    );
    let turn = c.get(&format!("/v1/chats/{chat}/turns/1")).await.expect(200).body;
    assert_eq!(turn["status"], "interrupted", "S12");
}

#[tokio::test]
async fn a_worker_that_drains_waits_for_its_calls_and_hands_over_what_came_of_them() {
    let mut scene = Scene::new(vec![Reply::Stream(step())], vec![Reply::Parts(vec!["take a coat"])]).await;
    let c = scene.viewing();
    let chat = c.create(QUESTION).await;
    let mut viewer = Viewer::open(&c, &chat, Kind::EventStream).await;
    scene.until_called().await;
    let at = scene.worker(&chat).await;
    let worker = scene.cluster.replicas[at].client();
    scene.cluster.replicas[at].terminate();
    until("it drains", async || (worker.get("/readyz").await.status == 503).then_some(())).await;
    scene.weather.answer();
    viewer.until_idle().await;
    viewer.finish(&c).await;
    assert!(scene.cluster.replicas[at].ended().await.success());
    let history = history(&c, &chat).await;
    assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant"]);
    let [weather, _] = results(&history);
    assert_eq!(weather["content"], "it rains", "S11: what came back is what the history has");
    assert_eq!(scene.weather.called().len(), 1, "S11");
}

/// Each change of a chat is one version, and one commit.
#[tokio::test]
async fn a_turn_with_a_tool_takes_two_commits_more_than_one_without() {
    let (scratch, weather) = (Scratch::new(), ToolEndpoint::start("it rains").await);
    weather.answer();
    let file = format!(
        "[[tools]]\nname = \"weather\"\ndescription = \"of a place\"\nrun = \"http\"\nurl = {:?}\n\
         input_schema = {{ type = \"object\" }}\n",
        weather.url
    );
    let cluster = Cluster::start(&[&["--tools", &scratch.file("tools.toml", &file)]]).await;
    let client = cluster.replicas[0].client();
    let [without, with] = ["/demo parts=3 interval=0", "/demo parts=3 interval=0 call=weather"];
    let mut versions = vec![];
    for asked in [without, with] {
        let chat = client.create(asked).await;
        client.until_idle(&chat).await;
        versions.push(client.chat(&chat).await["snapshot_version"].as_u64().expect("a version"));
    }
    assert_eq!(versions[1], versions[0] + 2, "the step, and its result with which the next attempt begins");
    assert_eq!(weather.called().len(), 1, "S11");
}
