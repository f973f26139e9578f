//! What a story says of the network, the bus and the database stays so until it says something else. Here it decides
//! what becomes of each thing under way, as a choice.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_machine::{DialId, Time};
use mainstem_story::{BusFaults, CallFault, DatabaseFate, DialRule, LateAnswers, PlannedFault};

use crate::choice::{ChatAt, Choice, How, Kind, NodeAt};
use crate::node::{LinkStage, Stage, Task};
use crate::world::World;

/// What a story said of a replica's way to the database.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    slow: std::time::Duration,
    late: std::time::Duration,
    refuses: bool,
}

/// What stays so until a story says something else.
#[derive(Debug, Default)]
pub(super) struct Faults {
    dials: BTreeMap<(NodeAt, NodeAt), DialRule>,
    next_dials: BTreeMap<(NodeAt, NodeAt), DialRule>,
    /// The rule of each dial under way.
    ruled: BTreeMap<(NodeAt, ChatAt, DialId), DialRule>,
    /// Directions, from the worker to its follower, in which nothing flows.
    clogged: BTreeSet<(NodeAt, NodeAt)>,
    notices: BTreeMap<NodeAt, BusFaults>,
    ways: BTreeMap<NodeAt, Way>,
    /// Faults of the next calls, each with the replica that they are meant for.
    planned: Vec<(Option<NodeAt>, PlannedFault)>,
    /// What happens at its time.
    pub(super) due: Vec<(Time, Choice)>,
    /// Late notices of each replica that have their time already.
    timed: BTreeMap<NodeAt, usize>,
    /// How often each fault took effect, by the name that stories count it under.
    landed: BTreeMap<&'static str, u64>,
}

impl Faults {
    pub(super) fn landed(&self, fault: &str) -> u64 {
        self.landed.get(fault).copied().unwrap_or_default()
    }

    pub(super) fn land(&mut self, fault: &'static str) {
        *self.landed.entry(fault).or_default() += 1;
    }

    pub(super) fn set_dials(&mut self, from: NodeAt, to: NodeAt, rule: DialRule, next_only: bool) {
        if next_only {
            self.next_dials.insert((from, to), rule);
            return;
        }
        self.dials.insert((from, to), rule);
        if rule == DialRule::Through {
            self.next_dials.remove(&(from, to));
        }
    }

    pub(super) fn set_flow(&mut self, from: NodeAt, to: NodeAt, flows: bool) {
        if flows {
            self.clogged.remove(&(from, to));
        } else {
            self.clogged.insert((from, to));
        }
    }

    pub(super) fn set_notices(&mut self, node: NodeAt, faults: BusFaults) {
        self.notices.insert(node, faults);
    }

    pub(super) fn notices(&self, node: NodeAt) -> BusFaults {
        self.notices.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn set_database(&mut self, node: NodeAt, fate: DatabaseFate) {
        let way = self.ways.entry(node).or_default();
        match fate {
            DatabaseFate::Slow(by) => way.slow = by,
            DatabaseFate::AnswersLate(LateAnswers { by, .. }) => way.late = by,
            DatabaseFate::CutOff | DatabaseFate::Exhausted => way.refuses = true,
            DatabaseFate::Recovers => *way = Way::default(),
        }
    }

    pub(super) fn plan(&mut self, node: Option<NodeAt>, fault: PlannedFault) {
        self.planned.push((node, fault));
    }

    /// What becomes of the next thing under way, whose turn it is.
    pub(super) fn decide(&mut self, world: &World, next: Choice) -> Choice {
        match next {
            Choice::Operation { node, chat, kind, .. } => {
                let how = self.operation(world, node, chat, kind);
                Choice::Operation { node, chat, kind, how }
            }
            Choice::Notice(node) => self.notice(world, node),
            Choice::AnswerDial(node, chat) => self.dial(world, node, chat),
            Choice::Relay(node, chat) if self.is_clogged(world, node, chat) => {
                self.land("clog");
                Choice::HoldLink(node, chat)
            }
            next => next,
        }
    }

    fn operation(&mut self, world: &World, node: NodeAt, chat: Option<ChatAt>, kind: Kind) -> How {
        let now = world.state.now;
        let late = Choice::Operation { node, chat, kind, how: How::Late };
        if kind == Kind::Bus {
            let BusFaults { refuses, hangs, .. } = self.notices(node);
            return match (refuses, hangs) {
                (true, _) => {
                    self.land("bus refused");
                    How::Refuse
                }
                (_, true) => {
                    self.land("bus hangs");
                    How::Hold
                }
                _ => How::Carry,
            };
        }
        if kind == Kind::Publish {
            return How::Carry;
        }
        let here = world.peek(node);
        let operation = here.and_then(|here| Some(&here.operations[here.find(chat, kind, false)?]));
        let Some(operation) = operation.filter(|operation| operation.stage == Stage::Asked) else {
            return How::Carry;
        };
        let name = match &operation.task {
            Task::Apply(request) | Task::Acquire(request) | Task::User(_, request) => request.command.name(),
            Task::Snapshot(_) => "snapshot",
            Task::Page { .. } | Task::History => "page",
            Task::Heartbeat(_) => "heartbeat",
            _ => "sync",
        };
        let meant = |(at, fault): &(Option<NodeAt>, PlannedFault)| {
            at.is_none_or(|at| at == node) && fault.op.as_deref().is_none_or(|op| op == name)
        };
        if let Some(at) = self.planned.iter().position(meant) {
            let fault = self.planned[at].1.call_fault;
            self.planned[at].1.times -= 1;
            if self.planned[at].1.times == 0 {
                self.planned.remove(at);
            }
            self.land(fault.kind().as_str());
            return match fault {
                // A conflict did not happen either, and whoever asked is told.
                CallFault::Refused | CallFault::Conflict => How::Refuse,
                CallFault::AnswerLost if operation.task.writes() => How::LoseAnswer,
                CallFault::AnswerLost => How::Refuse,
                CallFault::AnswerLate(by) => {
                    self.due.push((now + by, late));
                    How::Happen
                }
            };
        }
        let way = self.ways.get(&node).copied().unwrap_or_default();
        if way.refuses {
            self.land("database cut off");
            self.land("pool exhausted");
            How::Refuse
        } else if !way.slow.is_zero() {
            self.land("database slow");
            self.due.push((now + way.slow, late));
            How::Hold
        } else if !way.late.is_zero() {
            self.land("answer late");
            self.due.push((now + way.late, late));
            How::Happen
        } else {
            How::Carry
        }
    }

    fn notice(&mut self, world: &World, node: NodeAt) -> Choice {
        let BusFaults { lost, doubled, late, .. } = self.notices(node);
        if lost {
            self.land("notice lost");
            Choice::LoseNotice(node)
        } else if doubled {
            self.land("notice doubled");
            self.repeat(world, node)
        } else if late.is_zero() {
            Choice::Notice(node)
        } else {
            self.land("notice late");
            Choice::HoldNotices(node)
        }
    }

    /// Notices of a replica are doubled once: the second one is the one that waits behind the others.
    fn repeat(&mut self, world: &World, node: NodeAt) -> Choice {
        let waiting = world.peek(node).map_or(0, |node| node.notices.len());
        let again = self.timed.entry(node).or_default();
        if *again >= waiting {
            *again = waiting.saturating_sub(1);
            Choice::Notice(node)
        } else {
            *again += 1;
            Choice::RepeatNotice(node)
        }
    }

    /// Gives late notices that came since their time.
    pub(super) fn time_notices(&mut self, world: &World) {
        for (at, here) in world.state.nodes.iter().enumerate().filter(|(_, node)| node.notices_held) {
            let node = NodeAt(at as u8);
            let late = self.notices(node).late;
            let waiting = self.due.iter().filter(|(_, choice)| *choice == Choice::Notice(node)).count();
            for _ in waiting..here.notices.len() {
                self.due.push((world.state.now + late, Choice::Notice(node)));
            }
        }
    }

    fn dial(&mut self, world: &World, node: NodeAt, chat: ChatAt) -> Choice {
        let Some((dial, worker)) = dialing(world, node, chat) else { return Choice::AnswerDial(node, chat) };
        let new = !self.ruled.contains_key(&(node, chat, dial));
        let usual = self.dials.get(&(node, worker)).copied().unwrap_or(DialRule::Through);
        let rule = match self.next_dials.remove(&(node, worker)).filter(|_| new) {
            Some(rule) => rule,
            None => usual,
        };
        self.ruled.insert((node, chat, dial), rule);
        match rule {
            DialRule::Through => Choice::AnswerDial(node, chat),
            DialRule::Refused => {
                self.land("dial refused");
                Choice::BreakLink(node, chat)
            }
            DialRule::Hangs => {
                self.land("dial hanging");
                Choice::HoldLink(node, chat)
            }
            DialRule::Takes(span) => {
                self.land("dial late");
                self.due.push((world.state.now + span, Choice::AnswerDial(node, chat)));
                Choice::HoldLink(node, chat)
            }
        }
    }

    fn is_clogged(&self, world: &World, node: NodeAt, chat: ChatAt) -> bool {
        let link = world.peek(node).and_then(|here| here.hubs.get(&chat)?.link.as_ref());
        link.and_then(|link| link.worker).is_some_and(|worker| self.clogged.contains(&(worker, node)))
    }

    /// A held link that goes on: nothing that the story said holds it any more.
    pub(super) fn released(&self, world: &World) -> Option<Choice> {
        for (at, here) in world.state.nodes.iter().enumerate().filter(|(_, node)| node.is_up()) {
            let node = NodeAt(at as u8);
            for (chat, open) in &here.hubs {
                let Some(link) = open.link.as_ref().filter(|link| link.held) else { continue };
                match link.stage {
                    LinkStage::Dialing(_) => {
                        let usual = link.worker.and_then(|worker| self.dials.get(&(node, worker)));
                        let hangs = self.ruled.get(&(node, *chat, link.dial)) == Some(&DialRule::Hangs);
                        if hangs && usual == Some(&DialRule::Through) {
                            return Some(Choice::AnswerDial(node, *chat));
                        }
                    }
                    _ if world.may_relay(node, *chat) && !self.is_clogged(world, node, *chat) => {
                        return Some(Choice::Relay(node, *chat));
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

/// The dial that a hub waits for, and whom it dials.
pub(super) fn dialing(world: &World, node: NodeAt, chat: ChatAt) -> Option<(DialId, NodeAt)> {
    let link = world.peek(node)?.hubs.get(&chat)?.link.as_ref()?;
    Some((link.dial, link.worker?))
}
