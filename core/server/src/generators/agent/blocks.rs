//! The blocks of an agent's run, in order. An agent may have many messages and calls open at once; a block ends when a
//! later one begins. So what belongs behind an open block waits until that is over. What waits is bounded (B1): where it
//! grows too large, an open text is parted, and goes on in a block behind what waited.

use std::collections::VecDeque;

use mainstem_machine::Block;
use mainstem_runtime::ports::Generated;

use crate::generators::fault::Fault;
use crate::limits::model::{HELD_BLOCK_BYTES, HELD_BYTES_MAX};

/// A block's place among all of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

#[derive(Debug)]
struct Waiting {
    block: Block,
    text: String,
    has_begun: bool,
    is_over: bool,
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The open block, and those behind it.
    waiting: VecDeque<Waiting>,
    /// The place of the first of them.
    first: u64,
    has_begun: bool,
}

impl Blocks {
    /// A block behind all others.
    pub(super) fn open(&mut self, block: Block) -> Place {
        self.waiting.push_back(Waiting { block, text: String::new(), has_begun: false, is_over: false });
        Place(self.first + self.waiting.len() as u64 - 1)
    }

    /// One that is told as a whole.
    pub(super) fn whole(&mut self, json: String) {
        self.waiting.push_back(Waiting { block: Block::Whole, text: json, has_begun: false, is_over: true });
    }

    /// More of a block, unless that is over.
    pub(super) fn add(&mut self, place: Place, text: &str) -> bool {
        let open = self.at(place).filter(|waiting| !waiting.is_over);
        open.map(|waiting| waiting.text += text).is_some()
    }

    pub(super) fn close(&mut self, place: Place) {
        if let Some(waiting) = self.at(place) {
            waiting.is_over = true;
        }
    }

    /// Nothing is open any longer.
    pub(super) fn close_all(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.is_over = true);
    }

    fn at(&mut self, Place(place): Place) -> Option<&mut Waiting> {
        self.waiting.get_mut(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.text.len() + HELD_BLOCK_BYTES).sum()
    }

    /// Adds the parts that can be told now.
    pub(super) fn tell(&mut self, parts: &mut Vec<Generated>) -> Result<(), Fault> {
        self.tell_front(parts);
        while self.held() > HELD_BYTES_MAX {
            let front = self.waiting.front_mut().ok_or(Fault::HeldTooMuch)?;
            if !matches!(front.block, Block::Text | Block::Reasoning) {
                return Err(Fault::HeldTooMuch);
            }
            front.is_over = true;
            self.tell_front(parts);
        }
        Ok(())
    }

    fn tell_front(&mut self, parts: &mut Vec<Generated>) {
        while let Some(front) = self.waiting.front_mut() {
            if !front.has_begun {
                front.has_begun = true;
                // An answer begins with a text, for who knows no blocks, too.
                let begins = Some(&front.block).filter(|block| **block != Block::Text || self.has_begun);
                self.has_begun = true;
                parts
                    .push(Generated::Part { begins: begins.cloned(), text: std::mem::take(&mut front.text) });
            } else if !front.text.is_empty() {
                parts.push(Generated::text(std::mem::take(&mut front.text)));
            }
            if !front.is_over {
                return;
            }
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(blocks: &mut Blocks) -> Vec<Generated> {
        let mut parts = vec![];
        blocks.tell(&mut parts).unwrap();
        parts
    }

    #[test]
    fn a_block_waits_for_the_one_before_it() {
        let mut blocks = Blocks::default();
        let text = blocks.open(Block::Text);
        assert!(blocks.add(text, "a"));
        let thought = blocks.open(Block::Reasoning);
        assert!(blocks.add(thought, "b"));
        assert_eq!(told(&mut blocks), [Generated::text("a")]);
        assert!(blocks.add(thought, "c") && blocks.add(text, "d"));
        assert_eq!(told(&mut blocks), [Generated::text("d")]);
        blocks.close(text);
        let begins = Some(Block::Reasoning);
        assert_eq!(told(&mut blocks), [Generated::Part { begins, text: "bc".into() }]);
        assert!(!blocks.add(text, "late"), "S2: a block that has ended is not added to");
    }

    #[test]
    fn where_too_much_waits_an_open_text_is_parted_and_an_open_call_fails() {
        let large = "x".repeat(HELD_BYTES_MAX);
        for (block, is_parted) in [(Block::Text, true), (Block::tool_call("c", "f"), false)] {
            let mut blocks = Blocks::default();
            let front = blocks.open(block);
            blocks.add(front, "{");
            assert_eq!(told(&mut blocks).len(), 1);
            let behind = blocks.open(Block::Text);
            blocks.add(behind, &large);
            let mut parts = vec![];
            let told = blocks.tell(&mut parts);
            assert_eq!(told, if is_parted { Ok(()) } else { Err(Fault::HeldTooMuch) }, "B1");
            assert_eq!(parts.len(), usize::from(is_parted));
            assert_eq!(blocks.add(front, "more"), !is_parted);
        }
    }
}
