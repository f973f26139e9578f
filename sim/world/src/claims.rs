//! What viewers say that they have when they come: what they have, less of it, what is not so any more, what never was,
//! and what is yet to come.
//!
//! Where a viewer comes with what it had seen a while ago, the judges are told so as if it had seen that just now, at a
//! place where no replica is. So they know its screen, and judge what it is told next.

use mainstem_machine::{Cursor, MessageId, PreviewProgress, Resume, StreamEvent, Version};
use mainstem_oracles::{Begin, Evidence, Name, StreamEnd};

use crate::choice::{ChatAt, From, ViewerAt};
use crate::hashed::Hashed;
use crate::world::{World, chat_id};

/// How far ahead of everything committed the cursor of a future is.
const AHEAD: u64 = 1_000_000;
/// A message that never was.
const NEVER: MessageId = MessageId(100_000);
/// Where a viewer has seen what it remembers.
const NOWHERE: &str = "memory";
/// Events that a viewer remembers.
const REMEMBERED_MAX: usize = 300;

/// What a viewer has seen since it had nothing, or only messages of which it said that it had them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    began: Begin,
    events: Vec<StreamEvent>,
    /// There was more to remember than fits.
    full: bool,
}

impl Memory {
    pub(crate) fn of(began: Begin) -> Hashed<Self> {
        Hashed::new(Self { began, events: vec![], full: false })
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How many events a viewer without a preview had seen, at the most.
    fn without_preview(&self) -> Option<usize> {
        let shows_none = |event: &StreamEvent| {
            event.cursor.preview.is_none_or(|preview| preview.to == PreviewProgress::Voided)
        };
        Some(self.events.iter().rposition(shows_none)? + 1)
    }
}

/// How a stream begins, and how much of what its viewer remembers it has then: `None` for all that is on its screen.
pub(crate) struct Claim {
    pub(crate) begin: Begin,
    recalled: Option<usize>,
}

impl Claim {
    pub(crate) fn resume(&self) -> Resume {
        match self.begin {
            Begin::Fresh => Resume::Fresh,
            Begin::After(message) => Resume::After(message),
            Begin::At(cursor) => Resume::At(cursor),
        }
    }
}

impl World {
    /// What a viewer says that it has. `None`: it cannot say that.
    pub(crate) fn claim(&self, at: ViewerAt, from: From) -> Option<Claim> {
        let viewer = &self.state.viewers[usize::from(at.0)];
        if from.is_a_claim() && self.state.budget.claims == 0 {
            return None;
        }
        let shown = |but: usize| {
            let view = self.judge.index().view(&viewer.name, chat_id(viewer.chat))?;
            Some(view.messages.iter().rev().nth(but)?.id)
        };
        let all = |begin| Some(Claim { begin, recalled: None });
        let memory = &viewer.memory;
        match from {
            From::Fresh => all(Begin::Fresh),
            From::Newest => all(viewer.cursor.map_or(Begin::Fresh, Begin::At)),
            From::Message => all(shown(0).map_or(Begin::Fresh, Begin::After)),
            From::Before(but) => all(Begin::After(shown(usize::from(but))?)),
            From::After(message) => all(Begin::After(message)),
            From::Gone => all(Begin::After(self.gone(viewer.chat)?)),
            From::Never => all(Begin::After(NEVER)),
            From::Back(back) => {
                let kept = memory.len().checked_sub(usize::from(back)).filter(|kept| *kept > 0)?;
                Some(Claim { begin: Begin::At(memory.events[kept - 1].cursor), recalled: Some(kept) })
            }
            From::Future | From::FutureMessages => {
                let kept = memory.without_preview()?;
                let seen = memory.events[kept - 1].cursor;
                let ahead = |version: Version| Version(version.0 + AHEAD);
                let cursor = Cursor {
                    snapshot_version: ahead(seen.snapshot_version),
                    queue_version: ahead(seen.queue_version),
                    message: match from {
                        From::FutureMessages => MessageId(seen.message.0 + AHEAD),
                        _ => seen.message,
                    },
                    ..seen
                };
                Some(Claim { begin: Begin::At(cursor), recalled: Some(kept) })
            }
        }
    }

    /// The newest id that was given to a message, and that no message has any more.
    pub(crate) fn gone(&self, chat: ChatAt) -> Option<MessageId> {
        let rows = &self.state.rows;
        let state = rows.state(chat_id(chat))?;
        let history = rows.history(chat_id(chat));
        let there = |id: &MessageId| history.binary_search_by_key(id, |message| message.id).is_ok();
        let queued = |id: &MessageId| state.queue.iter().any(|queued| queued.id == *id);
        (1..=state.last_id.0).rev().map(MessageId).find(|id| !there(id) && !queued(id))
    }

    /// The judges are told what is on the screen of a viewer that comes with less than all it has seen.
    pub(crate) fn recall(&mut self, at: ViewerAt, claim: &Claim) {
        let Some(kept) = claim.recalled else { return };
        let viewer = &mut self.state.viewers[usize::from(at.0)];
        let (name, chat, mut memory) = (viewer.name.clone(), viewer.chat, (*viewer.memory).clone());
        let caller = viewer.caller.clone();
        memory.events.truncate(kept);
        memory.full = false;
        viewer.memory = Hashed::new(memory.clone());
        let (on, stream): (Name, _) = (NOWHERE.into(), self.next_stream());
        let (viewer, from, chat) = (name, memory.began, chat_id(chat));
        self.observe(Evidence::Watches { stream, viewer, caller, chat, on, from });
        for event in memory.events {
            self.observe(Evidence::Saw { stream, event });
        }
        self.observe(Evidence::StreamEnded { stream, how: StreamEnd::Broken });
    }

    /// A viewer sees an event, and remembers it where anything is claimed.
    pub(crate) fn remember(&mut self, at: ViewerAt, event: &StreamEvent) {
        let viewer = &mut self.state.viewers[usize::from(at.0)];
        if self.setup.budget.claims == 0 || viewer.memory.full {
            return;
        }
        match viewer.memory.len() < REMEMBERED_MAX {
            true => viewer.memory.events.push(event.clone()),
            false => viewer.memory.full = true,
        }
    }

    /// A viewer that has seen nothing comes to have what another one of its chat has.
    pub(crate) fn share(&mut self, of: ViewerAt, to: ViewerAt) {
        let Some(one) = self.state.viewers.get(usize::from(of.0)) else { return };
        let (chat, memory, cursor) = (one.chat, one.memory.clone(), one.cursor);
        let Some(other) = self.state.viewers.get_mut(usize::from(to.0)) else { return };
        if other.chat == chat && other.stream.is_none() && other.cursor.is_none() {
            (other.memory, other.cursor) = (memory, cursor);
        }
    }
}
