//! The driver of the hubs: passes events in, carries out actions, and delivers answers. It also checks the
//! hub after each event.

use mainstem_machine::hub::{
    AudienceEvent, BusEvent, DatabaseEvent, HubAction, HubEvent, JoinedParts, OpOutcome, RelayEvent,
};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{Command, DialId, OpId, ReplicaId};
use mainstem_oracles::RunEnd;

use crate::database::{Entry, LEASE_TTL, Produced};
use crate::node::{Connection, Link, Model, Pending};
use crate::step::How;
use crate::world::{RIVAL, World};

/// Actions that one event may lead to (L4).
const ACTIONS_MAX: usize = 64;

/// Where a replica's relay is reached.
fn address_of(replica: &ReplicaId) -> String {
    format!("{replica}:1")
}

impl World {
    pub(crate) fn handle(&mut self, node: usize, event: HubEvent) {
        let now = self.now;
        let Some(hub) = self.nodes[node].hub.as_mut() else { return };
        hub.handle(now, event.clone());
        self.note(|| format!("  hub {node}: {}", crate::describe(&event)));
        self.settle_node(node);
    }

    /// Passes a stale event in: it must not change the hub, except for the effect of time (R01, R36).
    pub(crate) fn handle_in_vain(&mut self, node: usize, event: HubEvent) {
        let now = self.now;
        let unmoved = self.nodes[node].hub.clone().map(|mut hub| {
            hub.handle(now, HubEvent::Wake);
            while hub.poll_action().is_some() {}
            hub.take_news();
            hub
        });
        let what = crate::describe(&event);
        self.handle(node, event);
        let same = self.nodes[node].hub == unmoved.filter(|hub| !hub.is_finished());
        assert!(same, "S3: what is nobody's any more has moved the hub: {what}");
    }

    /// Carries out the hub's actions, and checks the hub.
    pub(crate) fn settle_node(&mut self, at: usize) {
        let Some(hub) = self.nodes[at].hub.as_mut() else { return };
        let mut actions = Vec::new();
        while let Some(action) = hub.poll_action() {
            actions.push(action);
            assert!(actions.len() <= ACTIONS_MAX, "L4: one event leads to {} actions", actions.len());
        }
        hub.assert_invariants();
        let finished = hub.is_finished();
        let news = hub.take_news();
        let mut sought = None;
        for action in actions {
            match action {
                HubAction::ToReplica(ReplicaEvent::Locate { replica, .. }) => sought = Some(replica),
                action => self.carry_out(at, action),
            }
        }
        let node = &self.nodes[at];
        assert!(node.histories.len() <= usize::from(node.held.is_some()), "B1: a runner keeps one history");
        self.spread_news(at, news);
        self.check_rest(at);
        if finished {
            let node = &self.nodes[at];
            assert_eq!(node.open_connections(), 0, "B2: a hub that ends has no relay left");
            assert!(node.model.is_none() && node.held.is_none(), "B2: a hub that ends has no run left");
            let left = self.nodes[at].connections.iter().filter_map(|c| Some((c.peer, c.follower?)));
            let left: Vec<_> = left.collect();
            self.nodes[at].forget_hub();
            for (peer, follower) in left {
                self.handle(peer, HubEvent::Audience(AudienceEvent::Unfollow { follower }));
            }
        } else if let Some(replica) = sought {
            let address = Some(address_of(&replica).into());
            self.handle(at, HubEvent::Relay(RelayEvent::Located { replica, address }));
        } else if !self.viewers.iter().any(|viewer| viewer.node == at) {
            assert_eq!(self.nodes[at].open_connections(), 0, "B2: nobody watches, and a relay is left");
        }
    }

    /// Checks that viewers and followers get nothing new unless the hub reports news.
    pub(crate) fn spread_news(&mut self, at: usize, news: bool) {
        let Self { nodes, viewers, now, .. } = self;
        let [a, b] = nodes;
        let (here, there) = if at == 0 { (a, b) } else { (b, a) };
        let waiting = viewers.iter_mut().filter(|viewer| viewer.node == at && viewer.idle);
        let following = |connection: &&mut Connection| connection.peer == at && connection.idle;
        let following = there.connections.iter_mut().filter(following);
        if news {
            waiting.for_each(|viewer| viewer.idle = false);
            following.for_each(|connection| connection.idle = false);
            return;
        }
        let Some(hub) = &here.hub else { return };
        for viewer in waiting {
            let expected = hub.clone().next_event(*now, viewer.id, &mut JoinedParts::default());
            assert!(
                expected.is_none(),
                "L1: there was no news of {}",
                crate::event(&expected.expect("checked"))
            );
        }
        for connection in following {
            let follower = connection.follower.expect("who waits was let in");
            let expected = hub.clone().next_frame(*now, follower);
            assert!(
                expected.is_none() && !hub.is_over_for(follower),
                "L1: there was no news of {expected:?}"
            );
        }
    }

    /// Checks that a second wake-up leads to no further action (L4).
    pub(crate) fn check_rest(&self, at: usize) {
        let Some(hub) = self.nodes[at].hub.as_ref() else { return };
        let mut hub = hub.clone();
        for _ in 0..2 {
            if !hub.is_finished() {
                hub.handle(self.now, HubEvent::Wake);
                while hub.poll_action().is_some() {}
            }
        }
        if let Some(deadline) = hub.poll_timeout() {
            assert!(deadline.at > self.now, "L4: woken for {:?} again and again", deadline.reason);
        }
    }

    pub(crate) fn carry_out(&mut self, at: usize, action: HubAction) {
        self.note(|| format!("    asks: {}", crate::asked(&action)));
        self.count_action(&action);
        match action {
            HubAction::BusSubscribe { op } => self.nodes[at].pending.push(Pending::Bus { op }),
            HubAction::BusUnsubscribe => self.nodes[at].established = false,
            HubAction::ReadSnapshot { op, cached } => {
                let reading = |pending: &Pending| matches!(pending, Pending::Snapshot { .. });
                assert!(!self.nodes[at].pending.iter().any(reading), "B1: one read at a time");
                self.nodes[at].pending.push(Pending::Snapshot { op, cached, read: None });
            }
            HubAction::ReadPage { op, after, until } => {
                self.nodes[at].pending.push(Pending::Page { op, after, until, read: None });
            }
            HubAction::LoadHistory { op } => self.nodes[at].pending.push(Pending::History { op, read: None }),
            HubAction::KeepHistory { op, version, .. } => {
                self.nodes[at].histories.insert(op, version);
            }
            HubAction::DropHistory { op } => {
                let dropped = self.nodes[at].histories.remove(&op);
                assert!(dropped.is_some(), "B2: what is dropped was there");
            }
            HubAction::Apply { op, command } => self.apply(at, op, command),
            HubAction::Dial { dial, worker, address, position } => {
                assert_eq!(*address, *address_of(&worker), "T5: where it is reached");
                let node = &mut self.nodes[at];
                let cached = node.hub.as_ref().expect("it asks").snapshot_version();
                let row = self.database.row(cached).expect("S1: what is known was once true");
                assert_eq!(row.worker.as_ref(), Some(&worker), "T6: whom the row names is dialed");
                assert_eq!(node.open_connections(), 0, "T6: one dial at a time");
                let peer = match worker.as_str() {
                    "node-a" => 0,
                    "node-b" => 1,
                    _ => RIVAL,
                };
                assert_ne!(peer, at, "T8: nobody dials itself");
                node.connections.push(Connection::new(dial, peer, position, row.lease));
            }
            HubAction::CloseDial { dial } => self.close(at, dial),
            HubAction::Start { generation, episode, history, .. } => {
                let version =
                    self.nodes[at].histories.get(&history).expect("S1: it is there until it is dropped");
                assert_eq!(*version, episode.history_version, "S1: a run starts over its own history");
                assert!(self.nodes[at].model.is_none(), "S5: one run at a time");
                assert!(!self.is_suspended(at), "S5: a worker whose lease has expired starts nothing");
                let lease = self.nodes[at].held.as_ref().expect("S5: only a holder starts").lease;
                let began = |e: &Entry| e.state.live_episode() == Some((episode, lease));
                assert!(self.database.log.iter().any(began), "S3: {episode:?} began in the database");
                self.nodes[at].model = Some(Model { generation, episode });
                let produced = Produced { by: at, lease, parts: vec![] };
                let before = self.database.produced.insert(episode, produced);
                assert!(before.is_none(), "S5: {episode:?} begins once");
                self.court.started(self.now, &self.nodes[at].id, episode);
                self.saw("start");
            }
            HubAction::Cancel { generation } => {
                let model = self.nodes[at].model.take().expect("what is cancelled runs");
                assert_eq!(model.generation, generation, "S7: another run is cancelled");
                self.check_cancel(at, model);
                if self.is_near_expiry(at) {
                    self.court.is_not_confirmed(self.now, &self.nodes[at].id);
                }
                self.court.ended(self.now, model.episode, RunEnd::Cancelled);
                self.nodes[at].cancelled.push(generation);
                self.saw("cancel");
            }
            HubAction::Call { .. } | HubAction::GiveUpCall { .. } => {
                unreachable!("these models call nothing")
            }
            HubAction::ToReplica(told) => {
                let ReplicaEvent::RunnerGone { chat, lease } = told else { panic!("{told:?}") };
                assert_eq!(chat, self.database.state().id);
                let held = self.nodes[at].held.take().expect("a runner was there");
                assert_eq!(held.lease, lease, "the runner of another lease is gone");
                assert!(self.nodes[at].model.is_none(), "S7: a runner that goes cancels its run");
            }
        }
    }

    pub(crate) fn apply(&mut self, at: usize, op: OpId, command: Command) {
        assert!(!self.is_suspended(at), "S5: a worker whose lease has expired sends {}", command.name());
        let held = self.nodes[at].held.as_ref().expect("S5: only a holder writes");
        assert_eq!(command.lease(), Some(held.lease), "S5: a write is fenced by the lease it is made under");
        let writing = |pending: &Pending| matches!(pending, Pending::Apply { command, .. } if command.lease() == Some(held.lease));
        assert!(!self.nodes[at].pending.iter().any(writing), "R34: one write at a time");
        self.nodes[at].pending.push(Pending::Apply { op, command, done: None });
    }

    /// A worker may suspend itself a little before its lease expires.
    fn is_near_expiry(&self, at: usize) -> bool {
        let held = self.nodes[at].held.as_ref();
        held.is_some_and(|held| held.was_confirmed_at + LEASE_TTL * 9 / 10 <= self.now)
    }

    /// A run is cancelled only because its episode has ended, or because its worker has to stop (S7).
    pub(crate) fn check_cancel(&self, at: usize, model: Model) {
        let held = self.nodes[at].held.as_ref().expect("a runner was there");
        let near_expiry = self.is_near_expiry(at);
        let over = !self.database.wants(model.episode, held.lease);
        let outgrown = self.nodes[at].outgrown;
        assert!(
            over || near_expiry || held.handing_over || outgrown,
            "S7: {:?} is stopped though nobody asked",
            model.episode
        );
    }

    pub(crate) fn close(&mut self, at: usize, dial: DialId) {
        let watched = self.viewers.iter().any(|viewer| viewer.node == at);
        let state = self.database.state();
        let node = &mut self.nodes[at];
        let spoiled = node.connections.iter().any(|connection| connection.spoiled);
        for connection in node.connections.iter_mut().filter(|c| c.dial == dial) {
            let healthy = connection.link == Link::Following && !spoiled;
            let good = state.lease == connection.lease && state.worker.is_some() && watched;
            let closing = healthy && good && node.held.is_none() && !self.database.is_deleted();
            assert!(!closing, "R33: a healthy relay is closed");
            connection.link = Link::Closed;
            connection.asked_to_close = true;
        }
    }

    pub(crate) fn answer(&mut self, node: usize, at: usize, how: How) {
        let happens = matches!(how, How::Happens | How::Done | How::DoneUnknown);
        let mut pending = self.nodes[node].pending.remove(at);
        if happens {
            self.happen(node, &mut pending);
        }
        if matches!(how, How::Happens) {
            self.nodes[node].pending.insert(at, pending);
            return;
        }
        fn outcome<T>(result: Option<T>, how: How) -> OpOutcome<T> {
            match (how, result) {
                (How::Done, Some(result)) => OpOutcome::Done(result),
                (How::Refused, None) => OpOutcome::Refused,
                _ => OpOutcome::Unknown,
            }
        }
        let event = match pending {
            Pending::Bus { op } => {
                let established = matches!(how, How::Done);
                self.nodes[node].established = established;
                self.nodes[node].missed = false;
                HubEvent::Bus(BusEvent::Subscribed { op, established })
            }
            Pending::Snapshot { op, read, .. } => {
                HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome: outcome(read, how) })
            }
            Pending::Page { op, read, .. } => {
                HubEvent::Database(DatabaseEvent::PageRead { op, outcome: outcome(read, how) })
            }
            Pending::History { op, read } => {
                let outcome = outcome(read, how);
                if let OpOutcome::Done(version) = &outcome {
                    self.nodes[node].histories.insert(op, *version);
                }
                HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome })
            }
            Pending::Apply { op, done, .. } => {
                HubEvent::Database(DatabaseEvent::Applied { op, outcome: outcome(done, how) })
            }
        };
        self.handle(node, event);
    }

    pub(crate) fn happen(&mut self, _node: usize, pending: &mut Pending) {
        match pending {
            Pending::Bus { .. } => {}
            Pending::Snapshot { cached, read, .. } => {
                read.get_or_insert_with(|| self.database.snapshot(*cached));
            }
            Pending::Page { after, until, read, .. } => {
                read.get_or_insert_with(|| self.database.page(*after, *until));
            }
            Pending::History { read, .. } => {
                read.get_or_insert(self.database.state().history_version);
            }
            Pending::Apply { command, done, .. } => {
                if done.is_none() {
                    *done = Some(self.commit(command));
                }
            }
        }
    }
}
