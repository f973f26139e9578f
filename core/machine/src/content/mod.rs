//! The content of a message: a JSON array of parts, kept as the text in which it came.

mod readable;
mod request;
mod spoken;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use request::Writer;

use crate::limits::CONTENT_PARTS_MAX;
use crate::{Block, Role};

pub(crate) use readable::fits_all_readers;
pub(crate) use request::{on_one_line, written};

/// A JSON array of parts, each an object with a `type`.
///
/// Members that nobody here knows survive, in the order in which they came, and their values byte for byte:
/// no number is read and written again, no escape undone. (A line break between tokens becomes a space: an
/// event is one line.) Names, and the values of `type` and `text`, are written in the shortest way that JSON
/// has. A value is one that all readers take: no number beyond 64-bit floats, no half of a surrogate pair, no
/// nesting beyond [`MEMBER_DEPTH_MAX`](crate::limits::MEMBER_DEPTH_MAX), and no name twice in a part, of which one reader would take the first
/// and another the last.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(Arc<str>);

/// Why a value is not valid content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Neither a string nor an array.
    #[error("content is a string or an array of parts")]
    Shape,
    /// An empty string or array.
    #[error("content has no part")]
    Empty,
    /// More parts than a content may have.
    #[error("content has more than {CONTENT_PARTS_MAX} parts")]
    TooMany,
    /// What the parser says of text that is no JSON.
    #[error("content: {0}")]
    Json(String),
    /// The part at this index is not an object with a `type`.
    #[error("part {0} is not an object with a string `type`")]
    Part(usize),
    /// The part at this index has no text.
    #[error("part {0} is of type text and has no string `text`")]
    Text(usize),
    /// The part at this index has a member that its kind does not take, or lacks one.
    #[error("part {index} is of type {kind} and has no `{member}` that is {expected}")]
    Lacks {
        /// Its place, from 0.
        index: usize,
        /// Its `type`.
        kind: &'static str,
        /// The member's name.
        member: &'static str,
        /// What it is to be.
        expected: &'static str,
    },
    /// The part at this index is of a type that is not taken.
    #[error("part {index} is of type {kind:?}, which is not taken here: {taken}")]
    Kind {
        /// Its place, from 0.
        index: usize,
        /// Its `type`, shortened.
        kind: String,
        /// What is, in words.
        taken: &'static str,
    },
    /// A name stands twice in one part: readers differ on which counts.
    #[error("part {index} has the member {name:?} more than once")]
    Twice {
        /// The part's place, from 0.
        index: usize,
        /// The member's name, shortened.
        name: String,
    },
    /// A member that some reader of JSON would refuse or change.
    #[error("part {index} has a member {name:?} that not all readers take: {why}")]
    Member {
        /// The part's place, from 0.
        index: usize,
        /// The member's name, shortened.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text parts together are too large.
    #[error("the text has more than {bytes_max} bytes")]
    TextTooLarge {
        /// Bytes of UTF-8 that are allowed.
        bytes_max: usize,
    },
    /// Everything that is not text is too large.
    #[error("what is not text has more than {bytes_max} bytes")]
    RestTooLarge {
        /// Bytes that are allowed.
        bytes_max: usize,
    },
}

impl Content {
    /// One text part.
    pub fn text(text: &str) -> Self {
        Self::of_blocks([(&Block::Text, text)], false)
    }

    /// Content from the JSON of a request: a string, or an array of parts of text, files and data. Its text may have
    /// `text_bytes_max`, however it is escaped, and all other members together as much again.
    pub fn from_request(json: &str, text_bytes_max: usize) -> Result<Self, ContentError> {
        Self::from_history(Role::User, json, text_bytes_max)
    }

    /// The same of what somebody said in a history that was told elsewhere: a model has more kinds of parts, a tool has
    /// results alone.
    pub fn from_history(role: Role, json: &str, text_bytes_max: usize) -> Result<Self, ContentError> {
        let unreadable = |error: serde_json::Error| ContentError::Json(error.to_string());
        let mut writer = Writer::new(role, text_bytes_max);
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'"') => {
                let text: String = serde_json::from_str(json).map_err(unreadable)?;
                if text.is_empty() {
                    return Err(ContentError::Empty);
                }
                writer.take(0, "text")?;
                writer.count_text(&text)?;
                Ok(Self::text(&text))
            }
            Some(b'[') => {
                let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(unreadable)?;
                if parts.is_empty() {
                    return Err(ContentError::Empty);
                }
                if parts.len() > CONTENT_PARTS_MAX {
                    return Err(ContentError::TooMany);
                }
                for (index, part) in parts.into_iter().enumerate() {
                    writer.part(index, part)?;
                }
                Ok(Self(writer.end().into()))
            }
            _ => Err(ContentError::Shape),
        }
    }

    /// Content made by one of the constructors above, from the JSON text that was stored.
    pub fn from_stored(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// The JSON text of the array.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The text of all text parts, joined.
    pub fn to_text(&self) -> String {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow)]
            r#type: Option<&'a RawValue>,
            #[serde(borrow)]
            text: Option<&'a RawValue>,
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(&self.0).unwrap_or_default();
        let texts = parts.iter().filter(|part| part.r#type.is_some_and(|kind| kind.get() == "\"text\""));
        texts.filter_map(|part| serde_json::from_str::<String>(part.text?.get()).ok()).collect()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} B)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
