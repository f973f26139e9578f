//! Models that answer by themselves: a message of a user says how, and time decides when.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{Role, Time};
use mainstem_oracles::RunId;
use mainstem_story::{Carrying, Script, Turn};

use super::tell::Teller;
use crate::choice::{ChatAt, Choice, NodeAt};
use crate::world::chat_id;

/// The runs that follow a script, each with when its next step is due: never if it says nothing more.
pub(super) type Plays = BTreeMap<RunId, Option<Time>>;

impl Teller<'_> {
    /// When the next step of a script is due.
    pub(super) fn next_line(&self) -> Option<Time> {
        let lines = self.playing().filter_map(|(_, _, run)| *self.plays.get(&run)?);
        lines.chain(self.calling().filter_map(|(_, chat, asked)| Some(asked + self.takes(chat)?))).min()
    }

    /// The first call that each worker carries out for each chat, and since when.
    fn calling(&self) -> impl Iterator<Item = (NodeAt, ChatAt, Time)> {
        let nodes = self.world.state.nodes.iter().enumerate().filter(|(_, node)| node.is_up());
        nodes.flat_map(|(at, node)| {
            let calls = node.hubs.iter().filter_map(|(chat, open)| Some((*chat, open.calls.first()?.asked)));
            calls.map(move |(chat, asked)| (NodeAt(at as u8), chat, asked))
        })
    }

    /// How long tools take for a chat; `None`: for ever.
    fn takes(&self, chat: ChatAt) -> Option<Duration> {
        match self.carrying(chat) {
            Carrying::Returns(after) | Carrying::Fails(after) => Some(after),
            Carrying::Hangs => None,
        }
    }

    fn carrying(&self, chat: ChatAt) -> Carrying {
        self.script(chat).map_or(Carrying::Returns(Duration::ZERO), |script| script.carrying())
    }

    /// Tools do what is due. False: nothing is.
    fn carry_out(&mut self) -> bool {
        let now = self.now();
        let due = |(_, chat, asked): &(NodeAt, ChatAt, Time)| {
            self.takes(*chat).is_some_and(|takes| *asked + takes <= now)
        };
        let Some((node, chat, _)) = self.calling().find(due) else { return false };
        match self.carrying(chat) {
            Carrying::Returns(_) => self.step(Choice::Return(node, chat)),
            Carrying::Fails(_) => self.step(Choice::FailCall(node, chat)),
            Carrying::Hangs => {}
        }
        true
    }

    /// The runs that go on.
    fn playing(&self) -> impl Iterator<Item = (NodeAt, ChatAt, RunId)> {
        let nodes = self.world.state.nodes.iter().enumerate().filter(|(_, node)| node.is_up());
        nodes.flat_map(|(at, node)| {
            let runs = node.hubs.iter().filter_map(|(chat, open)| Some((*chat, open.model.as_ref()?.run.0)));
            runs.map(move |(chat, run)| (NodeAt(at as u8), chat, run))
        })
    }

    /// Models do what is due. False: nothing is.
    pub(super) fn play(&mut self) -> bool {
        let now = self.now();
        for (node, chat, run) in self.playing().collect::<Vec<_>>() {
            let Some(script) = self.script(chat) else { continue };
            let due = *self.plays.entry(run).or_insert(Some(now + script.every));
            let Some(due) = due.filter(|due| *due <= now) else { continue };
            let model = self.world.peek(node).and_then(|here| here.hubs.get(&chat)?.model.as_ref());
            let Some((said, attempt)) = model.map(|model| (model.parts, model.episode.attempt)) else {
                continue;
            };
            let (next, choices) = match script.turn(said, attempt) {
                Turn::Stall => (None, vec![]),
                Turn::Parts(count) => {
                    (Some(due + script.every), (0..count).map(|_| Choice::Say(node, chat)).collect())
                }
                Turn::Fail { retryable: false } => (None, vec![Choice::FailForGood(node, chat)]),
                Turn::Fail { retryable: true } => match script.after {
                    Some(after) => (None, vec![Choice::FailFor(node, chat, after)]),
                    None => (None, vec![Choice::Fail(node, chat)]),
                },
                Turn::Done => (None, vec![Choice::Finish(node, chat)]),
            };
            self.plays.insert(run, next);
            choices.into_iter().for_each(|choice| self.step(choice));
            return true;
        }
        self.carry_out()
    }

    /// How the present answer of a chat goes, if the message that it answers says so.
    fn script(&self, chat: ChatAt) -> Option<Script> {
        let history = self.world.state.rows.history(chat_id(chat));
        let asked = history.iter().rfind(|message| message.role == Role::User)?.content.to_text();
        let told = self.texts.iter().find(|(_, said)| *said == asked);
        Script::parse(&told?.0)
    }
}
