//! What others wrote, for a terminal. A model, a user on another device, a server: none of them may move the
//! cursor, set the title, fill the clipboard, or make a line read otherwise than it is.
//!
//! Characters are looked at one by one, so that a sequence is harmless however it is cut into parts. Shown as
//! `\u{…}` are
//!
//! - control characters but line feed and tab: C0, DEL, and C1, which some terminals take for the begin of a
//!   sequence;
//! - what turns the direction of writing: marks, embeddings, overrides, isolates;
//! - separators of lines and paragraphs, which terminals treat each in its own way;
//! - format characters and fillers that nobody sees, tags among them, in which text can hide.
//!
//! Joiners (U+200C, U+200D) and variation selectors stay: scripts and emoji need them, and they change no
//! more than the character beside them.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal, or who reads it, may be fooled by it.
fn is_harmful(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{200c}' | '\u{200d}' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

/// The text with nothing in it that a terminal acts upon, but line feeds and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful, |out, character| out.extend(character.escape_unicode()))
}

/// JSON of the same value, on one line.
pub(super) fn printable_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |character| is_harmful(character) || character == '\n';
    escaped(json, is_escaped, |out, character| {
        if character.is_ascii_whitespace() {
            // In a string it cannot be: it stands between tokens.
            return out.push(' ');
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a string takes all");
        }
    })
}

fn escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) { escape(&mut out, character) } else { out.push(character) }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What terminals act upon: colours, the title, the clipboard, a link, a query that types its answer, and
    /// more.
    const SEQUENCES: [&str; 10] = [
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]52;c;cm0gLXJm\u{1b}\\",
        "\u{1b}]8;;http://evil.example\u{1b}\\safe\u{1b}]8;;\u{1b}\\",
        "\u{9b}2J\u{9d}0;title\u{9c}",
        "\u{1b}[6n\u{5}",
        "over\rwritten\u{8}\u{b}\u{c}\u{0}\u{7f}",
        "\u{202e}gpj.exe\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}",
        "a\u{2028}b\u{2029}c\u{85}d",
        "\u{e0041}\u{feff}\u{200b}\u{ad}\u{3164}\u{2061}",
    ];

    fn has_controls(text: &str) -> bool {
        text.chars().any(|character| is_harmful(character) || character == '\u{1b}')
    }

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_left() {
        for sequence in SEQUENCES {
            let shown = printable(sequence);
            assert!(!has_controls(&shown) && shown.contains("\\u{"), "{shown}");
        }
        assert_eq!(printable("\u{1b}[2J\u{9b}"), "\\u{1b}[2J\\u{9b}");
    }

    #[test]
    fn what_is_cut_in_two_is_as_harmless() {
        for sequence in SEQUENCES {
            for (cut, _) in sequence.char_indices() {
                let (one, two) = sequence.split_at(cut);
                assert_eq!(format!("{}{}", printable(one), printable(two)), printable(sequence));
            }
        }
    }

    #[test]
    fn text_of_any_script_stays_as_it_is() {
        for text in
            ["line\n\ttab", "é ж 漢字 עברית العربية", "👩\u{200d}💻 ❤\u{fe0f} می\u{200c}خواهم", "\\u{1b}"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn json_stays_the_same_value_on_one_line() {
        for sequence in SEQUENCES {
            let json = serde_json::json!({"text": sequence}).to_string();
            let shown = printable_json(&json);
            assert!(!has_controls(&shown), "{shown}");
            let values: [serde_json::Value; 2] =
                [&*json, &*shown].map(|json| serde_json::from_str(json).expect("JSON"));
            assert_eq!(values[0], values[1]);
        }
        assert_eq!(
            printable_json("{\"a\":\n1,\r\"b\":\t\"\u{e0041}\"}"),
            "{\"a\": 1, \"b\":\t\"\\udb40\\udc41\"}"
        );
    }
}
