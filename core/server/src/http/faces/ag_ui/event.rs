//! The events of AG-UI 1.0, as `@ag-ui/client` 0.0.59 and 1.0 and TanStack's client take them. What is optional is left out,
//! never null.

use std::sync::Arc;

use mainstem_machine::OpenCall;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::snapshot::Rendered;

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub(super) enum Event<'a> {
    RunStarted {
        thread_id: &'a str,
        run_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent_run_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        protocol_version: Option<&'static str>,
    },
    RunFinished {
        thread_id: &'a str,
        run_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
    },
    RunError {
        message: &'a str,
        code: &'a str,
    },
    TextMessageStart {
        message_id: &'a str,
        role: &'static str,
    },
    TextMessageContent {
        message_id: &'a str,
        delta: &'a str,
    },
    TextMessageEnd {
        message_id: &'a str,
    },
    ReasoningStart {
        message_id: &'a str,
    },
    ReasoningMessageStart {
        message_id: &'a str,
        role: &'static str,
    },
    ReasoningMessageContent {
        message_id: &'a str,
        delta: &'a str,
    },
    ReasoningMessageEnd {
        message_id: &'a str,
    },
    ReasoningEnd {
        message_id: &'a str,
    },
    ToolCallStart {
        tool_call_id: &'a str,
        tool_call_name: &'a str,
        parent_message_id: &'a str,
    },
    ToolCallArgs {
        tool_call_id: &'a str,
        delta: &'a str,
    },
    ToolCallEnd {
        tool_call_id: &'a str,
    },
    ToolCallResult {
        message_id: &'a str,
        tool_call_id: &'a str,
        content: &'a str,
        role: &'static str,
        /// That it went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Value>,
    },
    StateSnapshot {
        snapshot: Value,
    },
    StateDelta {
        delta: Value,
    },
    MessagesSnapshot {
        messages: &'a [Rendered],
    },
    Custom {
        name: &'static str,
        value: &'a RawValue,
    },
}

/// How a run ended.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outcome {
    Success,
    /// Known to 1.0 alone: it would break others.
    Cancelled,
    Interrupt {
        interrupts: Vec<Interrupt>,
    },
}

/// A call that the client is to carry out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interrupt {
    /// The call's.
    id: Arc<str>,
    reason: &'static str,
    message: String,
    tool_call_id: Arc<str>,
    /// In the words of TanStack's client, which carries it out by these.
    metadata: Value,
}

/// The calls that wait for the client.
pub(super) fn interrupts(calls: &[OpenCall]) -> Vec<Interrupt> {
    let waiting = calls.iter().filter(|call| call.waits_for_client());
    let interrupt = |call: &OpenCall| {
        let input: Value = serde_json::from_str(&call.input).unwrap_or(Value::Null);
        Interrupt {
            id: call.id.clone(),
            reason: "client_tool_input",
            message: format!("The tool {} is to be carried out.", call.name),
            tool_call_id: call.id.clone(),
            metadata: json!({"kind": "client_tool", "toolName": call.name, "input": input}),
        }
    };
    waiting.map(interrupt).collect()
}

/// What says that a result is an error.
pub(super) fn error_metadata() -> Value {
    json!({"tanstack": {"state": "output-error"}})
}
