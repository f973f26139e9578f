//! Events of a turn as events of a response. A pure function: what it remembers is where it is in the answer.
//!
//! An item is done once it is in the history. Until then it may become void: then its end says that it is incomplete, and the next
//! attempt has items of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{Block, Episode, Message, MessageId};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::turn::{End, Marked, TurnEvent};
use super::event::{self, Delta, Numbered};
use super::ids::{Origin, ResponseId};
use super::item::{self, ClientTools, Item, Kind, items_of};
use super::number::{self, BEGINS, ENDS, Generation};
use super::part::{Arguments, NO_INPUT, Outcome, calls_of, outcomes_of};

/// Items of another attempt are that many places further: no client takes two items at one place.
const PLACES_OF_ATTEMPT: u64 = 1000;

/// What is to be said.
#[derive(Debug)]
pub(super) enum Said {
    Event(&'static str, Box<RawValue>),
    /// The response, with the items that are in the history up to this message.
    Standing {
        kind: &'static str,
        number: u64,
        status: &'static str,
        up_to: MessageId,
    },
    /// The response, as it ended.
    Ended,
    /// It ended, and is in the history no more.
    Gone,
}

/// What has to happen behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Finish,
    /// The connection is cut, which is no end: the client comes back and is told the rest.
    Cut,
}

/// A block that was told of.
#[derive(Debug)]
struct Told {
    place: u32,
    kind: Kind,
    id: String,
    index: u64,
    /// Where its numbers begin.
    begins: u64,
    /// The bytes of text that were told.
    bytes: u64,
    /// Of a call: its arguments as they come, with its name and the tool's.
    call: Option<(Arguments, Arc<str>, Arc<str>)>,
}

/// An answer that is being told.
#[derive(Debug)]
struct Step {
    origin: Origin,
    generation: Generation,
    blocks: Vec<Told>,
    /// The place of its first item.
    first: u64,
}

/// A call of the server's, whose item is told to its end when its result comes.
#[derive(Debug)]
struct Awaited {
    item: Item,
    index: u64,
}

#[derive(Debug)]
pub(super) struct Telling {
    id: ResponseId,
    tools: ClientTools,
    /// The number of the last event that the client has.
    after: Option<u64>,
    /// The generation that this is of, until it is known whether it still stands.
    resumes: Option<Generation>,
    /// Whether what the client has is to be said to be void.
    owes_reset: bool,
    /// How many items are before the present answer.
    items: u64,
    /// How many attempts of answers before came to nothing.
    lost: u64,
    step: Option<Step>,
    committed: Option<Arc<Message>>,
    awaited: BTreeMap<String, Awaited>,
    /// Calls that the client is to carry out.
    asked: Vec<String>,
    /// Where the numbers of what follows the last answer begin.
    behind: Option<(Generation, u64)>,
    up_to: MessageId,
    begun: bool,
    out: Vec<Said>,
}

impl Telling {
    pub(super) fn new(id: ResponseId, tools: ClientTools, after: Option<u64>) -> Self {
        Self {
            id,
            tools,
            after,
            resumes: after.and_then(Generation::of_number),
            owes_reset: false,
            items: 0,
            lost: 0,
            step: None,
            committed: None,
            awaited: BTreeMap::new(),
            asked: vec![],
            behind: None,
            up_to: MessageId(0),
            begun: false,
            out: vec![],
        }
    }

    /// What comes before all of a response that waits, or runs.
    pub(super) fn begin(&mut self, waits: bool) -> Vec<Said> {
        let status = if waits { "queued" } else { "in_progress" };
        self.standing("response.created", number::CREATED, status);
        if waits {
            self.standing("response.queued", number::QUEUED, status);
        } else {
            self.begins();
        }
        std::mem::take(&mut self.out)
    }

    pub(super) fn tell(&mut self, marked: Marked) -> (Vec<Said>, Then) {
        let then = match marked.event {
            TurnEvent::Begins => {
                self.begins();
                Then::GoOn
            }
            TurnEvent::Piece { place, block, text } => {
                // What an answer has beyond what was told is told when all of it is known.
                if self.committed.is_none() {
                    let text = std::str::from_utf8(&text).expect("the text of parts is UTF-8");
                    self.piece(marked.episode, place, &block, text);
                }
                Then::GoOn
            }
            TurnEvent::Committed(message) => {
                self.committed = Some(message);
                Then::GoOn
            }
            TurnEvent::Answer => {
                if let Some(message) = self.committed.take() {
                    self.answer(&message);
                }
                Then::GoOn
            }
            TurnEvent::Void => {
                self.void();
                Then::GoOn
            }
            TurnEvent::Results(message) => self.results(&message),
            TurnEvent::Call(_) | TurnEvent::Queue(_) | TurnEvent::Status(_) | TurnEvent::Retry(_) => {
                Then::GoOn
            }
            TurnEvent::End(end) => self.end(&end),
        };
        (std::mem::take(&mut self.out), then)
    }

    fn has(&self, number: u64) -> bool {
        self.after.is_some_and(|after| number <= after)
    }

    fn standing(&mut self, kind: &'static str, number: u64, status: &'static str) {
        if !self.has(number) {
            self.out.push(Said::Standing { kind, number, status, up_to: MessageId(0) });
        }
    }

    fn begins(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.standing("response.in_progress", number::IN_PROGRESS, "in_progress");
        }
    }

    /// Says it, unless the client has it.
    fn say(&mut self, kind: &'static str, number: u64, event: &impl Serialize) {
        if self.has(number) {
            return;
        }
        if std::mem::take(&mut self.owes_reset) {
            // Of what the client has, only what is in the history stands.
            let number = Generation::of_number(number).map_or(number, Generation::begin);
            let (kind, status, up_to) = ("response.in_progress", "in_progress", self.up_to);
            self.out.push(Said::Standing { kind, number, status, up_to });
        }
        let json = to_raw_value(&Numbered { r#type: kind, sequence_number: number, event });
        self.out.push(Said::Event(kind, json.expect("an event is written")));
    }

    /// The answer of this generation is told now.
    fn step(&mut self, origin: Origin, generation: Generation, attempt: u64) -> &mut Step {
        if self.step.as_ref().is_some_and(|step| step.origin != origin) {
            self.void();
        }
        if self.step.is_none() {
            if let Some(last) = self.resumes.take_if(|last| *last <= generation) {
                self.owes_reset |= last < generation;
            }
            let lost = self.lost + attempt.saturating_sub(1);
            let first = self.items + lost * PLACES_OF_ATTEMPT;
            self.step = Some(Step { origin, generation, blocks: vec![], first });
        }
        self.step.as_mut().expect("it was just begun")
    }

    /// The place of the block among the answer's.
    fn block(&mut self, place: u32, kind: Kind, call: Option<(&str, &str)>) -> usize {
        let chat = self.id.chat;
        let step = self.step.as_mut().expect("an answer is told");
        if let Some(at) = step.blocks.iter().position(|block| block.place == place) {
            return at;
        }
        let at = step.blocks.len();
        // A call whose input has no word is whole when another block begins.
        if step.blocks.last().is_some_and(|last| last.call.is_some() && last.bytes == 0) {
            self.delta(at - 1, NO_INPUT);
        }
        let step = self.step.as_mut().expect("an answer is told");
        let begins = step.blocks.last().map_or(0, |block| block.begins + BEGINS + block.bytes);
        let index = step.first + at as u64;
        let id = item::name(kind, chat, step.origin, place);
        let generation = step.generation;
        let told = call.map(|(call, name)| (Arguments::default(), call.into(), name.into()));
        step.blocks.push(Told { place, kind, id: id.clone(), index, begins, bytes: 0, call: told });
        let (call, name) = call.unwrap_or_default();
        let item = event::begun(kind, chat, &id, call, name);
        let added = json!({"output_index": index, "item": item});
        self.say("response.output_item.added", generation.at(begins), &added);
        if let Some((kind, opens)) = event::opens(kind, &id, index) {
            self.say(kind, generation.at(begins + 1), &opens);
        }
        at
    }

    /// More text of the block.
    fn delta(&mut self, at: usize, text: &str) {
        let step = self.step.as_mut().expect("an answer is told");
        let block = &mut step.blocks[at];
        let begins = block.begins + BEGINS - 1 + block.bytes;
        block.bytes += text.len() as u64;
        let generation = step.generation;
        let number = generation.at(begins + text.len() as u64);
        // A client that was told a piece of it, cut otherwise, is told the rest.
        let last = self.after.and_then(|after| generation.offset(after));
        let skip = usize::try_from(last.map_or(0, |last| last.saturating_sub(begins))).unwrap_or(usize::MAX);
        let Some(text) = text.get(text.floor_char_boundary(skip)..).filter(|text| !text.is_empty()) else {
            return;
        };
        let (id, index) = (block.id.clone(), block.index);
        let (kind, delta) = Delta::of(block.kind, &id, index, text);
        self.say(kind, number, &delta);
    }

    fn piece(&mut self, episode: Option<Episode>, place: u32, block: &Block, text: &str) {
        let Some(episode) = episode else { return };
        let (kind, call) = match block {
            Block::Text => (Kind::Text, None),
            Block::Reasoning => (Kind::Reasoning, None),
            Block::ToolCall(call) => (Kind::of_call(&call.name, &self.tools), Some((&*call.id, &*call.name))),
            // It is told with the whole answer.
            Block::Whole | Block::Unknown => return,
        };
        self.step(Origin::Answer(episode), Generation::of(episode), episode.attempt);
        let at = self.block(place, kind, call);
        let step = self.step.as_mut().expect("an answer is told");
        match &mut step.blocks[at].call {
            Some((arguments, ..)) => {
                let text = arguments.add(text);
                if !text.is_empty() {
                    self.delta(at, &text);
                }
            }
            None => self.delta(at, text),
        }
    }

    /// The answer is in the history: what was not told of it is told, and then that its items are done.
    fn answer(&mut self, message: &Arc<Message>) {
        let origin = Origin::of(message);
        let (generation, attempt) = match origin {
            Origin::Answer(episode) => (Generation::of(episode), episode.attempt),
            Origin::Message(_) => {
                (Generation::of(Episode { history_version: message.revision, attempt: 0 }), 1)
            }
        };
        self.step(origin, generation, attempt);
        let items = items_of(self.id.chat, message, &self.tools);
        for item in &items {
            let name = item.json["name"].as_str().unwrap_or_default();
            let at = self.block(item.place, item.kind, item.call.as_deref().map(|call| (call, name)));
            let told = self.step.as_ref().map_or(0, |step| step.blocks[at].bytes);
            let rest = usize::try_from(told).ok().and_then(|told| item.text.get(told..));
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                self.delta(at, rest);
            }
        }
        let step = self.step.take().expect("an answer is told");
        let ends = step.blocks.last().map_or(0, |block| block.begins + BEGINS + block.bytes);
        let behind = ends + items.len() as u64 * ENDS;
        self.up_to = message.id;
        self.items += items.len() as u64;
        self.lost += attempt.saturating_sub(1);
        self.asked.clear();
        let open = calls_of(message);
        for (at, item) in items.into_iter().enumerate() {
            let index = step.first + at as u64;
            let waits = open.iter().any(|(id, _)| item.call.as_ref() == Some(id));
            let number = step.generation.at(ends + at as u64 * ENDS);
            self.done(&item, index, number, !(waits && item.kind == Kind::ServerCall));
            match (item.kind, item.call.clone()) {
                (Kind::ServerCall, Some(call)) if waits => {
                    self.awaited.insert(call, Awaited { item, index });
                }
                (Kind::FunctionCall, Some(call)) if waits => self.asked.push(call),
                _ => {}
            }
        }
        self.behind = Some((step.generation, behind));
    }

    /// The text of an item is whole, and `is_done` the item, too.
    fn done(&mut self, item: &Item, index: u64, number: u64, is_done: bool) {
        for (at, kind, event) in event::ends(item, index, is_done) {
            self.say(kind, number + at, &event);
        }
    }

    /// What came of calls. What came of the client's begins another response.
    fn results(&mut self, message: &Message) -> Then {
        let outcomes = outcomes_of(message);
        let (generation, mut number) = self.behind.unwrap_or((Generation::NONE, 0));
        for outcome in &outcomes {
            if let Some(Awaited { mut item, index }) = self.awaited.remove(&outcome.call) {
                item.put(outcome);
                let of_item = json!({"item_id": item.json["id"], "output_index": index});
                self.say(event::came(&item), generation.at(number), &of_item);
                let done = json!({"output_index": index, "item": item.json});
                self.say("response.output_item.done", generation.at(number + 1), &done);
            }
            number += 2;
        }
        self.behind = Some((generation, number));
        self.up_to = message.id;
        let is_asked = |outcome: &Outcome| self.asked.contains(&outcome.call);
        if outcomes.iter().any(is_asked) { self.finish(Said::Ended) } else { Then::GoOn }
    }

    /// Whether it was told to its end.
    fn finish(&mut self, end: Said) -> Then {
        self.void();
        if !self.has(number::END) {
            self.out.push(end);
        }
        Then::Finish
    }

    /// What was told of the present answer is void: its items end as they are.
    fn void(&mut self) {
        let Some(step) = self.step.take() else { return };
        let Some(last) = step.blocks.last() else { return };
        let ends = last.begins + BEGINS + last.bytes;
        for (at, block) in (0..).zip(&step.blocks) {
            let (call, name) = match &block.call {
                Some((_, call, name)) => (&**call, &**name),
                None => ("", ""),
            };
            let mut item = event::begun(block.kind, self.id.chat, &block.id, call, name);
            item["status"] = json!("incomplete");
            let done = json!({"output_index": block.index, "item": item});
            self.say("response.output_item.done", step.generation.at(ends + at * ENDS), &done);
        }
        self.owes_reset |= self.resumes.is_none();
    }

    fn end(&mut self, end: &End) -> Then {
        match end {
            End::Cut | End::Anew => Then::Cut,
            End::Gone => self.finish(Said::Gone),
            End::Over(_) | End::Asked => self.finish(Said::Ended),
        }
    }
}

#[cfg(test)]
mod tests;
