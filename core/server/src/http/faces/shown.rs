//! What was told of an answer, block by block, and what is left to tell of it when its message comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mainstem_machine::{Block, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::turn::TurnEvent;
use crate::content::given;

/// For each place, the bytes of text that were told of its block; and up to where all was told whole.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<u32, usize>, u32);

/// A call of a committed answer.
#[derive(Clone, Debug)]
pub(super) struct CommittedCall {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) input: CallInput,
}

#[derive(Clone, Debug)]
pub(super) enum CallInput {
    Whole(Box<RawValue>),
    /// As much as came before the answer was cut short.
    Cut(String),
}

#[derive(Deserialize)]
struct Part {
    r#type: Option<String>,
    text: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    input: Option<Box<RawValue>>,
    input_text: Option<String>,
}

impl Shown {
    /// What a client has that was told so many bytes of the block at this place: a block has ended when a later one begins.
    pub(super) fn up_to(place: u32, bytes: usize) -> Self {
        Self(BTreeMap::from([(place, bytes)]), place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, place: u32, bytes: usize) {
        *self.0.entry(place).or_default() += bytes;
    }

    /// What the message has beyond what was told, in order. Every call is told, with its whole input.
    pub(super) fn rest(&self, message: &Message) -> Vec<TurnEvent> {
        let parts: Vec<&RawValue> = serde_json::from_str(message.content.as_json()).unwrap_or_default();
        let parts = (0..).zip(parts);
        parts.filter_map(|(place, part)| self.rest_of(place, part.get())).collect()
    }

    fn rest_of(&self, place: u32, json: &str) -> Option<TurnEvent> {
        let is_whole = place < self.1;
        let told = self.0.get(&place).copied().or(is_whole.then_some(usize::MAX));
        // A part that cannot be read as those that are streamed is told whole.
        let part: Option<Part> = serde_json::from_str(json).ok();
        let kind = part.as_ref().and_then(|part| part.r#type.as_deref()).unwrap_or_default();
        let block = match kind {
            "text" => Block::Text,
            "reasoning" => Block::Reasoning,
            "tool_call" => {
                let part = part?;
                let input = match (part.input, part.input_text) {
                    (Some(input), _) => CallInput::Whole(input),
                    (None, text) => CallInput::Cut(text.unwrap_or_default()),
                };
                let call = CommittedCall { id: part.id?.into(), name: part.name?.into(), input };
                return Some(TurnEvent::Call(call));
            }
            _ => {
                let text = Bytes::copy_from_slice(json.as_bytes());
                return told.is_none().then_some(TurnEvent::Piece { place, block: Block::Whole, text });
            }
        };
        let text = part?.text?;
        let rest = text.get(told.unwrap_or(0)..).filter(|rest| !rest.is_empty())?;
        Some(TurnEvent::Piece { place, block, text: Bytes::copy_from_slice(rest.as_bytes()) })
    }
}
