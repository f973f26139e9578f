//! Failed operations are retried with backoff: within a given time, each kind of operation is requested a
//! bounded number of times (L4).

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::hub::{HubAction, Reason};

use crate::node::{Link, Pending};
use crate::step::{From, How, Rival, Step};
use crate::world::World;

const WATCHED: Duration = Duration::from_secs(20);
/// Doubled from 50 ms to 2 s: six tries in the first three seconds, then one every two.
const TRIES_MAX: usize = 18;
/// One every 500 ms.
const DIALS_MAX: usize = 42;
/// The maximum number of answers at one moment.
const ANSWERS_MAX: usize = 50;

impl World {
    pub(crate) fn count_action(&mut self, action: &HubAction) {
        *self.asked.entry(kind(action)).or_default() += 1;
    }

    /// Lets time pass while every operation is answered as `how` says and every dial is refused. Returns how
    /// many operations of each kind were requested.
    fn watch(&mut self, how: impl Fn(&Pending) -> How) -> BTreeMap<&'static str, usize> {
        self.asked.clear();
        let end = self.now + WATCHED;
        while self.now < end {
            let mut answers = 0;
            for node in 0..2 {
                while let Some(pending) = self.nodes[node].pending.first() {
                    let how = how(pending);
                    self.answer(node, 0, how);
                    answers += 1;
                    assert!(answers < ANSWERS_MAX, "L4: {answers} answers at one moment");
                    (0..self.viewers.len()).for_each(|at| {
                        self.view(at, 8);
                    });
                }
                for at in 0..self.nodes[node].connections.len() {
                    if self.nodes[node].connections[at].link == Link::Dialing {
                        self.answer_dial(node, at, false);
                    }
                }
                self.heartbeat(node, false);
            }
            self.pass();
        }
        std::mem::take(&mut self.asked)
    }
}

fn kind(action: &HubAction) -> &'static str {
    match action {
        HubAction::BusSubscribe { .. } => "subscribe",
        HubAction::ReadSnapshot { .. } => "snapshot",
        HubAction::ReadPage { .. } => "page",
        HubAction::LoadHistory { .. } => "history",
        HubAction::Apply { .. } => "apply",
        HubAction::Dial { .. } => "dial",
        HubAction::Start { .. } => "start",
        _ => "other",
    }
}

fn world(steps: &[Step]) -> World {
    let mut world = World::new(false);
    steps.iter().for_each(|step| world.take(*step));
    world
}

const VIEWER: Step = Step::Subscribe { node: 0, from: From::Fresh };
const WORKER: Step = Step::Acquire { node: 0, has_slot: true, late: false };

/// `tried` bounds the number of failed operations, from below and above.
fn assert_tried(asked: &BTreeMap<&'static str, usize>, what: &str, max: usize) {
    let times = asked.get(what).copied().unwrap_or_default();
    assert!((6..=max).contains(&times), "L4: {what} was asked for {times} times: {asked:?}");
}

#[test]
fn a_database_that_cannot_be_read_is_asked_less_and_less_often() {
    for how in [How::Refused, How::Unknown] {
        let asked = world(&[VIEWER]).watch(|pending| match pending {
            Pending::Snapshot { .. } => how,
            _ => How::Done,
        });
        assert_tried(&asked, "snapshot", TRIES_MAX);
    }
}

#[test]
fn a_page_that_cannot_be_read_is_asked_for_less_and_less_often() {
    for how in [How::Refused, How::Unknown] {
        let asked = world(&[Step::Talk { turns: 4 }, VIEWER]).watch(|pending| match pending {
            Pending::Page { .. } => how,
            _ => How::Done,
        });
        assert_tried(&asked, "page", TRIES_MAX);
    }
}

#[test]
fn pages_wait_for_a_snapshot_of_their_own_history() {
    let mut world = world(&[Step::Talk { turns: 4 }, VIEWER, Step::Settle { node: 0 }]);
    world.take(Step::Edit(3));
    world.take(Step::View { viewer: 0, events: 8 });
    assert!(matches!(world.nodes[0].pending[..], [Pending::Page { .. }]), "a page is asked for");
    let asked = world.watch(|pending| match pending {
        Pending::Snapshot { .. } => How::Refused,
        _ => How::Done,
    });
    assert_tried(&asked, "snapshot", TRIES_MAX);
    assert!(!asked.contains_key("page"), "L4: no page is of use before the history was read again");
}

#[test]
fn a_worker_whose_reads_and_writes_fail_backs_off() {
    for how in [How::Refused, How::Unknown] {
        let asked = world(&[Step::Talk { turns: 4 }, WORKER]).watch(|pending| match pending {
            Pending::History { .. } => how,
            _ => How::Done,
        });
        assert_tried(&asked, "history", TRIES_MAX);
        let edited = [WORKER, Step::Settle { node: 0 }, Step::Edit(0), Step::Sync { node: 0 }];
        let asked = world(&edited).watch(|pending| match pending {
            Pending::Apply { .. } => how,
            _ => How::Done,
        });
        assert_tried(&asked, "apply", TRIES_MAX);
        let asked = world(&[WORKER, Step::Settle { node: 0 }, Step::Finish { node: 0 }]).watch(|p| match p {
            Pending::Apply { .. } => how,
            _ => How::Done,
        });
        assert_tried(&asked, "apply", TRIES_MAX);
        assert_tried(&asked, "snapshot", TRIES_MAX + 2);
    }
}

#[test]
fn a_bus_that_refuses_is_asked_less_and_less_often() {
    let asked = world(&[VIEWER]).watch(|pending| match pending {
        Pending::Bus { .. } => How::Refused,
        _ => How::Done,
    });
    assert_tried(&asked, "subscribe", TRIES_MAX);
}

#[test]
fn a_worker_that_cannot_be_reached_is_dialed_twice_a_second() {
    let asked = world(&[Step::Rival(Rival::Acquire), VIEWER]).watch(|_| How::Done);
    assert_tried(&asked, "dial", DIALS_MAX);
    assert_tried(&asked, "snapshot", DIALS_MAX + 2);
}

#[test]
fn a_dial_that_hangs_is_given_up_and_made_again_within_three_seconds() {
    let mut world = world(&[Step::Rival(Rival::Acquire), VIEWER, Step::Settle { node: 0 }]);
    for _ in 0..4 {
        let before = world.now;
        let dialed = world.nodes[0].connections.len();
        while world.nodes[0].connections.len() == dialed {
            let deadline = world.nodes[0].hub.as_ref().and_then(|hub| hub.poll_timeout()).expect("R32");
            assert!(matches!(deadline.reason, Reason::DialTimeout | Reason::DialRetry), "{deadline:?}");
            world.take(Step::Deadline { node: 0 });
            world.take(Step::Settle { node: 0 });
        }
        assert!(world.now.since(before) < Duration::from_secs(3), "a dial and its delay stay below 3 s");
    }
}
