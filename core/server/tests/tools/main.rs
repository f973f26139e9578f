//! Tools that the server carries out: against endpoints and MCP servers that misbehave, on real sockets and pipes.

mod endpoint;
mod files;
mod http;
mod mcp_http;
mod mcp_stdio;
mod repeatable;

use std::path::Path;
use std::time::Duration;

use mainstem::tools::{ToolFile, Toolbox};
use mainstem_machine::{CallResult, ChatId, MessageId, Version};
use mainstem_runtime::ports::{ServerTool, ToolCall, Tools};
use serde_json::Value;

/// No test waits for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
const RESULT_BYTES_MAX: usize = 4096;
/// In the environment of the files under test.
const SECRET: &str = "sk-this-is-secret";

fn environment(name: &str) -> Option<String> {
    (name == "KEY").then(|| SECRET.to_owned())
}

fn file(toml: &str) -> ToolFile {
    ToolFile::parse(toml, Path::new("."), Duration::from_secs(20), &environment).expect("a file")
}

async fn toolbox(toml: &str) -> Toolbox {
    Toolbox::start(file(toml), RESULT_BYTES_MAX).await.expect("a toolbox")
}

fn call_of(name: &str, input: &str) -> ToolCall {
    ToolCall {
        chat: ChatId(uuid::Uuid::nil()),
        turn: MessageId(7),
        of: Version(9),
        id: "call_1".into(),
        name: name.into(),
        input: input.into(),
        is_repeatable: false,
    }
}

/// What came of a call: never too much, and on one line.
fn looked_at(output: CallResult) -> (Value, bool) {
    assert!(output.content.len() <= RESULT_BYTES_MAX, "{} bytes", output.content.len());
    assert!(!output.content.contains('\n'));
    assert!(!output.content.contains(SECRET), "S10: a result tells the secret: {}", output.content);
    (serde_json::from_str(&output.content).expect("JSON"), output.is_error)
}

async fn call(tools: &Toolbox, name: &str, input: &str) -> (Value, bool) {
    carried_out(tools, call_of(name, input)).await
}

async fn carried_out(tools: &Toolbox, call: ToolCall) -> (Value, bool) {
    let called = tokio::time::timeout(PATIENCE, tools.call(call)).await;
    looked_at(called.expect("a call has an end"))
}

/// The text of an error.
async fn failure(tools: &Toolbox, name: &str, input: &str) -> String {
    match call(tools, name, input).await {
        (Value::String(text), true) => text,
        other => panic!("expected an error, came {other:?}"),
    }
}

fn offered(tools: &Toolbox, name: &str) -> Option<ServerTool> {
    tools.list().iter().find(|tool| &*tool.tool.name == name).cloned()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("expected within {PATIENCE:?}: {what}"));
}
