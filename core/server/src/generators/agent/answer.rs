//! One run of an agent, from its first event to its end: which message or call each event is of, and what that makes of
//! blocks. Of an agent that keeps to no rules, whatever can be understood is taken: what begins twice begins once, what
//! was not begun begins with its first text, and what has ended has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::Arc;

use mainstem_machine::{Block, Completion, Episode, FinishReason, Role, Usage};
use mainstem_runtime::ports::{Conversation, Generated};

use super::blocks::{Blocks, Place};
use super::event::{Event, Finish, Head, Kind, Said};
use super::whole::{self, Content, data, quoted};
use crate::content::{Part, parts};
use crate::generators::fault::Fault;
use crate::limits::agent::{CALLS_MAX, STREAMS_MAX};
use crate::limits::model::TOKENS_MAX;

/// A message or a call that is open.
#[derive(Debug)]
struct Stream {
    kind: Kind,
    id: String,
    /// The subagent that it is of.
    lane: String,
    /// Nobody will say that it ends: it does where its lane goes on with something else.
    is_chunked: bool,
    /// Of somebody else: the agent only repeats it.
    is_muted: bool,
    /// Where it goes on. `None`: in a block that has yet to begin.
    place: Option<Place>,
}

/// A call of this run.
#[derive(Debug)]
struct Asked {
    /// Its name in our history.
    id: String,
    /// How many calls were made before it.
    number: usize,
    /// It is of a tool that the agent was told of: unless it has a result, it is not the agent that carries it out.
    is_offered: bool,
    has_result: bool,
}

/// What is known before an agent answers.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) episode: Episode,
    /// Names of calls that are in use.
    pub(super) taken: BTreeSet<String>,
    /// The tools that the agent was told of.
    pub(super) tools: BTreeSet<Arc<str>>,
    /// The texts that its turn has so far, of answers before this one.
    pub(super) earlier: Vec<String>,
}

impl Known {
    pub(super) fn of(conversation: &Conversation) -> Self {
        let Conversation { episode, history, tools, .. } = conversation;
        let of_turn =
            history.messages.rsplit(|message| message.role == Role::User).next().unwrap_or_default();
        let answers = of_turn.iter().filter(|message| message.role == Role::Assistant);
        let said = answers.flat_map(|message| parts(&message.content));
        let text = |part: Part| if let Part::Text(text) = part { Some(text) } else { None };
        Self {
            episode: *episode,
            taken: BTreeSet::clone(&history.call_ids),
            tools: tools.iter().map(|tool| tool.name.clone()).collect(),
            earlier: said.filter_map(text).filter(|text| !text.trim().is_empty()).collect(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    known: Known,
    blocks: Blocks,
    streams: Vec<Stream>,
    /// By the agent's ids.
    calls: BTreeMap<String, Asked>,
    has_spoken: bool,
    has_text: bool,
    /// What the agent said by its own account. Some tell it there alone.
    texts: Vec<String>,
    /// A part of the state could not be kept: changes say nothing until it is told anew.
    has_lost_state: bool,
    usage: Option<Usage>,
}

/// What an event adds to an answer.
#[derive(Debug, Default)]
pub(super) struct Gain {
    pub(super) parts: Vec<Generated>,
    /// The agent said something.
    pub(super) has_progress: bool,
    /// It has more text, told or not.
    pub(super) has_text: bool,
}

impl Answer {
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            blocks: Blocks::default(),
            streams: vec![],
            calls: BTreeMap::new(),
            has_spoken: false,
            has_text: false,
            texts: vec![],
            has_lost_state: false,
            usage: None,
        }
    }

    /// Whether there is any text, thought, call or result.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Takes an event that is no end, and gives the parts of it that can be told.
    pub(super) fn take(&mut self, Event { lane, said }: Event) -> Result<Gain, Fault> {
        let held = self.blocks.held();
        match said {
            Said::Start(head) => {
                self.end_chunks(&lane, Some((head.kind, &head.id)));
                self.start(head, lane, false)?;
            }
            Said::Content { kind, id, text } => {
                self.end_chunks(&lane, Some((kind, &id)));
                self.content(kind, id, lane, &text)?;
            }
            Said::End { kind, id } => {
                self.end_chunks(&lane, Some((kind, &id)));
                self.end(|stream| stream.kind == kind && stream.id == id);
            }
            Said::Chunk { head, text } => self.chunk(head, lane, &text)?,
            Said::Result { call, content } => {
                self.end_chunks(&lane, None);
                self.result(&call, &content);
            }
            Said::State { is_snapshot, part } => {
                self.end_chunks(&lane, None);
                self.has_lost_state = part.is_none() || !is_snapshot && self.has_lost_state;
                part.filter(|_| !self.has_lost_state).into_iter().for_each(|part| self.blocks.whole(part));
            }
            Said::Data { part, is_aside } => {
                if !is_aside {
                    self.end_chunks(&lane, None);
                }
                part.into_iter().for_each(|part| self.blocks.whole(part));
            }
            Said::Pause => self.end_chunks(&lane, None),
            Said::Messages(texts) => {
                self.texts = texts;
                self.end(|stream| stream.is_chunked);
            }
            Said::RunStarted | Said::RunFinished(_) | Said::RunError(_) => {
                self.end(|stream| stream.is_chunked)
            }
            Said::Aside => {}
        }
        let mut parts = vec![];
        self.blocks.tell(&mut parts)?;
        let has_text = |part: &Generated| matches!(part, Generated::Part { text, .. } if !text.is_empty());
        let has_text = parts.iter().any(has_text) || self.blocks.held() > held;
        Ok(Gain { has_progress: has_text || !parts.is_empty(), has_text, parts })
    }

    /// All that has waited, at the end of a run, however it ends.
    pub(super) fn rest(&mut self) -> Vec<Generated> {
        let mut parts = vec![];
        self.streams.clear();
        self.blocks.close_all();
        // Nothing waits where nothing is open.
        let _ = self.blocks.tell(&mut parts);
        parts
    }

    /// The last parts of a run, and how it ended.
    pub(super) fn finish(&mut self, finish: Finish) -> (Vec<Generated>, Completion) {
        let texts = take(&mut self.texts);
        let is_known = |(text, earlier): &(&String, &String)| text == earlier;
        let known = texts.iter().zip(&self.known.earlier).take_while(is_known).count();
        for text in texts.into_iter().skip(known).filter(|_| !self.has_text) {
            self.has_spoken = true;
            let place = self.blocks.open(Block::Text);
            self.blocks.add(place, &text);
        }
        finish.data.into_iter().for_each(|part| self.blocks.whole(part));
        let add = |sum: u64, more: u64| sum.saturating_add(more).min(TOKENS_MAX);
        self.usage = match (self.usage, finish.usage) {
            (Some(sum), Some(more)) => Some(Usage {
                input_tokens: add(sum.input_tokens, more.input_tokens),
                output_tokens: add(sum.output_tokens, more.output_tokens),
            }),
            (sum, more) => more.or(sum),
        };
        let waits = |asked: &Asked| asked.is_offered && !asked.has_result;
        let finish_reason = match finish.is_cancelled {
            true => None,
            false if self.calls.values().any(waits) => Some(FinishReason::ToolCalls),
            false => Some(FinishReason::Stop),
        };
        (self.rest(), Completion { finish_reason, usage: self.usage })
    }

    /// At the end of an answer that is kept as complete: the results of all calls that have none and that nobody carries
    /// out, for each call has one (S11). Those that wait for others get theirs behind the answer, and those of an answer
    /// that is cut short ask for none.
    pub(super) fn unanswered(&mut self, completion: Completion) -> Vec<Generated> {
        let is_open = completion.finish_reason == Some(FinishReason::ToolCalls);
        let is_well = |asked: &Asked| asked.has_result || is_open && asked.is_offered;
        let mut lost: Vec<&Asked> = self.calls.values().filter(|asked| !is_well(asked)).collect();
        lost.sort_unstable_by_key(|asked| asked.number);
        lost.into_iter().for_each(|asked| self.blocks.whole(whole::lost(&asked.id)));
        self.rest()
    }

    fn find(&self, kind: Kind, id: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.kind == kind && stream.id == id)
    }

    /// A message or a call begins, unless it has.
    fn start(&mut self, head: Head, lane: String, is_chunked: bool) -> Result<(), Fault> {
        let Head { kind, id, name, is_own } = head;
        let is_call = kind == Kind::Call;
        if self.find(kind, &id).is_some() || is_call && self.calls.contains_key(&id) {
            return Ok(());
        }
        if self.streams.len() == STREAMS_MAX || is_call && self.calls.len() == CALLS_MAX {
            return Err(Fault::HeldTooMuch);
        }
        let mut place = None;
        if is_call {
            self.part_texts();
            let ours = self.our_id(&id);
            place = Some(self.blocks.open(Block::tool_call(&ours, &name)));
            let is_offered = self.known.tools.contains(&*name);
            let number = self.calls.len();
            self.calls.insert(id.clone(), Asked { id: ours, number, is_offered, has_result: false });
            self.has_spoken = true;
        }
        self.streams.push(Stream { kind, id, lane, is_chunked, is_muted: !is_own, place });
        Ok(())
    }

    fn content(&mut self, kind: Kind, id: String, lane: String, text: &str) -> Result<(), Fault> {
        if self.find(kind, &id).is_none() {
            if kind == Kind::Call {
                // Nobody knows what it calls, or it has ended.
                return Ok(());
            }
            self.start(Head { kind, id: id.clone(), name: String::new(), is_own: true }, lane, true)?;
        }
        if let Some(at) = self.find(kind, &id) {
            self.add(at, text);
        }
        Ok(())
    }

    fn add(&mut self, at: usize, text: &str) {
        let stream = &mut self.streams[at];
        if stream.is_muted || text.is_empty() {
            return;
        }
        self.has_spoken = true;
        if stream.place.is_some_and(|place| self.blocks.add(place, text)) {
            return;
        }
        self.has_text |= stream.kind == Kind::Text;
        let block = match stream.kind {
            Kind::Text => Block::Text,
            Kind::Reasoning => Block::Reasoning,
            // It has its block from the begin to the end.
            Kind::Call => return,
        };
        let place = self.blocks.open(block);
        self.blocks.add(place, text);
        stream.place = Some(place);
    }

    fn chunk(&mut self, mut head: Head, lane: String, text: &str) -> Result<(), Fault> {
        let kind = head.kind;
        if head.id.is_empty() {
            let is_open = |stream: &&Stream| stream.is_chunked && stream.kind == kind;
            let mut open = self.streams.iter().filter(is_open);
            let open = open.clone().find(|stream| stream.lane == lane).or(open.next_back());
            head.id = open.map(|stream| stream.id.clone()).unwrap_or_default();
        }
        self.end_chunks(&lane, Some((kind, &head.id)));
        // Nobody knows what is called, or how.
        if kind == Kind::Call && (head.id.is_empty() || head.name.is_empty()) {
            return self.content(kind, head.id, lane, text);
        }
        let id = head.id.clone();
        self.start(head, lane.clone(), true)?;
        self.content(kind, id, lane, text)
    }

    /// Ends what is told in chunks, in this lane, but for one.
    fn end_chunks(&mut self, lane: &str, but: Option<(Kind, &str)>) {
        self.end(|stream| stream.is_chunked && stream.lane == lane && but != Some((stream.kind, &stream.id)));
    }

    fn end(&mut self, is_over: impl Fn(&Stream) -> bool) {
        for ended in self.streams.extract_if(.., |stream| is_over(stream)) {
            ended.place.into_iter().for_each(|place| self.blocks.close(place));
        }
    }

    /// What is said goes on behind what comes now: calls and their results are not to wait for its end.
    fn part_texts(&mut self) {
        for stream in self.streams.iter_mut().filter(|stream| stream.kind != Kind::Call) {
            stream.place.take().into_iter().for_each(|place| self.blocks.close(place));
        }
    }

    fn result(&mut self, call: &str, content: &Content) {
        self.has_spoken = true;
        self.end(|stream| stream.kind == Kind::Call && stream.id == call);
        self.part_texts();
        let asked = self.calls.get_mut(call).filter(|asked| !asked.has_result);
        let part = match asked {
            Some(asked) => {
                asked.has_result = true;
                Some(whole::result(&asked.id, content))
            }
            // Of no call of this run, or not the first.
            None => {
                let call = quoted(call);
                let result = format!(r#"{{"toolCallId":{call},"content":{}}}"#, content.json);
                data("agui.tool_call_result", None, &result)
            }
        };
        part.into_iter().for_each(|part| self.blocks.whole(part));
    }

    /// The agent's id, unless that is in use.
    fn our_id(&mut self, id: &str) -> String {
        let Episode { history_version, attempt } = self.known.episode;
        let mut ours = id.to_owned();
        for more in 0.. {
            if self.known.taken.insert(ours.clone()) {
                break;
            }
            ours = format!("call_{}_{attempt}_{}", history_version.0, self.calls.len() + more * CALLS_MAX);
        }
        ours
    }
}

#[cfg(test)]
mod tests;
