//! Viewers of a story: with what they come, and when they come back.

use std::time::Duration;

use mainstem_machine::Time;
use mainstem_story::Claim;

use super::tell::Teller;
use crate::choice::{Choice, From, NodeAt, ViewerAt};
use crate::world::chat_id;

/// How long a client waits before it tries again.
pub(super) const RETURN_DELAY: Duration = Duration::from_millis(200);

/// A viewer of the story.
pub(super) struct Visitor {
    pub(super) at: ViewerAt,
    pub(super) on: NodeAt,
    pub(super) present: bool,
    /// It reads again, after it had stopped.
    pub(super) reads_again: bool,
    pub(super) from: From,
    /// When it tries again.
    pub(super) returns: Time,
}

impl Teller<'_> {
    pub(super) fn come(&mut self, viewer: &str, replica: &str, from: From) {
        let (at, on, returns) = (self.slots[viewer], self.node(replica), self.now());
        let visitor = Visitor { at, on, present: true, reads_again: false, from, returns };
        self.viewers.insert(viewer.to_owned(), visitor);
    }

    /// A viewer comes with what another one has, or had.
    pub(super) fn come_as(
        &mut self,
        viewer: &str,
        replica: &str,
        of: &str,
        from: From,
    ) -> Result<(), String> {
        let (of, at) = (self.viewers[of].at, self.slots[viewer]);
        self.step(Choice::Share(of, at));
        if self.world.claim(at, from).is_none() {
            return Err("there is nothing yet that it could have".into());
        }
        self.faults.land("viewer resumes from long ago");
        self.faults.land("viewer comes from a future");
        self.come(viewer, replica, from);
        Ok(())
    }

    /// After which message a viewer comes.
    pub(super) fn claimed(&self, chat: &str, claim: &Claim) -> Result<From, String> {
        let id = chat_id(self.chat(chat));
        let history = self.world.state.rows.history(id);
        let found = match claim {
            Claim::Nothing => return Ok(From::Fresh),
            Claim::After(message) => Some(*message),
            Claim::AfterLast { but } => history.iter().rev().nth(*but).map(|message| message.id),
            Claim::AfterCut => self.world.judge().index().past(id).and_then(|past| {
                let ever = past.moments.iter().flat_map(|moment| moment.history.iter());
                let there = |id| history.iter().any(|message| message.id == id);
                ever.map(|message| message.id).filter(|id| !there(*id)).max()
            }),
        };
        found.map(From::After).ok_or_else(|| "there is nothing yet that it could have".into())
    }

    /// What viewers do of their own accord: come back, and read on.
    pub(super) fn visit(&mut self, now: Time) -> Option<Choice> {
        for visitor in self.viewers.values_mut().filter(|visitor| visitor.present) {
            let there = &self.world.state.viewers[usize::from(visitor.at.0)];
            match &there.stream {
                Some(stream) => {
                    let awake = self.world.peek(stream.on).is_some_and(|node| node.is_up());
                    if there.stalled && visitor.reads_again && awake && !stream.idle {
                        return Some(Choice::Read(visitor.at));
                    }
                }
                None if there.over || visitor.returns > now => {}
                None => {
                    visitor.returns = now + RETURN_DELAY;
                    let from = std::mem::replace(&mut visitor.from, From::Newest);
                    return Some(Choice::Watch(visitor.at, visitor.on, from));
                }
            }
        }
        None
    }
}
