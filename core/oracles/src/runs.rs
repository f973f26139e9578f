//! The runs of the models, and the parts that they generated.

use std::collections::BTreeMap;

use mainstem_machine::limits::WHOLE_PART_BYTES_MAX;
use mainstem_machine::{Block, ChatId, Content, Episode, Lease, ReplicaId, Seq, Time};

use crate::shared::Shared;
use crate::{Blocks, RunEnd, RunId};

/// The largest part, in bytes. Longer text becomes several parts.
const PART_BYTES_MAX: usize = 64 * 1024;

/// One run of a model.
#[derive(Clone, Debug)]
pub struct Run {
    pub chat: ChatId,
    pub episode: Episode,
    pub replica: ReplicaId,
    /// The lease under which the attempt began.
    pub(crate) lease: Option<Lease>,
    /// The committed moment of the chat at which the attempt began.
    pub(crate) beginning: Option<usize>,
    pub ended: Option<RunEnd>,
    /// The life of the replica during which it ran.
    pub(crate) life: u64,
    text: String,
    /// In order.
    parts: Vec<Said>,
}

/// A part as it was received.
#[derive(Clone, Debug)]
struct Said {
    at: Time,
    begins: Option<Block>,
    /// Where it ends in the text of all.
    end: usize,
    /// The place of its block.
    place: usize,
}

impl Run {
    pub(crate) fn new(chat: ChatId, episode: Episode, replica: ReplicaId) -> Self {
        let (text, parts) = (String::new(), vec![]);
        Self { chat, episode, replica, lease: None, beginning: None, ended: None, life: 0, text, parts }
    }

    pub(crate) fn say(&mut self, at: Time, begins: Option<&Block>, text: &str) {
        if *begins.unwrap_or(&Block::Text) == Block::Whole {
            return self.push(at, begins.cloned(), text);
        }
        let mut begins = begins.cloned();
        let mut rest = text;
        while !rest.is_empty() || matches!(begins, Some(Block::ToolCall(_))) {
            let (part, after) = rest.split_at(rest.floor_char_boundary(PART_BYTES_MAX));
            self.push(at, begins.take(), part);
            rest = after;
        }
    }

    fn push(&mut self, at: Time, begins: Option<Block>, text: &str) {
        self.text.push_str(text);
        let before = self.parts.last();
        let goes_on = before.is_some_and(|before| self.block_at(before.place) != Some(&Block::Whole));
        let begins = begins.or_else(|| (!goes_on).then_some(Block::Text));
        let place = before.map_or(0, |before| before.place + usize::from(begins.is_some()));
        self.parts.push(Said { at, begins, end: self.text.len(), place });
    }

    /// The blocks of the first parts, up to this one.
    pub fn blocks(&self, last: Seq) -> Blocks {
        let mut blocks = Blocks::default();
        let mut start = 0;
        for part in self.parts.iter().take(usize::try_from(last.0).unwrap_or(usize::MAX)) {
            blocks.add(part.begins.as_ref(), &self.text[start..part.end]);
            start = part.end;
        }
        blocks
    }

    fn block_at(&self, place: usize) -> Option<&Block> {
        self.parts.iter().rev().find_map(|part| part.begins.as_ref().filter(|_| part.place == place))
    }

    /// The place and the kind of the block that these parts are of, if they are of one.
    pub fn block_of(&self, first: Seq, last: Seq) -> Option<(usize, &Block)> {
        let place = |seq: Seq| Some(self.part(seq)?.place);
        let place = place(first).filter(|first| place(last) == Some(*first))?;
        Some((place, self.block_at(place)?))
    }

    fn part(&self, seq: Seq) -> Option<&Said> {
        self.parts.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }

    /// Whether it is more than an answer may be. What counts are its texts, the names of its calls, and something for each
    /// block but one; what is whole has a bound of its own.
    pub(crate) fn is_too_large(&self, bytes_max: usize) -> bool {
        let blocks = self.parts.iter().filter_map(|part| part.begins.as_ref());
        let heads: usize = blocks.map(Block::bytes).sum();
        let is_whole = |part: &Said| part.begins == Some(Block::Whole);
        let starts = [0].into_iter().chain(self.parts.iter().map(|part| part.end));
        let mut parts = self.parts.iter().zip(starts);
        self.text.len() + heads.saturating_sub(Block::Text.bytes()) > bytes_max
            || parts.any(|(part, start)| is_whole(part) && part.end - start > WHOLE_PART_BYTES_MAX)
    }

    /// The texts of all parts, joined.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many parts were generated.
    pub fn last(&self) -> Seq {
        Seq(self.parts.len() as u64)
    }

    /// The text of a range of parts.
    pub fn slice(&self, first: Seq, last: Seq) -> Option<&str> {
        let start = if first.0 <= 1 { 0 } else { self.end_of(Seq(first.0 - 1))? };
        self.text.get(start..self.end_of(last)?)
    }

    fn end_of(&self, seq: Seq) -> Option<usize> {
        Some(self.part(seq)?.end)
    }

    pub(crate) fn said_at(&self, seq: Seq) -> Option<Time> {
        Some(self.part(seq)?.at)
    }

    /// Whether a content is the first parts of what was cut short, and how many.
    pub(crate) fn cut_in(&self, content: &Content) -> Option<Seq> {
        let (bytes, count) = Blocks::size_of_cut(content)?;
        let from = self.parts.partition_point(|part| part.end < bytes);
        let mut ends = self.parts[from..].iter().take_while(|part| part.end == bytes).zip(from as u64 + 1..);
        let (_, last) = ends.find(|(part, _)| part.place + 1 == count)?;
        Some(Seq(last)).filter(|last| self.blocks(*last).are_kept_in(content, true))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    all: BTreeMap<RunId, Shared<Run>>,
    /// The first run of each episode.
    by_episode: BTreeMap<(ChatId, Episode), RunId>,
}

impl Runs {
    pub(crate) fn start(&mut self, id: RunId, run: Run) {
        self.by_episode.entry((run.chat, run.episode)).or_insert(id);
        self.all.insert(id, run.into());
    }

    pub(crate) fn run(&self, id: RunId) -> Option<&Run> {
        self.all.get(&id).map(|run| &**run)
    }

    pub(crate) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.all.get_mut(&id).map(|run| &mut **run)
    }

    pub(crate) fn first(&self, chat: ChatId, episode: Episode) -> Option<RunId> {
        self.by_episode.get(&(chat, episode)).copied()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Run> {
        self.all.values().map(|run| &**run)
    }

    pub(crate) fn any(&self, episode: Episode) -> Option<&Run> {
        self.all.values().map(|run| &**run).find(|run| run.episode == episode)
    }

    pub(crate) fn of(&self, chat: ChatId, episode: Episode) -> Option<&Run> {
        self.run(self.first(chat, episode)?)
    }
}
