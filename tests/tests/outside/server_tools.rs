//! Tools that the server carries out, behind an HTTP endpoint and at an MCP server, for a model that thinks and calls both
//! at once: three replicas, of which two work, and whichever works is killed in each phase of the turn. The judges of the
//! laboratory hear all of it: what models and tools say, what is committed, and what viewers of both kinds are shown.

use std::time::Duration;

use mainstem_machine::{Block, Body, ChatId, FinishReason};
use mainstem_story::Carrying::{Hangs, Returns};
use mainstem_story::{Order, ReplicaFate, Workers};
use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::stories::{CallEnd, Called, MCP_TOOL, Model, Stage, Tools};
use mainstem_tests::tool_endpoint::ToolEndpoint;
use mainstem_tests::viewer::Kind;
use serde_json::{Value, json};

/// A tool behind HTTP that may not be begun again.
const HTTP_TOOL: &str = "fetch";
/// The call of it, and that of the MCP server's tool, which may be begun again.
const ONCE: &str = "w1";
const AGAIN: &str = "e1";
const AT_ONCE: mainstem_story::Carrying = Returns(Duration::ZERO);

/// A works, B may from some time on, and C only serves viewers.
struct Scene {
    stage: Stage,
    chat: ChatId,
}

impl Scene {
    /// The calls hang until somebody lets them return.
    async fn new() -> Self {
        let mut stage = Stage::open(&["A", "B", "C"], Tools::WithMcp).await;
        stage.let_work(&Workers::Only("A".into())).await;
        let chat = stage.create("C", "how is it?").await;
        stage.watch(("V", Kind::EventStream), chat, "C");
        stage.watch(("W", Kind::WebSocket), chat, "B");
        stage.carry(ONCE, Hangs);
        stage.carry(AGAIN, Hangs);
        Self { stage, chat }
    }

    /// The model thinks.
    async fn think(&mut self) -> Model {
        let model = self.stage.until_asked(self.chat).await;
        self.stage.say(&model, Some(Block::Reasoning), "let me ");
        self.stage.say(&model, None, "see");
        model
    }

    /// It thinks, and ends with two calls at once.
    async fn step(&mut self) {
        let model = self.think().await;
        for (call, name, input) in
            [(ONCE, HTTP_TOOL, json!({"place": "Ulm"})), (AGAIN, MCP_TOOL, json!({"call": AGAIN}))]
        {
            self.stage.say(&model, Some(Block::tool_call(call, name)), "");
            self.stage.say(&model, None, &input.to_string());
        }
        self.stage.end(&model, FinishReason::ToolCalls);
    }

    async fn answer(&mut self) {
        let model = self.stage.until_asked(self.chat).await;
        self.stage.say(&model, Some(Block::Text), "take ");
        self.stage.say(&model, None, "a coat");
        self.stage.end(&model, FinishReason::Stop);
    }

    fn let_return(&self) {
        self.stage.carry(ONCE, AT_ONCE);
        self.stage.carry(AGAIN, AT_ONCE);
    }

    async fn until_called(&mut self) {
        self.until_all("both tools are called", &[ONCE, AGAIN], CallEnd::Open).await;
    }

    /// Waits until each of these was called, and its newest call has this end.
    async fn until_all(&mut self, what: &str, calls: &[&str], end: CallEnd) {
        let has_it = |stage: &Stage, call| of(call, stage).last().is_some_and(|called| called.end == end);
        self.stage.until(what, |stage| calls.iter().all(|call| has_it(stage, call)).then_some(())).await;
    }

    /// Waits until what came of a call is written beside the other, which goes on.
    async fn until_written(&mut self, call: &str) {
        let chat = self.chat;
        let written = |stage: &Stage| {
            let state = stage.state(chat)?;
            state.calls.iter().any(|open| &*open.id == call && open.result.is_some()).then_some(())
        };
        self.stage.until("the result is written", written).await;
    }

    async fn until_seen(&mut self, what: &str, is_it: impl Fn(&Body) -> bool) {
        let sees = |stage: &Stage, viewer| stage.seen(viewer).iter().any(|event| is_it(&event.body));
        self.stage
            .until(what, |stage| ["V", "W"].iter().all(|viewer| sees(stage, viewer)).then_some(()))
            .await;
    }

    async fn kill_worker(&mut self) {
        self.stage.let_work(&Workers::Also("B".into())).await;
        self.stage.befall("A", ReplicaFate::Crashes);
    }

    async fn until_idle(&mut self) {
        let chat = self.chat;
        let idle = |stage: &Stage| Some(stage.state(chat)?.status.as_str() == "waiting").filter(|is| *is);
        self.stage.until("nothing runs", idle).await;
    }

    async fn history(&self) -> Vec<Value> {
        let page = self.get("/messages").await;
        page["messages"].as_array().expect("messages").clone()
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/v1/chats/{}{path}", self.chat);
        self.viewing().get(&path).await.expect(200).body
    }

    fn viewing(&self) -> Client {
        self.stage.client("C")
    }
}

/// What came of this call to whichever tool.
fn of(call: &str, stage: &Stage) -> Vec<Called> {
    stage.called().into_iter().filter(|called| &*called.call == call).collect()
}

fn roles(history: &[Value]) -> Vec<&str> {
    history.iter().map(|message| message["role"].as_str().expect("a role")).collect()
}

/// What came of the first call, and of the second.
fn results(history: &[Value]) -> [Value; 2] {
    let content = history[2]["content"].as_array().expect("results");
    assert_eq!(
        (&content[0]["tool_call_id"], &content[1]["tool_call_id"]),
        (&json!(ONCE), &json!(AGAIN)),
        "S11"
    );
    assert_eq!(content.len(), 2, "S11");
    [content[0].clone(), content[1].clone()]
}

fn found(call: &str) -> (Value, Value) {
    (json!(format!("found by {call}")), json!(false))
}

fn told(result: &Value) -> (Value, Value) {
    (result["content"].clone(), result["is_error"].clone())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Thinking,
    Calling,
    /// What came of one call is written, and the other goes on.
    Written,
    Answering,
}

#[tokio::test]
async fn a_turn_with_two_calls_ends_well_though_its_worker_is_killed_in_any_phase() {
    for phase in [Phase::Thinking, Phase::Calling, Phase::Written, Phase::Answering] {
        let mut scene = Scene::new().await;
        match phase {
            Phase::Thinking => {
                scene.think().await;
                scene.until_seen("it thinks", is_part_of(&Block::Reasoning)).await;
                scene.kill_worker().await;
                scene.step().await;
                scene.until_called().await;
                scene.let_return();
            }
            Phase::Calling | Phase::Written => {
                scene.step().await;
                scene.until_called().await;
                let mut left = &[ONCE, AGAIN][..];
                if phase == Phase::Written {
                    scene.stage.carry(AGAIN, AT_ONCE);
                    scene.until_written(AGAIN).await;
                    left = &[ONCE];
                }
                scene.kill_worker().await;
                scene.until_all("nobody waits", left, CallEnd::GivenUp).await;
                scene.let_return();
            }
            Phase::Answering => {
                scene.let_return();
                scene.step().await;
                let model = scene.stage.until_asked(scene.chat).await;
                scene.stage.say(&model, Some(Block::Text), "take ");
                scene.until_seen("it answers", is_part_of(&Block::Text)).await;
                scene.kill_worker().await;
            }
        }
        scene.answer().await;
        scene.until_idle().await;

        let history = scene.history().await;
        assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant"], "S11, {phase:?}");
        let [once, again] = results(&history);
        match phase {
            Phase::Calling | Phase::Written => {
                let told = once["content"].as_str().expect("a text");
                assert!(once["is_error"] == true && told.contains("Nobody knows"), "S11: {once}");
            }
            _ => assert_eq!(told(&once), found(ONCE), "S11, {phase:?}"),
        }
        // It may be called again, and so it is, if nothing is known of it.
        assert_eq!(told(&again), found(AGAIN), "{phase:?}");
        let times = if phase == Phase::Calling { 2 } else { 1 };
        assert_eq!(
            (of(ONCE, &scene.stage).len(), of(AGAIN, &scene.stage).len()),
            (1, times),
            "S11, {phase:?}"
        );
        assert_eq!(history[1]["content"][0], json!({"type": "reasoning", "text": "let me see"}), "S4");
        assert_eq!(history[3]["content"], json!([{"type": "text", "text": "take a coat"}]), "S4");

        let Value::Object(body) = &of(ONCE, &scene.stage)[0].body else {
            panic!("{:?}", scene.stage.called())
        };
        assert_eq!((&body["chat"], &body["turn"]), (&json!(scene.chat), &history[0]["id"]));
        assert_eq!((&body["name"], &body["input"]), (&json!(HTTP_TOOL), &json!({"place": "Ulm"})));
        assert_eq!(body["tool_call_id"], ONCE);
        let turn = scene.get("/turns/1").await;
        assert_eq!(
            (&turn["status"], turn["messages"].as_array().map(Vec::len)),
            (&json!("completed"), Some(4))
        );
        for viewer in ["V", "W"] {
            let asks = |body: &Body| matches!(body, Body::Status { calls, .. } if !calls.is_empty());
            let seen = scene.stage.seen(viewer);
            assert!(!seen.iter().any(|event| asks(&event.body)), "S9: nothing is asked of the client");
        }
        scene.stage.close().await;
    }
}

fn is_part_of(kind: &Block) -> impl Fn(&Body) -> bool {
    move |body| matches!(body, Body::Parts { block, .. } if block == kind)
}

#[tokio::test]
async fn a_model_is_offered_the_tools_of_endpoints_and_of_an_mcp_server() {
    let mut scene = Scene::new().await;
    let model = scene.stage.until_asked(scene.chat).await;
    assert_eq!(scene.stage.offered(&model), ["find", HTTP_TOOL, "look", MCP_TOOL]);
    scene.stage.close().await;
}

#[tokio::test]
async fn who_interrupts_calls_cancels_them_and_their_tools_are_told() {
    let mut scene = Scene::new().await;
    scene.step().await;
    scene.until_called().await;
    scene.viewing().delete(&format!("/v1/chats/{}", scene.chat)).await.expect(409);
    scene.stage.ask("C", scene.chat, Order::Interrupt).await;
    scene.until_idle().await;
    scene.until_all("the calls are given up", &[ONCE, AGAIN], CallEnd::GivenUp).await;
    let history = scene.history().await;
    assert_eq!(roles(&history), ["user", "assistant", "tool"], "S11");
    for result in results(&history) {
        assert_eq!(told(&result), (json!("The call was cancelled."), json!(true)));
    }
    assert_eq!(scene.get("/turns/1").await["status"], "interrupted", "S12");
    scene.stage.close().await;
}

#[tokio::test]
async fn a_worker_that_drains_waits_for_its_calls_and_hands_over_what_came_of_them() {
    let mut scene = Scene::new().await;
    scene.step().await;
    scene.until_called().await;
    scene.stage.let_work(&Workers::Also("B".into())).await;
    let worker = scene.stage.client("A");
    scene.stage.befall("A", ReplicaFate::Drains);
    until("it drains", async || (worker.get("/readyz").await.status == 503).then_some(())).await;
    scene.let_return();
    scene.answer().await;
    scene.until_idle().await;
    scene.stage.ended("A").await;
    let history = scene.history().await;
    assert_eq!(roles(&history), ["user", "assistant", "tool", "assistant"]);
    let [once, again] = results(&history);
    assert_eq!((told(&once), told(&again)), (found(ONCE), found(AGAIN)), "S11: what came back is kept");
    assert_eq!((of(ONCE, &scene.stage).len(), of(AGAIN, &scene.stage).len()), (1, 1), "S11");
    scene.stage.close().await;
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
