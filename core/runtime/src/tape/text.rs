//! Texts that say nothing, in place of those that do. A machine looks at a text's length, at the places between
//! its characters, and at what it takes as JSON: all these stay.

use bytes::Bytes;
use mainstem_machine::{Block, Content};

/// What takes the place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// Another text of the same length: for what a machine is told.
    Filling,
    /// The length, written: for what a machine said, of which only a digest is kept.
    Length,
}

impl Replacement {
    pub(super) fn of(self, text: &str) -> String {
        match self {
            Self::Filling => text.chars().map(filling).collect(),
            Self::Length => text.len().to_string(),
        }
    }

    /// A part of a block. What is whole is JSON, and stays so.
    pub(super) fn of_piece(self, block: Option<&Block>, text: &str) -> String {
        match (self, block) {
            (Self::Filling, Some(Block::Whole)) => filled_json(text),
            _ => self.of(text),
        }
    }

    pub(super) fn of_piece_bytes(self, block: Option<&Block>, bytes: &Bytes) -> Bytes {
        match (block, std::str::from_utf8(bytes)) {
            (Some(Block::Whole), Ok(text)) => self.of_piece(block, text).into(),
            _ => self.of_bytes(bytes),
        }
    }

    pub(super) fn of_content(self, content: &Content) -> Content {
        Content::from_stored(match self {
            Self::Filling => filled_json(content.as_json()),
            Self::Length => content.bytes_beside_inputs().to_string(),
        })
    }

    /// What is no text stays what is no text, from the same place on.
    pub(super) fn of_bytes(self, bytes: &Bytes) -> Bytes {
        if self == Self::Length {
            return bytes.len().to_string().into();
        }
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut filled = self.of(valid).into_bytes();
        filled.resize(bytes.len(), 0xff);
        filled.into()
    }
}

/// The protocol's own words in a content: the members of its parts, and their types.
const NAMES: [&str; 13] = [
    "type",
    "text",
    "signature",
    "id",
    "name",
    "input",
    "input_text",
    "tool_call_id",
    "content",
    "media_type",
    "url",
    "title",
    "data",
];
const KINDS: [&str; 7] = ["text", "reasoning", "tool_call", "tool_result", "file", "source", "data"];

/// A character of the same length, also when it is written in JSON.
fn filling(c: char) -> char {
    match c {
        '"' | '\\' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => '\n',
        '\0'..='\u{1f}' => '\u{1}',
        _ => match c.len_utf8() {
            1 => 'x',
            2 => 'é',
            3 => '…',
            _ => '𝄞',
        },
    }
}

/// JSON in which strings and numbers are filled, but for the words that are the protocol's own.
fn filled_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let mut is_kind = false;
    while let Some(at) = rest.find('"') {
        out.extend(rest[..at].chars().map(filling_between));
        let string = &rest[at + 1..];
        let end = end_of_string(string);
        let (raw, after) = (&string[..end], string.get(end + 1..).unwrap_or_default());
        let is_name = after.trim_start().starts_with(':');
        let is_known = if is_name { NAMES.contains(&raw) } else { is_kind && KINDS.contains(&raw) };
        is_kind = is_name && raw == "type";
        out.push('"');
        if is_known {
            out.push_str(raw)
        } else {
            fill_string(raw, &mut out)
        }
        if end < string.len() {
            out.push('"');
        }
        rest = after;
    }
    out.extend(rest.chars().map(filling_between));
    out
}

/// Numbers, and the names and signs between them.
fn filling_between(c: char) -> char {
    match c {
        '0'..='9' => '1',
        '[' | ']' | '{' | '}' | ':' | ',' | ' ' | '.' | '-' | '+' | 'a'..='z' | 'E' => c,
        _ => filling(c),
    }
}

/// Where the quote is that ends the string, or the end of all.
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    let end = string.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    end.unwrap_or(string.len())
}

fn fill_string(raw: &str, out: &mut String) {
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.clone().next() == Some('u') => {
                out.push_str("\\u0001");
                chars.by_ref().take(5).for_each(drop);
            }
            '\\' => {
                out.push_str("\\n");
                chars.next();
            }
            c => out.push(filling(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::redact::Redact;
    use super::*;

    const TEXTS: [&str; 6] =
        ["", "plain", "\"quoted\" \\ and\nlines\t\u{8}\u{c}\r", "\0\u{1f} é … 𝄞 \u{7f}", "text", "type"];

    #[test]
    fn a_filled_text_has_the_length_and_the_places_of_the_first() {
        for text in TEXTS {
            let filled = Replacement::Filling.of(text);
            let places = |text: &str| text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
            assert_eq!((places(&filled), filled.len()), (places(text), text.len()), "{text:?}");
            assert!(!filled.contains(|c: char| c.is_ascii_alphabetic() && c != 'x'), "{filled:?}");
        }
    }

    /// A call's input is JSON, and filled piece by piece it is none: it is kept in another way, and does not count.
    #[test]
    fn the_measure_of_an_answer_of_many_kinds_is_that_of_the_filled_one() {
        let whole = r#"{"type":"data","name":"n","data":{"a":"b"}}"#;
        let blocks = [
            (Block::Reasoning, "hm \"so\""),
            (Block::Text, "it is"),
            (Block::tool_call("call 1", "find"), "{\"n\": 1}"),
            (Block::Whole, whole),
        ];
        for is_cut in [false, true] {
            let content = Content::of_blocks(blocks.iter().map(|(block, text)| (block, *text)), is_cut);
            let filled = blocks.each_ref().map(|(block, text)| {
                let mut head = block.clone();
                head.redact(Replacement::Filling);
                (head, Replacement::Filling.of_piece(Some(block), text))
            });
            let filled =
                Content::of_blocks(filled.iter().map(|(block, text)| (block, text.as_str())), is_cut);
            let length = |content: &Content| Replacement::Length.of_content(content);
            assert_eq!(length(&filled), length(&content));
            assert_eq!(length(&Replacement::Filling.of_content(&content)), length(&content));
            assert!(!filled.as_json().contains("find") && !filled.as_json().contains("it is"));
        }
    }

    /// What a model has said is filled as it comes, and what is committed of it as it is.
    #[test]
    fn the_content_of_a_filled_text_is_the_filled_content_of_the_text() {
        for text in TEXTS {
            let filled = Replacement::Filling.of_content(&Content::text(text));
            assert_eq!(filled, Content::text(&Replacement::Filling.of(text)), "{text:?}");
            let length = |content: &Content| Replacement::Length.of_content(content);
            assert_eq!(length(&filled), length(&Content::text(text)));
        }
    }

    #[test]
    fn members_that_nobody_knows_are_filled_too() {
        let json = r#"[{"type":"text","text":"a\"b","secret":{"type":"own","n":-12.5e3,"\u0041b":["x\ud83e\udd80",true,null]}}]"#;
        let filled = Replacement::Filling.of_content(&Content::from_stored(json));
        let expected = r#"[{"type":"text","text":"x\nx","xxxxxx":{"type":"xxx","x":-11.1e1,"\u0001x":["x\u0001\u0001",true,null]}}]"#;
        assert_eq!((filled.as_json(), filled.as_json().len()), (expected, json.len()));
        assert_eq!(filled.to_text(), "x\nx");
        // No JSON, as only a damaged database has it.
        for json in ["\"cut", "{\"a\\", "\"", "ÄÖ", "\"\\u00"] {
            let filled = Replacement::Filling.of_content(&Content::from_stored(json));
            assert!(!filled.as_json().contains(['c', 'Ä']), "{filled:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_none_when_it_is_filled() {
        let torn = Bytes::from_static(b"ab\xc3");
        let filled = Replacement::Filling.of_bytes(&torn);
        assert_eq!(&filled[..], b"xx\xff");
        assert!(std::str::from_utf8(&filled).is_err());
        assert_eq!(Replacement::Filling.of_bytes(&Bytes::from_static("aé".as_bytes())), "xé");
        assert_eq!(Replacement::Length.of_bytes(&torn), "3");
    }
}
