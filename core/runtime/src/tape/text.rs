//! Texts that say nothing, in place of those that do. A machine looks at a text's length, at the places between
//! its characters, and at what it takes as JSON: all these stay.

use bytes::Bytes;
use mainstem_machine::{Block, Content};

use super::names::Names;

/// What takes the place of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Replacement<'a> {
    /// Another text of the same length: for what a machine is told.
    Filling(&'a Names),
    /// The length, written: for what a machine said, of which only a digest is kept.
    Length,
}

impl Replacement<'_> {
    pub(super) fn of(self, text: &str) -> String {
        match self {
            Self::Filling(_) => text.chars().map(filling).collect(),
            Self::Length => text.len().to_string(),
        }
    }

    /// The id of a call, or the name of a tool: these are compared.
    pub(super) fn of_name(self, name: &str) -> String {
        match self {
            Self::Filling(names) => names.of(name),
            Self::Length => self.of(name),
        }
    }

    /// The input of a call. It is JSON, and filled piece by piece it is none and written in another way: its length says
    /// nothing.
    pub(super) fn of_input(self, input: &str) -> String {
        match self {
            Self::Filling(_) => self.of(input),
            Self::Length => String::new(),
        }
    }

    /// A part of a block. What is whole is JSON, and stays so.
    pub(super) fn of_piece(self, block: Option<&Block>, text: &str) -> String {
        match (self, block) {
            (Self::Filling(names), Some(Block::Whole)) => filled_json(text, names, 1),
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
            Self::Filling(names) => filled_json(content.as_json(), names, 2),
            Self::Length => content.bytes_beside_inputs().to_string(),
        })
    }

    /// What is no text stays what is no text, from the same place on.
    pub(super) fn of_bytes(self, bytes: &Bytes) -> Bytes {
        if matches!(self, Self::Length) {
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
/// Of these, those whose values are compared.
const COMPARED: [&str; 3] = ["id", "name", "tool_call_id"];
const KINDS: [&str; 7] = ["text", "reasoning", "tool_call", "tool_result", "file", "source", "data"];

/// A character of the same length, also when it is written in JSON.
pub(super) fn filling(c: char) -> char {
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

/// JSON in which strings and numbers are filled, but for the words that are the protocol's own. In parts, which are objects at
/// this depth, ids and names are replaced as they are elsewhere.
fn filled_json(json: &str, names: &Names, parts_at: usize) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let (mut is_kind, mut is_compared) = (false, false);
    let mut depth = 0usize;
    while let Some(at) = rest.find('"') {
        let between = &rest[..at];
        out.extend(between.chars().map(filling_between));
        depth += between.matches(['[', '{']).count();
        depth = depth.saturating_sub(between.matches([']', '}']).count());
        let string = &rest[at + 1..];
        let end = end_of_string(string);
        let (raw, after) = (&string[..end], string.get(end + 1..).unwrap_or_default());
        let is_name = after.trim_start().starts_with(':');
        let is_known = if is_name { NAMES.contains(&raw) } else { is_kind && KINDS.contains(&raw) };
        out.push('"');
        if is_known {
            out.push_str(raw);
        } else if let Some(name) =
            Some(raw).filter(|_| is_compared && !is_name).and_then(|raw| names.of_json(raw))
        {
            out.push_str(&name);
        } else {
            fill_string(raw, &mut out);
        }
        is_kind = is_name && raw == "type";
        is_compared = is_name && depth == parts_at && COMPARED.contains(&raw);
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

    fn names() -> Names {
        Names::new(b"a key")
    }

    #[test]
    fn a_filled_text_has_the_length_and_the_places_of_the_first() {
        for text in TEXTS {
            let filled = Replacement::Filling(&names()).of(text);
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
                head.redact(Replacement::Filling(&names()));
                (head, Replacement::Filling(&names()).of_piece(Some(block), text))
            });
            let filled =
                Content::of_blocks(filled.iter().map(|(block, text)| (block, text.as_str())), is_cut);
            let length = |content: &Content| Replacement::Length.of_content(content);
            assert_eq!(length(&filled), length(&content));
            assert_eq!(length(&Replacement::Filling(&names()).of_content(&content)), length(&content));
            assert!(!filled.as_json().contains("find") && !filled.as_json().contains("it is"));
        }
    }

    /// What a model has said is filled as it comes, and what is committed of it as it is.
    #[test]
    fn the_content_of_a_filled_text_is_the_filled_content_of_the_text() {
        for text in TEXTS {
            let filled = Replacement::Filling(&names()).of_content(&Content::text(text));
            assert_eq!(filled, Content::text(&Replacement::Filling(&names()).of(text)), "{text:?}");
            let length = |content: &Content| Replacement::Length.of_content(content);
            assert_eq!(length(&filled), length(&Content::text(text)));
        }
    }

    /// The machine finds calls in what a model said, and whose they are by the names of tools.
    #[test]
    fn what_is_compared_is_replaced_as_elsewhere_and_only_where_it_is_compared() {
        let (names, by) = (names(), |text: &str| names().of(text));
        let head = |id: &str, name: &str| Block::tool_call(id, name);
        let answered =
            r#"{"type":"tool_result","content":"id","tool_call_id":"call_2","data":{"id":"call_2"}}"#;
        let whole = r#"{"type":"tool_call", "id" : "call\u005f4","name":"find","input":{"name":"find"}}"#;
        let blocks = [
            (head("call_1", "find"), r#"{"id":"call_1"}"#),
            (head("call_2", "find"), "{}"),
            (head("call_3", "read"), "{}"),
            (Block::Whole, answered),
            (Block::Whole, whole),
        ];
        let content = Content::of_blocks(blocks.iter().map(|(block, text)| (block, *text)), false);
        let filled = Replacement::Filling(&names).of_content(&content);
        assert_eq!(filled.as_json().len(), content.as_json().len());
        let calls = |content: &Content| {
            let calls = content.open_calls().into_iter();
            calls.map(|call| (call.id.to_string(), call.name.to_string())).collect::<Vec<_>>()
        };
        let expected = [("call_1", "find"), ("call_3", "read"), ("call_4", "find")];
        assert_eq!(calls(&content), expected.map(|(id, name)| (id.into(), name.into())));
        assert_eq!(calls(&filled), expected.map(|(id, name)| (by(id), by(name))));
        let places = |word: &str| filled.as_json().matches(word).count();
        assert_eq!(places(&by("call_2")), 2, "not among data");
        assert_eq!((places(r#"{"id":"xxxxxx"}"#), places(r#"{"name":"xxxx"}"#)), (2, 1), "{filled:?}");
        let piece = Replacement::Filling(&names).of_piece(Some(&Block::Whole), whole);
        assert!(filled.as_json().ends_with(&format!("{piece}]")) && piece.contains(&by("find")), "{piece}");
    }

    #[test]
    fn members_that_nobody_knows_are_filled_too() {
        let json = r#"[{"type":"text","text":"a\"b","secret":{"type":"own","n":-12.5e3,"\u0041b":["x\ud83e\udd80",true,null]}}]"#;
        let filled = Replacement::Filling(&names()).of_content(&Content::from_stored(json));
        let expected = r#"[{"type":"text","text":"x\nx","xxxxxx":{"type":"xxx","x":-11.1e1,"\u0001x":["x\u0001\u0001",true,null]}}]"#;
        assert_eq!((filled.as_json(), filled.as_json().len()), (expected, json.len()));
        assert_eq!(filled.to_text(), "x\nx");
        // No JSON, as only a damaged database has it.
        for json in ["\"cut", "{\"a\\", "\"", "ÄÖ", "\"\\u00"] {
            let filled = Replacement::Filling(&names()).of_content(&Content::from_stored(json));
            assert!(!filled.as_json().contains(['c', 'Ä']), "{filled:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_none_when_it_is_filled() {
        let torn = Bytes::from_static(b"ab\xc3");
        let filled = Replacement::Filling(&names()).of_bytes(&torn);
        assert_eq!(&filled[..], b"xx\xff");
        assert!(std::str::from_utf8(&filled).is_err());
        assert_eq!(Replacement::Filling(&names()).of_bytes(&Bytes::from_static("aé".as_bytes())), "xé");
        assert_eq!(Replacement::Length.of_bytes(&torn), "3");
    }
}
