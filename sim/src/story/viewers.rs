//! Viewers of a story: with what they come, and for whom.

use std::collections::BTreeSet;

use mainstem_machine::{ChatId, MessageId};
use mainstem_oracles::{Begin, Name};

use super::runner::StoryRun;
use crate::client::{Viewer, Watch};
use crate::device::Has;
use mainstem_story::{Claim, Step};

/// Of a viewer that is there, or was.
pub(super) struct Visit {
    chat: ChatId,
    caller: Name,
    began: Begin,
}

impl StoryRun {
    /// Lets a viewer come. `Err`: it cannot have what it is to come with. `planned`: then it comes with nothing.
    pub(super) fn come(&mut self, step: &Step, planned: bool) -> Result<(), String> {
        let (viewer, replica, chat, caller, has, lands_as) = match step {
            Step::Watch { viewer, replica, chat, claim, caller } => {
                let chat = self.chat(chat);
                let has = self.claimed(chat, claim);
                (viewer, replica, chat, Name::from(caller.as_str()), has, "viewer claims messages")
            }
            Step::Resume { viewer, replica, of, back } => {
                let back = usize::try_from(*back).unwrap_or(usize::MAX);
                let (chat, caller, began) = self.visit(of);
                let has = Has::screen(began, self.seen_by(of), back);
                (viewer, replica, chat, caller, has, "viewer resumes from long ago")
            }
            Step::Foresee { viewer, replica, of, messages } => {
                let (chat, caller, began) = self.visit(of);
                let has = Has::future(began, self.seen_by(of), *messages);
                (viewer, replica, chat, caller, has, "viewer comes from a future")
            }
            step => unreachable!("{step:?} is nobody who comes"),
        };
        let has = match has {
            Some(has) => has,
            None if planned => Has::Nothing,
            None => return Err("there is nothing yet that it could have".into()),
        };
        if !matches!(has, Has::Nothing) {
            self.cluster.world.tally().landed(lands_as);
        }
        self.visits.insert(viewer.clone(), Visit { chat, caller: caller.clone(), began: has.began() });
        let watch = Watch { name: viewer.as_str().into(), caller, chat, replica: replica.clone(), has };
        let there = Viewer::new(&self.cluster.world, &self.cluster.net, watch, self.roams.clone());
        self.viewers.insert(viewer.clone(), there);
        Ok(())
    }

    fn visit(&self, of: &str) -> (ChatId, Name, Begin) {
        let Visit { chat, caller, began } = &self.visits[of];
        (*chat, caller.clone(), *began)
    }

    fn seen_by(&self, viewer: &str) -> Vec<mainstem_machine::StreamEvent> {
        self.received(viewer).into_iter().map(|(_, event)| event).collect()
    }

    fn claimed(&self, chat: ChatId, claim: &Claim) -> Option<Has> {
        let last = |but: usize| {
            let history = self.cluster.database.history(chat);
            history.iter().rev().nth(but).map(|message| message.id)
        };
        let found = match claim {
            Claim::Nothing => return Some(Has::Nothing),
            Claim::After(message) => Some(*message),
            Claim::AfterLast { but } => last(*but),
            Claim::AfterCut => self.newest_cut(chat),
        };
        found.map(Has::MessagesUpTo)
    }

    /// The newest message that was in the history and is not any more.
    fn newest_cut(&self, chat: ChatId) -> Option<MessageId> {
        let present: BTreeSet<_> =
            self.cluster.database.history(chat).iter().map(|message| message.id).collect();
        self.cluster.world.judge(|judge| {
            let moments = &judge.index().past(chat)?.moments;
            let ever = moments.iter().flat_map(|moment| moment.history.iter().map(|message| message.id));
            ever.filter(|id| !present.contains(id)).max()
        })
    }
}
