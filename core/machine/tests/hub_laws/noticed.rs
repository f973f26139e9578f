//! What a hub makes of a notice that has what the change made of the row: it takes it if it has the version before, and reads in all
//! other cases. Notices come late, twice, in any order, and not at all.

use mainstem_machine::hub::{ChatEvent, HubAction, HubEvent, Noticed};
use mainstem_machine::limits::NOTICED_ROWS_MAX;
use mainstem_machine::{Lease, NextRow, ReplicaId, Status, Version, WallTime};
use proptest::prelude::*;

use crate::claims::{holds, viewer};
use crate::common;
use crate::node::Pending;
use crate::step::{How, Rival, Step};
use crate::world::World;

const ACQUIRE: Step = Step::Rival(Rival::Acquire);
const RELEASE: Step = Step::Rival(Rival::Release);
const INTERRUPT: Step = Step::Interrupt { named: false };
const SEND: Step = Step::Send { interrupt: false };

/// A chat that waits for a worker, of which the first hub has everything.
fn waiting() -> World {
    let mut world = World::new(false);
    [viewer(0), Step::Flow].into_iter().for_each(|step| world.take(step));
    world
}

fn version(world: &World) -> Version {
    world.database.state().snapshot_version
}

/// What the first hub knows, and how many reads it waits for.
fn known(world: &World) -> (Version, usize) {
    let hub = world.nodes[0].hub.as_ref().expect("it has a viewer");
    let reads = world.nodes[0].pending.iter().filter(|pending| matches!(pending, Pending::Snapshot { .. }));
    (hub.snapshot_version(), reads.count())
}

/// The first hub hears of these versions by the bus, and of nothing else.
fn hear(world: &mut World, versions: impl IntoIterator<Item = u64>) {
    world.take(Step::DropHints { node: 0 });
    for version in versions {
        let event = world.database.entry(Version(version)).expect("it was committed").noticed();
        world.handle(0, event);
    }
}

/// The notice of the newest version, which says more than that there is one.
fn newest(world: &World) -> Noticed {
    match world.database.last().noticed() {
        HubEvent::Chat(ChatEvent::Noticed(noticed)) => noticed,
        other => panic!("the row alone changed: {other:?}"),
    }
}

/// The viewer has what the database has, once what is on its way has come.
fn converges(world: &mut World) {
    [Step::Flow, Step::Flow].into_iter().for_each(|step| world.take(step));
    assert_eq!(known(world), (version(world), 0), "L1");
    let (entry, name) = (world.database.last(), &world.viewers[0].name);
    assert_eq!(world.court.view(name).difference(&entry.state, &entry.messages), None, "L1");
    let row = world.nodes[0].hub.as_ref().and_then(|hub| hub.row()).expect("it was read");
    assert_eq!(row, world.database.state(), "S1: as if it had been read");
}

#[test]
fn a_hub_that_has_the_version_before_takes_a_notice_without_a_read() {
    for changes in [&[ACQUIRE, RELEASE, ACQUIRE, INTERRUPT][..], &[ACQUIRE, INTERRUPT, RELEASE]] {
        let mut world = waiting();
        for change in changes {
            world.take(*change);
            let committed = version(&world);
            hear(&mut world, [committed.0]);
            assert_eq!(known(&world), (committed, 0), "L4: {change:?} is told by its notice");
            let row = world.nodes[0].hub.as_ref().and_then(|hub| hub.row()).expect("it was read");
            assert_eq!(row, world.database.state(), "S1: {change:?}: as if it had been read");
        }
        converges(&mut world);
    }
}

#[test]
fn a_notice_stops_the_run_that_was_interrupted_before_anything_is_read() {
    let mut world = waiting();
    [Step::Work { node: 0 }, Step::Part { node: 0, size: 3 }].into_iter().for_each(|step| world.take(step));
    assert!(world.nodes[0].model.is_some(), "it runs");
    while !world.nodes[0].pending.is_empty() {
        world.answer(0, 0, How::Done);
    }
    world.take(INTERRUPT);
    let interrupted = version(&world);
    hear(&mut world, [interrupted.0]);
    assert!(world.nodes[0].model.is_none(), "S7: no read stands between");
    converges(&mut world);
}

#[test]
fn a_hub_that_lacks_the_version_before_reads_what_came_between() {
    for between in [&[SEND][..], &[Step::Edit(0)], &[ACQUIRE, RELEASE], &[INTERRUPT, SEND]] {
        let mut world = waiting();
        let before = version(&world);
        between.iter().for_each(|step| world.take(*step));
        world.take(ACQUIRE);
        let last = version(&world);
        hear(&mut world, [last.0]);
        assert_eq!(known(&world), (before, 1), "S1, S3: {between:?} is not skipped");
        converges(&mut world);
    }
}

#[test]
fn a_notice_that_comes_while_the_version_before_is_read_waits_for_it() {
    let mut world = waiting();
    [INTERRUPT, Step::Flow, SEND].into_iter().for_each(|step| world.take(step));
    let sent = version(&world);
    hear(&mut world, [sent.0]);
    world.answer(0, 0, How::Happens);
    world.take(ACQUIRE);
    let acquired = version(&world);
    hear(&mut world, [acquired.0]);
    assert_eq!(known(&world).1, 1, "it waits for what was sent");
    world.answer(0, 0, How::Done);
    assert_eq!(known(&world), (acquired, 0), "L4: one read for both");
    converges(&mut world);
}

#[test]
fn notices_move_nothing_twice_whatever_their_order() {
    let mut world = waiting();
    let before = version(&world);
    [ACQUIRE, RELEASE, ACQUIRE].into_iter().for_each(|step| world.take(step));
    let last = version(&world);
    hear(&mut world, (before.0 + 1..=last.0).rev());
    assert_eq!(known(&world), (last, 1), "none is missing any more, and a read was asked for when one was");
    world.answer(0, 0, How::Done);
    for version in (1..=last.0).chain((1..=last.0).rev()) {
        let event = world.database.entry(Version(version)).expect("it was committed").noticed();
        world.handle_in_vain(0, event);
    }
    converges(&mut world);
}

#[test]
fn a_notice_that_cannot_follow_the_row_is_read() {
    let mut world = waiting();
    [ACQUIRE, Step::Flow, RELEASE].into_iter().for_each(|step| world.take(step));
    let (last, noticed) = (version(&world), newest(&world));
    world.take(Step::DropHints { node: 0 });
    let other = |change: &dyn Fn(&mut Noticed)| {
        let mut other = noticed.clone();
        change(&mut other);
        other
    };
    for amiss in [
        other(&|noticed| noticed.history_version = noticed.history_version.next()),
        other(&|noticed| noticed.queue_version = noticed.queue_version.next()),
        other(&|noticed| noticed.row.lease = Lease(0)),
        other(&|noticed| noticed.row.attempt = 0),
    ] {
        let mut hub = world.nodes[0].hub.clone().expect("it has a viewer");
        hub.handle(world.now, HubEvent::Chat(ChatEvent::Noticed(amiss.clone())));
        let asked = std::iter::from_fn(|| hub.poll_action());
        let reads = asked.filter(|action| matches!(action, HubAction::ReadSnapshot { .. })).count();
        assert_eq!((hub.snapshot_version().next(), reads), (last, 1), "S1, S3: {amiss:?}");
    }
    world.handle(0, HubEvent::Chat(ChatEvent::Noticed(noticed)));
    assert_eq!(known(&world), (last, 0), "nothing was amiss with it");
    converges(&mut world);
}

#[test]
fn rows_that_wait_for_a_read_are_bounded_and_the_nearest_are_kept() {
    let mut world = waiting();
    let before = version(&world);
    world.take(SEND);
    let sent = version(&world);
    for _ in 0..NOTICED_ROWS_MAX {
        [ACQUIRE, RELEASE].into_iter().for_each(|step| world.take(step));
    }
    let last = version(&world);
    hear(&mut world, [sent.0]);
    let nearest = sent.0 + NOTICED_ROWS_MAX as u64;
    hear(&mut world, (sent.0 + 1..=last.0).rev());
    assert_eq!(known(&world), (before, 1), "B1: the hub looks after its bound itself");
    let snapshot = world.database.entry(sent).expect("it was committed").state.clone();
    let Some(Pending::Snapshot { op, .. }) = world.nodes[0].pending.first().cloned() else {
        panic!("it reads")
    };
    let messages = world.database.entry(sent).expect("it was committed").messages.to_vec();
    let tail = mainstem_machine::Tail::Newest { messages, from_start: true };
    let mut hub = world.nodes[0].hub.clone().expect("it has a viewer");
    let outcome =
        mainstem_machine::hub::OpOutcome::Done(Some(mainstem_machine::Snapshot { state: snapshot, tail }));
    let read = mainstem_machine::hub::DatabaseEvent::SnapshotRead { op, outcome };
    hub.handle(world.now, HubEvent::Database(read));
    assert_eq!(hub.snapshot_version(), Version(nearest), "the nearest follow the row that was read");
    let asked = std::iter::from_fn(|| hub.poll_action());
    assert_eq!(asked.filter(|action| matches!(action, HubAction::ReadSnapshot { .. })).count(), 1, "L1");
    converges(&mut world);
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..2usize;
    let turn = prop_oneof![
        3 => Just(Rival::Acquire),
        2 => Just(Rival::Begin),
        1 => Just(Rival::Part),
        1 => Just(Rival::Retry),
        1 => Just(Rival::Finish),
        2 => Just(Rival::Release),
        1 => Just(Rival::Interruption),
    ];
    let how = prop_oneof![3 => Just(How::Happens), 6 => Just(How::Done), 1 => Just(How::DoneUnknown)];
    let hint = (node.clone(), any::<u8>(), any::<bool>());
    prop_oneof![
        1 => node.clone().prop_map(viewer),
        2 => any::<bool>().prop_map(|interrupt| Step::Send { interrupt }),
        1 => any::<u8>().prop_map(Step::Edit),
        3 => any::<bool>().prop_map(|named| Step::Interrupt { named }),
        10 => turn.prop_map(Step::Rival),
        12 => hint.prop_map(|(node, which, twice)| Step::Hint { node, which, twice, whole: false }),
        8 => (node.clone(), 0..2u8).prop_map(|(node, which)| Step::Hint { node, which, twice: false, whole: false }),
        6 => (node.clone(), any::<u8>(), how).prop_map(|(node, which, how)| Step::Answer { node, which, how }),
        1 => node.clone().prop_map(|node| Step::BusLost { node }),
        2 => node.clone().prop_map(|node| Step::Work { node }),
        2 => node.clone().prop_map(|node| Step::Part { node, size: 3 }),
        1 => node.prop_map(|node| Step::Finish { node }),
        6 => (any::<u8>(), 0..8u8).prop_map(|(viewer, events)| Step::View { viewer, events }),
        1 => Just(Step::Flow),
    ]
}

/// What nobody commits, of a version that may be the next.
fn nonsense() -> impl Strategy<Value = (u64, NextRow)> {
    let worker = proptest::sample::select(vec![None, Some("node-a"), Some("node-b"), Some("rival")]);
    let status = proptest::sample::select(Status::ALL.to_vec());
    let numbers = (0..3u64, proptest::option::of(0..3u64), 0..3u64, 0..3u64);
    (1..3u64, status, worker, numbers, any::<bool>()).prop_map(
        |(ahead, status, worker, (lease, begun, attempt, at), retries)| {
            let worker = worker.map(|id| ReplicaId::new(id).expect("an id"));
            let (lease, attempt_lease, updated_at) = (Lease(lease), begun.map(Lease), WallTime(at as i64));
            (ahead, NextRow { status, worker, lease, attempt_lease, attempt, retries, updated_at })
        },
    )
}

proptest! {
    #![proptest_config(common::config(200))]

    #[test]
    fn in_whatever_order_notices_come_viewers_are_told_what_the_database_has(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        holds(&[&[viewer(0), viewer(1), Step::Flow], &steps[..]].concat());
    }

    /// The bus is the cluster's own, but what panics there takes the viewers with it.
    #[test]
    fn no_notice_brings_a_hub_down(
        steps in proptest::collection::vec(step(), 0..20),
        all in proptest::collection::vec(nonsense(), 1..8),
    ) {
        let mut world = World::new(false);
        [viewer(0), viewer(1), Step::Flow].into_iter().chain(steps).for_each(|step| world.take(step));
        for node in &world.nodes {
            let Some(mut hub) = node.hub.clone() else { continue };
            for (ahead, row) in &all {
                let Some(known) = hub.row().cloned() else { continue };
                let noticed = Noticed {
                    snapshot_version: Version(known.snapshot_version.0 + ahead - 1),
                    history_version: known.history_version,
                    queue_version: known.queue_version,
                    row: row.clone().into(),
                };
                hub.handle(world.now, HubEvent::Chat(ChatEvent::Noticed(noticed)));
                while hub.poll_action().is_some() {}
                hub.assert_invariants();
            }
        }
    }
}
