//! Viewers, and their streams.

use mainstem_machine::hub::{AudienceEvent, HubEvent, Input, Told as Heard};
use mainstem_machine::{Ending, SubscriptionId};
use mainstem_oracles::{Begin, Evidence, FaultKind, StreamEnd};

use crate::choice::{From, NodeAt, ViewerAt};
use crate::claims::Memory;
use crate::hashed::Hashed;
use crate::node::{Label, Open};
use crate::trace::Told;
use crate::world::{Stream, Viewer, World, chat_id};

impl World {
    fn viewer(&mut self, at: ViewerAt) -> Option<&mut Viewer> {
        self.state.viewers.get_mut(usize::from(at.0))
    }

    /// A viewer begins a stream at a replica.
    pub(crate) fn watch(&mut self, at: ViewerAt, node: NodeAt, from: From) {
        let Some(viewer) = self.viewer(at) else { return };
        let (chat, name, caller) = (viewer.chat, viewer.name.clone(), viewer.caller.clone());
        let free = viewer.stream.is_none() && !viewer.over;
        let Some(here) = self.peek(node) else { return };
        let is_there = self.state.rows.state(chat_id(chat)).is_some_and(|state| state.is_there_for(&caller));
        let admits = here.is_up() && !here.drain.has_begun() && is_there;
        if !free || !admits || self.state.budget.moves == 0 {
            return;
        }
        let Some(claim) = self.claim(at, from) else { return };
        self.state.budget.claims -= u16::from(from.is_a_claim());
        self.state.budget.moves -= 1;
        self.recall(at, &claim);
        let (begin, resume) = (claim.begin, claim.resume());
        let (id, on) = (self.next_stream(), self.name(node));
        let (viewer, of) = (name, chat_id(chat));
        self.observe(Evidence::Watches {
            stream: id,
            viewer,
            caller: caller.clone(),
            chat: of,
            on,
            from: begin,
        });
        let now = self.local(node);
        let here = self.node(node);
        let config = here.config.clone();
        let open = here.hubs.entry(chat).or_insert_with(|| Hashed::new(Open::new(now, config)));
        let subscription = SubscriptionId(open.next_id());
        let viewer = &mut self.state.viewers[usize::from(at.0)];
        viewer.stream = Some(Stream { on: node, subscription, id: Label(id), idle: false });
        viewer.cursor = match begin {
            Begin::At(cursor) => Some(cursor),
            // An old cursor does not fit a screen that begins anew.
            Begin::Fresh | Begin::After(_) => {
                viewer.memory = Memory::of(begin);
                None
            }
        };
        let comes = AudienceEvent::Subscribe { subscription, from: resume, user: Some(caller) };
        self.handle(node, chat, HubEvent::Audience(comes));
    }

    /// A viewer's stream is sent its next event. `lost`: it breaks before the event comes.
    pub(crate) fn read(&mut self, at: ViewerAt, lost: bool) {
        let Some(viewer) = self.viewer(at) else { return };
        let Some(Stream { on, subscription, id: Label(id), .. }) = viewer.stream.clone() else { return };
        let chat = viewer.chat;
        if !self.peek(on).is_some_and(|node| node.is_up()) || (lost && !self.take_fault()) {
            return;
        }
        let alone = self.laws.then(|| self.told_alone(on, chat, subscription));
        let (now, mut joined) = (self.local(on), std::mem::take(&mut self.joined));
        let (mut said, ending) = match self.node(on).hubs.get_mut(&chat) {
            Some(open) => {
                let input = Input { at: now, what: Heard::NextEvent(subscription) };
                let said = open.hub.take(input, &mut joined);
                (Some(said), open.hub.ending_for(subscription))
            }
            None => (None, Some(Ending::Leaving)),
        };
        let event = said.as_mut().and_then(|said| said.event.take());
        if let Some(alone) = alone {
            assert_eq!(event, alone, "S2: what viewers share of an event changes nothing of it");
            self.joined = joined;
        }
        if let Some(said) = said {
            self.settle_hub(on, chat, said);
        }
        match event {
            Some(event) => {
                self.observe(Evidence::Sent { stream: id, event: event.clone() });
                if lost {
                    return self.end_stream(at, StreamEnd::Broken);
                }
                self.state.viewers[usize::from(at.0)].cursor = Some(event.cursor);
                self.remember(at, &event);
                self.note(Told::Happened, || (at.to_string(), format!("{:?}", event.body)));
                self.observe(Evidence::Saw { stream: id, event });
            }
            None if lost => self.end_stream(at, StreamEnd::Broken),
            None => match ending {
                Some(Ending::Deleted) => {
                    self.state.viewers[usize::from(at.0)].over = true;
                    self.end_stream(at, StreamEnd::Deleted);
                }
                // It comes back when the chat is shared with it again.
                Some(Ending::Unshared) => self.end_stream(at, StreamEnd::Unshared),
                Some(Ending::Leaving) => self.end_stream(at, StreamEnd::Leaving),
                None => {
                    if let Some(stream) = &mut self.state.viewers[usize::from(at.0)].stream {
                        stream.idle = true;
                    }
                }
            },
        }
    }

    /// A viewer goes.
    pub(crate) fn leave(&mut self, at: ViewerAt) {
        let watches = self.viewer(at).is_some_and(|viewer| viewer.stream.is_some());
        if watches && self.state.budget.moves > 0 {
            self.state.budget.moves -= 1;
            self.end_stream(at, StreamEnd::Broken);
        }
    }

    /// A viewer reads nothing for a while.
    pub(crate) fn stall(&mut self, at: ViewerAt) {
        let Some(viewer) = self.viewer(at).filter(|viewer| viewer.stream.is_some() && !viewer.stalled) else {
            return;
        };
        let who = viewer.name.clone();
        if self.state.budget.delays > 0 {
            self.state.budget.delays -= 1;
            self.state.viewers[usize::from(at.0)].stalled = true;
            self.fault(FaultKind::ViewerStopsReading, who, None);
        }
    }

    pub(crate) fn end_stream(&mut self, at: ViewerAt, how: StreamEnd) {
        let Some(viewer) = self.viewer(at) else { return };
        let chat = viewer.chat;
        viewer.stalled = false;
        let Some(Stream { on, subscription, id, .. }) = viewer.stream.take() else { return };
        self.note(Told::Happened, || (at.to_string(), format!("its stream ends: {how:?}")));
        self.observe(Evidence::StreamEnded { stream: id.0, how });
        self.handle(on, chat, HubEvent::Audience(AudienceEvent::Leave { subscription }));
    }
}
