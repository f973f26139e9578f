//! What a model says, in the words of Chat Completions: one event for each part.

use mainstem_machine::{Block, FinishReason};
use serde_json::{Value, json};

use crate::provider::{DONE, chunk, events};

/// Of one answer.
#[derive(Debug, Default)]
pub(super) struct Wording {
    /// The block that goes on.
    open: Option<Block>,
    calls: u64,
}

impl Wording {
    /// A piece of the block before it, or of one that it begins: text, reasoning, or a call's input.
    pub(super) fn part(&mut self, begins: Option<Block>, text: &str) -> String {
        let mut named = None;
        if let Some(block) = begins {
            if let Block::ToolCall(call) = &block {
                self.calls += 1;
                named = Some(call.clone());
            }
            self.open = Some(block);
        }
        let delta = match &self.open {
            None | Some(Block::Text) => return events(&[chunk(text, Value::Null)]),
            Some(Block::Reasoning) => json!({"reasoning_content": text}),
            Some(Block::ToolCall(_)) => {
                let mut function = json!({"arguments": text});
                let mut call = json!({"index": self.calls - 1});
                if let Some(named) = named {
                    function["name"] = json!(named.name);
                    (call["id"], call["type"]) = (json!(named.id), json!("function"));
                }
                call["function"] = function;
                json!({"tool_calls": [call]})
            }
            Some(block @ (Block::Whole | Block::Unknown)) => panic!("Chat Completions has no {block:?}"),
        };
        let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
        events(&[json!({"object": "chat.completion.chunk", "choices": [choice]})])
    }
}

/// The end of an answer, for this reason.
pub(super) fn end(reason: FinishReason) -> String {
    events(&[chunk("", reason.as_str().into())]) + DONE
}
