//! Calls and what came of them, thoughts, files and sources.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::provider::{DONE, Provider, Reply, chunk, events};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::tool_endpoint::ToolEndpoint;
use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster, messages, shown};

/// An answer that thinks and calls this tool.
fn calling(name: &str, arguments: &str) -> String {
    let delta = |delta: Value| json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    let call = json!({"index": 0, "id": "w1", "type": "function", "function": {"name": name, "arguments": arguments}});
    let said = [delta(json!({"reasoning_content": "let me see"})), delta(json!({"tool_calls": [call]}))];
    events(&said) + &events(&[chunk("", "tool_calls".into())]) + DONE
}

/// Two replicas that work and have a tool, and one that only serves viewers.
struct Scene {
    cluster: Cluster,
    weather: ToolEndpoint,
    _provider: Provider,
    _scratch: Scratch,
}

impl Scene {
    async fn new() -> Self {
        let first = vec![Reply::Stream(calling("weather", r#"{"place": "Ulm"}"#))];
        let then = vec![Reply::Parts(vec!["take ", "a coat"])];
        let provider = Provider::start_rows(vec![("how is it?", first), ("", then)]).await;
        let weather = ToolEndpoint::start("it rains").await;
        let file = format!(
            "[[tools]]\nname = \"weather\"\ndescription = \"of a place\"\nrun = \"http\"\nurl = {:?}\n\
             input_schema = {{ type = \"object\" }}\n",
            weather.url
        );
        let scratch = Scratch::new();
        let file = scratch.file("tools.toml", &file);
        let flags = ["--generator", "openai", "--openai-model", "m", "--openai-base-url", &provider.base_url];
        let working = [&flags[..], &["--tools", &file]].concat();
        let serving = [&working[..], &["--workers", "0"]].concat();
        let cluster = Cluster::start(&[&working, &working, &serving]).await;
        Self { cluster, weather, _provider: provider, _scratch: scratch }
    }
}

fn has_part(state: &Value, of: &str) -> bool {
    let parts = messages(state).last().and_then(|last| last["parts"].as_array());
    parts.is_some_and(|parts| parts.iter().any(|part| part["state"] == of))
}

fn is_answered(state: &Value) -> bool {
    state["status"] == "ready" && messages(state).len() == 2
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
async fn what_the_server_carries_out_is_shown_with_its_result_and_asks_nothing_of_the_page() {
    let scene = Scene::new().await;
    let [b, c] = [1, 2].map(|at| scene.cluster.replicas[at].client());
    for (at, (version, query)) in ALL.into_iter().enumerate() {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &c, &chat, json!({"automatic": true}));
        page.send("how is it?").await;
        if at == 0 {
            page.until("the call is shown", |state| has_part(state, "input-available")).await;
            scene.weather.answer();
        }
        page.until("it is answered", is_answered).await;
        assert_eq!(page.compare(&b).await[1], "take a coat", "{version}");
        let state = page.state().await;
        let answer = shown(&messages(&state)[1]);
        let call = json!(["w1", "tool-weather", {"place": "Ulm"}, "it rains"]);
        assert_eq!(answer["calls"], json!([call]), "S11: {version}");
        assert_eq!((&answer["steps"], &answer["reasoning"]), (&json!(2), &json!("let me see")));
        let parts = messages(&state)[1]["parts"].as_array().expect("parts").clone();
        let call = parts.iter().find(|part| part["type"] == "tool-weather").expect("a call");
        let own = (&call["providerExecuted"], &state["requests"]);
        assert_eq!(own, (&json!(true), &json!(["POST"])), "{version}: the page has nothing to bring");
    }
}

#[tokio::test]
async fn a_call_whose_worker_dies_is_shown_as_one_of_which_nobody_knows() {
    for (version, query) in [(6, ""), (7, "?ai=7")] {
        let mut scene = Scene::new().await;
        let c = scene.cluster.replicas[2].client();
        let mut page = Page::fresh(version, query, &c);
        page.send("how is it?").await;
        page.until("the call is shown", |state| has_part(state, "input-available")).await;
        until("the tool is called", async || (!scene.weather.called().is_empty()).then_some(())).await;
        let told = c.chat(&page.chat_id(&c).await).await;
        let worker = scene.cluster.index_of(told["worker"].as_str().expect("a worker"));
        scene.cluster.replicas[worker].kill();
        page.until("it is answered", is_answered).await;
        assert_eq!(page.compare(&c).await[1], "take a coat", "{version}");
        let state = page.state().await;
        let call = shown(&messages(&state)[1])["calls"][0].clone();
        assert!(call[3].as_str().is_some_and(|why| why.contains("Nobody knows")), "S11: {call}");
        // What was shown is kept, so nothing is void: not even a cut is needed.
        assert_eq!((&state["requests"], scene.weather.called().len()), (&json!(["POST"]), 1), "{version}");
    }
}

#[tokio::test]
async fn results_whose_answer_is_stopped_before_its_first_word_are_not_brought_again() {
    let first = vec![Reply::Stream(calling("find", "{}"))];
    let provider =
        Provider::start_rows(vec![("where?", first), ("", vec![Reply::Silence(String::new())])]).await;
    let flags = ["--generator", "openai", "--openai-model", "m", "--openai-base-url", &provider.base_url];
    let cluster = Cluster::start(&[&flags, &flags, &flags]).await;
    let [a, b, _] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    let tools = json!({"find": {"description": "finds it", "parameters": {"type": "object"}}});
    for (version, query) in ALL {
        let asked = provider.seen().len();
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({"automatic": true}));
        page.tell(json!({"do": "body", "text": "where?", "body": {"tools": tools}})).await;
        page.until("the page is asked", is_answered).await;
        page.tell(json!({"do": "output", "tool": "find", "toolCallId": "w1", "output": "here"})).await;
        until("the model is asked", async || (provider.seen().len() == asked + 2).then_some(())).await;
        b.post(&format!("/ai/chat/{chat}/stop"), json!({})).await.expect(200);
        page.until_status("ready").await;
        page.tell(json!({"do": "resumeToEnd"})).await;
        let state = page.state().await;
        assert_eq!(state["status"], "ready", "{version}");
        assert_eq!(state["requests"], json!(["POST", "POST", "GET"]), "{version}: not again and again");
    }
}

#[tokio::test]
async fn what_an_agent_does_by_itself_is_shown_in_its_order() {
    let say = |events: &[Value]| {
        let started = json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"});
        let finished = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"});
        mainstem_tests::provider::events(&[&[started], events, &[finished]].concat())
    };
    let call = |kind: &str, delta: &str| json!({"type": kind, "toolCallId": "a", "toolCallName": "find", "delta": delta});
    let text = |delta: &str| json!({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": delta});
    let said = [
        json!({"type": "REASONING_MESSAGE_CHUNK", "messageId": "r", "delta": "hm"}),
        text("I look"),
        call("TOOL_CALL_START", ""),
        call("TOOL_CALL_ARGS", "{\"n\": 1}"),
        call("TOOL_CALL_END", ""),
        json!({"type": "TOOL_CALL_RESULT", "messageId": "x", "toolCallId": "a", "content": "one"}),
        json!({"type": "STATE_SNAPSHOT", "snapshot": {"found": 1}}),
        text(". Found."),
    ];
    let provider = Provider::start(vec![Reply::Stream(say(&said))]).await;
    let flags = ["--generator", "agent", "--agent-url", &provider.base_url];
    let serving = [&flags[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&flags, &serving, &serving]).await;
    let [_, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &b);
        page.send("where?").await;
        page.until("it is answered", is_answered).await;
        assert_eq!(page.compare(&c).await[1], "I look. Found.", "{version}");
        let state = page.state().await;
        let answer = shown(&messages(&state)[1]);
        assert_eq!(answer["calls"], json!([["a", "tool-find", {"n": 1}, "one"]]), "{version}");
        assert_eq!(answer["beside"].as_array().map(Vec::len), Some(1), "{version}: {answer}");
        let parts = messages(&state)[1]["parts"].as_array().expect("parts").clone();
        let kinds: Vec<_> = parts.iter().map(|part| part["type"].as_str().expect("a type")).collect();
        let first = messages(&state)[1]["id"].clone();
        let kept = c.get(&format!("/ai/chat/{}/messages", page.chat)).await.expect(200).body;
        assert_eq!(kept[1]["id"], first);
        let kept: Vec<_> = kept[1]["parts"].as_array().expect("parts").clone();
        let kept: Vec<_> = kept.iter().map(|part| part["type"].as_str().expect("a type")).collect();
        assert_eq!(kinds, kept, "{version}: in the order of the history");
    }
}

#[tokio::test]
async fn who_asks_the_next_question_waits_for_no_call_of_the_one_before() {
    let (_cluster, [a, b, c]) = cluster().await;
    let tools = json!({"find": {"description": "finds it", "parameters": {"type": "object"}}});
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({}));
        let text = "/demo parts=2 interval=1ms call=find calls=2";
        page.tell(json!({"do": "body", "text": text, "body": {"tools": tools}})).await;
        let state = page.until("the page is asked", is_answered).await;
        let calls = shown(&messages(&state)[1])["calls"].clone();
        // One is carried out, and is brought with the question.
        page.tell(json!({"do": "output", "tool": "find", "toolCallId": calls[0][0], "output": {"found": 1}}))
            .await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=5 interval=1ms").await;
        let is_shown = |state: &Value| state["status"] == "ready" && messages(state).len() == 4;
        let state = page.until("it is answered", is_shown).await;
        assert_eq!(shown(&messages(&state)[3])["text"], counted(5), "{version}");
        let id = page.chat_id(&c).await;
        c.until_idle(&id).await;
        let first = c.get(&format!("/ai/chat/{chat}/messages")).await.expect(200).body;
        let kept = shown(&first[1])["calls"].clone();
        assert_eq!(kept[0], json!([calls[0][0], "tool-find", {"n": 1}, {"found": 1}]), "S11: {version}");
        assert!(kept[1][3].as_str().is_some_and(|why| why.contains("cancel")), "S11: {kept}");
        // A result that comes too late changes nothing, and is no error.
        let message = messages(&state)[1].clone();
        let body = json!({"id": chat, "messages": [message], "trigger": "submit-message"});
        a.post("/ai/chat", body).await.expect(200);
        assert_eq!(c.get(&format!("/ai/chat/{chat}/messages")).await.expect(200).body, first, "{version}");
    }
}

#[tokio::test]
async fn who_brings_all_results_with_the_next_question_has_both_answers() {
    let (_cluster, [a, b, c]) = cluster().await;
    let tools = json!({"find": {"description": "finds it", "parameters": {"type": "object"}}});
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({}));
        let text = "/demo parts=200 interval=5ms call=find";
        page.tell(json!({"do": "body", "text": text, "body": {"tools": tools}})).await;
        let state = page.until("the page is asked", is_answered).await;
        let call = shown(&messages(&state)[1])["calls"][0][0].clone();
        page.tell(json!({"do": "output", "tool": "find", "toolCallId": call, "output": {"found": 1}})).await;
        page.tell(json!({"do": "go", "to": b.base})).await;
        page.send("/demo parts=5 interval=1ms").await;
        let is_shown = |state: &Value| state["status"] == "ready" && messages(state).len() == 4;
        let state = page.until("it is answered", is_shown).await;
        assert_eq!(shown(&messages(&state)[3])["text"], counted(5), "{version}");
        let id = page.chat_id(&c).await;
        c.until_idle(&id).await;
        let first = c.get(&format!("/v1/chats/{id}/turns/1")).await.expect(200).body;
        assert_eq!(
            first["status"], "completed",
            "{version}: nothing stopped the answer to what came of the call"
        );
    }
}
