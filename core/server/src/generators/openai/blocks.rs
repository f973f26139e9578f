//! The blocks of an answer, in order. Providers tell calls by an index, and some come back to an earlier one; a
//! block ends when a later one begins. So what belongs behind a call waits until its arguments are a whole JSON
//! object, or the answer ends. What waits is bounded (B1).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use mainstem_machine::{Block, Episode};
use mainstem_runtime::ports::Generated;

use super::call::{CallBit, Calls, Gain};
use super::extra;
use crate::generators::fault::Fault;
use crate::limits::model::{CALLS_MAX, HELD_BLOCK_BYTES, HELD_BYTES_MAX};

/// A piece of what the model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bit {
    Text(String),
    Reasoning(String),
    Call(CallBit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    /// By its place among the calls.
    Call(usize),
}

#[derive(Debug)]
struct Waiting {
    kind: Kind,
    has_begun: bool,
    text: String,
}

#[derive(Debug)]
pub(super) struct Blocks {
    episode: Episode,
    model: Arc<str>,
    /// Names of calls that are in use.
    taken: BTreeSet<String>,
    calls: Calls,
    /// The open block, and those behind it.
    waiting: VecDeque<Waiting>,
    has_begun: bool,
    /// Of the call that is told.
    id: String,
}

impl Blocks {
    /// Of an answer of this model. No call of it gets a name that is `taken`.
    pub(super) fn new(episode: Episode, model: Arc<str>, taken: BTreeSet<String>) -> Self {
        Self {
            episode,
            model,
            taken,
            calls: Calls::default(),
            waiting: VecDeque::new(),
            has_begun: false,
            id: String::new(),
        }
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        let extra = |block: &Waiting| match block.kind {
            Kind::Call(at) => self.calls.at(at).extra.len(),
            Kind::Text | Kind::Reasoning => 0,
        };
        self.waiting.iter().map(|block| block.text.len() + extra(block) + HELD_BLOCK_BYTES).sum()
    }

    /// Takes what one event says, and adds the parts that can be told now.
    pub(super) fn take(&mut self, bits: Vec<Bit>, parts: &mut Vec<Generated>) -> Result<(), Fault> {
        for bit in bits {
            match bit {
                Bit::Text(text) => self.say(Kind::Text, &text),
                Bit::Reasoning(text) => self.say(Kind::Reasoning, &text),
                Bit::Call(bit) => self.call(bit)?,
            }
            self.tell(false, parts)?;
        }
        if self.held() > HELD_BYTES_MAX { Err(Fault::HeldTooMuch) } else { Ok(()) }
    }

    /// The answer is over: nothing waits any longer.
    pub(super) fn end(&mut self, parts: &mut Vec<Generated>) -> Result<(), Fault> {
        self.tell(true, parts)
    }

    fn say(&mut self, kind: Kind, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.waiting.back_mut().filter(|last| last.kind == kind) {
            Some(last) => last.text += text,
            None => self.waiting.push_back(Waiting { kind, has_begun: false, text: text.into() }),
        }
    }

    fn call(&mut self, bit: CallBit) -> Result<(), Fault> {
        let Gain { at, is_new, arguments } = self.calls.take(bit)?;
        let kind = Kind::Call(at);
        if is_new {
            self.waiting.push_back(Waiting { kind, has_begun: false, text: arguments });
        } else if !arguments.is_empty() {
            let block = self.waiting.iter_mut().find(|block| block.kind == kind);
            block.ok_or(Fault::Garbage)?.text += &arguments;
        }
        Ok(())
    }

    fn tell(&mut self, is_end: bool, parts: &mut Vec<Generated>) -> Result<(), Fault> {
        while let Some(front) = self.waiting.front_mut() {
            let kind = front.kind;
            if !front.has_begun {
                if let Kind::Call(at) = kind {
                    let call = self.calls.at(at);
                    if call.name.is_empty() {
                        // Nobody can say what was to be called.
                        return if is_end { Err(Fault::Garbage) } else { Ok(()) };
                    }
                    // Its name may still come.
                    let is_nameless = call.id.is_empty() && front.text.is_empty();
                    let is_doubtful = self.calls.may_repeat(at) && !call.is_over();
                    if !is_end && (is_nameless || is_doubtful) {
                        return Ok(());
                    }
                    if self.calls.repeats(at) {
                        self.waiting.pop_front();
                        self.calls.end(at);
                        continue;
                    }
                }
                front.has_begun = true;
                let text = std::mem::take(&mut front.text);
                // An answer begins with a text, for who knows no blocks, too.
                let begins = (kind != Kind::Text || self.has_begun).then(|| self.block(kind));
                self.has_begun = true;
                parts.push(Generated::Part { begins, text });
            } else if !front.text.is_empty() {
                parts.push(Generated::text(std::mem::take(&mut front.text)));
            }
            let is_over = match kind {
                Kind::Text | Kind::Reasoning => true,
                Kind::Call(at) => self.calls.at(at).is_over(),
            };
            if !is_end && (self.waiting.len() == 1 || !is_over) {
                return Ok(());
            }
            self.waiting.pop_front();
            if let Kind::Call(at) = kind {
                let extra = self.calls.end(at);
                let id = std::mem::take(&mut self.id);
                let part = extra::part(&self.model, &id, &extra);
                let whole = |text| Generated::Part { begins: Some(Block::Whole), text };
                parts.extend(part.map(whole));
            }
        }
        Ok(())
    }

    fn block(&mut self, kind: Kind) -> Block {
        let at = match kind {
            Kind::Text => return Block::Text,
            Kind::Reasoning => return Block::Reasoning,
            Kind::Call(at) => at,
        };
        let Episode { history_version, attempt } = self.episode;
        let call = self.calls.at(at);
        let mut id = call.id.clone();
        for more in 0.. {
            if !id.is_empty() && self.taken.insert(id.clone()) {
                break;
            }
            id = format!("call_{}_{attempt}_{}", history_version.0, at + more * CALLS_MAX);
        }
        let block = Block::tool_call(&id, &call.name);
        self.id = id;
        block
    }
}

#[cfg(test)]
mod tests {
    use mainstem_machine::Version;

    use super::*;

    const EPISODE: Episode = Episode { history_version: Version(3), attempt: 2 };

    fn call(index: u64, id: &str, name: &str, arguments: &str) -> Bit {
        let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
        Bit::Call(CallBit { index: Some(index), id, name, arguments, extra: String::new() })
    }

    fn text(text: &str) -> Bit {
        Bit::Text(text.into())
    }

    fn begins(id: &str, name: &str, text: &str) -> Generated {
        Generated::Part { begins: Some(Block::tool_call(id, name)), text: text.into() }
    }

    fn block(begins: Block, text: &str) -> Generated {
        Generated::Part { begins: Some(begins), text: text.into() }
    }

    /// What each bit lets be told, and the end.
    fn told(bits: impl IntoIterator<Item = Bit>) -> Vec<Vec<Generated>> {
        let mut blocks = Blocks::new(EPISODE, "m".into(), BTreeSet::from(["taken".to_owned()]));
        let mut all: Vec<Vec<Generated>> = vec![];
        for bit in bits {
            let mut parts = vec![];
            blocks.take(vec![bit], &mut parts).unwrap();
            all.push(parts);
        }
        let mut parts = vec![];
        blocks.end(&mut parts).unwrap();
        assert_eq!(blocks.held(), 0, "B2");
        all.push(parts);
        all
    }

    #[test]
    fn what_can_be_told_is_told_at_once() {
        let bits = [text("a"), text("b"), Bit::Reasoning("hm".into()), text("c"), text("")];
        let wanted = [
            vec![Generated::text("a")],
            vec![Generated::text("b")],
            vec![block(Block::Reasoning, "hm")],
            vec![block(Block::Text, "c")],
            vec![],
            vec![],
        ];
        assert_eq!(told(bits), wanted);
        let bits = [Bit::Reasoning("hm".into()), text("a")];
        assert_eq!(told(bits), [vec![block(Block::Reasoning, "hm")], vec![block(Block::Text, "a")], vec![]]);
    }

    #[test]
    fn what_is_behind_a_call_waits_until_it_is_whole() {
        let bits =
            [call(0, "a", "f", "{"), text("x"), call(1, "b", "g", "{}"), text("y"), call(0, "", "", "}")];
        let rest = vec![
            Generated::text("}"),
            block(Block::Text, "x"),
            begins("b", "g", "{}"),
            block(Block::Text, "y"),
        ];
        assert_eq!(told(bits), [vec![begins("a", "f", "{")], vec![], vec![], vec![], rest, vec![]]);
        // Or until the answer ends.
        let bits = [call(0, "a", "f", "{"), text("x"), text("y")];
        assert_eq!(told(bits), [vec![begins("a", "f", "{")], vec![], vec![], vec![block(Block::Text, "xy")]]);
    }

    #[test]
    fn a_call_is_told_once_it_is_known_what_is_called() {
        let bits = [call(0, "a", "", "{"), call(0, "", "f", ""), call(0, "", "", "}")];
        assert_eq!(told(bits), [vec![], vec![begins("a", "f", "{")], vec![Generated::text("}")], vec![]]);
        // An id may come until the first argument does.
        let bits = [call(0, "", "f", ""), call(0, "a", "", ""), call(0, "b", "", "{}")];
        assert_eq!(told(bits), [vec![], vec![begins("a", "f", "")], vec![Generated::text("{}")], vec![]]);
        let bits = [call(0, "", "f", "{"), call(0, "a", "", "}")];
        assert_eq!(told(bits), [vec![begins("call_3_2_0", "f", "{")], vec![Generated::text("}")], vec![]]);
        assert_eq!(told([call(0, "", "f", "")]), [vec![], vec![begins("call_3_2_0", "f", "")]]);
        let mut nameless = Blocks::new(EPISODE, "m".into(), BTreeSet::new());
        nameless.take(vec![call(0, "a", "", "{}")], &mut vec![]).unwrap();
        assert_eq!(nameless.end(&mut vec![]), Err(Fault::Garbage));
    }

    #[test]
    fn no_two_calls_have_one_id() {
        let bits = [
            call(0, "taken", "f", "{}"),
            call(1, "call_3_2_1", "f", "{}"),
            call(2, "a", "f", "{}"),
            call(3, "a", "g", "{}"),
            call(4, "call_3_2_5", "g", "{}"),
            call(5, "", "g", "{}"),
        ];
        let ids = [
            "call_3_2_0",
            "call_3_2_1",
            "a",
            "call_3_2_3",
            "call_3_2_5",
            &format!("call_3_2_{}", 5 + CALLS_MAX),
        ];
        let names = ["f", "f", "f", "g", "g", "g"];
        let mut wanted: Vec<_> =
            ids.iter().zip(names).map(|(id, name)| vec![begins(id, name, "{}")]).collect();
        wanted.push(vec![]);
        assert_eq!(told(bits), wanted);
        let bits = [call(0, "call_3_2_1", "f", "{}"), call(1, "call_3_2_1", "g", "{}")];
        let other = format!("call_3_2_{}", 1 + CALLS_MAX);
        assert_eq!(
            told(bits),
            [vec![begins("call_3_2_1", "f", "{}")], vec![begins(&other, "g", "{}")], vec![]]
        );
    }

    #[test]
    fn a_call_that_is_told_once_more_is_not_passed_on() {
        let bits = [
            call(0, "a", "f", "{\"n\":1}"),
            call(1, "a", "f", ""),
            text("x"),
            call(1, "", "", "{\"n\":"),
            call(1, "", "", "1}"),
            call(2, "a", "f", ""),
        ];
        let first = vec![begins("a", "f", "{\"n\":1}")];
        assert_eq!(
            told(bits),
            [first, vec![], vec![], vec![], vec![block(Block::Text, "x")], vec![], vec![]]
        );
        let bits = [call(0, "a", "f", "{}"), call(1, "a", "f", "{"), call(1, "", "", "\"n\":1}")];
        let other = vec![begins("call_3_2_1", "f", "{\"n\":1}")];
        assert_eq!(told(bits), [vec![begins("a", "f", "{}")], vec![], other, vec![]]);
    }

    #[test]
    fn what_waits_has_a_maximum() {
        let mut blocks = Blocks::new(EPISODE, "m".into(), BTreeSet::new());
        assert!(!blocks.has_calls());
        blocks.take(vec![call(0, "a", "f", "{")], &mut vec![]).unwrap();
        assert!(blocks.has_calls());
        assert_eq!(blocks.held(), HELD_BLOCK_BYTES);
        let most = HELD_BYTES_MAX - 2 * HELD_BLOCK_BYTES;
        blocks.take(vec![text(&"x".repeat(most))], &mut vec![]).unwrap();
        assert_eq!(blocks.held(), HELD_BYTES_MAX);
        assert_eq!(blocks.take(vec![text("x")], &mut vec![]), Err(Fault::HeldTooMuch), "B1");
    }

    #[test]
    fn what_a_provider_wants_back_is_told_behind_its_call() {
        let with = |bit: Bit, extra: &str| match bit {
            Bit::Call(bit) => Bit::Call(CallBit { extra: extra.into(), ..bit }),
            other => other,
        };
        let whole = |id: &str, extra: &str| {
            let data = format!(r#"{{"model":"m","tool_call_id":"{id}","extra_content":{extra}}}"#);
            block(
                Block::Whole,
                &format!(r#"{{"type":"data","name":"openai.tool_call_extra","data":{data}}}"#),
            )
        };
        let bits = [
            with(call(0, "taken", "f", "{"), r#"{"a":"x"}"#),
            with(call(0, "", "", "}"), r#"{"a":"y"}"#),
            call(1, "b", "g", "{}"),
            text("z"),
        ];
        let wanted = [
            vec![begins("call_3_2_0", "f", "{")],
            vec![Generated::text("}")],
            vec![whole("call_3_2_0", r#"{"a":"x"}"#), begins("b", "g", "{}")],
            vec![block(Block::Text, "z")],
            vec![],
        ];
        assert_eq!(told(bits), wanted);
        let bits = [with(call(0, "a", "f", "{}"), r#"{"a":"x"}"#)];
        assert_eq!(told(bits), [vec![begins("a", "f", "{}")], vec![whole("a", r#"{"a":"x"}"#)]]);
        let mut blocks = Blocks::new(EPISODE, "m".into(), BTreeSet::new());
        blocks.take(vec![with(call(0, "a", "f", "{"), "{}")], &mut vec![]).unwrap();
        assert_eq!(blocks.held(), HELD_BLOCK_BYTES + 2, "B1");
    }
}
