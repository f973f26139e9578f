//! The recovery phase: everything in flight arrives, the database answers, leases expire, chats are acquired,
//! and the model ends. Then every viewer has what the database has (L1), and nothing is left after the
//! viewers leave (B2).

use std::time::Duration;

use mainstem_machine::Status;
use mainstem_machine::hub::{ChatEvent, HubEvent};

use crate::node::{Link, Node};
use crate::step::{How, Step};
use crate::viewers::Viewer;
use crate::world::World;

/// Rounds within which everything in flight arrives, without time passing (L4).
const ROUNDS_MAX: usize = 300;
/// Frames of one worker, without anything being generated.
const FRAMES_MAX: usize = 1000;
/// Steps of time within which the chat is acquired, or comes to rest.
const RECOVERY_MAX: usize = 200;

impl World {
    /// Delivers all answers and hints of the database to one node. Returns whether there were any.
    pub(crate) fn settle_database(&mut self, node: usize) -> bool {
        let mut moved = false;
        for _ in 0..ROUNDS_MAX {
            let hints = std::mem::take(&mut self.nodes[node].hints);
            if self.nodes[node].pending.is_empty() && hints.is_empty() {
                return moved;
            }
            moved = true;
            for snapshot_version in hints {
                self.handle(node, HubEvent::Chat(ChatEvent::Hint { snapshot_version }));
            }
            if !self.nodes[node].pending.is_empty() {
                self.answer(node, 0, How::Done);
            }
        }
        panic!("L4: without time passing, the database is asked for ever");
    }

    /// Delivers everything in flight, until nothing is.
    pub(crate) fn flow(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for node in 0..2 {
                moved |= self.settle_database(node);
                for at in 0..self.nodes[node].connections.len() {
                    moved |= self.flow_along(node, at);
                }
            }
            for at in 0..self.viewers.len() {
                moved |= self.view(at, 8);
            }
            if !moved {
                return;
            }
        }
        panic!("L4: without time passing, there is no end of it");
    }

    fn flow_along(&mut self, node: usize, at: usize) -> bool {
        let mut moved = false;
        if self.nodes[node].connections.get(at).is_some_and(|c| c.link == Link::Dialing) {
            self.answer_dial(node, at, true);
            moved = true;
        }
        // A hub that has ended has dropped its connections.
        let mut frames = 0;
        while at < self.nodes[node].connections.len() && self.carry(node, at, false) {
            moved = true;
            frames += 1;
            assert!(frames < FRAMES_MAX, "L4: a worker relays without end");
        }
        while self.deliver(node, at) {
            moved = true;
        }
        moved
    }

    /// Advances time to the next deadline, by a second at most, and wakes every hub that is due.
    pub(crate) fn pass(&mut self) {
        let next = self.nodes.iter().filter_map(|node| node.hub.as_ref()?.poll_timeout());
        let soonest = next.map(|deadline| deadline.at).min();
        let second = self.now + Duration::from_secs(1);
        self.now = soonest.map_or(second, |at| at.clamp(self.now, second));
        for node in 0..2 {
            let due = |node: &Node| node.hub.as_ref().and_then(|hub| hub.poll_timeout());
            if due(&self.nodes[node]).is_some_and(|deadline| deadline.at <= self.now) {
                self.handle(node, HubEvent::Wake);
            }
        }
    }

    /// One round of a healthy cluster.
    fn live(&mut self) {
        self.pass();
        for node in 0..2 {
            self.assign(node);
            self.heartbeat(node, false);
            self.sync(node);
        }
        if self.database.is_free(self.now) {
            let idle = self.nodes.iter().position(|node| node.held.is_none());
            if let Some(node) = idle {
                self.acquire(node, true, false);
            }
        }
        self.flow();
    }

    fn at_work(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.model.is_some())
    }

    pub(crate) fn recover(&mut self) {
        self.note(|| "* heal".into());
        self.hear();
        for _ in 0..RECOVERY_MAX {
            let rests = self.database.is_deleted() || !self.database.state().status.is_runnable();
            if rests || self.at_work().is_some_and(|node| self.works(node)) {
                break;
            }
            self.live();
        }
        self.show_parts();
        for _ in 0..RECOVERY_MAX {
            if self.database.is_deleted() || !self.database.state().status.is_runnable() {
                break;
            }
            if let Some(node) = self.at_work() {
                self.take(Step::Part { node, size: 3 });
                self.take(Step::Finish { node });
            }
            self.live();
        }
        self.sync(0);
        self.sync(1);
        self.flow();
        self.converge();
        self.part();
    }

    /// A hub that gets all notices is up to date without a sync (L1, R19).
    fn hear(&mut self) {
        for _ in 0..5 {
            self.flow();
            self.pass();
        }
        self.flow();
        let version = self.database.state().snapshot_version;
        for node in self.nodes.iter().filter(|node| node.established && !node.missed) {
            let Some(hub) = node.hub.as_ref().filter(|hub| hub.ending().is_none()) else { continue };
            assert_eq!(hub.snapshot_version(), version, "L1: it got the notice and has not read the change");
        }
    }

    fn works(&self, node: usize) -> bool {
        let (node, held) = (&self.nodes[node], &self.nodes[node].held);
        let model = node.model.expect("it is at work");
        held.as_ref().is_some_and(|held| self.database.wants(model.episode, held.lease))
    }

    /// Every viewer sees what is being generated (L1).
    fn show_parts(&mut self) {
        for _ in 0..8 {
            self.live();
        }
        let Some(worker) = self.at_work() else { return };
        self.take(Step::Part { node: worker, size: 3 });
        // Relays with invalid frames are detected now, and dialed again.
        for _ in 0..3 {
            self.live();
        }
        let Some(model) = self.nodes[worker].model.filter(|_| self.works(worker)) else { return };
        let produced = &self.database.produced[&model.episode];
        for viewer in &self.viewers {
            let preview = self.court.view(&viewer.name).preview.as_ref();
            let shown = preview.filter(|p| p.episode == model.episode).map(|p| p.blocks.text());
            assert_eq!(
                shown.unwrap_or_default(),
                produced.text(),
                "L1: {} sees what is generated",
                viewer.name
            );
        }
    }

    fn converge(&mut self) {
        if self.database.is_deleted() {
            for viewer in &self.viewers {
                let ending = self.nodes[viewer.node].hub.as_ref().and_then(|hub| hub.ending());
                assert!(ending.is_some(), "L1: the streams of a deleted chat end");
            }
            return;
        }
        let entry = self.database.last();
        let status = entry.state.status;
        assert!(matches!(status, Status::Waiting | Status::Error), "L2, L3: the chat stays {status:?}");
        for Viewer { name, .. } in &self.viewers {
            let view = self.court.view(name);
            assert!(view.synced, "L1: {name} is never synced");
            assert!(view.preview.is_none(), "L1: {name} keeps a preview of what is over");
            assert_eq!(view.difference(&entry.state, &entry.messages), None, "L1: {name}");
        }
    }

    /// When everybody has gone, nothing is left.
    fn part(&mut self) {
        while !self.viewers.is_empty() {
            self.leave(0);
        }
        for _ in 0..RECOVERY_MAX {
            if self.nodes.iter().all(|node| node.hub.is_none()) {
                return;
            }
            self.pass();
            self.flow();
        }
        panic!("B2: a hub stays though nobody cares");
    }
}
