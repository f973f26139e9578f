//! Names in place of names. A machine compares the ids of calls and the names of tools, so what takes the place of one
//! is the same wherever the name stands, and another one for any other name.
//!
//! Under a key, names are exchanged with each other: each with one that has the same kinds of characters at the same places.
//! It is a Feistel network, as in NIST SP 800-38G: in turn, each half of the characters is shifted by what HMAC-SHA256 says of the
//! other half. That can be undone, so no two names have one replacement, however short they are. Without the key a
//! replacement says nothing of the name but how long it is, and each of its characters.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::text::filling;
use crate::limits::tape::NAME_CHARS_MAX;

const ROUNDS: u8 = 8;

/// Ranges of characters that are as long as each other, also when they are written in JSON, as short as it can be.
const CLASSES: [&[(char, char)]; 7] = [
    &[('/', '/')],
    &[('\u{8}', '\n'), ('\u{c}', '\r'), ('"', '"'), ('\\', '\\')],
    &[('\0', '\u{7}'), ('\u{b}', '\u{b}'), ('\u{e}', '\u{1f}')],
    &[(' ', '!'), ('#', '.'), ('0', '['), (']', '\u{7f}')],
    &[('\u{80}', '\u{7ff}')],
    &[('\u{800}', '\u{d7ff}'), ('\u{e000}', '\u{ffff}')],
    &[('\u{10000}', '\u{10ffff}')],
];

/// What names are replaced under: a key, which is not on the tape.
#[derive(Clone)]
pub(crate) struct Names(Hmac<Sha256>);

impl Names {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    pub(super) fn of(&self, name: &str) -> String {
        self.exchanged(name.chars()).collect()
    }

    /// The same for what stands between the quotes of a JSON string, which stays as long as it is. `None`: it is no JSON.
    pub(super) fn of_json(&self, raw: &str) -> Option<String> {
        let written = characters(raw)?;
        let name = self.exchanged(written.iter().map(|(_, c)| *c));
        let mut json = String::with_capacity(raw.len());
        for ((form, _), c) in written.iter().zip(name) {
            write(*form, c, &mut json);
        }
        Some(json)
    }

    /// What is behind the characters that are exchanged has a say in how they are.
    fn exchanged(&self, name: impl Iterator<Item = char> + Clone) -> impl Iterator<Item = char> {
        let mut letters: Vec<_> = name.clone().take(NAME_CHARS_MAX).map(Letter::of).collect();
        let rest: String = name.skip(NAME_CHARS_MAX).collect();
        for round in 0..ROUNDS {
            let half = letters.len() / 2;
            let (first, second) = letters.split_at_mut(half);
            let (heard, shifted) = if round % 2 == 0 { (first, second) } else { (second, first) };
            let mut hash = self.0.clone().chain_update([round]);
            for letter in heard {
                hash.update(&letter.at.to_le_bytes());
            }
            hash.update(rest.as_bytes());
            let shifts = hash.finalize().into_bytes();
            for (letter, shift) in shifted.iter_mut().zip(shifts.chunks_exact(2)) {
                letter.shift(u32::from(shift[0]) << 8 | u32::from(shift[1]));
            }
        }
        let rest: Vec<_> = rest.chars().map(filling).collect();
        letters.into_iter().map(Letter::character).chain(rest)
    }
}

/// Nothing of the key.
impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// A character, as its place among those of its class.
#[derive(Clone, Copy)]
struct Letter {
    class: &'static [(char, char)],
    at: u32,
}

impl Letter {
    fn of(c: char) -> Self {
        let is_in = |class: &&[(char, char)]| class.iter().any(|(from, to)| (*from..=*to).contains(&c));
        let class = CLASSES.into_iter().find(is_in).expect("each character is of a class");
        let before = class.iter().take_while(|(_, to)| *to < c).map(|range| size(*range)).sum::<u32>();
        let from = class.iter().find(|(_, to)| *to >= c).expect("it is in the class").0;
        Self { class, at: before + (c as u32 - from as u32) }
    }

    fn shift(&mut self, by: u32) {
        self.at = (self.at + by) % self.class.iter().map(|range| size(*range)).sum::<u32>();
    }

    fn character(self) -> char {
        let mut left = self.at;
        for range in self.class {
            if left < size(*range) {
                return char::from_u32(range.0 as u32 + left).expect("no range has a surrogate");
            }
            left -= size(*range);
        }
        unreachable!("a place is below the size of its class")
    }
}

fn size((from, to): (char, char)) -> u32 {
    to as u32 - from as u32 + 1
}

/// How a character is written in a JSON string.
#[derive(Clone, Copy)]
enum Form {
    Itself,
    Short,
    Long,
}

const SHORT: [(char, char); 8] = [
    ('"', '"'),
    ('\\', '\\'),
    ('/', '/'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
];

/// The characters of a JSON string, and how each is written.
fn characters(raw: &str) -> Option<Vec<(Form, char)>> {
    let mut characters = vec![];
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        characters.push(match c {
            '\\' => match rest.next()? {
                'u' => {
                    let first = unit(&mut rest)?;
                    let is_pair = (0xd800..0xdc00).contains(&first);
                    let second = if is_pair { Some(second_unit(&mut rest)?) } else { None };
                    let units = [first].into_iter().chain(second);
                    (Form::Long, char::decode_utf16(units).next()?.ok()?)
                }
                sign => (Form::Short, SHORT.iter().find(|(short, _)| *short == sign)?.1),
            },
            '\0'..='\u{1f}' | '"' => return None,
            c => (Form::Itself, c),
        });
    }
    Some(characters)
}

fn second_unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let is_escaped = rest.next()? == '\\' && rest.next()? == 'u';
    if is_escaped { unit(rest) } else { None }
}

fn unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | rest.next()?.to_digit(16)? as u16;
    }
    Some(unit)
}

fn write(form: Form, c: char, json: &mut String) {
    match form {
        Form::Itself => json.push(c),
        Form::Short => {
            let (sign, _) =
                SHORT.iter().find(|(_, means)| *means == c).expect("classes keep to what is short");
            json.extend(['\\', *sign]);
        }
        Form::Long => {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json.push_str(&format!("\\u{unit:04x}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> Names {
        Names::new(b"a key")
    }

    fn all(class: &[(char, char)]) -> impl Iterator<Item = char> {
        class.iter().flat_map(|(from, to)| *from..=*to)
    }

    #[test]
    fn each_character_has_its_place_in_one_class_and_all_of_one_are_as_long() {
        let mut count = 0;
        for class in CLASSES {
            let lengths: BTreeSet<_> = all(class).map(|c| (c.len_utf8(), filling(c).len_utf8())).collect();
            assert_eq!(lengths.len(), 1, "{class:?}");
            for (at, c) in all(class).enumerate() {
                let letter = Letter::of(c);
                assert_eq!((letter.class, letter.at as usize, letter.character()), (class, at, c));
                count += 1;
            }
        }
        assert_eq!(count, ('\0'..=char::MAX).count());
    }

    #[test]
    fn no_two_short_names_have_one_replacement() {
        let plain: Vec<_> = all(CLASSES[3]).collect();
        let names = names();
        let mut seen = BTreeSet::new();
        for first in &plain {
            assert!(seen.insert(names.of(&first.to_string())));
            for second in &plain {
                assert!(seen.insert(names.of(&format!("{first}{second}"))));
            }
        }
        let some = ["a", "\n", "/", "é", "…", "𝄞"];
        for (a, b, c) in some.iter().flat_map(|a| some.iter().flat_map(move |b| some.map(move |c| (a, b, c))))
        {
            assert!(seen.insert(names.of(&format!("{a}{b}{c}"))), "{a:?} {b:?} {c:?}");
        }
    }

    #[test]
    fn a_name_is_replaced_by_one_of_its_length_and_places_that_depends_on_all_of_it_and_on_the_key() {
        let long = "call_".repeat(20);
        for name in ["", "x", "find", "call_1", "call_2", "a\"b\\c\n\u{1}/é…𝄞", &long, &format!("{long}1")]
        {
            let replaced = names().of(name);
            let places = |text: &str| text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
            assert_eq!((places(&replaced), replaced.len()), (places(name), name.len()), "{name:?}");
            assert_eq!(replaced, names().of(name), "it is the same wherever it stands");
            let other = Names::new(b"another key");
            assert!(name.len() < 2 || (replaced != name && other.of(name) != replaced), "{name:?}");
        }
        let [one, two] = ["call_1", "call_2"].map(|name| names().of(name));
        assert_ne!(one[..5], two[..5], "what is alike in them is not seen");
        let [one, two] = ["1", "2"].map(|end| names().of(&format!("{long}{end}")));
        assert_ne!(one, two);
        assert!(!one.contains("call"));
    }

    #[test]
    fn in_json_a_name_is_replaced_as_elsewhere_however_it_is_written() {
        let name = "a\"/é…𝄞\u{1}\n";
        for raw in [r#"a\"/é…𝄞\u0001\n"#, r#"\u0061\u0022\/\u00e9\u2026\ud834\udd1e\u0001\u000a"#] {
            let replaced = names().of_json(raw).expect("JSON");
            assert_eq!(replaced.len(), raw.len());
            let read: String = characters(&replaced).expect("JSON").iter().map(|(_, c)| *c).collect();
            assert_eq!(read, names().of(name), "{replaced}");
        }
        for wrong in ["\\", "\\x", "\\u12", "\\ud834", "\\ud834\\u0041", "\\ud834\\n", "\\udd1e", "a\nb"] {
            assert_eq!(names().of_json(wrong), None, "{wrong:?}");
        }
    }
}
