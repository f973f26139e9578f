//! The end of a run: all faults are over, and what has to hold in the end has to hold within its bound (L1, L2, L3,
//! B2).

use std::time::Duration;

use mainstem_machine::limits;
use mainstem_oracles::{Evidence, Guarantee, Standing, StreamEnd, WorldFacts};

use crate::choice::{ChatAt, Choice, From, NodeAt, ViewerAt};
use crate::damage::Heard;
use crate::node::{Life, Node, Open, Task};
use crate::setup::Budget;
use crate::trace::Told;
use crate::world::{Asking, World, chat_id};

/// How long chats may take to come to rest, once their models finish at once.
const REST: Duration = Duration::from_secs(180);

/// How long viewers may differ from the database, long after the last fault.
const DIFFERENCE_MAX: Duration = Duration::from_secs(3);

impl World {
    /// Ends the run: everything recovers, everybody agrees, everything comes to rest, everybody leaves.
    pub fn recover(&mut self) {
        let setup = self.setup.clone();
        let bound = 2 * setup.poll_interval + setup.lease_ttl + Duration::from_secs(5);
        self.note(Told::Happened, || ("recovery".into(), "all faults are over".into()));
        self.clear_faults();
        self.eventually(&[Guarantee::L1], bound, false);
        // Between two turns there is little that could differ, so agreeing once is not enough.
        self.wait(bound, false);
        self.say_once_more();
        self.wait(DIFFERENCE_MAX, false);
        self.eventually(&[Guarantee::L1], Duration::ZERO, false);
        self.note(Told::Happened, || ("recovery".into(), "models finish".into()));
        self.eventually(&[Guarantee::L2, Guarantee::L3, Guarantee::L6], REST, true);
        self.eventually(&[Guarantee::L1], bound, true);
        self.note(Told::Happened, || ("recovery".into(), "everybody leaves".into()));
        for at in 0..self.state.viewers.len() {
            self.state.viewers[at].over = true;
            self.end_stream(ViewerAt(at as u8), StreamEnd::Broken);
        }
        let retention = limits::HUB_RETENTION + limits::EPISODE_RETENTION + limits::OP_TIMEOUT;
        self.eventually(&[Guarantee::B2], retention, true);
        let now = self.state.now;
        self.testify(Heard::Finished);
        self.judge.finish(now);
    }

    fn clear_faults(&mut self) {
        let (moves, passes) = (u16::MAX, u16::MAX);
        self.state.budget = Budget {
            faults: 0,
            delays: 0,
            requests: 0,
            moves,
            parts: 0,
            passes,
            claims: 0,
            strangers: 0,
            drifts: 0,
        };
        while !self.state.strays.is_empty() {
            self.stray();
        }
        for at in 0..self.state.nodes.len() {
            let node = NodeAt(at as u8);
            self.node(node).notices_held = false;
            for operation in &mut self.node(node).operations {
                operation.held = false;
            }
            for link in self.node(node).hubs.values_mut().filter_map(|open| open.link.as_mut()) {
                link.held = false;
            }
            self.resume(node);
            self.start_aright(node);
            self.start(node, false);
            self.let_work(node, true);
        }
        for viewer in &mut self.state.viewers {
            viewer.stalled = false;
        }
        self.mend_clocks();
        self.observe(Evidence::FaultsCleared);
    }

    /// Every model that runs says something, which has to reach everybody.
    fn say_once_more(&mut self) {
        for at in 0..self.state.nodes.len() {
            let node = NodeAt(at as u8);
            let chats: Vec<_> = self.node(node).hubs.keys().copied().collect();
            for chat in chats {
                self.state.budget.parts = 1;
                self.say(node, chat, 1);
            }
        }
        self.state.budget.parts = 0;
    }

    /// Lets time pass.
    fn wait(&mut self, span: Duration, finishing: bool) {
        let until = self.state.now + span;
        while self.state.now < until && self.verdict().is_none() {
            self.go_on(finishing);
            self.pass(None);
        }
        self.go_on(finishing);
    }

    /// Waits until these guarantees hold.
    fn eventually(&mut self, guarantees: &[Guarantee], bound: Duration, finishing: bool) {
        let until = self.state.now + bound;
        loop {
            self.go_on(finishing);
            let facts = self.facts(guarantees);
            let Some((guarantee, why)) = self.judge.missing(guarantees, &facts) else {
                self.testify(|_| Heard::Holds(guarantees.to_vec(), facts));
                return;
            };
            if self.verdict().is_some() {
                return;
            }
            if self.state.now >= until {
                let now = self.state.now;
                self.note(Told::Broken, || {
                    ("judge".into(), format!("{guarantee}: not within {bound:?}: {why}"))
                });
                self.judge.overdue(
                    now,
                    guarantee,
                    format!("not within {bound:?} after the last fault: {why}"),
                );
                return;
            }
            self.pass(None);
        }
    }

    /// Everything under way is done, and everybody does what is to be expected of them.
    fn go_on(&mut self, finishing: bool) {
        loop {
            self.settle();
            let Some(choice) = self.expected(finishing) else { return };
            self.step(choice);
        }
    }

    fn expected(&self, finishing: bool) -> Option<Choice> {
        let nodes = || self.state.nodes.iter().enumerate().map(|(at, node)| (NodeAt(at as u8), node));
        for (at, node) in nodes() {
            if self.may_exit(at) {
                return Some(Choice::Exit(at));
            }
            match node.life {
                Life::Lost => {}
                Life::Down => return Some(Choice::Start(at)),
                _ if node.drain.is_patient() => return Some(Choice::HandOver(at)),
                _ => {}
            }
        }
        let welcomes = |node: &Node| node.is_up() && !node.drain.has_begun();
        let (welcoming, _) = nodes().find(|(_, node)| welcomes(node))?;
        if self.state.asks.iter().any(|ask| ask.stage == Asking::Unanswered) {
            return Some(Choice::AskAgain(welcoming));
        }
        let returns = |viewer: &crate::world::Viewer| {
            viewer.stream.is_none() && !viewer.over && self.is_admitted(viewer)
        };
        if let Some(at) = self.state.viewers.iter().position(returns) {
            let node = nodes().filter(|(_, node)| welcomes(node)).nth(at % self.state.nodes.len());
            let (node, _) = node.unwrap_or((welcoming, &self.state.nodes[0]));
            return Some(Choice::Watch(ViewerAt(at as u8), node, From::Newest));
        }
        if finishing {
            return nodes().find_map(|(at, node)| {
                let does = |open: &Open| match open.model {
                    Some(_) => Some(Choice::Finish as fn(_, _) -> _),
                    None => (!open.calls.is_empty()).then_some(Choice::Return as fn(_, _) -> _),
                };
                node.hubs.iter().find_map(|(chat, open)| Some(does(open)?(at, *chat)))
            });
        }
        None
    }

    /// What the judges of these guarantees cannot know.
    fn facts(&self, guarantees: &[Guarantee]) -> WorldFacts {
        // Whoever may not see a chat is not to be connected, and need not be.
        let counts = |viewer: &&crate::world::Viewer| {
            let is_there = self.state.rows.state(chat_id(viewer.chat)).is_some();
            !viewer.over && (viewer.stream.is_some() || self.is_admitted(viewer) || !is_there)
        };
        let viewers = self.state.viewers.iter().filter(counts);
        let standing = |viewer: &crate::world::Viewer| Standing {
            viewer: viewer.name.clone(),
            chat: chat_id(viewer.chat),
            connected: viewer.stream.is_some(),
        };
        let unanswered = self.state.asks.iter().filter(|ask| !ask.stage.is_over()).count();
        let left = if guarantees.contains(&Guarantee::B2) { self.left() } else { vec![] };
        WorldFacts { now: self.state.now, viewers: viewers.map(standing).collect(), unanswered, left }
    }

    /// What is left of chats that nobody needs (B2).
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = vec![];
        for node in &self.state.nodes {
            let hubs = node.hubs.keys().map(|chat: &ChatAt| format!("{}: a hub of {chat} is open", node.id));
            left.extend(hubs);
            let periodic = |task: &Task| matches!(task, Task::Bus | Task::Sync { .. } | Task::Heartbeat(_));
            let operations = node.operations.iter().filter(|operation| !periodic(&operation.task));
            left.extend(
                operations.map(|operation| format!("{}: {} is in flight", node.id, operation.task.kind())),
            );
        }
        left
    }
}
