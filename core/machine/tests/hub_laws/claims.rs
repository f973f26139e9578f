//! Minimal versions of runs that once failed, and bounds that random runs do not reach.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{
    AudienceEvent, DatabaseEvent, HubAction, HubConfig, HubEvent, JoinedParts, LeavingEvent, OpOutcome,
    RelayEvent,
};
use mainstem_machine::limits::{FOLLOWERS_MAX, PAGE_READS_MAX, SUBSCRIPTIONS_MAX, TAIL_MESSAGES_MAX};
use mainstem_machine::{
    Body, Cursor, Ending, FollowerId, MessageId, RelayFault, ReplicaId, Resume, SubscriptionId, Time, Version,
};

use crate::database::LEASE_TTL;
use crate::node::{Link, Pending};
use crate::step::{From, How, Rival, Step};
use crate::told::Hub;
use crate::world::World;

/// Whether everything holds on the way and after a recovery.
pub(crate) fn holds(steps: &[Step]) -> World {
    let mut world = World::new(true);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        steps.iter().for_each(|step| world.take(*step));
        world.recover();
    }));
    if let Err(why) = ended {
        eprintln!("after\n{}", world.trace.unwrap_or_default().join("\n"));
        resume_unwind(why);
    }
    world
}

pub(crate) const fn viewer(node: usize) -> Step {
    Step::Subscribe { node, from: From::Fresh }
}

#[test]
fn an_acquisition_answered_after_its_lease_has_run_out_does_nothing() {
    holds(&[
        Step::Send { interrupt: true },
        Step::Acquire { node: 0, has_slot: true, late: true },
        Step::Jump,
        Step::Acquired { node: 0 },
    ]);
}

/// The episode of the run has to be settled, not the one that the row names. Otherwise followers wait for its
/// end and never get the next one.
#[test]
fn followers_hear_of_the_next_episode_though_the_last_was_edited_away_and_interrupted() {
    holds(&[
        Step::Acquire { node: 1, has_slot: true, late: false },
        viewer(0),
        Step::Flow,
        Step::Edit(0),
        Step::Send { interrupt: true },
    ]);
}

#[test]
fn parts_that_come_after_the_database_told_of_their_end_do_not_cost_the_relay() {
    holds(&[
        Step::Work { node: 0 },
        viewer(1),
        Step::Flow,
        Step::Send { interrupt: false },
        Step::Part { node: 0, size: 3 },
        Step::Finish { node: 0 },
        Step::Settle { node: 0 },
        Step::Settle { node: 1 },
        Step::Flow,
    ]);
}

/// A page of an old history is of no use, and must not keep the viewer from requesting another one.
#[test]
fn a_page_at_hand_of_a_history_that_was_cut_is_read_anew() {
    holds(&[
        Step::Subscribe { node: 0, from: From::After(0) },
        Step::Talk { turns: 4 },
        Step::Settle { node: 0 },
        Step::View { viewer: 0, events: 1 },
        Step::Settle { node: 0 },
        Step::Edit(2),
    ]);
}

/// The deletion of the chat does not make the cached state newer than the cursor of a viewer that is ahead of
/// it.
#[test]
fn a_viewer_that_knows_more_than_a_hub_whose_chat_is_deleted_is_told_nothing_old() {
    holds(&[
        viewer(0),
        Step::Flow,
        viewer(1),
        Step::DropHints { node: 0 },
        Step::Talk { turns: 2 },
        Step::DropHints { node: 0 },
        Step::Work { node: 1 },
        Step::Interrupt { named: false },
        Step::Settle { node: 1 },
        Step::View { viewer: 1, events: 4 },
        Step::Settle { node: 1 },
        Step::View { viewer: 1, events: 4 },
        Step::Delete,
        Step::Subscribe { node: 0, from: From::Newest },
    ]);
}

#[test]
fn a_peer_that_denies_our_credentials_is_not_asked_again() {
    let mut world = World::new(false);
    for step in [Step::Rival(Rival::Acquire), viewer(0), Step::Settle { node: 0 }] {
        world.take(step);
    }
    let connection = &mut world.nodes[0].connections[0];
    connection.link = Link::Closed;
    let dial = connection.dial;
    world.handle(0, HubEvent::Relay(RelayEvent::Gone { dial, fault: RelayFault::Denied }));
    for _ in 0..30 {
        world.flow();
        world.pass();
    }
    assert_eq!(world.nodes[0].connections.len(), 1, "S10, R28");
    // Another lease is another target.
    world.take(Step::Jump);
    world.take(Step::Rival(Rival::Acquire));
    world.flow();
    assert_eq!(world.nodes[0].connections.len(), 2);
}

#[test]
fn a_hub_that_is_closed_ends_its_streams() {
    let mut world = World::new(false);
    [viewer(0), Step::Flow].into_iter().for_each(|step| world.take(step));
    world.handle(0, HubEvent::Leaving(LeavingEvent::Close));
    assert_eq!(world.nodes[0].hub.as_ref().and_then(|hub| hub.ending()), Some(Ending::Leaving));
}

/// A viewer that read nothing while the history outgrew the cached tail reads the rest in pages.
#[test]
fn a_slow_viewer_of_a_long_history_gets_all_of_it() {
    let mut steps = vec![viewer(0), Step::Settle { node: 0 }];
    for _ in 0..TAIL_MESSAGES_MAX {
        steps.extend([Step::Talk { turns: 2 }, Step::Settle { node: 0 }]);
    }
    holds(&steps);
    let mut world = World::new(false);
    steps.into_iter().for_each(|step| world.take(step));
    assert!(world.database.last().messages.len() > TAIL_MESSAGES_MAX + 1);
    world.take(Step::View { viewer: 0, events: 8 });
    assert!(matches!(world.nodes[0].pending[..], [Pending::Page { .. }]), "B1: the tail is bounded");
}

/// The viewer starts over while its page is being read, and wants another one: the first is not for it.
#[test]
fn a_page_that_a_viewer_wanted_before_it_started_over_is_not_taken_for_the_one_it_wants_now() {
    let mut world = World::new(false);
    let read = |which| Step::Answer { node: 0, which, how: How::Done };
    for step in [
        Step::Talk { turns: 4 },
        Step::Subscribe { node: 0, from: From::After(0) },
        Step::Settle { node: 0 },
        Step::View { viewer: 0, events: 1 },
    ] {
        world.take(step);
    }
    let Pending::Page { op: first, .. } = world.nodes[0].pending[0] else { panic!("a page is being read") };
    for changes in [&[Step::Edit(0)][..], &[Step::Talk { turns: 4 }, Step::Edit(4)]] {
        changes.iter().for_each(|step| world.take(*step));
        while !world.nodes[0].hints.is_empty() {
            world.take(Step::Hint { node: 0, which: 0, twice: false, whole: false });
        }
        world.take(read(1));
        world.take(Step::View { viewer: 0, events: 1 });
    }
    let pages = world.nodes[0].pending.iter().filter(|pending| matches!(pending, Pending::Page { .. }));
    assert_eq!(pages.count(), 2, "the viewer wants another page");
    assert!(matches!(world.nodes[0].pending[0], Pending::Page { op, .. } if op == first));
    world.take(read(0));
    world.take(Step::View { viewer: 0, events: 8 });
    world.take(Step::Flow);
    assert_eq!(world.seen["sent history_reset"], 1, "S3: it starts over once");
    let view = world.court.view(&world.viewers[0].name);
    assert!(world.database.last().messages.starts_with(&view.messages) && view.synced);
}

/// What the hub tells `from` before it has read the chat again, and after it.
fn told_before_and_after_a_read(world: &World, from: Resume) -> (Option<Body>, Option<Body>) {
    let now = world.now;
    let mut hub = world.nodes[0].hub.clone().expect("it has a viewer");
    let (subscription, joined) = (SubscriptionId(1_000), &mut JoinedParts::default());
    hub.handle(now, HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }));
    assert_eq!(actions(&mut hub), 0, "L4: what is cached is good enough, unless the viewer knows more");
    let before = hub.next_event(now, subscription, joined);
    if let Some(HubAction::ReadSnapshot { op, cached }) = hub.poll_action() {
        let outcome = OpOutcome::Done(world.database.snapshot(cached));
        hub.handle(now, HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }));
        actions(&mut hub);
    }
    let after = hub.next_event(now, subscription, joined);
    (before.map(|event| event.body), after.map(|event| event.body))
}

#[test]
fn a_cursor_ahead_in_one_thing_alone_is_told_nothing_before_a_fresh_read_and_then_all_anew() {
    let mut world = World::new(false);
    [viewer(0), Step::Flow].into_iter().for_each(|step| world.take(step));
    let (here, _) = world.checkpoints.last().cloned().expect("the viewer was told something");
    let next = Version(here.snapshot_version.0 + 1);
    for ahead in [
        Cursor { snapshot_version: next, ..here },
        Cursor { message: MessageId(world.database.state().last_id.0 + 1), ..here },
        Cursor { queue_version: next, ..here },
    ] {
        let (before, after) = told_before_and_after_a_read(&world, Resume::At(ahead));
        assert_eq!(before, None, "S3: {ahead:?}");
        assert_eq!(after, Some(Body::HistoryReset), "S3: the database has forgotten {ahead:?}");
    }
    assert_eq!(told_before_and_after_a_read(&world, Resume::At(here)).0, Some(Body::Synced));
}

/// A database that was restored from a backup knows nothing of the retry, nor of the cursor that tells of it.
#[test]
fn who_was_told_of_a_retry_that_the_database_has_forgotten_is_told_that_none_is_due() {
    let mut world = World::new(false);
    [viewer(0), Step::Flow, Step::Work { node: 0 }].into_iter().for_each(|step| world.take(step));
    let before =
        Cursor { snapshot_version: Version(1_000), ..world.checkpoints.last().expect("it was told").0 };
    world.take(Step::Fail { node: 0, retryable: true, after_ms: None, entropy: 0 });
    world.take(Step::Flow);
    let (told, memory) = world.checkpoints.last().cloned().expect("it was told of it");
    assert!(memory.events.iter().any(|event| matches!(event.body, Body::Retry(Some(_)))), "S9");
    let mut restored = World::new(false);
    [viewer(0), Step::Flow].into_iter().for_each(|step| restored.take(step));
    for (cursor, expected) in [(told, [Body::Retry(None)].as_slice()), (before, &[])] {
        let bodies = told_until_synced(&restored, Resume::At(cursor));
        assert_eq!(bodies.first(), Some(&Body::HistoryReset), "S3: {cursor:?}");
        let retries: Vec<_> = bodies.into_iter().filter(|body| matches!(body, Body::Retry(_))).collect();
        assert_eq!(retries, expected, "S9: {cursor:?}");
    }
}

/// All that the first hub tells `from`, which knows more than it, after it has read the chat again.
fn told_until_synced(world: &World, from: Resume) -> Vec<Body> {
    let now = world.now;
    let mut hub = world.nodes[0].hub.clone().expect("it has a viewer");
    let (subscription, joined) = (SubscriptionId(1_000), &mut JoinedParts::default());
    hub.handle(now, HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }));
    assert_eq!(hub.next_event(now, subscription, joined), None, "S3: it knows more");
    let Some(HubAction::ReadSnapshot { op, cached }) = hub.poll_action() else { panic!("L1: it is read") };
    let outcome = OpOutcome::Done(world.database.snapshot(cached));
    hub.handle(now, HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }));
    let told: Vec<_> = std::iter::from_fn(|| hub.next_event(now, subscription, joined)).collect();
    assert_eq!(told.last().map(|event| &event.body), Some(&Body::Synced), "S9");
    told.into_iter().map(|event| event.body).collect()
}

#[test]
fn a_viewer_with_a_newer_message_than_the_hub_knows_waits_for_a_read_and_no_other_does() {
    let mut world = World::new(false);
    [viewer(0), Step::Flow, Step::Talk { turns: 1 }].into_iter().for_each(|step| world.take(step));
    let newest = world.database.state().last_message;
    assert!(
        world.nodes[0].hub.as_ref().and_then(|hub| hub.cached()).is_some_and(|has| has.last_message < newest)
    );
    let (before, after) = told_before_and_after_a_read(&world, Resume::After(newest));
    assert_eq!(before, None);
    assert!(after.is_some_and(|body| body != Body::HistoryReset), "S1: it has the whole history");
    world.take(Step::Flow);
    let (before, _) = told_before_and_after_a_read(&world, Resume::After(newest));
    assert!(before.is_some(), "L4: what the hub knows too needs no read");
}

fn crowded() -> Hub {
    let config = HubConfig {
        replica: ReplicaId::new("node").expect("a replica's id"),
        relays: true,
        lease_ttl: LEASE_TTL,
        episode_bytes_max: 1024,
        tool_steps_max: 4,
    };
    Hub::new(Time::START, Arc::new(config))
}

fn actions(hub: &mut Hub) -> usize {
    std::iter::from_fn(|| hub.poll_action()).count()
}

#[test]
fn viewers_and_followers_are_bounded_and_leave_nothing_behind() {
    let mut hub = crowded();
    for n in 0..SUBSCRIPTIONS_MAX as u64 {
        assert!(hub.has_capacity_for_viewer());
        let subscription = SubscriptionId(n);
        hub.handle(
            Time::START,
            HubEvent::Audience(AudienceEvent::Subscribe { subscription, from: Resume::Fresh, user: None }),
        );
        assert!(actions(&mut hub) <= 1, "L4: viewers share what they wait for");
    }
    assert!(!hub.has_capacity_for_viewer(), "B1");
    for n in 0..FOLLOWERS_MAX as u64 {
        assert!(hub.has_capacity_for_follower());
        hub.handle(
            Time::START,
            HubEvent::Audience(AudienceEvent::Follow { follower: FollowerId(n), position: None }),
        );
        actions(&mut hub);
    }
    assert!(!hub.has_capacity_for_follower(), "B1");
    hub.assert_invariants();
    for n in 0..SUBSCRIPTIONS_MAX as u64 {
        hub.handle(Time::START, HubEvent::Audience(AudienceEvent::Leave { subscription: SubscriptionId(n) }));
        actions(&mut hub);
    }
    for n in 0..FOLLOWERS_MAX as u64 {
        hub.handle(Time::START, HubEvent::Audience(AudienceEvent::Unfollow { follower: FollowerId(n) }));
        actions(&mut hub);
    }
    while !hub.is_finished() {
        let now = hub.poll_timeout().expect("B2: an idle hub ends").at;
        assert!(now < Time::START + Duration::from_secs(60), "B2");
        hub.handle(now, HubEvent::Wake);
        actions(&mut hub);
    }
}

#[test]
fn however_many_viewers_want_a_page_few_are_read_at_once() {
    let mut world = World::new(false);
    [Step::Talk { turns: 4 }, viewer(0), Step::Settle { node: 0 }].into_iter().for_each(|s| world.take(s));
    let now = world.now;
    let hub = world.nodes[0].hub.as_mut().expect("it has a viewer");
    let mut reads = 0;
    for n in 100..200 {
        let subscription = SubscriptionId(n);
        hub.handle(
            now,
            HubEvent::Audience(AudienceEvent::Subscribe { subscription, from: Resume::Fresh, user: None }),
        );
        reads += actions(hub);
        assert_eq!(hub.next_event(now, subscription, &mut JoinedParts::default()), None);
        reads += std::iter::from_fn(|| hub.poll_action())
            .filter(|action| matches!(action, HubAction::ReadPage { .. }))
            .count();
        hub.assert_invariants();
    }
    assert_eq!(reads, PAGE_READS_MAX, "B1");
}

/// A late answer to a read that was given up is ignored.
#[test]
fn a_read_answered_twice_moves_nothing() {
    let mut world = World::new(false);
    [viewer(0), Step::Answer { node: 0, which: 0, how: How::Done }].into_iter().for_each(|s| world.take(s));
    let Pending::Snapshot { op, .. } = world.nodes[0].pending[0] else { panic!("a read is under way") };
    world.take(Step::Settle { node: 0 });
    let outcome = OpOutcome::Done(None);
    world.handle_in_vain(0, HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }));
}
