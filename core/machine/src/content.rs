//! The content of a message: a JSON array of parts, kept as the text in which it came.

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::Block;
use crate::limits::{CONTENT_REST_BYTES_MIN, MEMBER_DEPTH_MAX, NAME_TOLD_CHARS_MAX};

/// A JSON array of parts, each an object with a `type`.
///
/// Members that nobody here knows survive, in the order in which they came, and their values byte for byte:
/// no number is read and written again, no escape undone. (A line break between tokens becomes a space: an
/// event is one line.) Names, and the values of `type` and `text`, are written in the shortest way that JSON
/// has. A value is one that all readers take: no number beyond 64-bit floats, no half of a surrogate pair, no
/// nesting beyond [`MEMBER_DEPTH_MAX`], and no name twice in a part, of which one reader would take the first
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
    /// What the parser says of text that is no JSON.
    #[error("content: {0}")]
    Json(String),
    /// The part at this index is not an object with a `type`.
    #[error("part {0} is not an object with a string `type`")]
    Part(usize),
    /// The part at this index has no text.
    #[error("part {0} is of type text and has no string `text`")]
    Text(usize),
    /// The part at this index is of a type that is not taken.
    #[error("part {index} is of type {kind:?}, which is not taken here: only text is")]
    Kind {
        /// Its place, from 0.
        index: usize,
        /// Its `type`, shortened.
        kind: String,
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

    /// Content from the JSON of a request: a string, or an array of text parts. Its text may have
    /// `text_bytes_max`, however it is escaped, and all other members together as much again.
    pub fn from_request(json: &str, text_bytes_max: usize) -> Result<Self, ContentError> {
        let unreadable = |error: serde_json::Error| ContentError::Json(error.to_string());
        let mut writer = Writer::new(text_bytes_max);
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'"') => {
                let text: String = serde_json::from_str(json).map_err(unreadable)?;
                if text.is_empty() {
                    return Err(ContentError::Empty);
                }
                writer.count_text(&text)?;
                Ok(Self::text(&text))
            }
            Some(b'[') => {
                let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(unreadable)?;
                if parts.is_empty() {
                    return Err(ContentError::Empty);
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

/// Parts on their way from a request to the text that is kept.
struct Writer {
    out: String,
    text_bytes_max: usize,
    text_bytes: usize,
    rest_bytes_max: usize,
    rest_bytes: usize,
}

impl Writer {
    fn new(text_bytes_max: usize) -> Self {
        let rest_bytes_max = text_bytes_max.max(CONTENT_REST_BYTES_MIN);
        Self { out: String::from("["), text_bytes_max, text_bytes: 0, rest_bytes_max, rest_bytes: 0 }
    }

    fn part(&mut self, index: usize, part: &RawValue) -> Result<(), ContentError> {
        let Members(members) = serde_json::from_str(part.get()).map_err(|_| ContentError::Part(index))?;
        let value = |name: &str| members.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
        let string = |name: &str| serde_json::from_str::<String>(value(name)?.get()).ok();
        let kind = string("type").ok_or(ContentError::Part(index))?;
        if kind != "text" {
            return Err(ContentError::Kind { index, kind: told(&kind) });
        }
        let text = string("text").ok_or(ContentError::Text(index))?;
        let mut names = BTreeSet::new();
        for (name, value) in &members {
            if !names.insert(name) {
                return Err(ContentError::Twice { index, name: told(name) });
            }
            self.out.push_str(if names.len() > 1 {
                ","
            } else if index > 0 {
                ",{"
            } else {
                "{"
            });
            self.out.push_str(&written(name));
            self.out.push(':');
            self.count_rest(name.len())?;
            match &**name {
                "type" => {
                    self.count_rest(kind.len())?;
                    self.out.push_str(&written(&kind));
                }
                "text" => {
                    self.count_text(&text)?;
                    self.out.push_str(&written(&text));
                }
                _ => {
                    self.count_rest(value.get().len())?;
                    readable(value).map_err(|error| ContentError::Member {
                        index,
                        name: told(name),
                        why: error.to_string(),
                    })?;
                    self.out.push_str(&on_one_line(value.get()));
                }
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn count_text(&mut self, text: &str) -> Result<(), ContentError> {
        self.text_bytes += text.len();
        let bytes_max = self.text_bytes_max;
        if self.text_bytes > bytes_max { Err(ContentError::TextTooLarge { bytes_max }) } else { Ok(()) }
    }

    fn count_rest(&mut self, bytes: usize) -> Result<(), ContentError> {
        self.rest_bytes += bytes;
        let bytes_max = self.rest_bytes_max;
        if self.rest_bytes > bytes_max { Err(ContentError::RestTooLarge { bytes_max }) } else { Ok(()) }
    }

    fn end(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

pub(crate) fn written(text: &str) -> String {
    serde_json::to_string(text).expect("a string is written")
}

/// The begin of a stranger's word.
fn told(name: &str) -> String {
    match name.char_indices().nth(NAME_TOLD_CHARS_MAX) {
        Some((end, _)) => alloc::format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// A line break can only stand between tokens: in a string it is escaped.
pub(crate) fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

/// An object's members, in order, and as they came.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Whether a text is one JSON value that is read by everybody.
pub(crate) fn fits_all_readers(json: &str) -> bool {
    serde_json::from_str::<&RawValue>(json).is_ok_and(|value| readable(value).is_ok())
}

/// Whether a value is read by everybody: raw, it was only skipped.
fn readable(value: &RawValue) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    Readable { depth_left: MEMBER_DEPTH_MAX }.deserialize(&mut deserializer)
}

struct Readable {
    depth_left: usize,
}

impl Readable {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let too_deep = || E::custom(format_args!("it is nested more than {MEMBER_DEPTH_MAX} deep"));
        depth_left.map(|depth_left| Self { depth_left }).ok_or_else(too_deep)
    }
}

impl<'de> DeserializeSeed<'de> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<String>()?.is_some() {
            members.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn kept(json: &str) -> Result<String, ContentError> {
        Content::from_request(json, 1 << 20).map(|content| content.as_json().to_string())
    }

    #[test]
    fn the_value_of_an_unknown_member_survives_byte_for_byte() {
        for value in [
            "12345678901234567890123",
            "-12345678901234567890.123456789012345678901234567890",
            "1.0",
            "1e2",
            "1E+2",
            "-0",
            "0.10",
            "null",
            r#""\u0041\/\ud83e\udd80é""#,
            r#"{"b":1,"a":[1.50, {"b" : 2 , "b":3}],"":[]}"#,
        ] {
            let part = format!(r#"[{{"type":"text","z":{value},"text":"x","a":{value}}}]"#);
            assert_eq!(kept(&part).as_deref(), Ok(&*part));
            // Whatever stands between the tokens.
            let spaced =
                format!("\r\n[ {{ \"type\":\"text\" ,\t\"z\": {value}\n,\"text\":\"x\",\"a\":{value} }}\n] ");
            assert_eq!(kept(&spaced).as_deref(), Ok(&*part));
        }
    }

    #[test]
    fn content_is_one_line_and_known_members_are_written_in_the_shortest_way() {
        let json =
            "[{\"t\\u0079pe\":\"\\u0074ext\",\"text\":\"\\u0436\\/\\u000a\",\"m\\u0069ne\":[1,\r\n2]}]";
        assert_eq!(kept(json).as_deref(), Ok("[{\"type\":\"text\",\"text\":\"ж/\\n\",\"mine\":[1,  2]}]"));
        let two = kept(r#"[{"type":"text","text":"a","n":1.0},{"type":"text","text":"b","n":2.0}]"#);
        let two = Content::from_stored(two.expect("content"));
        assert_eq!((two.to_text().as_str(), two.as_json().matches(".0").count()), ("ab", 2));
    }

    #[test]
    fn what_not_all_readers_take_is_refused() {
        let with = |member: &str| kept(&format!(r#"[{{"type":"text","text":"x",{member}}}]"#));
        for value in ["1e999", r#""\ud800""#, r#"{"\udc00":1}"#, r#"[["\ud800\u0041"]]"#] {
            let refused = with(&format!("\"m\":{value}"));
            assert!(matches!(refused, Err(ContentError::Member { .. })), "{value}: {refused:?}");
        }
        let nested = |depth: usize| with(&format!("\"m\":{}{}", "[".repeat(depth), "]".repeat(depth)));
        let deepest = nested(MEMBER_DEPTH_MAX).expect("as deep as may be");
        assert!(serde_json::from_str::<serde_json::Value>(&format!("[[[[[[{deepest}]]]]]]")).is_ok());
        assert!(matches!(nested(MEMBER_DEPTH_MAX + 1), Err(ContentError::Member { .. })));
        let deep = nested(100_000).expect_err("too deep");
        assert!(deep.to_string().contains("nested more than 100"), "{deep}");
        for twice in [r#""text":"y""#, r#""type":"text""#, r#""m":1,"m":1"#, r#""m":1,"\u006d":2"#] {
            assert!(matches!(with(twice), Err(ContentError::Twice { .. })), "{twice}");
        }
    }

    #[test]
    fn a_bound_counts_text_and_not_how_it_is_written() {
        let asked = |json: &str| Content::from_request(json, 4).map(|content| content.to_text());
        let text = |text: &str| format!(r#"[{{"type":"text","text":"{text}"}}]"#);
        assert_eq!(asked(&text(r"\u0436\u0436")).as_deref(), Ok("жж"));
        assert_eq!(asked(&text(r"\ud83e\udd80")).as_deref(), Ok("🦀"));
        assert_eq!(asked(&text(r"\u0041\u0041\u0041\u0041")).as_deref(), Ok("AAAA"));
        let too_large = Err(ContentError::TextTooLarge { bytes_max: 4 });
        assert_eq!(asked(&text(r"\u0436\u0436\u0041")), too_large);
        assert_eq!(asked(r#"[{"type":"text","text":"abc"},{"type":"text","text":"de"}]"#), too_large);
        let rest =
            |bytes: usize| asked(&format!(r#"[{{"type":"text","text":"x","m":"{}"}}]"#, "y".repeat(bytes)));
        // With the names and the quotes of what stands around it, to the byte.
        let around = ["type", "text", "text", "m", "\"\""].map(str::len).iter().sum::<usize>();
        assert!(rest(CONTENT_REST_BYTES_MIN - around).is_ok());
        assert!(rest(CONTENT_REST_BYTES_MIN - around + 1).is_err());
        assert_eq!(
            rest(CONTENT_REST_BYTES_MIN),
            Err(ContentError::RestTooLarge { bytes_max: CONTENT_REST_BYTES_MIN })
        );
    }

    #[test]
    fn an_unknown_word_is_told_shortened() {
        let refused = kept(&format!(r#"[{{"type":"{}"}}]"#, "é".repeat(100_000))).expect_err("no such type");
        let told = refused.to_string();
        assert!(told.contains(&"é".repeat(NAME_TOLD_CHARS_MAX)) && told.len() < 200, "{told}");
        let name = "n".repeat(100_000);
        for members in [format!(r#""{name}":1e999"#), format!(r#""{name}":1,"{name}":2"#)] {
            let refused =
                Content::from_request(&format!(r#"[{{"type":"text","text":"x",{members}}}]"#), 1 << 20);
            assert!(refused.expect_err("it is refused").to_string().len() < 250);
        }
        let short = kept(r#"[{"type":"image"}]"#).expect_err("no such type").to_string();
        assert!(short.contains("\"image\""), "{short}");
    }

    #[test]
    fn what_is_no_content_is_refused_as_what_it_is() {
        for (json, expected) in [
            ("3", ContentError::Shape),
            ("{}", ContentError::Shape),
            ("[]", ContentError::Empty),
            (r#""""#, ContentError::Empty),
            ("[3]", ContentError::Part(0)),
            (r#"[{"type":"text","text":"x"},{"text":"y"}]"#, ContentError::Part(1)),
            (r#"[{"type":3}]"#, ContentError::Part(0)),
            (r#"[{"type":"text"}]"#, ContentError::Text(0)),
            (r#"[{"type":"text","text":"\ud800"}]"#, ContentError::Text(0)),
        ] {
            assert_eq!(kept(json), Err(expected), "{json}");
        }
        assert!(matches!(kept(r#""\ud800""#), Err(ContentError::Json(_))));
        assert_eq!(kept(r#" "\u0436""#).as_deref(), Ok(Content::text("ж").as_json()));
    }
}
