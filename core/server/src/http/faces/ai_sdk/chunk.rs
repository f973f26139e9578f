//! The chunks of a UI message stream, as the npm package `ai` 5, 6 and 7 takes them (faces: AI SDK, "UI Message Stream
//! Protocol"). What is optional is left out, never null.

use mainstem_machine::FinishReason;
use serde::Serialize;
use serde_json::value::RawValue;

fn is_false(is: &bool) -> bool {
    !is
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum Chunk<'a> {
    Start {
        message_id: &'a str,
    },
    StartStep,
    FinishStep,
    /// Of 7 alone.
    ResetStep,
    TextStart {
        id: &'a str,
    },
    TextDelta {
        id: &'a str,
        delta: &'a str,
    },
    TextEnd {
        id: &'a str,
    },
    ReasoningStart {
        id: &'a str,
    },
    ReasoningDelta {
        id: &'a str,
        delta: &'a str,
    },
    ReasoningEnd {
        id: &'a str,
    },
    ToolInputStart {
        tool_call_id: &'a str,
        tool_name: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        provider_executed: bool,
    },
    ToolInputDelta {
        tool_call_id: &'a str,
        input_text_delta: &'a str,
    },
    ToolInputAvailable {
        tool_call_id: &'a str,
        tool_name: &'a str,
        input: &'a RawValue,
        #[serde(skip_serializing_if = "is_false")]
        provider_executed: bool,
    },
    ToolInputError {
        tool_call_id: &'a str,
        tool_name: &'a str,
        input: &'a str,
        error_text: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        provider_executed: bool,
    },
    ToolOutputAvailable {
        tool_call_id: &'a str,
        output: &'a RawValue,
        #[serde(skip_serializing_if = "is_false")]
        provider_executed: bool,
    },
    ToolOutputError {
        tool_call_id: &'a str,
        error_text: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        provider_executed: bool,
    },
    SourceUrl {
        source_id: &'a str,
        url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    File {
        url: &'a str,
        media_type: &'a str,
    },
    Finish {
        #[serde(skip_serializing_if = "Option::is_none")]
        finish_reason: Option<&'static str>,
    },
    Abort,
    Error {
        error_text: &'a str,
    },
}

/// Data: its type has its name.
#[derive(Debug, Serialize)]
pub(super) struct DataChunk<'a> {
    pub(super) r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) data: &'a RawValue,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) transient: bool,
}

/// A reason in the client's words: one that it does not know would break it.
pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool-calls",
        FinishReason::ContentFilter => "content-filter",
    }
}
