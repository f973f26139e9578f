//! Blocks: what an answer consists of. A part is a piece of one, and never of two.

use alloc::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::content::fits_all_readers;
use crate::limits::{BLOCK_BYTES_MIN, WHOLE_PART_BYTES_MAX};

/// What all parts of a block have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Block {
    /// Text. Its parts are pieces of it.
    Text,
    /// What the model thought before it answered. Its parts are pieces of a text.
    Reasoning,
    /// A call of a tool. Its parts are pieces of the JSON text of the call's input, which may be empty.
    ToolCall(Arc<Call>),
    /// Whatever is told as a whole: a tool's result, a file, a source, data. Its one part is the JSON text of the
    /// content part, an object on one line.
    Whole,
    /// Of a kind that only a later release knows. Its parts keep their places, and nothing of them is shown.
    Unknown,
}

/// Which tool is called, and the name of the call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Call {
    /// The provider's name for the call.
    pub id: Arc<str>,
    /// The tool's name.
    pub name: Arc<str>,
}

impl Block {
    /// A call of the tool `name`.
    pub fn tool_call(id: &str, name: &str) -> Self {
        Self::ToolCall(Arc::new(Call { id: id.into(), name: name.into() }))
    }

    /// Whether further parts may be appended to it.
    pub const fn is_streamed(&self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// Whether a text can be shown as what it is said to be.
    pub fn takes(&self, text: &str) -> bool {
        match self {
            Self::Whole => {
                let is_line = text.starts_with('{') && !text.contains(['\n', '\r']);
                is_line && text.len() <= WHOLE_PART_BYTES_MAX && fits_all_readers(text)
            }
            Self::Text | Self::Reasoning => !text.is_empty(),
            Self::ToolCall(_) | Self::Unknown => true,
        }
    }

    /// What counts against the bound of an answer, beside the text of its parts (B1).
    pub fn bytes(&self) -> usize {
        match self {
            Self::ToolCall(call) => BLOCK_BYTES_MIN + call.id.len() + call.name.len(),
            Self::Text | Self::Reasoning | Self::Whole | Self::Unknown => BLOCK_BYTES_MIN,
        }
    }
}

/// A piece of an answer, as it goes from replica to replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Part {
    /// The block that it begins. `None`: it continues the one before it; at the beginning of an episode, and
    /// behind what is whole, it begins a text.
    pub begins: Option<Block>,
    /// UTF-8.
    pub text: Bytes,
}

impl Part {
    /// A piece of the block before it.
    pub fn piece(text: impl Into<Bytes>) -> Self {
        Self { begins: None, text: text.into() }
    }

    /// Of the text, and of what its block adds to it.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.begins.as_ref().map_or(0, Block::bytes)
    }

    /// The first part of a block.
    pub fn beginning(block: Block, text: impl Into<Bytes>) -> Self {
        Self { begins: Some(block), text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_counts_its_text_and_what_its_block_adds() {
        assert_eq!(Part::piece("abc").bytes(), 3, "B1");
        assert_eq!(Part::beginning(Block::Text, "abc").bytes(), BLOCK_BYTES_MIN + 3, "B1");
        let call = Block::tool_call("id", "name");
        assert_eq!(Part::beginning(call, "{}").bytes(), BLOCK_BYTES_MIN + "idname{}".len(), "B1");
    }
}
