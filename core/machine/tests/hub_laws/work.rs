//! Leases and the model: acquisitions, confirmations, and what the model generates.

use mainstem_machine::hub::{ChatEvent, HubEvent, LeaseEvent, ModelEvent};
use mainstem_machine::{Command, Lease, Time};
use mainstem_oracles::Evidence;

use crate::court::end_of;
use crate::database::{CHAT, LEASE_TTL};
use crate::node::{Held, Model};
use crate::world::World;

impl World {
    pub(crate) fn is_suspended(&self, node: usize) -> bool {
        self.nodes[node].held.as_ref().is_some_and(|held| held.confirmed_at + LEASE_TTL <= self.now)
    }

    pub(crate) fn acquire(&mut self, node: usize, has_slot: bool, late: bool) {
        if self.nodes[node].held.is_some() || self.nodes[node].acquired.is_some() {
            return;
        }
        let replica = self.nodes[node].id.clone();
        if let Ok(state) = self.commit(&Command::Acquire { replica, interrupting_only: !has_slot }) {
            self.nodes[node].acquired = Some((state, self.now, has_slot));
            if !late {
                self.assign(node);
            }
        }
    }

    pub(crate) fn assign(&mut self, node: usize) {
        let Some((state, asked_at, has_slot)) = self.nodes[node].acquired.take() else { return };
        let lease = state.lease;
        self.nodes[node].held =
            Some(Held { lease, confirmed_at: asked_at, was_confirmed_at: asked_at, handing_over: !has_slot });
        self.hub(node);
        self.handle(node, HubEvent::Lease(LeaseEvent::Acquired { state, asked_at, has_slot }));
    }

    pub(crate) fn hand_over(&mut self, node: usize, event: HubEvent) {
        if let Some(held) = &mut self.nodes[node].held {
            held.handing_over = true;
        }
        self.court.drains(self.now, &self.nodes[node].id);
        self.handle(node, event);
    }

    pub(crate) fn heartbeat(&mut self, node: usize, late: bool) {
        let Some(Held { lease, .. }) = self.nodes[node].held else { return };
        let id = self.nodes[node].id.clone();
        if !self.database.renew(self.now, &id, lease) {
            return self.handle(node, HubEvent::Lease(LeaseEvent::Lost { lease }));
        }
        let sent = self.now;
        self.court.tell(self.now, Evidence::Confirmed { replica: id, chat: CHAT, lease, sent });
        if late {
            self.nodes[node].heartbeats.push((lease, self.now));
        } else {
            self.confirm(node, lease, self.now);
        }
    }

    pub(crate) fn confirm(&mut self, node: usize, lease: Lease, sent_at: Time) {
        if let Some(held) = self.nodes[node].held.as_mut().filter(|held| held.lease == lease) {
            held.was_confirmed_at = held.confirmed_at;
            held.confirmed_at = held.confirmed_at.max(sent_at);
        }
        let (replica, sent) = (self.nodes[node].id.clone(), sent_at);
        self.court.tell(self.now, Evidence::Assured { replica, chat: CHAT, lease, sent });
        self.handle(node, HubEvent::Lease(LeaseEvent::Confirmed { lease, sent_at }));
        if let Some(held) = &mut self.nodes[node].held {
            held.was_confirmed_at = held.confirmed_at;
        }
    }

    pub(crate) fn sync(&mut self, node: usize) {
        let snapshot_version = self.database.state().snapshot_version;
        let gone = self.database.is_deleted();
        self.handle(
            node,
            if gone {
                HubEvent::Chat(ChatEvent::NotFound)
            } else {
                HubEvent::Chat(ChatEvent::Hint { snapshot_version })
            },
        );
    }

    /// The model generates a part. It is kept unless the hub cancels the run at the same moment.
    pub(crate) fn generate(&mut self, node: usize, size: usize) {
        let Some(Model { generation, episode }) = self.nodes[node].model else { return };
        self.parts += 1;
        // Every fourth part has the same text: equal text does not mean a repeated part.
        let text = if self.parts.is_multiple_of(4) { "é ".into() } else { format!("{} ", self.parts) };
        let text: String = text.chars().chain(std::iter::repeat_n('.', size)).take(size.max(2)).collect();
        let held = self.database.produced[&episode].text().len();
        let outgrown = held + text.len() > self.episode_bytes_max;
        self.nodes[node].outgrown = outgrown;
        self.court.said(self.now, episode, None, &text);
        self.handle(
            node,
            HubEvent::Model(ModelEvent::Generated { generation, begins: None, text: text.clone() }),
        );
        self.nodes[node].outgrown = false;
        if self.nodes[node].model.is_some_and(|model| model.generation == generation) {
            assert!(!outgrown, "B1: an answer is bounded");
            self.database.produced.get_mut(&episode).expect("it began").parts.push(text);
        }
    }

    /// The model's run ends, unless the hub cancels it at the same moment; another one may have begun.
    pub(crate) fn end(&mut self, node: usize, event: HubEvent) {
        let ended = self.nodes[node].model;
        if let (Some(model), HubEvent::Model(event)) = (ended, &event)
            && let Some(how) = end_of(event)
        {
            self.court.ended(self.now, model.episode, how);
        }
        self.handle(node, event);
        let model = &mut self.nodes[node].model;
        model.take_if(|model| ended.is_some_and(|ended| ended.generation == model.generation));
    }
}
