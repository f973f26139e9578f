//! The behaviour of a replica, claim by claim.

use std::time::Duration;

use mainstem_machine::hub::{HubEvent, LeaseEvent, Reason};
use mainstem_machine::limits::{
    ACQUISITIONS_MAX, BUS_SUBSCRIBE_TIMEOUT, OP_RETRY_DELAY_MAX, SYNC_SPACING_MIN, WANTED_FEW, WANTED_MAX,
};
use mainstem_machine::replica::{ReplicaAction, ReplicaEvent};
use mainstem_machine::{ChatId, Lease, Status};
use uuid::Uuid;

use crate::world::{How, POLL, World, chat};

/// A world in which the first sync, heartbeat and bus subscription have succeeded.
pub(crate) fn settled(workers: usize) -> World {
    let mut world = World::new(workers);
    world.answer_bus(true);
    world.answer_heartbeat(How::Yes);
    world.answer_sync(vec![], None, How::Yes);
    // Chats that became free before the subscription was in force were not announced.
    world.pass();
    world.answer_sync(vec![], None, How::Yes);
    assert!(world.sync.is_none() && world.heartbeat.is_none());
    world
}

pub(crate) fn asked_for(world: &World) -> Vec<ChatId> {
    world.acquiring.values().map(|(chat, _)| *chat).collect()
}

/// The chat whose hub was told that it is held now, and whether with a slot.
fn assigned(world: &World) -> Option<(ChatId, bool)> {
    match &world.actions[..] {
        [ReplicaAction::To { chat, event: HubEvent::Lease(LeaseEvent::Acquired { has_slot, .. }) }] => {
            Some((*chat, *has_slot))
        }
        _ => None,
    }
}

#[test]
fn what_is_free_is_asked_for_at_once() {
    let mut world = settled(2);
    world.free(1, Status::Running);
    assert_eq!(asked_for(&world), [chat(1)]);
    world.answer_acquire(0, How::Yes);
    assert_eq!(assigned(&world), Some((chat(1), true)));
}

#[test]
fn a_chat_is_not_asked_for_twice_whatever_is_told_of_it() {
    let mut world = settled(2);
    for _ in 0..3 {
        world.free(1, Status::Running);
    }
    assert_eq!(asked_for(&world), [chat(1)]);
    world.answer_acquire(0, How::Yes);
    for _ in 0..3 {
        world.free(1, Status::Running);
        world.free(1, Status::Interrupting);
    }
    assert_eq!(asked_for(&world), []);
}

#[test]
fn it_works_on_what_it_holds_and_on_what_it_asks_for() {
    let mut world = settled(2);
    world.free(1, Status::Running);
    assert!(world.replica.works_on(chat(1)), "the database may name it already");
    assert!(!world.replica.works_on(chat(2)));
    world.answer_acquire(0, How::Yes);
    assert!(world.replica.works_on(chat(1)));
    world.runner_gone(0);
    assert!(!world.replica.works_on(chat(1)));
}

#[test]
fn a_chat_whose_hub_has_no_room_is_let_go() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::Yes);
    let [ReplicaAction::To { chat, event }] = &world.actions[..] else { panic!("{:?}", world.actions) };
    let gone = event.unless_opened(*chat).expect("B1: there may be no room for it");
    world.replica.handle(world.now, gone);
    assert!(world.replica.is_drained(), "L3: nobody would work on it");
    let confirmed = HubEvent::Lease(LeaseEvent::Confirmed { lease: Lease(1), sent_at: world.now });
    assert_eq!(
        confirmed.unless_opened(crate::world::chat(1)),
        None,
        "B2: no hub is opened to be told of what it had"
    );
}

#[test]
fn a_chat_without_a_slot_waits_until_there_is_one() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.free(2, Status::Running);
    assert_eq!(asked_for(&world), [chat(1)]);
    world.answer_acquire(0, How::Yes);
    world.runner_gone(0);
    assert_eq!(asked_for(&world), [chat(2)]);
}

#[test]
fn an_interruption_is_finished_even_where_nothing_runs() {
    let mut world = settled(0);
    world.free(1, Status::Running);
    assert_eq!(asked_for(&world), []);
    world.free(2, Status::Interrupting);
    assert_eq!(asked_for(&world), [chat(2)]);
    world.answer_acquire(0, How::Yes);
    assert_eq!(assigned(&world), Some((chat(2), false)), "L2");
}

#[test]
fn a_chat_that_waits_without_a_slot_and_is_then_interrupted_waits_no_longer() {
    let mut world = settled(0);
    world.free(1, Status::Running);
    world.free(1, Status::Interrupting);
    assert_eq!(asked_for(&world), [chat(1)], "L2");
}

#[test]
fn what_becomes_free_while_a_rejection_is_under_way_is_asked_for_again() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::No);
    assert_eq!(asked_for(&world), [chat(1)], "L3");
    world.answer_acquire(0, How::No);
    assert_eq!(asked_for(&world), [], "L4: a rejection is an answer");
}

#[test]
fn what_becomes_free_before_our_runner_is_known_to_be_gone_is_asked_for_again() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::Yes);
    world.free(1, Status::Running);
    world.runner_gone(0);
    assert_eq!(asked_for(&world), [chat(1)], "L3");
}

#[test]
fn what_was_announced_since_a_sync_began_is_not_forgotten_for_its_answer() {
    let mut world = settled(1);
    for n in [0, 1] {
        world.free(n, Status::Running);
    }
    world.answer_acquire(0, How::Yes);
    while world.sync.is_none() {
        world.pass();
        world.answer_heartbeat(How::Yes);
    }
    world.free(2, Status::Running);
    // The result does not contain 1 any more, and cannot contain 2.
    world.answer_sync(vec![], None, How::Yes);
    world.runner_gone(0);
    assert_eq!(asked_for(&world), [chat(2)], "L3");
}

#[test]
fn a_bus_subscribed_while_a_sync_is_in_flight_makes_another_follow() {
    let mut world = World::new(1);
    assert!(world.sync.is_some() && world.bus.is_some());
    world.answer_bus(true);
    world.answer_sync(vec![], None, How::Yes);
    assert_eq!(world.syncs, 1);
    let began = world.now;
    world.pass();
    assert_eq!((world.syncs, world.now), (2, began + SYNC_SPACING_MIN), "L3, R19");
}

#[test]
fn an_acquisition_whose_answer_is_lost_is_made_again_after_a_delay_that_grows() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    let mut delays = vec![];
    for _ in 0..8 {
        let lost = world.now;
        world.answer_acquire(0, How::Unknown);
        assert_eq!(asked_for(&world), [], "L4");
        while world.acquiring.is_empty() {
            world.pass();
            world.answer_sync(vec![(chat(1), Status::Running)], None, How::Yes);
            world.answer_heartbeat(How::Yes);
        }
        delays.push(world.now.since(lost));
    }
    assert!(delays.is_sorted() && delays[0] >= Duration::from_millis(50), "{delays:?}");
    assert!(*delays.last().unwrap() <= OP_RETRY_DELAY_MAX + SYNC_SPACING_MIN, "{delays:?}");
}

#[test]
fn a_replica_that_was_full_looks_for_work_when_a_slot_becomes_free_and_no_other_does() {
    for (workers, expected) in [(1, true), (2, false)] {
        let mut world = settled(workers);
        world.free(1, Status::Running);
        world.answer_acquire(0, How::Yes);
        assert!(world.sync.is_none());
        world.runner_gone(0);
        assert_eq!(world.sync.is_some(), expected, "L3, L4: one held of {workers}");
    }
}

#[test]
fn who_knows_of_much_work_looks_for_no_more() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::Yes);
    (2..2 + WANTED_FEW as u8).for_each(|n| world.free(n, Status::Running));
    world.runner_gone(0);
    assert!(world.sync.is_none(), "L4: what is known comes first");
    world.answer_acquire(0, How::Yes);
    world.runner_gone(0);
    assert!(world.sync.is_some(), "L3: few are left");
}

#[test]
fn versions_are_asked_for_once_an_interval_however_often_work_is_looked_for() {
    let mut world = settled(1);
    let (began, before, asked) = (world.now, world.with_versions, world.syncs);
    while world.now.since(began) < 4 * POLL {
        world.free(1, Status::Running);
        world.answer_acquire(0, How::Yes);
        world.runner_gone(0);
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
        world.answer_heartbeat(How::Yes);
    }
    let (versions, syncs) = (world.with_versions - before, world.syncs - asked);
    assert!((4..=5).contains(&versions), "L1, L4: {versions} times");
    assert!(syncs >= 2 * versions, "L3: work is looked for {syncs} times");
}

#[test]
fn a_bus_that_refuses_is_asked_again_later() {
    let mut world = World::new(1);
    world.answer_bus(false);
    assert!(world.bus.is_none(), "L4");
    while world.bus.is_none() {
        assert!(world.replica.poll_timeout().is_some_and(|d| d.reason <= Reason::AcquireRetry));
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
        world.answer_heartbeat(How::Yes);
    }
    world.answer_bus(true);
    world.handle(ReplicaEvent::BusLost);
    assert!(world.bus.is_none(), "L4: it is not asked again at once");
    world.now = world.now + Duration::from_secs(3);
    world.handle(ReplicaEvent::Wake);
    assert!(world.bus.is_some(), "R04: a subscription that was lost is made anew");
}

#[test]
fn a_bus_that_gives_no_answer_is_asked_again_but_not_at_once() {
    let mut world = World::new(1);
    let (began, first) = (world.now, world.bus);
    while world.now.since(began) < BUS_SUBSCRIBE_TIMEOUT {
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
        world.answer_heartbeat(How::Yes);
    }
    assert_eq!((world.now.since(began), world.bus), (BUS_SUBSCRIBE_TIMEOUT, first), "L4");
    let again = world.replica.poll_timeout().expect("R04: it tries again");
    assert_eq!(again.reason, Reason::BusRetry);
    assert!(again.at > world.now);
    world.pass();
    assert_ne!(world.bus, first);
}

#[test]
fn who_drains_takes_nothing_more_and_is_drained_when_the_last_runner_has_gone() {
    let mut world = settled(3);
    for n in [1, 2] {
        world.free(n, Status::Running);
    }
    world.answer_acquire(0, How::Yes);
    world.drain();
    assert!(!world.replica.is_drained());
    world.free(3, Status::Running);
    world.free(4, Status::Interrupting);
    assert_eq!(asked_for(&world), [chat(2)]);
    // An acquisition in flight is not begun, but released by its hub.
    world.answer_acquire(0, How::Yes);
    assert_eq!(assigned(&world), Some((chat(2), false)));
    world.runner_gone(0);
    world.runner_gone(0);
    assert!(world.replica.is_drained());
}

#[test]
fn however_much_is_free_what_is_known_and_asked_for_is_bounded() {
    let mut world = settled(WANTED_MAX * 2);
    for n in 0..(WANTED_MAX as u128 + 100) {
        let chat = ChatId(Uuid::from_u128(n));
        world.replica.handle(world.now, ReplicaEvent::Free { chat, status: Status::Running });
        while let Some(action) = world.replica.poll_action() {
            if let ReplicaAction::Acquire { op, chat, .. } = action {
                world.acquiring.insert(op, (chat, true));
            }
        }
    }
    assert_eq!(world.acquiring.len(), ACQUISITIONS_MAX, "B1");
    let mut asked = world.acquiring.len();
    while !world.acquiring.is_empty() {
        let before = world.acquiring.len();
        world.answer_acquire(0, How::No);
        asked += world.acquiring.len() + 1 - before;
    }
    assert_eq!(asked, ACQUISITIONS_MAX + WANTED_MAX, "B1: what does not fit is left to a later look");
}

#[test]
fn whoever_lost_its_name_begins_nothing_more_even_when_the_name_is_free_again() {
    let mut world = settled(2);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::Yes);
    while world.heartbeat.is_none() {
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
    }
    world.lose_name();
    world.free(2, Status::Interrupting);
    assert!(world.acquiring.is_empty(), "S5: it is another's to finish");
    while world.heartbeat.is_none() {
        world.pass();
    }
    world.answer_heartbeat(How::Yes);
    world.answer_sync(vec![(chat(3), Status::Running)], None, How::Yes);
    assert!(world.acquiring.is_empty() && !world.replica.is_connected(), "S5: it takes a new process");
}
