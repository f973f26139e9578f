//! Events as they come over the wire, decoded.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Breach;
use crate::Guarantee;

/// An episode, as events name it. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct WireEpisode {
    pub history_version: u64,
    pub attempt: u64,
}

impl fmt::Display for WireEpisode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.history_version, self.attempt)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WireMessage {
    pub id: u64,
    pub revision: u64,
    pub role: String,
    #[serde(deserialize_with = "parts")]
    pub content: Vec<WirePart>,
    pub interrupted: bool,
    pub episode: Option<WireEpisode>,
    #[serde(default)]
    pub finish_reason: Option<String>,
    #[serde(default)]
    pub usage: Option<WireUsage>,
    #[serde(default)]
    pub queued_as: Option<u64>,
}

impl WireMessage {
    /// The text of all text parts, joined.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|part| part.kind == "text");
        texts.map(|part| part.text.as_str()).collect()
    }

    /// Whether its content begins with these blocks.
    pub fn begins_with(&self, shown: &[WirePart]) -> bool {
        let Some((last, whole)) = shown.split_last() else { return true };
        let is_like = |kept: &WirePart, shown: &WirePart| {
            (&kept.kind, &kept.id, &kept.name) == (&shown.kind, &shown.id, &shown.name)
        };
        let is = |(kept, shown)| is_like(kept, shown) && kept.is_all_of(&shown.text);
        let ends = |kept| is_like(kept, last) && kept.begins_with(&last.text);
        self.content.iter().zip(whole).all(is) && self.content.get(whole.len()).is_some_and(ends)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct WireUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A part of a content, or what was shown of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WirePart {
    /// Its `type`.
    pub kind: String,
    /// Of a call.
    pub id: String,
    /// Of a call.
    pub name: String,
    /// What is streamed of it: a text, the JSON text of a call's input, or all of what is told whole.
    pub text: String,
}

impl WirePart {
    /// A part of text.
    pub fn text(text: &str) -> Self {
        Self { kind: "text".into(), text: text.into(), ..Self::default() }
    }

    /// Whether a piece belongs to the same block.
    pub fn goes_on_with(&self, piece: &Piece<'_>) -> bool {
        let same = (&*self.kind, &*self.id, &*self.name) == (&*piece.kind, &*piece.id, &*piece.name);
        same && matches!(&*self.kind, "text" | "reasoning" | "tool_call" | "unknown")
    }

    /// An input that is no JSON is kept as a string, and an empty one as `{}`.
    fn is_all_of(&self, shown: &str) -> bool {
        let is_empty_input = self.kind == "tool_call" && shown.is_empty() && self.text == "{}";
        self.text == shown.replace(['\n', '\r'], " ").trim()
            || is_empty_input
            || self.is_known(|text| text == shown)
    }

    fn begins_with(&self, shown: &str) -> bool {
        self.text.starts_with(&shown.replace(['\n', '\r'], " "))
            || self.is_known(|text| text.starts_with(shown))
    }

    /// What holds of the text, or of the string that it is the JSON of.
    fn is_known(&self, so: impl Fn(&str) -> bool) -> bool {
        let string = || serde_json::from_str::<String>(&self.text).ok().filter(|_| self.kind == "tool_call");
        self.kind == "unknown" || so(&self.text) || string().is_some_and(|text| so(&text))
    }
}

/// A part as an event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub kind: Cow<'a, str>,
    pub id: Cow<'a, str>,
    pub name: Cow<'a, str>,
    pub text: Cow<'a, str>,
}

impl<'a> Piece<'a> {
    /// A piece of text.
    pub fn text(text: &'a str) -> Self {
        let none = || Cow::Borrowed("");
        Self { kind: "text".into(), id: none(), name: none(), text: text.into() }
    }

    pub fn to_part(&self) -> WirePart {
        let Self { kind, id, name, text } = self;
        WirePart {
            kind: kind.to_string(),
            id: id.to_string(),
            name: name.to_string(),
            text: text.to_string(),
        }
    }
}

/// The members of parts of all kinds.
#[derive(Deserialize)]
struct PartMembers<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    input_text: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// Borrowed where it can be, which an optional `Cow` by itself never is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> PartMembers<'a> {
    /// `raw` is the JSON of the part.
    fn into_piece(self, raw: impl FnOnce() -> Option<&'a str>) -> Option<Piece<'a>> {
        let none = || Cow::Borrowed("");
        let or_empty = |text: Option<Text<'a>>| text.map_or_else(none, |Text(text)| text);
        let (id, name, text) = match &*self.kind {
            "text" | "reasoning" => (none(), none(), self.text?.0),
            "tool_call" => {
                let input = self.input.map(|input| input.get().into());
                let cut = self.input_text.map(|Text(text)| text);
                (or_empty(self.id), or_empty(self.name), cut.or(input)?)
            }
            "unknown" => (none(), none(), none()),
            _ => (none(), none(), raw()?.into()),
        };
        Some(Piece { kind: self.kind, id, name, text })
    }
}

fn parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WirePart>, D::Error> {
    let parts = Vec::<Box<RawValue>>::deserialize(deserializer)?;
    let part = |raw: &RawValue| {
        let members: PartMembers<'_> = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let piece = members
            .into_piece(|| Some(raw.get()))
            .ok_or_else(|| D::Error::custom("a part lacks a member"))?;
        Ok(piece.to_part())
    };
    parts.iter().map(|raw| part(raw)).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WireQueued {
    pub id: u64,
    #[serde(default, deserialize_with = "parts")]
    pub content: Vec<WirePart>,
}

/// One event, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEvent<'a> {
    pub cursor: Cow<'a, str>,
    pub body: WireBody<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireBody<'a> {
    Message(WireMessage),
    QueueUpdate(Vec<WireQueued>),
    Status {
        status: String,
        worker: Option<String>,
        episode: WireEpisode,
    },
    Parts {
        episode: WireEpisode,
        first_seq: u64,
        last_seq: u64,
        /// The place of the block, from 0.
        block: usize,
        piece: Piece<'a>,
    },
    PreviewReset {
        episode: WireEpisode,
    },
    HistoryReset,
    Synced,
    /// `error`, `retry`, and types that are added later.
    Other,
}

/// The members of all types together, so that one pass over the bytes is enough.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    cursor: Cow<'a, str>,
    episode: Option<WireEpisode>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    #[serde(borrow)]
    part: Option<PartMembers<'a>>,
    block: Option<usize>,
    message: Option<WireMessage>,
    queue: Option<Vec<WireQueued>>,
    status: Option<String>,
    worker: Option<String>,
    history_version: Option<u64>,
    attempt: Option<u64>,
}

impl<'a> WireEvent<'a> {
    /// Parses the JSON of one event.
    pub fn parse(json: &'a str) -> Result<Self, Breach> {
        let malformed =
            |why: String| Breach { guarantee: Guarantee::S1, why: format!("an event cannot be read: {why}") };
        let m: Members<'a> = serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
        let body = match &*m.kind {
            "message" => m.message.map(WireBody::Message),
            "queue_update" => m.queue.map(WireBody::QueueUpdate),
            "status" => (|| {
                let episode = WireEpisode { history_version: m.history_version?, attempt: m.attempt? };
                Some(WireBody::Status { status: m.status?, worker: m.worker, episode })
            })(),
            "message_part" => (|| {
                // A server of the release before has no blocks: all is one text.
                let (first_seq, last_seq, block) = (m.first_seq?, m.last_seq?, m.block.unwrap_or(0));
                let piece = m.part?.into_piece(|| raw_part(json))?;
                Some(WireBody::Parts { episode: m.episode?, first_seq, last_seq, block, piece })
            })(),
            "preview_reset" => m.episode.map(|episode| WireBody::PreviewReset { episode }),
            "history_reset" => Some(WireBody::HistoryReset),
            "synced" => Some(WireBody::Synced),
            _ => Some(WireBody::Other),
        };
        let body = body.ok_or_else(|| malformed(format!("a {} lacks a member", m.kind)))?;
        Ok(Self { cursor: m.cursor, body })
    }
}

/// The JSON of the part of an event.
fn raw_part(json: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        part: &'a RawValue,
    }
    serde_json::from_str::<Whole<'_>>(json).ok().map(|whole| whole.part.get())
}
