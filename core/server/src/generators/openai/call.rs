//! The calls of an answer: which of them a piece belongs to. Indexes are missing, the same for all, or two for one
//! call; names come once or in every event; ids come once, in every event, another in every event, one for all, or
//! never.

use serde_json::Value;

use crate::generators::fault::Fault;
use crate::limits::model::{CALL_NAME_BYTES_MAX, CALLS_MAX};

/// What one event says of a call. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallBit {
    pub(super) index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    /// JSON text of what the provider wants back with the call.
    pub(super) extra: String,
}

#[derive(Debug, Default)]
pub(super) struct Call {
    /// The one under which it was told last.
    index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    arguments: Arguments,
    pub(super) extra: String,
    /// Nothing of it can be told any more.
    pub(super) has_ended: bool,
    /// The call before it with this id and this name.
    like: Option<usize>,
}

impl Call {
    /// Whether it has all it can have.
    pub(super) fn is_over(&self) -> bool {
        self.arguments.is_over() || self.has_ended
    }
}

/// Those of one answer, each at the place at which it began.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

/// Where a piece belongs, and what it adds there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gain {
    pub(super) at: usize,
    pub(super) is_new: bool,
    pub(super) arguments: String,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The call at a place that was given.
    pub(super) fn at(&self, at: usize) -> &Call {
        &self.0[at]
    }

    /// Ends a call, and gives what the provider wants back with it.
    pub(super) fn end(&mut self, at: usize) -> String {
        self.0[at].has_ended = true;
        std::mem::take(&mut self.0[at].extra)
    }

    /// Takes what an event says of a call. What comes for one that is over is a fault, unless it is blank.
    pub(super) fn take(&mut self, bit: CallBit) -> Result<Gain, Fault> {
        if bit.id.len().max(bit.name.len()) > CALL_NAME_BYTES_MAX {
            return Err(Fault::Garbage);
        }
        let known = self.find(&bit);
        let at = match known {
            Some(at) => at,
            None if self.0.len() == CALLS_MAX => return Err(Fault::HeldTooMuch),
            None => {
                let is_like = |call: &Call| !bit.id.is_empty() && call.id == bit.id && call.name == bit.name;
                let like = self.0.iter().rposition(is_like);
                self.0.push(Call { like, ..Call::default() });
                self.0.len() - 1
            }
        };
        let CallBit { index, id, name, mut arguments, extra } = bit;
        let call = &mut self.0[at];
        call.index = index.or(call.index);
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        if call.extra.is_empty() {
            call.extra = extra;
        }
        if !call.is_over() {
            call.arguments.take(&arguments);
        } else if arguments.trim().is_empty() {
            arguments.clear();
        } else {
            return Err(Fault::Garbage);
        }
        Ok(Gain { at, is_new: known.is_none(), arguments })
    }

    /// Whether it may turn out to be one before it, told once more.
    pub(super) fn may_repeat(&self, at: usize) -> bool {
        self.0[at].like.is_some()
    }

    /// Whether it is one before it, told once more: with the same arguments, or none.
    pub(super) fn repeats(&self, at: usize) -> bool {
        let call = &self.0[at];
        call.like.is_some_and(|like| call.arguments.says_no_more_than(&self.0[like].arguments))
    }

    /// The call that is spoken of; `None` if it is a new one.
    fn find(&self, bit: &CallBit) -> Option<usize> {
        let has_index = |call: &Call| bit.index.is_none() || call.index.is_none() || call.index == bit.index;
        let has_name = !bit.name.is_empty();
        let last = |is_meant: &dyn Fn(&Call) -> bool| self.0.iter().rposition(is_meant);
        if !bit.id.is_empty() {
            let is_named = |call: &Call| !has_name || call.name.is_empty() || call.name == bit.name;
            let same = last(&|call| call.id == bit.id && has_index(call));
            let same = same.or_else(|| last(&|call| call.id == bit.id && is_named(call) && !call.is_over()));
            if same.is_some() {
                return same;
            }
        }
        let at = match bit.index {
            None => self.0.len().checked_sub(1)?,
            Some(_) => match last(&|call| call.index == bit.index) {
                Some(at) => at,
                // The rest of a call whose beginning had another index.
                None if bit.id.is_empty() && !has_name => return last(&|call| !call.is_over()),
                None => return None,
            },
        };
        let call = &self.0[at];
        let has_other_id = !bit.id.is_empty() && !call.id.is_empty();
        let has_other_name = has_name && !call.name.is_empty() && bit.name != call.name;
        let goes_on = call.arguments.are_cut() && !bit.arguments.is_empty() && !has_other_name;
        let is_new = has_other_id && (has_name || bit.index.is_none()) && !goes_on
            || has_name && call.arguments.is_over() && !bit.arguments.is_empty()
            || has_other_name && bit.index.is_none();
        (!is_new).then_some(at)
    }
}

/// Whether the arguments of a call are all there: a JSON object that has been closed.
#[derive(Debug, Default)]
struct Arguments {
    text: String,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    has_begun: bool,
    /// They are no object, so nobody knows where they end.
    is_other: bool,
}

impl Arguments {
    fn is_over(&self) -> bool {
        self.has_begun && !self.is_other && self.depth == 0
    }

    /// Whether they break off in the midst of an object.
    fn are_cut(&self) -> bool {
        self.has_begun && !self.is_other && self.depth > 0
    }

    fn says_no_more_than(&self, other: &Self) -> bool {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        self.text.trim().is_empty()
            || self.text == other.text
            || value(&self.text).is_some_and(|said| value(&other.text) == Some(said))
    }

    fn take(&mut self, text: &str) {
        self.text += text;
        for byte in text.bytes() {
            match byte {
                _ if self.is_other => return,
                _ if self.is_over() => self.is_other = !byte.is_ascii_whitespace(),
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' if self.has_begun => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' => {
                    self.has_begun = true;
                    self.depth += 1;
                }
                b'}' if self.has_begun => self.depth -= 1,
                _ => self.is_other = !self.has_begun && !byte.is_ascii_whitespace(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(index: impl Into<Option<u64>>, id: &str, name: &str, arguments: &str) -> CallBit {
        let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
        CallBit { index: index.into(), id, name, arguments, extra: String::new() }
    }

    /// Where each piece goes.
    fn places(bits: impl IntoIterator<Item = CallBit>) -> Vec<usize> {
        let mut calls = Calls::default();
        let mut next = 0;
        let mut place = |bit: CallBit| {
            let gain = calls.take(bit.clone()).unwrap_or_else(|fault| panic!("{bit:?}: {fault:?}"));
            assert_eq!(gain.is_new, gain.at == next, "{bit:?}");
            next = next.max(gain.at + 1);
            gain.at
        };
        bits.into_iter().map(&mut place).collect()
    }

    #[test]
    fn a_piece_goes_where_its_id_or_its_index_says() {
        for (bits, wanted) in [
            (
                vec![bit(0, "a", "f", "{"), bit(1, "b", "f", "{"), bit(0, "", "", "}"), bit(1, "", "", "}")],
                vec![0, 1, 0, 1],
            ),
            // The id counts more than what came last, with and without an index.
            (vec![bit(None, "a", "f", ""), bit(None, "b", "f", ""), bit(None, "a", "", "{}")], vec![0, 1, 0]),
            (vec![bit(0, "a", "f", ""), bit(None, "b", "f", ""), bit(0, "b", "", "{}")], vec![0, 1, 1]),
            (vec![bit(0, "a", "f", ""), bit(0, "b", "f", ""), bit(0, "a", "", "{}")], vec![0, 1, 0]),
            // Of one index, the last.
            (vec![bit(0, "a", "f", ""), bit(0, "b", "f", ""), bit(0, "", "", "{}")], vec![0, 1, 1]),
            // Names come late, or in every event.
            (vec![bit(0, "a", "", ""), bit(0, "", "f", "{"), bit(0, "", "f", "}")], vec![0, 0, 0]),
            (vec![bit(None, "", "f", "{"), bit(None, "", "f", "}")], vec![0, 0]),
            // Whole ones have nothing but names.
            (
                vec![bit(None, "", "f", "{}"), bit(None, "", "f", "{}"), bit(None, "", "g", "{}")],
                vec![0, 1, 2],
            ),
            (vec![bit(0, "", "f", "{}"), bit(0, "", "f", "{}"), bit(0, "", "f", "")], vec![0, 1, 1]),
            (vec![bit(None, "", "f", ""), bit(None, "", "g", "{}")], vec![0, 1]),
        ] {
            let shown = format!("{bits:?}");
            assert_eq!(places(bits), wanted, "{shown}");
        }
    }

    #[test]
    fn one_call_may_have_two_indexes_and_many_ids() {
        for (bits, wanted) in [
            (vec![bit(0, "a", "f", ""), bit(1, "a", "f", ""), bit(1, "", "", "{}")], vec![0, 0, 0]),
            (vec![bit(0, "a", "", ""), bit(1, "a", "f", "{}")], vec![0, 0]),
            (vec![bit(0, "a", "f", "{"), bit(1, "a", "", "}")], vec![0, 0]),
            (
                vec![bit(0, "a", "f", ""), bit(1, "b", "f", "{"), bit(7, "a", "", ""), bit(7, "", "", "{}")],
                vec![0, 1, 0, 0],
            ),
            (vec![bit(0, "a", "f", ""), bit(1, "a", "g", "")], vec![0, 1]),
            (vec![bit(0, "a", "f", "{}"), bit(1, "a", "f", "")], vec![0, 1]),
            (vec![bit(0, "a", "f", "{"), bit(0, "b", "f", "}"), bit(0, "c", "f", "")], vec![0, 0, 1]),
            (vec![bit(0, "a", "f", "{"), bit(0, "b", "g", "{}")], vec![0, 1]),
            (vec![bit(0, "a", "f", "{"), bit(0, "b", "f", "")], vec![0, 1]),
            (vec![bit(0, "a", "f", ""), bit(0, "b", "f", "{}")], vec![0, 1]),
            (vec![bit(0, "a", "f", "7"), bit(0, "b", "f", "7")], vec![0, 1]),
            (vec![bit(None, "a", "f", "{"), bit(None, "b", "", "}"), bit(None, "c", "", "")], vec![0, 0, 1]),
            // The rest is of what is open.
            (vec![bit(0, "a", "f", "{}"), bit(0, "b", "f", ""), bit(7, "", "", "{}")], vec![0, 1, 1]),
            (vec![bit(0, "a", "f", ""), bit(1, "b", "f", "{}"), bit(7, "", "", "{}")], vec![0, 1, 0]),
            (vec![bit(0, "a", "f", ""), bit(7, "", "g", "")], vec![0, 1]),
            (vec![bit(0, "a", "f", ""), bit(7, "b", "", "")], vec![0, 1]),
        ] {
            let shown = format!("{bits:?}");
            assert_eq!(places(bits), wanted, "{shown}");
        }
    }

    #[test]
    fn what_is_over_takes_nothing_but_blanks() {
        let mut calls = Calls::default();
        let gain = |at, is_new, arguments: &str| Ok(Gain { at, is_new, arguments: arguments.into() });
        assert_eq!(calls.take(bit(0, "a", "f", "{} ")), gain(0, true, "{} "));
        assert_eq!(calls.take(bit(0, "a", "", "\n")), gain(0, false, ""));
        assert_eq!(calls.take(bit(0, "a", "", "}")), Err(Fault::Garbage));
        assert_eq!(calls.take(bit(1, "b", "f", "")), gain(1, true, ""));
        calls.end(1);
        assert!(calls.at(1).is_over());
        assert_eq!(calls.take(bit(1, "b", "", "{}")), Err(Fault::Garbage));
    }

    #[test]
    fn a_repetition_has_the_same_arguments_or_none() {
        for (arguments, repeats) in [
            ("", true),
            (" ", true),
            (r#"{"n":1,"m":2}"#, true),
            (r#"{ "m": 2, "n": 1 }"#, true),
            (r#"{"n":1,"m":3}"#, false),
            (r#"{"n":1"#, false),
            ("7", false),
        ] {
            let mut calls = Calls::default();
            calls.take(bit(0, "a", "f", r#"{"n":1,"m":2}"#)).unwrap();
            calls.take(bit(1, "a", "f", arguments)).unwrap();
            assert!(calls.may_repeat(1) && !calls.may_repeat(0) && !calls.repeats(0));
            assert_eq!(calls.repeats(1), repeats, "{arguments:?}");
        }
        let mut calls = Calls::default();
        for (index, id, name) in [(0, "a", "f"), (1, "a", "g"), (2, "b", "f"), (3, "", "f"), (4, "", "f")] {
            calls.take(bit(index, id, name, "{}")).unwrap();
        }
        assert!((0..5).all(|at| !calls.may_repeat(at)), "these are others");
    }

    #[test]
    fn calls_and_their_names_have_a_maximum() {
        let long = "x".repeat(CALL_NAME_BYTES_MAX);
        let mut calls = Calls::default();
        assert!(calls.is_empty());
        assert!(calls.take(bit(0, &long, &long, "")).is_ok());
        assert!(!calls.is_empty());
        let longer = long + "x";
        for (id, name) in [("a", &*longer), (&*longer, "f")] {
            assert_eq!(calls.take(bit(1, id, name, "")), Err(Fault::Garbage), "B1");
        }
        for at in 1..CALLS_MAX {
            calls.take(bit(at as u64, &at.to_string(), "f", "")).unwrap();
        }
        assert_eq!(calls.take(bit(9999, "last", "f", "")), Err(Fault::HeldTooMuch), "B1");
    }

    #[test]
    fn arguments_are_over_when_their_object_is_closed() {
        for (text, is_over, are_cut) in [
            ("", false, false),
            (" ", false, false),
            ("{", false, true),
            ("{}", true, false),
            (" {} \n", true, false),
            ("{} x", false, false),
            ("{}{", false, false),
            (r#"{"a":{"b":1}"#, false, true),
            (r#"{"a":{"b":1}}"#, true, false),
            (r#"{"a":"}"#, false, true),
            (r#"{"a":"}"}"#, true, false),
            (r#"{"a":"\"}"#, false, true),
            (r#"{"a":"\"}"}"#, true, false),
            (r#"{"a":"\\"}"#, true, false),
            ("[{}]", false, false),
            ("7{}", false, false),
            ("}", false, false),
            (r#""{}"#, false, false),
        ] {
            let mut whole = Arguments::default();
            whole.take(text);
            assert_eq!((whole.is_over(), whole.are_cut()), (is_over, are_cut), "{text}");
            let mut pieces = Arguments::default();
            text.chars().for_each(|piece| pieces.take(&piece.to_string()));
            assert_eq!((pieces.is_over(), pieces.are_cut()), (is_over, are_cut), "{text}, in pieces");
        }
    }
}
