//! Calls and what came of them: the client's, and the server's.

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::tool_endpoint::ToolEndpoint;
use serde_json::{Value, json};

use super::ALL;
use super::agent::{Agent, cluster, fresh_name, kept, last_text, requests, shown, types};

fn tools() -> Value {
    json!([{"name": "find", "description": "finds it", "parameters": {"type": "object"}, "output": {"found": [1.5, null]}}])
}

/// As a request has them.
fn declared() -> Value {
    let mut tools = tools();
    tools[0].as_object_mut().expect("a tool").remove("output");
    tools
}

#[tokio::test]
async fn results_of_the_client_let_the_answer_go_on_at_another_replica() {
    let (_cluster, [a, b, c]) = cluster().await;
    let question = "/demo parts=4 interval=1ms reasoning=2 call=find calls=2";
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut agent = Agent::fresh(kind, &a, json!({"tools": declared()}));
        agent.ask(question).await;
        let state = agent.state().await;
        let pending = state["pending"].as_array().expect("they are told").clone();
        assert_eq!((pending.len(), &pending[1]["metadata"]["input"]), (2, &json!({"n": 2})), "{kind}");
        assert_eq!(shown(&state)[1]["calls"][0][1], "find");
        agent.go(&b).await;
        let resume = json!([
            {"interruptId": pending[0]["id"], "status": "resolved", "payload": {"found": [1.5, null]}},
            {"interruptId": pending[1]["id"], "status": "cancelled"},
        ]);
        let state = agent.run(json!({"resume": resume})).await;
        assert_eq!((&state["status"], &state["pending"]), (&json!("ready"), &json!([])), "{kind}: {state}");
        assert_eq!(agent.compare(&c).await.len(), 2);
        let calls = shown(&agent.state().await)[1]["calls"].clone();
        assert_eq!(
            (&calls[0][3], &calls[1][3]),
            (&json!("{\"found\":[1.5,null]}"), &json!("The user cancelled this call."))
        );
        // Once more, and nothing happens but that it is told.
        agent.go(&c).await;
        agent.run(json!({"resume": resume})).await;
        agent.compare(&a).await;
    }
}

#[tokio::test]
async fn tanstacks_client_carries_out_its_tools_by_itself() {
    let (_cluster, [a, _, c]) = cluster().await;
    let mut agent = Agent::fresh("tanstack", &a, json!({"tools": tools()}));
    agent.send("/demo parts=4 interval=1ms reasoning=2 call=find calls=2").await;
    let over = |state: &Value| state["status"] == "ready" && last_text(state) == "3 4 3 4 ";
    let state = agent.until("it goes on", over).await;
    assert_eq!(agent.compare(&c).await.len(), 2);
    assert_eq!(shown(&state)[1]["calls"][0][3], "{\"found\":[1.5,null]}");
    assert_eq!(state["requests"].as_array().map(Vec::len), Some(2), "S11");
}

#[tokio::test]
async fn results_may_come_as_messages() {
    let (_cluster, [a, b, _]) = cluster().await;
    let question = json!({"id": "q", "role": "user", "content": "/demo parts=2 interval=1ms call=find"});
    let body = json!({"threadId": "as-messages", "runId": "r1", "messages": [question], "tools": declared()});
    let told = a.post("/ag-ui", body).await.expect(200).text;
    assert!(told.contains(r#""outcome":{"type":"interrupt""#), "{told}");
    let chat = a.get("/v1/chats?external_id=as-messages").await.expect(200).body["chats"][0].clone();
    let call = chat["pending_calls"][0]["tool_call_id"].as_str().expect("it waits");
    let function = json!({"name": "find", "arguments": "{\"n\": 1}"});
    let calls = json!([{"id": call, "type": "function", "function": function}]);
    let messages = json!([
        question,
        {"id": "x", "role": "assistant", "content": "1 2 ", "toolCalls": calls},
        {"id": "y", "role": "tool", "toolCallId": call, "content": "no", "error": "no"},
    ]);
    let body = json!({"threadId": "as-messages", "runId": "r2", "messages": messages, "tools": declared()});
    for client in [&b, &a] {
        let told = client.post("/ag-ui", body.clone()).await.expect(200).text;
        assert!(told.contains("TEXT_MESSAGE_CONTENT") && told.contains("RUN_FINISHED"), "{told}");
        assert!(!told.contains("TOOL_CALL_RESULT"), "the client has it: {told}");
    }
    let messages = a.messages(chat["id"].as_str().expect("an id")).await;
    assert_eq!(messages.len(), 4, "S11: once");
}

#[tokio::test]
async fn tools_of_the_server_are_shown_with_what_came_of_them() {
    let tool = ToolEndpoint::start("it rains").await;
    tool.answer();
    let scratch = Scratch::new();
    let file = scratch.path().join("tools.toml");
    let written = format!(
        "[[tools]]\nname = \"find\"\ndescription = \"finds it\"\nrun = \"http\"\nurl = {:?}\ninput_schema = {{ type = \"object\" }}\n",
        tool.url
    );
    std::fs::write(&file, written).expect("it can be written");
    let flags = ["--tools", file.to_str().expect("UTF-8")];
    let cluster = Cluster::start(&[&flags, &flags, &flags]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    for kind in ALL {
        let mut agent = Agent::fresh(kind, &a, json!({}));
        agent.ask("/demo parts=3 interval=1ms call=find").await;
        agent.compare(&c).await;
        let state = agent.state().await;
        assert!(types(&state).contains(&"TOOL_CALL_RESULT"), "{kind}: {:?}", types(&state));
        assert_eq!(shown(&state)[1]["calls"][0][3], "it rains", "{kind}");
        // They are told again to who asks again, and shown once.
        agent.go(&b).await;
        agent.ask("/demo parts=2 interval=1ms").await;
        assert_eq!(agent.compare(&b).await.len(), 4, "{kind}");
    }
}

/// The page of this thread once more, with what it showed. It knows of no interrupt, without whose answer the client of the
/// page before would not run.
async fn loaded_again(agent: &mut Agent, kind: &str, client: &Client) -> Agent {
    let messages = agent.state().await["messages"].clone();
    Agent::open(kind, "", client, &agent.thread, json!({"tools": declared(), "messages": messages}))
}

#[tokio::test]
async fn who_asks_the_next_question_waits_for_no_call_of_the_one_before() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut first = Agent::fresh(kind, &a, json!({"tools": declared()}));
        first.ask("/demo parts=2 interval=1ms call=find calls=2").await;
        let calls = shown(&first.state().await)[1]["calls"].clone();
        // One is carried out, and is brought with the question, whose answer asks for something itself.
        let mut second = loaded_again(&mut first, kind, &b).await;
        let result = json!({"id": "r", "role": "tool", "toolCallId": calls[0][0], "content": "here"});
        second.tell(json!({"do": "add", "message": result})).await;
        let run = fresh_name("run");
        let question = "/demo parts=5 interval=1ms call=find";
        second.tell(json!({"do": "send", "text": question, "runId": run})).await;
        let is_asked = |state: &Value| requests(state) == 1 && state["status"] == "ready";
        let state = second.until("it is asked", is_asked).await;
        let chat = second.chat_id(&c).await;
        let before = kept(&c, &chat).await;
        assert_eq!((before.len(), &before[3]["text"]), (4, &json!(counted(5))), "{kind}");
        assert_eq!(before[1]["calls"][0][3], "here", "S11: {kind}");
        let came = before[1]["calls"][1][3].as_str();
        assert!(came.is_some_and(|came| came.contains("cancel")), "S11: {kind}: {came:?}");
        assert_eq!(shown(&state), before, "{kind}: what was cancelled is told");
        // The same run again, as it was asked first, is the same turn, whose own call goes on to wait for who carries it out.
        let mut third = loaded_again(&mut second, kind, &c).await;
        let mut messages = state["messages"].as_array().expect("messages").clone();
        messages.pop_if(|last| last["role"] == "assistant").expect("an answer");
        third.tell(json!({"do": "set", "messages": messages})).await;
        let state = third.run(json!({"runId": run})).await;
        assert_eq!((shown(&state), kept(&a, &chat).await), (before.clone(), before), "S6: {kind}");
        assert_eq!(state["pending"].as_array().map(Vec::len), Some(1), "{kind}: {state}");
        let resume =
            json!([{"interruptId": state["pending"][0]["id"], "status": "resolved", "payload": "there"}]);
        third.run(json!({"resume": resume})).await;
        assert_eq!(third.compare(&b).await.len(), 4, "{kind}");
    }
}

#[tokio::test]
async fn who_brings_all_results_with_the_next_question_has_both_answered() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut first = Agent::fresh(kind, &a, json!({"tools": declared()}));
        first.ask("/demo parts=40 interval=5ms call=find").await;
        let calls = shown(&first.state().await)[1]["calls"].clone();
        let mut second = loaded_again(&mut first, kind, &b).await;
        let result = json!({"id": "r", "role": "tool", "toolCallId": calls[0][0], "content": "here"});
        second.tell(json!({"do": "add", "message": result})).await;
        second.ask("/demo parts=5 interval=1ms").await;
        let texts = second.compare(&c).await;
        assert_eq!((&texts[1], &texts[3]), (&counted(40).repeat(2), &counted(5)), "{kind}: none is stopped");
    }
}

#[tokio::test]
async fn questions_that_never_came_here_wait_for_no_call_either_and_stay_in_order() {
    let (_cluster, [a, b, c]) = cluster().await;
    for kind in ["ag-ui-0", "ag-ui-1"] {
        let mut first = Agent::fresh(kind, &a, json!({"tools": declared()}));
        first.ask("/demo parts=2 interval=1ms call=find").await;
        let mut second = loaded_again(&mut first, kind, &b).await;
        let lost = json!({"id": "lost", "role": "user", "content": "/demo parts=4 interval=1ms"});
        second.tell(json!({"do": "add", "message": lost})).await;
        second.ask("/demo parts=5 interval=1ms").await;
        let texts = second.compare(&c).await;
        assert_eq!((texts.len(), &texts[3], &texts[5]), (6, &counted(4), &counted(5)), "{kind}");
    }
}
