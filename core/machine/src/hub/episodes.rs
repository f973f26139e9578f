//! The parts of the episodes that this replica generates or relays: bounded, contiguous from part 1, and kept
//! for a while after the outcome of the commit is known.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::action::{Deadline, Reason};
use super::joined_parts::JoinedParts;
use crate::limits::{
    BLOCK_BYTES_MIN, EPISODE_RETENTION, EPISODES_BYTES_MAX, EPISODES_MAX, JOINED_PART_BYTES_MAX,
};
use crate::marks::sometimes;
use crate::{Block, Episode, Lease, Part, RelayPosition, Seq, Time};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Episodes {
    /// In the order in which they began.
    list: Vec<Buffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// Generated here.
    Local,
    Relayed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Open,
    /// Nothing can be added; the outcome of the commit is not known.
    Sealed,
    /// The outcome is known.
    Settled {
        at: Time,
    },
}

/// The parts of one episode, joined, with the offset at which each ends, and the blocks that they are of.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Buffer {
    pub(super) episode: Episode,
    pub(super) lease: Lease,
    pub(super) source: Source,
    phase: Phase,
    text: String,
    ends: Vec<u32>,
    blocks: Vec<Begun>,
    /// Of all blocks, without their texts.
    heads_bytes: usize,
}

/// A block, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Begun {
    block: Block,
    first: Seq,
}

impl Buffer {
    fn new(episode: Episode, lease: Lease, source: Source) -> Self {
        let (text, ends, blocks) = (String::new(), Vec::new(), Vec::new());
        Self { episode, lease, source, phase: Phase::Open, text, ends, blocks, heads_bytes: 0 }
    }

    /// The last part.
    pub(super) fn last(&self) -> Seq {
        Seq(self.ends.len() as u64)
    }

    /// What counts against the bound of an answer (B1).
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.heads_bytes
    }

    /// What it would have with this part.
    pub(super) fn bytes_with(&self, begins: Option<&Block>, text: &str) -> usize {
        self.bytes() + text.len() + begins.map_or(0, |block| self.head_bytes(block))
    }

    /// An answer of one text has the bytes of the text.
    fn head_bytes(&self, block: &Block) -> usize {
        block.bytes() - if self.blocks.is_empty() { BLOCK_BYTES_MIN } else { 0 }
    }

    /// The blocks, each with its text.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&Block, &str)> {
        self.blocks.iter().enumerate().map(|(place, begun)| {
            let end = self.start_of(self.end_of_block(place).next());
            (&begun.block, &self.text[self.start_of(begun.first)..end])
        })
    }

    /// The place of the block that this part is of. Most viewers are in the last one.
    fn place_of(&self, seq: Seq) -> usize {
        match self.blocks.last() {
            Some(begun) if begun.first <= seq => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|begun| begun.first <= seq) - 1,
        }
    }

    /// The last part that ends within so many bytes of text; 0 if none does. For most viewers all do.
    fn last_within(&self, bytes: usize) -> Seq {
        if self.text.len() <= bytes {
            return self.last();
        }
        Seq(self.ends.partition_point(|end| *end as usize <= bytes) as u64)
    }

    /// The last part of the block at this place.
    fn end_of_block(&self, place: usize) -> Seq {
        self.blocks.get(place + 1).map_or(self.last(), |next| Seq(next.first.0 - 1))
    }

    /// The block that a part begins which is added now, if it begins any.
    pub(super) fn begins(&self, said: Option<Block>) -> Option<Block> {
        let goes_on = self.blocks.last().is_some_and(|begun| begun.block.is_streamed());
        said.or_else(|| (!goes_on).then_some(Block::Text))
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Settled { .. })
    }

    fn start_of(&self, seq: Seq) -> usize {
        match seq.0 {
            0 | 1 => 0,
            n => self.ends[n as usize - 2] as usize,
        }
    }

    fn end_of(&self, seq: Seq) -> usize {
        self.ends[seq.0 as usize - 1] as usize
    }

    fn push(&mut self, begins: Option<Block>, text: &str) {
        assert_eq!(self.phase, Phase::Open, "S4: nothing is added to an episode that was closed");
        let says = begins.as_ref().is_some_and(|block| block.takes(text)) || !text.is_empty();
        assert!(says, "S2: no part is empty, unless it begins what may be empty");
        let goes_on = self.blocks.last().is_some_and(|begun| begun.block.is_streamed());
        assert!(goes_on || begins.is_some(), "S2: a part is of a block, and a whole one has one part");
        if let Some(block) = begins {
            self.heads_bytes += self.head_bytes(&block);
            self.blocks.push(Begun { block, first: self.last().next() });
        }
        self.text.push_str(text);
        self.ends.push(u32::try_from(self.text.len()).expect("B1: an episode's text is bounded"));
    }

    /// The parts after `after`, joined as far as they are of one block and fit one event.
    #[inline]
    pub(super) fn joined_after(&self, after: Seq, joined: &mut JoinedParts) -> Option<Joined> {
        if after >= self.last() {
            return None;
        }
        let first = after.next();
        let start = self.start_of(first);
        let place = self.place_of(first);
        let last = self.last_within(start + JOINED_PART_BYTES_MAX).max(first).min(self.end_of_block(place));
        let text = joined.share(&self.text.as_bytes()[start..self.end_of(last)]);
        Some(Joined { last, place: place as u32, block: self.blocks[place].block.clone(), text })
    }

    /// The parts after `after`, each by itself, up to a bound of number and bytes.
    pub(super) fn parts_after(&self, after: Seq, parts_max: usize, bytes_max: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        if after >= self.last() {
            return parts;
        }
        let start = self.start_of(after.next());
        let (from, to) = (after.0 as usize, self.ends.len().min(after.0 as usize + parts_max));
        let fits = self.ends[from..to].partition_point(|end| *end as usize <= start + bytes_max).max(1);
        let ends = &self.ends[from..from + fits];
        let all = Bytes::copy_from_slice(&self.text.as_bytes()[start..ends[fits - 1] as usize]);
        let mut blocks = &self.blocks[self.blocks.partition_point(|begun| begun.first <= after)..];
        let mut begin = 0;
        for (end, seq) in ends.iter().zip(after.0 + 1..) {
            let end = *end as usize - start;
            let begins = match blocks {
                [begun, rest @ ..] if begun.first == Seq(seq) => {
                    blocks = rest;
                    Some(begun.block.clone())
                }
                _ => None,
            };
            parts.push(Part { begins, text: all.slice(begin..end) });
            begin = end;
        }
        parts
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { episode, lease, source, phase, .. } = self;
        write!(f, "{episode:?}/{lease:?} {source:?} {phase:?} 1..={}", self.last())
    }
}

/// Parts as one event tells them.
pub(super) struct Joined {
    pub(super) last: Seq,
    pub(super) place: u32,
    pub(super) block: Block,
    pub(super) text: Bytes,
}

/// Why relayed parts were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Gap {
    /// Parts before these are missing, or the episode was never opened.
    Missing,
    /// More than an episode may hold, or no text.
    Nonsense,
}

impl Episodes {
    pub(super) fn find(&self, episode: Episode) -> Option<&Buffer> {
        self.list.iter().rev().find(|buffer| buffer.episode == episode)
    }

    pub(super) fn find_mut(&mut self, episode: Episode) -> Option<&mut Buffer> {
        self.list.iter_mut().rev().find(|buffer| buffer.episode == episode)
    }

    /// The newest episode generated here.
    pub(super) fn newest_local(&self) -> Option<&Buffer> {
        self.list.iter().rev().find(|buffer| buffer.source == Source::Local)
    }

    /// The first episode generated here that began after `episode`.
    pub(super) fn local_after(&self, episode: Episode) -> Option<&Buffer> {
        self.list.iter().find(|buffer| buffer.source == Source::Local && buffer.episode > episode)
    }

    /// The position from which a dial under `lease` asks to continue.
    pub(super) fn position(&self, lease: Lease) -> Option<RelayPosition> {
        let held = |buffer: &&Buffer| buffer.source == Source::Relayed && buffer.lease == lease;
        let newest = self.list.iter().rev().find(held)?;
        Some(RelayPosition { episode: newest.episode, seq: newest.last() })
    }

    /// Begins an episode. One with the same id is replaced: it cannot be the live one.
    pub(super) fn open(&mut self, now: Time, episode: Episode, lease: Lease, source: Source) {
        self.list.retain(|buffer| buffer.episode != episode);
        let at = self.list.partition_point(|buffer| buffer.episode < episode);
        for older in &mut self.list[..at] {
            // However the older episode ended, nothing is added to it any more.
            if older.source == Source::Relayed && !older.is_settled() {
                older.phase = Phase::Settled { at: now };
            }
        }
        self.list.insert(at, Buffer::new(episode, lease, source));
        self.evict(episode);
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.list.iter().map(Buffer::bytes).sum()
    }

    /// Drops the oldest episodes while there are too many, or too much text, but never `keep` (B1).
    fn evict(&mut self, keep: Episode) {
        while self.list.len() > EPISODES_MAX || self.bytes() > EPISODES_BYTES_MAX {
            let evicted = |buffer: &Buffer| buffer.episode != keep;
            match self.list.iter().position(evicted) {
                Some(at) => drop(self.list.remove(at)),
                None => return,
            }
        }
    }

    pub(super) fn push(&mut self, episode: Episode, begins: Option<Block>, text: &str) -> Option<Seq> {
        let buffer = self.find_mut(episode).filter(|buffer| buffer.is_open())?;
        buffer.push(begins, text);
        let last = buffer.last();
        self.evict(episode);
        Some(last)
    }

    /// Takes relayed parts. Those that are held already are skipped (R23).
    pub(super) fn push_relayed(
        &mut self,
        episode: Episode,
        first: Seq,
        parts: &[Part],
        bytes_max: usize,
    ) -> Result<bool, Gap> {
        let Some(buffer) = self.find_mut(episode).filter(|buffer| buffer.source == Source::Relayed) else {
            return Err(Gap::Missing);
        };
        if first.0 == 0 || first > buffer.last().next() {
            return Err(Gap::Missing);
        }
        let repeated = (buffer.last().0 + 1 - first.0) as usize;
        if repeated != 0 {
            sometimes!("a relay repeats parts");
        }
        let mut grew = false;
        for part in parts.iter().skip(repeated) {
            let text = core::str::from_utf8(&part.text).map_err(|_| Gap::Nonsense)?;
            let begins = buffer.begins(part.begins.clone());
            let says = begins.as_ref().map_or(!text.is_empty(), |block| block.takes(text));
            let bytes = buffer.bytes_with(begins.as_ref(), text);
            if !buffer.is_open() || !says || bytes > bytes_max {
                return Err(Gap::Nonsense);
            }
            buffer.push(begins, text);
            grew = true;
        }
        if grew {
            self.evict(episode);
        }
        Ok(grew)
    }

    pub(super) fn seal(&mut self, episode: Episode) {
        if let Some(buffer) = self.find_mut(episode).filter(|buffer| buffer.is_open()) {
            buffer.phase = Phase::Sealed;
        }
    }

    pub(super) fn settle_outcome(&mut self, now: Time, episode: Episode) -> bool {
        match self.find_mut(episode).filter(|buffer| !buffer.is_settled()) {
            Some(buffer) => {
                buffer.phase = Phase::Settled { at: now };
                true
            }
            None => false,
        }
    }

    /// Settles every relayed episode except `live`: their ends are in the database.
    pub(super) fn settle_all_but(&mut self, now: Time, live: Option<Episode>, present: Episode) {
        for buffer in &mut self.list {
            let over = buffer.episode < present || (buffer.episode == present && live != Some(present));
            if over && buffer.source == Source::Relayed && !buffer.is_settled() {
                buffer.phase = Phase::Settled { at: now };
            }
        }
    }

    /// Drops what was generated here under a lease that was lost: it must not be sent to anybody (S5).
    pub(super) fn drop_local(&mut self, lease: Lease) {
        self.list.retain(|buffer| buffer.source != Source::Local || buffer.lease != lease);
    }

    pub(super) fn drop_episode(&mut self, episode: Episode) {
        self.list.retain(|buffer| buffer.episode != episode);
    }

    pub(super) fn drop_expired(&mut self, now: Time) {
        self.list.retain(|buffer| match buffer.phase {
            Phase::Settled { at } => at + EPISODE_RETENTION > now,
            Phase::Open | Phase::Sealed => true,
        });
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let settled = self.list.iter().filter_map(|buffer| match buffer.phase {
            Phase::Settled { at } => Some(at + EPISODE_RETENTION),
            Phase::Open | Phase::Sealed => None,
        });
        settled.min().map(|at| Deadline { at, reason: Reason::EpisodeRetention })
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.list.len() <= EPISODES_MAX, "B1: episodes are bounded");
        // A single episode is bounded by the maximum size of an answer.
        assert!(self.list.len() <= 1 || self.bytes() <= EPISODES_BYTES_MAX, "B1: their text is bounded");
        assert!(self.list.is_sorted_by(|a, b| a.episode < b.episode), "episodes are kept in their order");
        for buffer in &self.list {
            assert!(buffer.ends.is_sorted(), "S2: parts stand in their order");
            let begins = |begun: &Begun| begun.first;
            assert!(buffer.blocks.is_sorted_by(|a, b| begins(a) < begins(b)), "S2: each block has a part");
            assert_eq!(buffer.blocks.first().map_or(Seq(1), begins), Seq(1), "S2: each part is of a block");
            assert_eq!(buffer.ends.last().map_or(0, |end| *end as usize), buffer.text.len());
        }
    }
}

#[cfg(test)]
mod tests;
