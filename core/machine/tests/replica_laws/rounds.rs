//! Heartbeats and syncs: when they are sent, and what their answers say, claim by claim.

use std::time::Duration;

use mainstem_machine::hub::{ChatEvent, HubEvent, LeaseEvent, OpOutcome};
use mainstem_machine::limits::{EXPIRY_SLACK, OVERDUE_MAX, SYNC_SPACING_MIN};
use mainstem_machine::replica::{Heartbeat, ReplicaAction, ReplicaEvent, SyncResult};
use mainstem_machine::{Lease, OpId, Status, Version};

use crate::claims::{asked_for, settled};
use crate::world::{HEARTBEAT, How, POLL, World, chat};

fn confirms(actions: &[ReplicaAction]) -> bool {
    matches!(actions, [ReplicaAction::To { event: HubEvent::Lease(LeaseEvent::Confirmed { .. }), .. }])
}

#[test]
fn a_heartbeat_names_what_is_held_and_its_answer_confirms_or_doubts_it() {
    let mut world = settled(2);
    for n in [1, 2] {
        world.free(n, Status::Running);
        world.answer_acquire(0, How::Yes);
    }
    let before = world.now;
    while world.heartbeat.is_none() {
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
    }
    assert!(world.now <= before + HEARTBEAT);
    let (op, held) = world.heartbeat.take().unwrap();
    assert_eq!(held, [(chat(1), Lease(1)), (chat(2), Lease(2))]);
    let sent = world.now;
    world.now = world.now + Duration::from_secs(1);
    let outcome = OpOutcome::Done(Heartbeat::Confirmed {
        leases: vec![(chat(1), Lease(1)), (chat(2), Lease(1))],
        peers: vec![],
    });
    world.handle(ReplicaEvent::HeartbeatResult { op, outcome });
    assert_eq!(
        world.actions,
        [
            ReplicaAction::To {
                chat: chat(1),
                event: HubEvent::Lease(LeaseEvent::Confirmed { lease: Lease(1), sent_at: sent })
            },
            // Another lease, so it says nothing about this one.
            ReplicaAction::To { chat: chat(2), event: HubEvent::Lease(LeaseEvent::Lost { lease: Lease(2) }) },
        ],
        "S5: a lease counts from when its heartbeat was sent"
    );
}

#[test]
fn a_heartbeat_that_failed_is_sent_again_before_the_lease_runs_out() {
    let mut world = settled(1);
    let began = world.now;
    let before = world.heartbeats;
    while world.now.since(began) < HEARTBEAT * 3 {
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
        world.answer_heartbeat(How::Refused);
    }
    let heartbeats = world.heartbeats - before;
    assert!((8..=14).contains(&heartbeats), "L4: {heartbeats} heartbeats in three periods");
}

#[test]
fn a_heartbeat_whose_answer_never_comes_is_not_waited_for() {
    let mut world = settled(1);
    let began = world.now;
    let before = world.heartbeats;
    while world.now.since(began) < HEARTBEAT * 3 {
        world.pass();
        world.answer_sync(vec![], None, How::Yes);
    }
    assert!((2..=4).contains(&(world.heartbeats - before)));
}

#[test]
fn a_heartbeat_that_fails_when_the_next_is_under_way_takes_nothing_from_that() {
    for failure in [OpOutcome::Refused, OpOutcome::Unknown] {
        let mut world = settled(1);
        world.free(1, Status::Running);
        world.answer_acquire(0, How::Yes);
        let mut asked: Vec<OpId> = vec![];
        while asked.len() < 2 {
            world.pass();
            world.answer_sync(vec![], None, How::Yes);
            asked.extend(world.heartbeat.as_ref().map(|(op, _)| *op).filter(|op| !asked.contains(op)));
        }
        world.handle(ReplicaEvent::HeartbeatResult { op: asked[0], outcome: failure });
        let renewed =
            OpOutcome::Done(Heartbeat::Confirmed { leases: vec![(chat(1), Lease(1))], peers: vec![] });
        world.handle(ReplicaEvent::HeartbeatResult { op: asked[1], outcome: renewed });
        assert!(confirms(&world.actions), "S5: it is still waited for");
        assert!(world.replica.is_connected());
    }
}

#[test]
fn a_heartbeat_that_is_answered_twice_confirms_once() {
    let mut world = settled(1);
    world.free(1, Status::Running);
    world.answer_acquire(0, How::Yes);
    let mut ops = vec![];
    for _ in 0..2 {
        while world.heartbeat.is_none() {
            world.pass();
            world.answer_sync(vec![], None, How::Yes);
        }
        ops.push(world.heartbeat.as_ref().expect("it is in flight").0);
        if ops.len() == 1 {
            world.answer_heartbeat(How::Yes);
        }
    }
    let outcome =
        || OpOutcome::Done(Heartbeat::Confirmed { leases: vec![(chat(1), Lease(1))], peers: vec![] });
    world.handle(ReplicaEvent::HeartbeatResult { op: ops[0], outcome: outcome() });
    assert_eq!(world.actions, [], "S5: only the one in flight says anything of the lease now");
    world.handle(ReplicaEvent::HeartbeatResult { op: ops[1], outcome: outcome() });
    assert!(confirms(&world.actions));
}

#[test]
fn a_sync_follows_within_the_poll_interval_and_when_the_soonest_lease_has_expired() {
    for (soonest, expected) in [
        (None, POLL),
        (Some(Duration::from_secs(60)), POLL),
        (Some(Duration::from_secs(1)), Duration::from_secs(1) + EXPIRY_SLACK),
        (Some(Duration::ZERO), SYNC_SPACING_MIN),
    ] {
        let mut world = settled(1);
        while world.sync.is_none() {
            world.pass();
            world.answer_heartbeat(How::Yes);
        }
        let (synced, syncs) = (world.now, world.syncs);
        world.answer_sync(vec![], soonest, How::Yes);
        while world.syncs == syncs {
            world.pass();
            world.answer_heartbeat(How::Yes);
        }
        assert_eq!(world.now.since(synced), expected, "L5: {soonest:?}");
    }
}

#[test]
fn a_sync_that_is_answered_when_the_next_is_under_way_counts_once() {
    let mut world = settled(3);
    let late = overdue_syncs(&mut world, 1)[0];
    world.handle(synced(late, 1));
    assert_eq!(asked_for(&world), [chat(1)], "L3");
    world.handle(synced(late, 2));
    assert_eq!(asked_for(&world), [chat(1)], "nobody asked for a second answer");
}

#[test]
fn answers_that_are_overdue_are_waited_for_up_to_a_number_of_them() {
    for (overdue, expected) in [(OVERDUE_MAX, vec![chat(1)]), (OVERDUE_MAX + 1, vec![])] {
        let mut world = settled(3);
        let late = overdue_syncs(&mut world, overdue);
        world.handle(synced(late[0], 1));
        assert_eq!(asked_for(&world), expected, "B1: {overdue} are overdue");
    }
}

/// Lets time pass until this many syncs are overdue.
fn overdue_syncs(world: &mut World, count: usize) -> Vec<OpId> {
    let mut asked: Vec<_> = world.sync.into_iter().collect();
    while asked.len() <= count {
        world.pass();
        world.answer_heartbeat(How::Yes);
        asked.extend(world.sync.filter(|sync| asked.last() != Some(sync)));
    }
    asked
}

fn synced(op: OpId, runnable: u8) -> ReplicaEvent {
    let runnable = vec![(chat(runnable), Status::Running)];
    ReplicaEvent::Synced { op, outcome: OpOutcome::Done(SyncResult { runnable, ..SyncResult::default() }) }
}

#[test]
fn what_a_sync_saw_is_news_to_a_hub_that_knows_less_and_that_a_chat_is_not_there_to_any() {
    let versions = |all: &[(u8, u64)]| -> Vec<_> {
        all.iter().map(|(n, version)| (chat(*n), Version(*version))).collect()
    };
    let asked = versions(&[(1, 5), (2, 5), (3, 5), (4, 5), (5, 0), (6, 0)]);
    let found = versions(&[(5, 1), (3, 4), (2, 6), (1, 5), (9, 9)]);
    let (newer, gone) = (|n, version| (chat(n), Some(Version(version))), |n| (chat(n), None));
    // What is older there than here is no news: a read finds nothing in it.
    assert_eq!(SyncResult::news(&asked, &found), [newer(2, 6), gone(4), newer(5, 1), gone(6)], "L1");
}

#[test]
fn what_a_sync_saw_is_told_to_the_hubs_however_late_it_comes() {
    for overdue in [0, 1, OVERDUE_MAX + 1] {
        let mut world = settled(0);
        let op = overdue_syncs(&mut world, overdue)[0];
        let news = vec![(chat(1), Some(Version(7))), (chat(2), None)];
        let outcome = OpOutcome::Done(SyncResult { news, ..SyncResult::default() });
        world.replica.handle(world.now, ReplicaEvent::Synced { op, outcome });
        let told: Vec<_> = std::iter::from_fn(|| world.replica.poll_action()).collect();
        let to = |n, event| ReplicaAction::To { chat: chat(n), event };
        let seen = HubEvent::Chat(ChatEvent::Hint { snapshot_version: Version(7) });
        assert_eq!(
            told,
            [to(1, seen), to(2, HubEvent::Chat(ChatEvent::NotFound))],
            "L1: {overdue} are overdue"
        );
    }
}

#[test]
fn a_sync_that_fails_is_retried_with_backoff_and_unready_meanwhile() {
    let mut world = settled(1);
    assert!(world.replica.is_connected());
    let (began, syncs) = (world.now, world.syncs);
    while world.now.since(began) < Duration::from_secs(20) {
        world.pass();
        world.answer_heartbeat(How::Yes);
        world.answer_sync(vec![], None, How::Refused);
    }
    assert!(!world.replica.is_connected());
    let syncs = world.syncs - syncs;
    assert!((6..=18).contains(&syncs), "L4: {syncs} looks");
    while world.sync.is_none() {
        world.pass();
        world.answer_heartbeat(How::Yes);
    }
    world.answer_sync(vec![], None, How::Yes);
    assert!(world.replica.is_connected());
}
