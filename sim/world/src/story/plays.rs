//! Models that answer by themselves: a message of a user says how, and time decides when.

use std::collections::BTreeMap;

use mainstem_machine::{Role, Time};
use mainstem_oracles::RunId;
use mainstem_story::{Script, Turn};

use super::tell::Teller;
use crate::choice::{ChatAt, Choice, NodeAt};
use crate::world::chat_id;

/// The runs that follow a script, each with when its next step is due: never if it says nothing more.
pub(super) type Plays = BTreeMap<RunId, Option<Time>>;

impl Teller<'_> {
    /// When the next step of a script is due.
    pub(super) fn next_line(&self) -> Option<Time> {
        self.playing().filter_map(|(_, _, run)| *self.plays.get(&run)?).min()
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
        false
    }

    /// How the present answer of a chat goes, if the message that it answers says so.
    fn script(&self, chat: ChatAt) -> Option<Script> {
        let history = self.world.state.rows.history(chat_id(chat));
        let asked = history.iter().rfind(|message| message.role == Role::User)?.content.to_text();
        let told = self.texts.iter().find(|(_, said)| *said == asked);
        Script::parse(&told?.0)
    }
}
