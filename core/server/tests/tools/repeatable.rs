//! S11: a call that a worker may begin again reaches no tool that is not repeatable by then.

use mainstem_runtime::ports::ToolCall;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Seen, answer};
use crate::mcp_stdio::file;
use crate::{Toolbox, call, call_of, carried_out, eventually, offered, toolbox};

async fn call_again(tools: &Toolbox, name: &str) -> (Value, bool) {
    carried_out(tools, ToolCall { is_repeatable: true, ..call_of(name, "{}") }).await
}

fn refused(told: (Value, bool)) {
    let (Value::String(why), true) = told else { panic!("it is refused, and not {told:?}") };
    assert!(why.contains("not called") && why.contains("repeatable when the model was asked"), "{why}");
}

#[tokio::test]
async fn a_tool_that_takes_its_hints_back_gets_no_call_that_may_be_begun_again() {
    let tools = toolbox(&file(&[], "")).await;
    eventually("the server's tools", async || offered(&tools, "changes").is_some()).await;
    assert_eq!(call_again(&tools, "echo").await, (json!("{}"), false));
    refused(call_again(&tools, "changes").await);
    assert!(offered(&tools, "echo").unwrap().is_repeatable, "what was refused was not called");

    call(&tools, "changes", "{}").await;
    eventually("the new hints", async || !offered(&tools, "echo").unwrap().is_repeatable).await;
    refused(call_again(&tools, "echo").await);
    assert_eq!(call(&tools, "echo", "{}").await, (json!("{}"), false), "once, it may be called");
    assert_eq!(call_again(&tools, "twice").await, (json!("{}"), false), "the others are as they were");
}

#[tokio::test]
async fn another_tool_of_the_name_gets_no_call_that_may_be_begun_again() {
    let mut endpoint = Endpoint::start(vec![answer("200 OK", "text/plain", "done")]).await;
    let http = endpoint.file("").replace("\"find\"", "\"echo\"");
    let tools = toolbox(&(file(&[], "") + &http)).await;
    eventually("the server's tools", async || offered(&tools, "twice").is_some()).await;
    assert_eq!(call_again(&tools, "echo").await, (json!("{}"), false));

    // Without the server that had it, the name is the endpoint's.
    tools.stop().await;
    refused(call_again(&tools, "echo").await);

    // What the endpoint sees first is this, and nothing of the calls before.
    assert_eq!(call(&tools, "echo", r#"{"own":1}"#).await, (json!("done"), false));
    let Seen::Request { body, .. } = endpoint.seen().await else { panic!("a request comes first") };
    assert_eq!(body["input"], json!({ "own": 1 }));
}
