//! The runs of the models, and the parts that they generated.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, Episode, Lease, ReplicaId, Seq, Time};

use crate::shared::Shared;
use crate::{RunEnd, RunId};

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
    /// The end of each part in the text, and when it was received.
    parts: Vec<(usize, Time)>,
}

impl Run {
    pub(crate) fn new(chat: ChatId, episode: Episode, replica: ReplicaId) -> Self {
        let (text, parts) = (String::new(), vec![]);
        Self { chat, episode, replica, lease: None, beginning: None, ended: None, life: 0, text, parts }
    }

    pub(crate) fn say(&mut self, at: Time, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(PART_BYTES_MAX));
            self.text.push_str(part);
            self.parts.push((self.text.len(), at));
            rest = after;
        }
    }

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
        let index = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.parts.get(index).map(|(end, _)| *end)
    }

    pub(crate) fn said_at(&self, seq: Seq) -> Option<Time> {
        let index = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.parts.get(index).map(|(_, at)| *at)
    }

    /// Whether this many bytes consist of whole parts.
    pub(crate) fn ends_a_part(&self, bytes: usize) -> bool {
        bytes == 0 || self.parts.binary_search_by_key(&bytes, |(end, _)| *end).is_ok()
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
