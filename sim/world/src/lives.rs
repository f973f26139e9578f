//! Processes that die, stand still, start and drain; and time.

use std::time::Duration;

use mainstem_machine::Time;
use mainstem_machine::announce::Notice;
use mainstem_machine::drain::{Drain, DrainAction, DrainEvent};
use mainstem_machine::hub::{AudienceEvent, HubEvent, LeavingEvent};
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::replica::{Replica, ReplicaConfig, ReplicaEvent};
use mainstem_oracles::{Evidence, FaultKind, Guarantee, Life as Lived, RunEnd, StreamEnd};
use mainstem_story::TOOL_TIMEOUT;

use crate::choice::{NodeAt, ViewerAt};
use crate::hashed::Hashed;
use crate::node::{Life, LinkStage, Node, Operation, Stage, Task};
use crate::world::World;

/// Times in a row that something may be due without time passing.
const STUCK_MAX: u16 = 100;

/// How long turns may go on in a drain, if it is not chosen that they may not.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    fn life(&self, node: NodeAt) -> Option<Life> {
        self.peek(node).map(|node| node.life)
    }

    /// A process starts, perhaps with another secret than its peers.
    pub(crate) fn start(&mut self, node: NodeAt, amiss: bool) {
        if self.life(node) != Some(Life::Down) {
            return;
        }
        let (now, setup) = (self.local(node), self.setup.clone());
        let here = self.node(node);
        let config = ReplicaConfig {
            replica: here.id.clone(),
            workers: setup.workers,
            heartbeat: setup.heartbeat(),
            poll_interval: setup.poll_interval,
        };
        here.replica = Hashed::new(Replica::new(now, config));
        // It is reached elsewhere than before.
        here.row = Node::row_at(&here.id, u8::from(here.row.address.ends_with('0')));
        (here.life, here.drain, here.amiss) = (Life::Up, Drain::default(), amiss);
        self.lived(node, Lived::Up);
        self.tell_replica(node, ReplicaEvent::Wake);
    }

    /// A process starts with another secret than its peers.
    pub(crate) fn start_amiss(&mut self, node: NodeAt) {
        if self.life(node) == Some(Life::Down) && self.state.budget.strangers > 0 && self.take_fault() {
            self.state.budget.strangers -= 1;
            let who = self.name(node);
            self.fault(FaultKind::AnotherSecret, who, None);
            self.start(node, true);
        }
    }

    /// Whoever has another secret starts again with that of its peers.
    pub(crate) fn start_aright(&mut self, node: NodeAt) {
        if self.peek(node).is_some_and(|here| here.is_there() && here.amiss) {
            self.take_down(node, Life::Down);
            self.start(node, false);
        }
    }

    /// A process dies.
    pub(crate) fn crash(&mut self, node: NodeAt, into: Life) {
        let there = self.peek(node).is_some_and(Node::is_there);
        if there && (into != Life::Lost || self.may_be_lost(node)) && self.take_fault() {
            self.take_down(node, into);
        }
    }

    fn take_down(&mut self, node: NodeAt, into: Life) {
        self.lived(node, Lived::Crashed);
        let here = self.node(node);
        let hubs = std::mem::take(&mut here.hubs);
        let operations = std::mem::take(&mut here.operations);
        here.notices.clear();
        (here.life, here.work_bus, here.notices_held) = (into, false, false);
        for (chat, open) in hubs {
            let open = open.into_inner();
            if let Some(model) = open.model {
                self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Cancelled });
            }
            if let Some(link) = open.link
                && let (Some(worker), LinkStage::Following(follower)) = (link.worker, link.stage)
            {
                self.handle(
                    worker,
                    chat,
                    HubEvent::Audience(AudienceEvent::Unfollow { follower: follower.0 }),
                );
            }
        }
        for operation in operations {
            if let Task::User(at, _) = operation.task {
                self.lose_ask(at);
            }
            if operation.stage == Stage::Asked {
                self.go_astray(node, operation);
            }
        }
        for other in &mut self.state.nodes {
            for link in other.hubs.values_mut().filter_map(|open| open.link.as_mut()) {
                if link.worker != Some(node) {
                    continue;
                }
                match link.stage {
                    LinkStage::Following(_) => link.stage = LinkStage::Over,
                    // Whoever starts next is reached elsewhere.
                    LinkStage::Dialing(_) => link.worker = None,
                    LinkStage::Over => {}
                }
            }
        }
        self.cut_streams(node, StreamEnd::Broken);
    }

    fn cut_streams(&mut self, node: NodeAt, how: StreamEnd) {
        for at in 0..self.state.viewers.len() {
            let stream = self.state.viewers[at].stream.as_ref();
            if stream.is_some_and(|stream| stream.on == node) {
                self.end_stream(ViewerAt(at as u8), how);
            }
        }
    }

    /// A process stands still.
    pub(crate) fn pause(&mut self, node: NodeAt) {
        if self.life(node) == Some(Life::Up) && self.take_fault() {
            self.node(node).life = Life::Paused;
            let who = self.name(node);
            self.fault(FaultKind::Pause, who, None);
            self.lived(node, Lived::Paused);
        }
    }

    /// A process goes on.
    pub(crate) fn resume(&mut self, node: NodeAt) {
        if self.life(node) == Some(Life::Paused) {
            self.node(node).life = Life::Up;
            self.lived(node, Lived::Resumed);
            self.time_out(node);
            self.time_out_calls(node);
            self.wake(node);
        }
    }

    /// A replica begins to drain.
    pub(crate) fn drain(&mut self, node: NodeAt) {
        let Some(here) = self.peek(node) else { return };
        if here.is_up() && !here.drain.has_begun() && self.take_fault() {
            self.lived(node, Lived::Draining);
            self.may_finish(node, DRAIN_TIMEOUT);
        }
    }

    /// A draining replica waits no longer for turns to end. When that is depends on how it was set up.
    pub(crate) fn hand_over(&mut self, node: NodeAt) {
        if self.peek(node).is_some_and(|node| node.is_up() && node.drain.is_patient()) {
            self.may_finish(node, Duration::ZERO);
        }
    }

    fn may_finish(&mut self, node: NodeAt, limit: Duration) {
        let now = self.local(node);
        self.node(node).drain.handle(now, DrainEvent::Begin { limit });
    }

    /// Tells each replica that drains how things stand, and carries out what it asks for.
    pub(crate) fn settle_drains(&mut self) {
        for at in 0..self.state.nodes.len() {
            let node = &self.state.nodes[at];
            if node.is_up() && node.drain.has_begun() {
                self.settle_drain(NodeAt(at as u8));
            }
        }
    }

    fn settle_drain(&mut self, node: NodeAt) {
        loop {
            let now = self.local(node);
            let here = self.node(node);
            let is_drained = here.replica.is_drained();
            let is_publish = |operation: &Operation| matches!(operation.task, Task::Publish(_));
            let is_announced = !here.operations.iter().any(is_publish);
            here.drain.handle(now, DrainEvent::Seen { is_drained, is_announced });
            match here.drain.poll_action() {
                Some(DrainAction::ToReplica(event)) => self.tell_replica(node, event),
                Some(DrainAction::ToHubs(event)) => {
                    self.tell_hubs(node, &event);
                    if event == HubEvent::Leaving(LeavingEvent::Close) {
                        self.cut_streams(node, StreamEnd::Leaving);
                    }
                }
                // It ends when that is chosen.
                Some(DrainAction::Part | DrainAction::Late(_)) => {}
                None => return,
            }
        }
    }

    /// Whether a drain has come so far that the process may end.
    pub(crate) fn may_exit(&self, node: NodeAt) -> bool {
        self.peek(node).is_some_and(|node| node.is_up() && node.drain.is_parting())
    }

    /// A replica that has drained ends.
    pub(crate) fn exit(&mut self, node: NodeAt) {
        if self.may_exit(node) {
            self.take_down(node, Life::Down);
        }
    }

    fn tell_hubs(&mut self, node: NodeAt, event: &HubEvent) {
        let chats: Vec<_> = self.node(node).hubs.keys().copied().collect();
        for chat in chats {
            self.handle(node, chat, event.clone());
        }
    }

    /// Whether something is due, now or later, at any replica that is up.
    pub(crate) fn is_anything_due(&self) -> bool {
        self.deadlines().next().is_some()
    }

    /// When something is due next, at any replica that is up.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines().min()
    }

    fn deadlines(&self) -> impl Iterator<Item = Time> {
        let up = self.state.nodes.iter().filter(|node| node.is_up());
        up.flat_map(|node| {
            let hubs = node.hubs.values().filter_map(|open| open.hub.poll_timeout());
            let late = node.operations.iter().map(|operation| operation.asked + OP_TIMEOUT);
            let calls = node.hubs.values().flat_map(|open| &open.calls);
            let late = late.chain(calls.map(|call| call.asked + TOOL_TIMEOUT));
            let deadlines = hubs.chain(node.replica.poll_timeout()).map(|deadline| deadline.at);
            let next = deadlines.chain(node.drain.poll_timeout()).min();
            next.map(|shows| node.clock.when(shows)).into_iter().chain(late)
        })
    }

    /// Whether a replica may take up chats from now on. If so, it hears of those that wait.
    pub(crate) fn let_work(&mut self, node: NodeAt, may: bool) {
        if self.peek(node).is_none_or(|node| node.may_work == may) {
            return;
        }
        self.node(node).may_work = may;
        let replica = self.name(node);
        self.observe(Evidence::MayWork { replica, may });
        if may && self.peek(node).is_some_and(|node| node.is_there() && node.work_bus) {
            let waiting = self.state.rows.sync(self.state.now, [], usize::MAX).runnable;
            let states = waiting.iter().filter_map(|(chat, _)| self.state.rows.state(*chat));
            let notices: Vec<_> = states.map(|state| Notice::of(state, None, false)).collect();
            self.node(node).notices.extend(notices.into_iter().filter(|notice| notice.free));
        }
    }

    /// Time passes until something is due, but no longer than `most`, and what is due happens.
    pub(crate) fn pass(&mut self, most: Option<Duration>) {
        if self.is_urgent() || self.state.budget.passes == 0 {
            return;
        }
        let until = most.map(|most| self.state.now + most);
        let Some(at) = self.next_deadline().into_iter().chain(until).min() else { return };
        self.state.budget.passes -= 1;
        self.state.stuck = if at > self.state.now { 0 } else { self.state.stuck + 1 };
        if self.state.stuck > STUCK_MAX {
            let (now, why) =
                (self.state.now, "something is due, and stays due however often it is woken".into());
            return self.judge.overdue(now, Guarantee::L4, why);
        }
        self.state.now = self.state.now.max(at);
        for at in 0..self.state.nodes.len() {
            let node = NodeAt(at as u8);
            if self.life(node) == Some(Life::Up) {
                self.time_out(node);
                self.time_out_calls(node);
                self.wake(node);
            }
        }
        self.settle_drains();
    }

    /// Wakes every machine that is due.
    fn wake(&mut self, node: NodeAt) {
        let now = self.local(node);
        let is_due =
            |deadline: Option<mainstem_machine::hub::Deadline>| deadline.is_some_and(|due| due.at <= now);
        if is_due(self.state.nodes[usize::from(node.0)].replica.poll_timeout()) {
            self.tell_replica(node, ReplicaEvent::Wake);
        }
        let due: Vec<_> = self.state.nodes[usize::from(node.0)]
            .hubs
            .iter()
            .filter(|(_, open)| is_due(open.hub.poll_timeout()))
            .map(|(chat, _)| *chat)
            .collect();
        for chat in due {
            self.handle(node, chat, HubEvent::Wake);
        }
    }
}
