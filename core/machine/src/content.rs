//! What a message says: a JSON array of parts, kept as the text it came in.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON array of parts, each an object with a `type`. Unknown members survive.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(Arc<str>);

/// Why a value is no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("content is a string or an array of parts")]
    Shape,
    #[error("content has no part")]
    Empty,
    #[error("part {0} is not an object with a string `type`")]
    Part(usize),
    #[error("part {0} is of type text and has no string `text`")]
    Text(usize),
    #[error("part {index} is of type {kind:?}, which is not taken here: only text is")]
    Kind { index: usize, kind: String },
}

impl Content {
    /// One text part.
    pub fn text(text: &str) -> Self {
        let value = serde_json::json!([{ "type": "text", "text": text }]);
        Self(serde_json::to_string(&value).expect("a JSON value is written").into())
    }

    /// Content from a request: a string, or an array of text parts.
    pub fn from_request(value: Value) -> Result<Self, ContentError> {
        let parts = match value {
            Value::String(text) if text.is_empty() => return Err(ContentError::Empty),
            Value::String(text) => return Ok(Self::text(&text)),
            Value::Array(parts) if parts.is_empty() => return Err(ContentError::Empty),
            Value::Array(parts) => parts,
            _ => return Err(ContentError::Shape),
        };
        for (index, part) in parts.iter().enumerate() {
            let kind = part.get("type").and_then(Value::as_str).ok_or(ContentError::Part(index))?;
            if kind != "text" {
                return Err(ContentError::Kind { index, kind: kind.into() });
            }
            part.get("text").and_then(Value::as_str).ok_or(ContentError::Text(index))?;
        }
        Ok(Self(serde_json::to_string(&parts).expect("a JSON value is written").into()))
    }

    /// Content that was made by one of the above and kept as its text.
    pub fn from_stored(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// The JSON text of the array.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The text of all text parts, joined.
    pub fn to_text(&self) -> String {
        let parts: Vec<Value> = serde_json::from_str(&self.0).unwrap_or_default();
        parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} B)", self.0.len())
    }
}
