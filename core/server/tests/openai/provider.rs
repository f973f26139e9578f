//! A provider of models for tests, and what it says.

#[path = "../common/provider.rs"]
mod http;

pub(crate) use http::*;

/// The event with a piece of the answer.
pub(crate) fn delta(text: &str) -> String {
    let chunk = serde_json::json!({
        "id": "1", "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    });
    format!("data: {chunk}\n\n")
}

/// The event that says why the answer ended.
pub(crate) fn finish(reason: &str) -> String {
    let chunk = serde_json::json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
    format!("data: {chunk}\n\n")
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";
