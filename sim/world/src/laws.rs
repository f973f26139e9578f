//! The laws of the machines, as far as they show in what a machine asks for and when: what has to be so after each
//! thing that it was told. They look at copies of the machines, which takes time, so only those worlds keep them that
//! are asked to. What is broken panics, with the name of the guarantee.

use mainstem_machine::hub::{Hub, HubAction, HubEvent, Input, JoinedParts, Output, Told};
use mainstem_machine::limits::{ACQUISITIONS_MAX, SYNC_RUNNABLE_MAX};
use mainstem_machine::replica::{self, ReplicaAction, ReplicaEvent};
use mainstem_machine::{StreamEvent, SubscriptionId, Time};
use mainstem_oracles::Judge;

use crate::choice::{ChatAt, Class, Kind, NodeAt};
use crate::node::{Label, LinkStage, Task};
use crate::recording::Recording;
use crate::setup::Setup;
use crate::walk::{Run, judged};
use crate::world::{Stream, World, chat_at, chat_id};

/// Actions that one event leads to (L4).
const ACTIONS_MAX: usize = 64;

/// A run of a world that keeps the laws. Each number chooses among what is possible then of its class, so every list
/// of numbers is a run.
pub fn walk_by_numbers(setup: Setup, numbers: &[(Class, usize)]) -> Run {
    let mut choices = vec![];
    let verdict = judged(|| {
        let mut world = World::new(setup, Judge::default());
        world.keep_laws();
        let mut possible = vec![];
        for (class, number) in numbers {
            if world.verdict().is_some() {
                break;
            }
            world.choices(&mut possible);
            possible.retain(|choice| world.class(*choice) == *class);
            let Some(at) = number.checked_rem(possible.len()) else { continue };
            choices.push(possible[at]);
            world.step(possible[at]);
        }
        world
    });
    Run { recording: Recording { setup, choices }, verdict }
}

/// Tells a hub something in a world of its own.
fn tell(hub: &mut Hub, at: Time, what: Told) -> Output {
    hub.take(Input { at, what }, &mut JoinedParts::default())
}

impl World {
    /// Holds the machines to their laws from now on.
    pub fn keep_laws(&mut self) {
        self.laws = true;
    }

    /// After each choice: what is open is what the machines know to be open.
    pub(crate) fn check_open(&self) {
        for (at, node) in self.state.nodes.iter().enumerate().filter(|(_, node)| node.is_there()) {
            for (chat, open) in &node.hubs {
                let kept = open.histories.len();
                assert!(kept <= usize::from(open.assigned.is_some()), "B1: {kept} histories of {chat}");
                let here = NodeAt(at as u8);
                let watched = self.guest == Some((here, *chat)) || self.streams(here, *chat).next().is_some();
                assert!(open.link.is_none() || watched, "B2: a relay of {chat} is left without a viewer");
            }
            let runs = node.hubs.values().filter(|open| open.model.is_some()).count();
            assert!(runs <= self.setup.workers, "B1: {runs} runs at once of {}", self.setup.workers);
            let holds = node.hubs.values().any(|open| open.assigned.is_some());
            let acquires = node.operations.iter().any(|operation| matches!(operation.task, Task::Acquire(_)));
            let drained = node.drain.has_begun() && node.replica.is_drained();
            assert!(!drained || !holds && !acquires, "B2: {} is drained and works", node.id);
        }
    }

    /// The streams of a hub's viewers.
    fn streams(&self, node: NodeAt, chat: ChatAt) -> impl Iterator<Item = &Stream> {
        let streams = self.state.viewers.iter().filter(move |viewer| viewer.chat == chat);
        streams.filter_map(|viewer| viewer.stream.as_ref()).filter(move |stream| stream.on == node)
    }

    /// After each event of a hub, which asked for so much.
    pub(crate) fn check_hub(&self, node: NodeAt, chat: ChatAt, asked: usize, news: bool) {
        assert!(asked <= ACTIONS_MAX, "L4: one event leads to {asked} actions");
        let Some(open) = self.peek(node).and_then(|node| node.hubs.get(&chat)) else { return };
        let hub = &open.hub;
        let now = self.local(node);
        let mut woken = hub.clone();
        for _ in 0..2 {
            if !woken.is_finished() {
                tell(&mut woken, now, Told::Event(HubEvent::Wake));
            }
        }
        if let Some(deadline) = woken.poll_timeout() {
            assert!(deadline.at > now, "L4: a hub is woken for {:?} again and again", deadline.reason);
        }
        if !news && !hub.is_finished() {
            self.check_silence(node, chat, hub);
        }
    }

    /// Where there was no news, those who wait miss nothing (L1).
    fn check_silence(&self, node: NodeAt, chat: ChatAt, hub: &Hub) {
        let now = self.local(node);
        for stream in self.streams(node, chat).filter(|stream| stream.idle) {
            let missed = tell(&mut hub.clone(), now, Told::NextEvent(stream.subscription)).event;
            assert_eq!(missed, None, "L1: there was no news of it");
        }
        let links = self.state.nodes.iter().filter_map(|other| other.hubs.get(&chat)?.link.as_ref());
        for link in links.filter(|link| link.worker == Some(node) && link.idle) {
            let LinkStage::Following(Label(follower)) = link.stage else { continue };
            let missed = tell(&mut hub.clone(), now, Told::NextFrame(follower)).frame;
            assert!(missed.is_none() && !hub.is_over_for(follower), "L1: there was no news of {missed:?}");
        }
    }

    /// What a viewer is told next if it shares nothing with others (S2).
    pub(crate) fn told_alone(
        &self,
        node: NodeAt,
        chat: ChatAt,
        subscription: SubscriptionId,
    ) -> Option<StreamEvent> {
        let mut hub = self.peek(node)?.hubs.get(&chat)?.hub.clone();
        tell(&mut hub, self.local(node), Told::NextEvent(subscription)).event
    }

    /// Before what a hub asks for is carried out.
    pub(crate) fn check_asked(&self, node: NodeAt, chat: ChatAt, action: &HubAction) {
        let here = &self.state.nodes[usize::from(node.0)];
        let open = &here.hubs[&chat];
        match action {
            HubAction::ReadSnapshot { .. } => {
                let [held, not] = [true, false].map(|held| here.find(Some(chat), Kind::Snapshot, held));
                assert!(held.is_none() && not.is_none(), "B1: one read at a time");
            }
            HubAction::Apply { command, .. } => {
                let lease = command.lease();
                assert!(
                    lease.is_some() && lease == open.assigned,
                    "S5: only a holder writes, fenced by its lease"
                );
                let writes = |task: &Task| match task {
                    Task::Apply(request) => request.command.lease() == lease,
                    _ => false,
                };
                let mut others = here.operations.iter().filter(|operation| operation.chat == Some(chat));
                assert!(!others.any(|operation| writes(&operation.task)), "S6, R34: one write at a time");
            }
            HubAction::Dial { worker, .. } => {
                assert_ne!(*worker, here.id, "S5, T8: nobody dials itself");
                assert!(open.link.is_none(), "B1, T6: one dial at a time");
            }
            HubAction::Start { .. } => {
                assert!(
                    open.model.is_none() && open.assigned.is_some(),
                    "S5: a holder has one run at a time"
                );
            }
            HubAction::Cancel { generation } => {
                let runs = open.model.as_ref().map(|model| model.generation);
                assert_eq!(runs, Some(*generation), "S7: what is cancelled runs");
            }
            HubAction::DropHistory { op } => {
                assert!(open.histories.contains_key(op), "B2: what is dropped was there");
            }
            HubAction::ToReplica(ReplicaEvent::RunnerGone { lease, .. }) => {
                assert_eq!(open.assigned, Some(*lease), "S5: the runner that is gone was there");
                assert!(open.model.is_none(), "S7: a runner that goes cancels its run");
            }
            _ => {}
        }
    }

    /// After each event of a replica, which asked for so much.
    pub(crate) fn check_replica(&self, node: NodeAt, asked: usize) {
        assert!(asked <= ACQUISITIONS_MAX + 16, "L4: one event leads to {asked} actions");
        let (now, mut woken) = (self.local(node), self.state.nodes[usize::from(node.0)].replica.clone());
        for _ in 0..2 {
            woken.take(replica::Input { at: now, event: ReplicaEvent::Wake });
        }
        let deadline = woken.poll_timeout().expect("L4: heartbeats never end");
        assert!(deadline.at > now, "L4: a replica is woken for {:?} again and again", deadline.reason);
    }

    /// Before what a replica asks for is carried out.
    pub(crate) fn check_asked_by_replica(&self, node: NodeAt, action: &ReplicaAction) {
        let here = &self.state.nodes[usize::from(node.0)];
        match action {
            ReplicaAction::Sync { runnable_max, .. } => assert_eq!(*runnable_max, SYNC_RUNNABLE_MAX, "B1"),
            ReplicaAction::Acquire { chat, .. } => {
                let asked = here.operations.iter().filter(|o| matches!(o.task, Task::Acquire(_)));
                let asked: Vec<_> = asked.filter_map(|operation| operation.chat).collect();
                assert!(asked.len() < ACQUISITIONS_MAX, "B1: {} are asked for at once", asked.len());
                assert!(!asked.contains(&chat_at(*chat)), "S5: {chat} is asked for twice");
                let held = here.hubs.get(&chat_at(*chat)).and_then(|open| open.assigned);
                assert_eq!(held, None, "S5: {chat} is asked for though it is held");
                assert!(!here.drain.has_begun(), "L3: who drains takes nothing more");
            }
            ReplicaAction::Heartbeat { held, .. } => {
                let ours = here.hubs.iter().filter_map(|(chat, open)| Some((chat_id(*chat), open.assigned?)));
                assert_eq!(*held, ours.collect::<Vec<_>>(), "S5: exactly what has a runner here is renewed");
            }
            ReplicaAction::LookUp { .. } => {
                let look_ups = here.operations.iter().filter(|operation| operation.task == Task::LookUp);
                assert_eq!(look_ups.count(), 0, "B3: one look-up at a time, for all that ask");
            }
            ReplicaAction::BusSubscribe { .. } | ReplicaAction::To { .. } => {}
        }
    }
}
