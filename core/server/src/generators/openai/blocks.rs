//! The blocks of an answer, in order. Providers tell calls by an index, and some come back to an earlier one; a
//! block ends when a later one begins. So what belongs behind a call waits until its arguments are a whole JSON
//! object, or the answer ends. What waits is bounded (B1).

use std::collections::{HashSet, VecDeque};

use mainstem_machine::{Block, Episode};
use mainstem_runtime::ports::Generated;

use super::call::{CallBit, Calls, Gain};
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
    /// Names of calls that are in use.
    taken: HashSet<String>,
    calls: Calls,
    /// The open block, and those behind it.
    waiting: VecDeque<Waiting>,
    has_begun: bool,
}

impl Blocks {
    /// No call of this answer gets a name that is `taken`.
    pub(super) fn new(episode: Episode, taken: HashSet<String>) -> Self {
        Self { episode, taken, calls: Calls::default(), waiting: VecDeque::new(), has_begun: false }
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.waiting.iter().map(|block| block.text.len() + HELD_BLOCK_BYTES).sum()
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
                self.calls.end(at);
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
        Block::tool_call(&id, &call.name)
    }
}
