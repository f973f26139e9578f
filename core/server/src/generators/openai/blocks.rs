//! The blocks of an answer, in order. Providers tell calls by an index, and some come back to an earlier one; a
//! block ends when a later one begins. So what belongs behind a call waits until its arguments are a whole JSON
//! object, or the answer ends. What waits is bounded (B1).

use std::collections::{HashSet, VecDeque};

use mainstem_machine::{Block, Episode};
use mainstem_runtime::ports::Generated;

use crate::generators::fault::Fault;
use crate::limits::model::{CALL_NAME_BYTES_MAX, CALLS_MAX, HELD_BLOCK_BYTES, HELD_BYTES_MAX};

/// A piece of what the model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bit {
    Text(String),
    Reasoning(String),
    Call(CallBit),
}

/// What one event says of a call. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallBit {
    pub(super) index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
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

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: Arguments,
    has_ended: bool,
}

#[derive(Debug)]
pub(super) struct Blocks {
    episode: Episode,
    /// Names of calls that are in use.
    taken: HashSet<String>,
    calls: Vec<Call>,
    /// The open block, and those behind it.
    waiting: VecDeque<Waiting>,
    has_begun: bool,
}

impl Blocks {
    /// No call of this answer gets a name that is `taken`.
    pub(super) fn new(episode: Episode, taken: HashSet<String>) -> Self {
        Self { episode, taken, calls: vec![], waiting: VecDeque::new(), has_begun: false }
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
        if bit.id.len().max(bit.name.len()) > CALL_NAME_BYTES_MAX {
            return Err(Fault::Garbage);
        }
        let at = match self.find(&bit) {
            Some(at) => at,
            None if self.calls.len() == CALLS_MAX => return Err(Fault::HeldTooMuch),
            None => {
                let at = self.calls.len();
                self.calls.push(Call { index: bit.index, ..Call::default() });
                let kind = Kind::Call(at);
                self.waiting.push_back(Waiting { kind, has_begun: false, text: String::new() });
                at
            }
        };
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            call.id = bit.id;
        }
        if call.name.is_empty() {
            call.name = bit.name;
        }
        if call.arguments.is_over() || call.has_ended {
            // It has all it can have.
            return if bit.arguments.trim().is_empty() { Ok(()) } else { Err(Fault::Garbage) };
        }
        call.arguments.take(&bit.arguments);
        let block = self.waiting.iter_mut().find(|block| block.kind == Kind::Call(at));
        block.ok_or(Fault::Garbage)?.text += &bit.arguments;
        Ok(())
    }

    /// The call that is spoken of; `None` if it is a new one. Indexes are missing, or the same for all; names come
    /// once or in every event; ids come once, in every event, another in every event, or never.
    fn find(&self, bit: &CallBit) -> Option<usize> {
        let has_index = |call: &Call| bit.index.is_none() || call.index.is_none() || call.index == bit.index;
        if !bit.id.is_empty()
            && let Some(at) = self.calls.iter().rposition(|call| call.id == bit.id && has_index(call))
        {
            return Some(at);
        }
        let at = match bit.index {
            Some(_) => self.calls.iter().rposition(|call| call.index == bit.index)?,
            None => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[at];
        let has_name = !bit.name.is_empty();
        let has_other_id = !bit.id.is_empty() && !call.id.is_empty();
        let has_other_name = has_name && !call.name.is_empty() && bit.name != call.name;
        let is_new = has_other_id && (has_name || bit.index.is_none())
            || has_name && call.arguments.is_over() && !bit.arguments.is_empty()
            || has_other_name && bit.index.is_none();
        (!is_new).then_some(at)
    }

    fn tell(&mut self, is_end: bool, parts: &mut Vec<Generated>) -> Result<(), Fault> {
        while let Some(front) = self.waiting.front_mut() {
            let kind = front.kind;
            if !front.has_begun {
                let call = match kind {
                    Kind::Call(at) => Some(&self.calls[at]),
                    Kind::Text | Kind::Reasoning => None,
                };
                if call.is_some_and(|call| call.name.is_empty()) {
                    // Nobody can say what was to be called.
                    return if is_end { Err(Fault::Garbage) } else { Ok(()) };
                }
                // Its name may still come.
                if !is_end && call.is_some_and(|call| call.id.is_empty()) && front.text.is_empty() {
                    return Ok(());
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
                Kind::Call(at) => self.calls[at].arguments.is_over(),
            };
            if !is_end && (self.waiting.len() == 1 || !is_over) {
                return Ok(());
            }
            self.waiting.pop_front();
            if let Kind::Call(at) = kind {
                self.calls[at].has_ended = true;
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
        let call = &self.calls[at];
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

/// Whether the arguments of a call are all there: a JSON object that has been closed.
#[derive(Debug, Default)]
struct Arguments {
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

    fn take(&mut self, text: &str) {
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
