//! The blocks of an answer: what was said of each, what is shown, and what of it a content must have. Written from
//! docs/protocol.md and not from what writes contents.

use mainstem_machine::{Block, Content};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The blocks of an answer, or the first of them, each with what has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Blocks(Vec<(Block, String)>);

impl Blocks {
    /// Parts come: they belong to the last block, unless they begin one.
    pub fn add(&mut self, begins: Option<&Block>, text: &str) {
        match (begins, self.0.last_mut()) {
            (None, Some((block, so_far))) if *block != Block::Whole => so_far.push_str(text),
            (begins, _) => self.0.push((begins.cloned().unwrap_or(Block::Text), text.to_owned())),
        }
    }

    /// The place of the last one, from 0.
    pub fn last_place(&self) -> Option<usize> {
        self.0.len().checked_sub(1)
    }

    /// The last one's kind.
    pub fn last(&self) -> Option<&Block> {
        self.0.last().map(|(block, _)| block)
    }

    /// The texts of all, joined.
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a content is these blocks: of an answer that was cut if `is_cut`.
    pub fn are_kept_in(&self, content: &Content, is_cut: bool) -> bool {
        let Some(kept) = kept(content) else { return false };
        let is = |((block, said), kept): (&(Block, String), &Kept<'_>)| match (kept, block) {
            (Kept::Text(text), Block::Text) => text == said,
            (Kept::Reasoning(text), Block::Reasoning) => text == said,
            (Kept::Call { id, name, input }, Block::ToolCall(call)) => {
                *id == *call.id && *name == *call.name && input.is_of(said, is_cut)
            }
            (Kept::Whole(raw), Block::Whole) => raw == said,
            _ => false,
        };
        kept.len() == self.0.len() && self.0.iter().zip(&kept).all(is)
    }

    /// The bytes of all texts, and the number of blocks, of what is kept of an answer that was cut.
    pub(crate) fn size_of_cut(content: &Content) -> Option<(usize, usize)> {
        let kept = kept(content)?;
        let bytes = kept.iter().map(|kept| match kept {
            Kept::Text(text) | Kept::Reasoning(text) => text.len(),
            Kept::Call { input: Input::Cut(text), .. } => text.len(),
            Kept::Call { input: Input::Json(raw), .. } | Kept::Whole(raw) => raw.len(),
        });
        Some((bytes.sum(), kept.len()))
    }

    /// Whether a content begins with these blocks.
    pub(crate) fn begin(&self, content: &Content) -> bool {
        let Some(kept) = kept(content) else { return false };
        let Some(last) = self.last_place() else { return true };
        let begins = |(place, ((block, shown), kept)): (usize, (&(Block, String), &Kept<'_>))| {
            let has = |text: &str| if place == last { text.starts_with(shown) } else { text == shown };
            match (kept, block) {
                (Kept::Text(text), Block::Text) => has(text),
                (Kept::Reasoning(text), Block::Reasoning) => has(text),
                (Kept::Call { id, name, input }, Block::ToolCall(call)) => {
                    let (raw, shown) = (input.streamed(), shown.replace(['\n', '\r'], " "));
                    *id == *call.id && *name == *call.name && raw.iter().any(|raw| raw.starts_with(&shown))
                }
                (Kept::Whole(raw), Block::Whole) => raw == shown,
                // Of a kind that was not known there.
                (_, Block::Unknown) => true,
                _ => false,
            }
        };
        kept.len() > last && self.0.iter().zip(&kept).enumerate().all(begins)
    }
}

/// A part of a content, as far as it may have been streamed.
enum Kept<'a> {
    Text(String),
    Reasoning(String),
    Call { id: String, name: String, input: Input<'a> },
    Whole(&'a str),
}

enum Input<'a> {
    /// As it came, by then.
    Cut(String),
    Json(&'a str),
}

impl Input<'_> {
    /// Whether this is kept of what was said.
    fn is_of(&self, said: &str, is_cut: bool) -> bool {
        match self {
            Self::Cut(text) => is_cut && text == said,
            Self::Json(_) if is_cut => false,
            Self::Json(raw) if said.is_empty() => *raw == "{}",
            Self::Json(raw) if *raw == said.replace(['\n', '\r'], " ").trim() => true,
            // What is no JSON is kept as a string.
            Self::Json(raw) => {
                let is_json = serde_json::from_str::<Value>(said).is_ok();
                !is_json && serde_json::from_str::<String>(raw).is_ok_and(|text| text == said)
            }
        }
    }

    /// What may have been streamed of it.
    fn streamed(&self) -> Vec<String> {
        match self {
            Self::Cut(text) => vec![text.replace(['\n', '\r'], " ")],
            Self::Json(raw) => {
                let string = serde_json::from_str::<String>(raw).ok();
                let string = string.map(|text| text.replace(['\n', '\r'], " "));
                std::iter::once((*raw).to_owned()).chain(string).collect()
            }
        }
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    r#type: String,
    text: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    input_text: Option<String>,
}

fn kept(content: &Content) -> Option<Vec<Kept<'_>>> {
    let parts: Vec<&RawValue> = serde_json::from_str(content.as_json()).ok()?;
    parts.into_iter().map(|part| kept_part(part.get())).collect()
}

fn kept_part(raw: &str) -> Option<Kept<'_>> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    let kind: Kind = serde_json::from_str(raw).ok()?;
    if !matches!(&*kind.r#type, "text" | "reasoning" | "tool_call") {
        return Some(Kept::Whole(raw));
    }
    let part: Members<'_> = serde_json::from_str(raw).ok()?;
    Some(match &*part.r#type {
        "text" => Kept::Text(part.text?),
        "reasoning" => Kept::Reasoning(part.text?),
        _ => {
            let input = match (part.input, part.input_text) {
                (Some(json), None) => Input::Json(json.get()),
                (None, Some(text)) => Input::Cut(text),
                _ => return None,
            };
            Kept::Call { id: part.id?, name: part.name?, input }
        }
    })
}
