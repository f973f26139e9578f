//! One generation that a replica asked for: what it is to say, in the order in which it is to be said.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{Block, FinishReason};
use mainstem_oracles::RunId;
use mainstem_story::{Carrying, Script, part_of_all_kinds};
use tokio::sync::mpsc;

/// After so many parts, an answer of all kinds has called something.
const FIRST_CALL: u64 = 4;

#[derive(Debug)]
pub(super) enum Line {
    /// A piece of the block before it, or of one that it begins.
    Part(Option<Block>, String),
    Done(FinishReason),
    /// The connection breaks off: another attempt may go better.
    BreaksOff,
    FailsForGood,
}

/// What a replica asks.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What the user said last.
    pub(super) prompt: String,
    /// It goes on with what came of its calls.
    pub(super) has_results: bool,
    /// The whole conversation.
    pub(super) messages: String,
    /// The names of the tools that it offers.
    pub(super) tools: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) replica: String,
    pub(super) asked: Asked,
    pub(super) script: Option<Script>,
    /// How many parts were said.
    parts: u64,
    /// The block that goes on, if it is no text.
    open: Option<Block>,
    /// `None` when it has ended, or the replica has gone.
    pub(super) lines: Option<mpsc::UnboundedSender<Line>>,
}

/// How calls are carried out, by their names.
pub(super) type Calls = BTreeMap<Arc<str>, Carrying>;

impl Run {
    pub(super) fn new(id: RunId, replica: String, asked: Asked, lines: mpsc::UnboundedSender<Line>) -> Self {
        let script = Script::parse(&asked.prompt);
        Self { id, replica, asked, script, parts: 0, open: None, lines: Some(lines) }
    }

    pub(super) fn say(&self, line: Line) {
        if let Some(lines) = &self.lines {
            lines.send(line).ok();
        }
    }

    /// Says so many parts, and keeps how the calls among them are carried out.
    pub(super) fn say_parts(&mut self, count: u64, calls: &mut Calls) {
        for _ in 0..count {
            self.parts += 1;
            let mut text = format!("{}-{} ", self.id.0, self.parts);
            let Some(script) = &self.script else {
                self.say(Line::Part(None, text));
                continue;
            };
            text.extend(std::iter::repeat_n('.', script.size.saturating_sub(text.len())));
            let (begins, text) =
                if script.kinds { part_of_all_kinds(self.parts, text) } else { (None, text) };
            let begins = begins.map(|block| match block {
                // A server gives the second call of a name another one.
                Block::ToolCall(call) => {
                    let id = format!("{}_{}", call.id, self.id.0);
                    calls.insert(id.as_str().into(), script.carrying());
                    Block::tool_call(&id, &call.name)
                }
                block => block,
            });
            if let Some(block) = &begins {
                self.open = Some(block.clone()).filter(|block| *block != Block::Text);
            }
            self.say(Line::Part(begins, text));
        }
    }

    /// Whether it asks for what it called, once it has said all.
    pub(super) fn is_to_call(&self) -> bool {
        let calls = self.script.as_ref().is_some_and(|script| script.calls || script.tools);
        calls && !self.asked.has_results
    }

    /// Ends as its script wants it to.
    pub(super) fn finish(&self) {
        let asks = self.is_to_call();
        self.say(Line::Done(if asks { FinishReason::ToolCalls } else { self.asks_for_nothing() }));
    }

    /// Ends as soon as possible, and asks for nothing.
    pub(super) fn end_soon(&mut self) {
        let begins = self.open.take().map(|_| Block::Text);
        self.say(Line::Part(begins, "last ".into()));
        self.say(Line::Done(self.asks_for_nothing()));
    }

    /// Who stops behind a call asks for it, and who is cut does not.
    fn asks_for_nothing(&self) -> FinishReason {
        let has_called = self.script.as_ref().is_some_and(|script| script.kinds) && self.parts >= FIRST_CALL;
        if has_called { FinishReason::Length } else { FinishReason::Stop }
    }

    /// Whether both ask for the same: then the later is another attempt.
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        self.asked.messages == other.asked.messages
    }
}
