//! The relay between replicas: dials, frames and links, and notices on the bus.

use std::collections::VecDeque;

use mainstem_machine::hub::{AudienceEvent, BusEvent, HubEvent, Input, JoinedParts, RelayEvent, Told};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{DialId, FollowerId, RelayFault, RelayPosition, ReplicaId};
use mainstem_oracles::{Evidence, FaultKind};

use crate::choice::{ChatAt, NodeAt};
use crate::hashed::Hashed;
use crate::node::{Label, Life, Link, LinkStage, Node, Open};
use crate::world::{World, chat_at, chat_id};

/// Frames that fit a link. A worker whose follower takes nothing waits.
pub(crate) const FRAMES_MAX: usize = 2;

impl World {
    pub(crate) fn dial(
        &mut self,
        node: NodeAt,
        chat: ChatAt,
        dial: DialId,
        worker: &ReplicaId,
        address: &str,
        position: Option<RelayPosition>,
    ) {
        self.part(node, chat);
        let is_there =
            |node: &Hashed<Node>| node.id == *worker && node.row.address == address && node.is_there();
        let at = self.state.nodes.iter().position(is_there);
        let worker_at = at.map(|at| NodeAt(at as u8));
        let (from, to) = (self.name(node), worker.clone().into());
        self.observe(Evidence::Dialed { from, to });
        let link = Link {
            dial,
            worker: worker_at,
            stage: LinkStage::Dialing(position),
            frames: VecDeque::new(),
            idle: false,
            held: false,
        };
        if let Some(open) = self.node(node).hubs.get_mut(&chat) {
            open.link = Some(link);
        }
    }

    pub(crate) fn close_dial(&mut self, node: NodeAt, chat: ChatAt, dial: DialId) {
        let present = self.link(node, chat).map(|link| link.dial);
        assert_eq!(present, Some(dial), "B2: a hub closes what is open, once");
        self.part(node, chat);
    }

    /// Takes the link of a hub away; its worker hears of it.
    pub(crate) fn part(&mut self, node: NodeAt, chat: ChatAt) {
        let link = self.node(node).hubs.get_mut(&chat).and_then(|open| open.link.take());
        if let Some(Link { worker: Some(worker), stage: LinkStage::Following(Label(follower)), .. }) = link {
            self.handle(worker, chat, HubEvent::Audience(AudienceEvent::Unfollow { follower }));
        }
    }

    fn link(&mut self, node: NodeAt, chat: ChatAt) -> Option<&mut Link> {
        self.state.nodes.get_mut(usize::from(node.0))?.hubs.get_mut(&chat)?.link.as_mut()
    }

    pub(crate) fn answer_dial(&mut self, node: NodeAt, chat: ChatAt) {
        let Some(&mut Link { dial, worker, stage: LinkStage::Dialing(position), .. }) = self.link(node, chat)
        else {
            return;
        };
        if !self.peek(node).is_some_and(|node| node.is_up()) {
            return;
        }
        let worker = worker.filter(|worker| self.state.nodes[usize::from(worker.0)].is_there());
        let Some(worker) = worker else { return self.lose_link(node, chat, dial, RelayFault::Gone) };
        if self.state.nodes[usize::from(worker.0)].life == Life::Paused {
            return;
        }
        if self.state.nodes[usize::from(node.0)].amiss != self.state.nodes[usize::from(worker.0)].amiss {
            let (from, to) = (self.name(node), self.name(worker));
            self.observe(Evidence::Denies { from, to });
            return self.lose_link(node, chat, dial, RelayFault::Denied);
        }
        let now = self.local(worker);
        let there = self.node(worker);
        if there.replica.works_on(chat_id(chat)) {
            let config = there.config.clone();
            there.hubs.entry(chat).or_insert_with(|| Hashed::new(Open::new(now, config)));
        }
        let Some(open) = there.hubs.get_mut(&chat).filter(|open| !open.hub.is_finished()) else {
            return self.lose_link(node, chat, dial, RelayFault::NotWorker);
        };
        let follower = FollowerId(open.next_id());
        if let Some(link) = self.link(node, chat) {
            link.stage = LinkStage::Following(Label(follower));
        }
        self.handle(worker, chat, HubEvent::Audience(AudienceEvent::Follow { follower, position }));
        self.handle(node, chat, HubEvent::Relay(RelayEvent::Dialed { dial }));
    }

    fn lose_link(&mut self, node: NodeAt, chat: ChatAt, dial: DialId, fault: RelayFault) {
        self.part(node, chat);
        self.handle(node, chat, HubEvent::Relay(RelayEvent::Gone { dial, fault }));
    }

    /// Whether the worker of a link has, or may have, a frame for it.
    pub(crate) fn may_relay(&self, node: NodeAt, chat: ChatAt) -> bool {
        let link = self.peek(node).and_then(|node| node.hubs.get(&chat)?.link.as_ref());
        link.is_some_and(|link| match link.stage {
            LinkStage::Dialing(_) => false,
            LinkStage::Over => true,
            LinkStage::Following(_) => {
                let awake =
                    link.worker.and_then(|worker| self.peek(worker)).is_some_and(|worker| worker.is_up());
                !link.frames.is_empty() || (!link.idle && awake)
            }
        })
    }

    /// The worker sends what it has, and the follower takes one frame.
    pub(crate) fn relay(&mut self, node: NodeAt, chat: ChatAt) {
        if !self.may_relay(node, chat) || !self.peek(node).is_some_and(|node| node.is_up()) {
            return;
        }
        self.fill(node, chat);
        let Some(link) = self.link(node, chat) else { return };
        let (dial, over) = (link.dial, link.stage == LinkStage::Over);
        match link.frames.pop_front() {
            Some(frame) => self.handle(node, chat, HubEvent::Relay(RelayEvent::Relayed { dial, frame })),
            None if over => self.lose_link(node, chat, dial, RelayFault::Gone),
            None => {}
        }
    }

    /// The worker puts frames on the link, as many as fit.
    pub(crate) fn fill(&mut self, node: NodeAt, chat: ChatAt) {
        loop {
            let Some(link) = self.link(node, chat) else { return };
            let (Some(worker), LinkStage::Following(Label(follower))) = (link.worker, link.stage) else {
                return;
            };
            if link.frames.len() >= FRAMES_MAX || link.idle {
                return;
            }
            let now = self.local(worker);
            let there = &mut self.state.nodes[usize::from(worker.0)];
            if !there.is_up() {
                return;
            }
            let (frame, over) = match there.hubs.get_mut(&chat) {
                Some(open) => {
                    let input = Input { at: now, what: Told::NextFrame(follower) };
                    let mut said = open.hub.take(input, &mut JoinedParts::default());
                    let (frame, over) = (said.frame.take(), open.hub.is_over_for(follower));
                    self.settle_hub(worker, chat, said);
                    (frame, over)
                }
                None => (None, true),
            };
            let Some(link) = self.link(node, chat) else { return };
            match frame {
                Some(frame) => link.frames.push_back(frame),
                None if over => {
                    link.stage = LinkStage::Over;
                    self.handle(worker, chat, HubEvent::Audience(AudienceEvent::Unfollow { follower }));
                }
                None => link.idle = true,
            }
        }
    }

    pub(crate) fn hold_link(&mut self, node: NodeAt, chat: ChatAt) {
        if self.state.budget.delays == 0 {
            return;
        }
        let Some(link) = self.link(node, chat).filter(|link| !link.held) else { return };
        link.held = true;
        let worker = link.worker;
        // What was sent before it became slow is under way.
        self.fill(node, chat);
        self.state.budget.delays -= 1;
        self.strike_link(node, worker, FaultKind::LinkSlow);
    }

    pub(crate) fn break_link(&mut self, node: NodeAt, chat: ChatAt) {
        let Some(link) = self.link(node, chat) else { return };
        let (worker, dial) = (link.worker, link.dial);
        if self.take_fault() {
            self.strike_link(node, worker, FaultKind::Reset);
            self.lose_link(node, chat, dial, RelayFault::Gone);
        }
    }

    fn strike_link(&mut self, node: NodeAt, worker: Option<NodeAt>, fault: FaultKind) {
        let worker = worker.map_or_else(|| "nobody".into(), |worker| self.name(worker));
        let who = self.name(node);
        self.fault(fault, who, Some(worker));
    }

    pub(crate) fn take_notice(&mut self, node: NodeAt, again: bool) {
        if !self.peek(node).is_some_and(|node| node.is_up()) || (again && !self.take_fault()) {
            return;
        }
        let Some(notice) = self.node(node).notices.pop_front() else { return };
        if again {
            self.node(node).notices.push_back(notice.clone());
        }
        let chat = chat_at(notice.chat);
        if self.node(node).hubs.get(&chat).is_some_and(|open| open.bus) {
            self.handle(node, chat, notice.event());
        }
        if notice.free && self.node(node).work_bus {
            let (chat, status) = (notice.chat, notice.status);
            self.tell_replica(node, ReplicaEvent::Free { chat, status });
        }
    }

    pub(crate) fn lose_notice(&mut self, node: NodeAt) {
        if self.peek(node).is_some_and(|node| !node.notices.is_empty()) && self.take_fault() {
            self.node(node).notices.pop_front();
            let who = self.name(node);
            self.fault(FaultKind::NoticeLost, who, None);
        }
    }

    pub(crate) fn hold_notices(&mut self, node: NodeAt) {
        let waiting = self.peek(node).is_some_and(|node| !node.notices.is_empty() && !node.notices_held);
        if waiting && self.state.budget.delays > 0 {
            self.state.budget.delays -= 1;
            self.node(node).notices_held = true;
            let who = self.name(node);
            self.fault(FaultKind::NoticeLate, who, None);
        }
    }

    pub(crate) fn break_bus(&mut self, node: NodeAt) {
        if !self.peek(node).is_some_and(|node| node.is_up()) || !self.take_fault() {
            return;
        }
        let who = self.name(node);
        self.fault(FaultKind::BusLost, who, None);
        let here = self.node(node);
        here.notices.clear();
        let listening: Vec<_> = here
            .hubs
            .iter_mut()
            .filter_map(|(chat, open)| std::mem::take(&mut open.bus).then_some(*chat))
            .collect();
        let work = std::mem::take(&mut here.work_bus);
        for chat in listening {
            self.handle(node, chat, HubEvent::Bus(BusEvent::Lost));
        }
        if work {
            self.tell_replica(node, ReplicaEvent::BusLost);
        }
    }
}
