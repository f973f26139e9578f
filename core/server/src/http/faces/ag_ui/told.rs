//! Events of a turn as events of AG-UI, each with the client's position behind it. A pure function: what it remembers is the
//! position.
//!
//! An answer is one message there, with its calls; a thought and a result is one of its own. Calls are told when they are in
//! the history, because a client that hears of one carries it out.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::{Block, ChatState, Episode, Message, MessageId, OpenCall, QueuedMessage, TurnStatus};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::turn::{End, Marked, TurnEvent};
use super::event::{Event, Outcome, error_metadata, interrupts};
use super::ids;
use super::part::{calls_of, outcomes_of};
use super::position::{Open, Partial, Position};
use crate::limits::edge::MESSAGE_ID_MAX;

const GONE: &str = "This message is not in the chat any more.";
const CUT: &str = "The connection is lost, and the answer goes on. Run again to see it.";
/// Behind every message.
const ALL: MessageId = MessageId(MESSAGE_ID_MAX);
/// The one version of the protocol that clients declare.
pub(super) const PROTOCOL: &str = "1.0";

/// What has to happen behind the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// The run has come to its end.
    Finish,
    /// The connection is cut, which is no end: the client comes back and is told the rest.
    Cut,
    /// The calls that wait are told, and then it has come to its end.
    Ask,
    /// The turn is told from its begin.
    Anew,
}

/// Something to say.
#[derive(Debug)]
pub(super) enum Said {
    Event(Box<RawValue>),
    /// The history up to this message, in place of all that the client has.
    Snapshot(MessageId),
}

/// How the client's run is called, and what the client understands.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) thread: String,
    pub(super) id: String,
    pub(super) parent: Option<String>,
    /// Whether the client declares 1.0.
    pub(super) is_one: bool,
    /// Whether it comes back by itself when it is cut, and takes a history as it is told.
    pub(super) resumes: bool,
    /// Calls whose results the client brought: it shows them.
    pub(super) brought: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct Telling {
    run: Run,
    position: Position,
    /// The answer that has come to the history, until all of it is told.
    committed: Option<Arc<Message>>,
    out: Vec<(Said, Position)>,
}

impl Telling {
    pub(super) fn new(run: Run, position: Position) -> Self {
        Self { run, position, committed: None, out: vec![] }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// What comes before the turn. It may be told again, but for the start itself.
    pub(super) fn begin(&mut self, state: &ChatState, snapshot: bool) -> Vec<(Said, Position)> {
        if self.position.count == 0 {
            let run = self.run.clone();
            self.say(&Event::RunStarted {
                thread_id: &run.thread,
                run_id: &run.id,
                parent_run_id: run.parent.as_deref(),
                protocol_version: run.is_one.then_some(PROTOCOL),
            });
        }
        let news = json!({"status": state.status, "queue": queue_news(&state.queue), "retry": state.retry});
        self.say(&Event::StateSnapshot { snapshot: json!({"mainstem": news}) });
        if snapshot {
            let after = self.position.after;
            self.push(Said::Snapshot(after));
        }
        std::mem::take(&mut self.out)
    }

    /// The turn is told from its begin, behind this message.
    pub(super) fn begin_anew(&mut self, after: MessageId) -> Vec<(Said, Position)> {
        self.close();
        let Position { chat, turn, count, thought, .. } = self.position;
        self.position = Position { count, thought, ..Position::begin(chat, turn, after) };
        self.committed = None;
        self.push(Said::Snapshot(after));
        std::mem::take(&mut self.out)
    }

    /// What is said of an event.
    pub(super) fn tell(&mut self, marked: Marked) -> (Vec<(Said, Position)>, Then) {
        self.position.mark = marked.before;
        let then = self.event(marked.event, marked.episode, marked.after.cursor.map(|cursor| cursor.message));
        self.position.mark = marked.after;
        if let Some((_, last)) = self.out.last_mut() {
            *last = Position { count: last.count, ..self.position };
        }
        (std::mem::take(&mut self.out), then)
    }

    fn event(&mut self, event: TurnEvent, episode: Option<Episode>, told_up_to: Option<MessageId>) -> Then {
        match event {
            TurnEvent::Begins => self.push(Said::Snapshot(told_up_to.unwrap_or_default())),
            TurnEvent::Piece { place, block, text } => {
                let text = std::str::from_utf8(&text).expect("the text of parts is UTF-8");
                if let Some(episode) = episode {
                    self.piece(episode, place, &block, text);
                }
            }
            TurnEvent::Committed(message) => self.committed = Some(message),
            // They are told behind the text.
            TurnEvent::Call(_) => {}
            TurnEvent::Answer => self.answer(),
            TurnEvent::Void => {
                self.close();
                self.position.partial = None;
                self.push(Said::Snapshot(told_up_to.unwrap_or_default()));
            }
            TurnEvent::Results(message) => self.results(&message),
            TurnEvent::Queue(queue) => self.news("queue", queue_news(&queue)),
            TurnEvent::Status(status) => self.news("status", json!(status)),
            TurnEvent::Retry(retry) => self.news("retry", json!(retry)),
            TurnEvent::End(end) => return self.end(&end),
        }
        Then::GoOn
    }

    fn push(&mut self, said: Said) {
        self.position.count += 1;
        self.position.shows_its_own &= !matches!(said, Said::Snapshot(_));
        self.out.push((said, self.position));
    }

    fn say(&mut self, event: &Event<'_>) {
        self.push(Said::Event(to_raw_value(event).expect("an event is written")));
    }

    fn piece(&mut self, episode: Episode, place: u32, block: &Block, text: &str) {
        let Position { chat, turn, .. } = self.position;
        let told = self.position.partial.filter(|partial| partial.episode == episode);
        if told.is_none() {
            self.close();
        }
        match block {
            Block::Text if !text.is_empty() => {
                let id = ids::answer(chat, turn, episode);
                if self.position.open != Open::Text {
                    self.close();
                    self.begun(episode, told, place);
                    self.position.open = Open::Text;
                    self.say(&Event::TextMessageStart { message_id: &id, role: "assistant" });
                }
                self.say(&Event::TextMessageContent { message_id: &id, delta: text });
            }
            Block::Reasoning if !text.is_empty() => {
                let id = ids::thought(chat, turn, episode, place);
                if self.position.open != Open::Thought(place) {
                    self.close();
                    self.begun(episode, told, place);
                    self.position.thought.get_or_insert((episode, place));
                    self.say(&Event::ReasoningStart { message_id: &id });
                    self.position.open = Open::Thought(place);
                    self.say(&Event::ReasoningMessageStart { message_id: &id, role: "reasoning" });
                }
                self.say(&Event::ReasoningMessageContent { message_id: &id, delta: text });
            }
            Block::Whole => self.whole(text),
            Block::Text | Block::Reasoning | Block::ToolCall(_) | Block::Unknown => {}
        }
        let bytes = told.filter(|told| told.place == place).map_or(0, |told| told.bytes) + text.len();
        self.position.partial = Some(Partial { episode, place, bytes });
    }

    /// Of a block that has begun nothing was told yet.
    fn begun(&mut self, episode: Episode, told: Option<Partial>, place: u32) {
        if told.is_none_or(|told| told.place != place) {
            self.position.partial = Some(Partial { episode, place, bytes: 0 });
        }
    }

    /// Ends what is open.
    fn close(&mut self) {
        let Position { chat, turn, open, partial, .. } = self.position;
        self.position.open = Open::Nothing;
        let Some(Partial { episode, .. }) = partial else { return };
        match open {
            Open::Nothing => {}
            Open::Text => self.say(&Event::TextMessageEnd { message_id: &ids::answer(chat, turn, episode) }),
            Open::Thought(place) => {
                let id = ids::thought(chat, turn, episode, place);
                self.say(&Event::ReasoningMessageEnd { message_id: &id });
                self.say(&Event::ReasoningEnd { message_id: &id });
            }
        }
    }

    /// The JSON text of a part that is told whole.
    fn whole(&mut self, json: &str) {
        let (Ok(part), Ok(value)) =
            (serde_json::from_str::<super::part::Part>(json), serde_json::from_str::<Box<RawValue>>(json))
        else {
            return;
        };
        let name = match &*part.r#type {
            "source" => "mainstem.source",
            "file" => "mainstem.file",
            "data" => "mainstem.data",
            // Results are told behind their calls.
            _ => return,
        };
        self.say(&Event::Custom { name, value: &value });
    }

    /// The answer is in the history: its calls, and what an agent did of them itself.
    fn answer(&mut self) {
        self.close();
        let Some(message) = self.committed.take() else { return };
        let parent = ids::kept_answer(self.position.chat, &message);
        let mut told = self.position.of_message;
        let mut at = 0;
        let mut say = |telling: &mut Self, event: &Event<'_>| {
            at += 1;
            if at > told {
                told = at;
                telling.position.of_message = at;
                telling.say(event);
            }
        };
        for call in calls_of(&message) {
            let (id, name) = (&*call.id, &*call.name);
            say(
                self,
                &Event::ToolCallStart { tool_call_id: id, tool_call_name: name, parent_message_id: &parent },
            );
            say(self, &Event::ToolCallArgs { tool_call_id: id, delta: call.input.get() });
            say(self, &Event::ToolCallEnd { tool_call_id: id });
        }
        for outcome in outcomes_of(self.position.chat, &message) {
            say(self, &result_of(&outcome));
        }
        // Until here, who comes back is told the message again, and so has to say what it has of it.
        (self.position.partial, self.position.of_message) = (None, 0);
    }

    fn results(&mut self, message: &Message) {
        let told = self.position.of_message;
        for (at, outcome) in (1..).zip(outcomes_of(self.position.chat, message)) {
            let is_shown = self.position.shows_its_own && self.run.brought.contains(&outcome.tool_call_id);
            if at > told && !is_shown {
                self.position.of_message = at;
                self.say(&result_of(&outcome));
            }
        }
        self.position.of_message = 0;
    }

    /// Of the chat, in the state.
    fn news(&mut self, of: &str, value: Value) {
        let delta = json!([{"op": "add", "path": format!("/mainstem/{of}"), "value": value}]);
        self.say(&Event::StateDelta { delta });
    }

    fn finish(&mut self, outcome: Option<Outcome>) {
        let run = self.run.clone();
        self.say(&Event::RunFinished { thread_id: &run.thread, run_id: &run.id, outcome });
    }

    fn end(&mut self, end: &End) -> Then {
        match end {
            End::Cut => return Then::Cut,
            End::Anew => return Then::Anew,
            End::Asked => return Then::Ask,
            End::Gone => self.gone(),
            End::Over(turn) => {
                self.close();
                let is_one = self.run.is_one;
                match turn.status {
                    TurnStatus::Failed => {
                        let error = turn.error.as_ref();
                        let message = error.map_or("The answer failed.", |error| &*error.message);
                        let code = error.map_or("failed", |error| &*error.code);
                        self.say(&Event::RunError { message, code });
                    }
                    TurnStatus::Interrupted => self.finish(is_one.then_some(Outcome::Cancelled)),
                    _ => self.finish(is_one.then_some(Outcome::Success)),
                }
            }
        }
        Then::Finish
    }

    /// What there was of it goes with all else that the client lacks.
    fn gone(&mut self) {
        self.close();
        self.push(Said::Snapshot(ALL));
        self.say(&Event::RunError { message: GONE, code: "gone" });
    }

    /// There is more, and the client does not come back by itself.
    pub(super) fn end_as_cut(&mut self) -> Vec<(Said, Position)> {
        self.close();
        self.say(&Event::RunError { message: CUT, code: "cut" });
        std::mem::take(&mut self.out)
    }

    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// The turn is not there any more.
    pub(super) fn end_as_gone(&mut self) -> Vec<(Said, Position)> {
        self.gone();
        std::mem::take(&mut self.out)
    }

    /// The end of a run whose calls wait for the client; `None` if none does any more.
    pub(super) fn ask(&mut self, calls: &[OpenCall]) -> Option<Vec<(Said, Position)>> {
        let interrupts = interrupts(calls);
        if interrupts.is_empty() {
            return None;
        }
        self.close();
        self.finish(Some(Outcome::Interrupt { interrupts }));
        Some(std::mem::take(&mut self.out))
    }
}

fn result_of(outcome: &super::part::Outcome) -> Event<'_> {
    Event::ToolCallResult {
        message_id: &outcome.message_id,
        tool_call_id: &outcome.tool_call_id,
        content: &outcome.content,
        role: "tool",
        metadata: outcome.is_error.then(error_metadata),
    }
}

fn queue_news(queue: &[QueuedMessage]) -> Value {
    queue.iter().map(|queued| json!({"id": queued.id, "clientId": queued.client_id})).collect()
}

#[cfg(test)]
mod tests;
