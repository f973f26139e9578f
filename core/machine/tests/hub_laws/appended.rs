//! What a hub makes of a commit at its own replica: it tells what the commit appended without a read if it has the
//! version before, and reads in all other cases. Such events come late, twice, in any order, and not at all.

use std::sync::Arc;

use mainstem_machine::hub::{ChatEvent, HubEvent};
use mainstem_machine::{ChatState, Message, Version};
use proptest::prelude::*;

use crate::claims::{holds, viewer};
use crate::common;
use crate::database::Entry;
use crate::node::Pending;
use crate::step::{How, Rival, Step};
use crate::world::World;

const SEND: Step = Step::Send { interrupt: false };

/// A chat that waits for its user, of which the first hub has everything.
fn idle() -> World {
    let mut world = World::new(false);
    let interrupted = Step::Interrupt { named: false };
    [viewer(0), Step::Flow, interrupted, Step::Flow].into_iter().for_each(|step| world.take(step));
    world
}

/// The first hub is told of the commit of this version, and of nothing else.
fn tell(world: &mut World, version: Version) {
    world.take(Step::DropHints { node: 0 });
    let event = world.database.entry(version).expect("it was committed").committed();
    world.handle(0, event);
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

/// The viewer has what the database has, once what is on its way has come.
fn converges(world: &mut World) {
    // What a viewer asks for at the end of a flow comes with the next one.
    [Step::Flow, Step::Flow].into_iter().for_each(|step| world.take(step));
    assert_eq!(known(world), (version(world), 0), "L1");
    let (entry, name) = (world.database.last(), &world.viewers[0].name);
    assert_eq!(world.court.view(name).difference(&entry.state, &entry.messages), None, "L1");
}

#[test]
fn a_hub_that_has_the_version_before_asks_for_no_read_after_its_commit_with_messages() {
    let mut world = idle();
    world.take(SEND);
    let sent = version(&world);
    tell(&mut world, sent);
    assert_eq!(known(&world), (sent, 0), "L4: the user's message came with the commit");
    converges(&mut world);
    let turn = [Step::Work { node: 0 }, Step::Part { node: 0, size: 3 }, SEND, Step::Flow];
    turn.into_iter().for_each(|step| world.take(step));
    world.asked.clear();
    world.take(Step::Finish { node: 0 });
    world.answer(0, 0, How::Happens);
    let finished = version(&world);
    assert_eq!(world.database.last().appended.as_ref().map(|appended| appended.len()), Some(2));
    tell(&mut world, finished);
    assert_eq!(known(&world), (finished, 0), "L4: so did the answer, and the message that waited behind it");
    world.answer(0, 0, How::Done);
    world.view(0, 8);
    assert_eq!(
        world.asked.get("snapshot"),
        None,
        "L4: nor does the answer to its own command ask for a read"
    );
    converges(&mut world);
}

#[test]
fn a_hub_that_lacks_the_version_before_reads_what_came_between() {
    let mut world = idle();
    let before = version(&world);
    // The first of these commits appends a message, the last one too.
    world.take(Step::Talk { turns: 2 });
    world.take(Step::Talk { turns: 1 });
    let newest = version(&world);
    assert!(world.database.last().appended.as_ref().is_some_and(|appended| !appended.is_empty()));
    tell(&mut world, newest);
    assert_eq!(known(&world), (before, 1), "S1: nothing is shown before what comes before it");
    converges(&mut world);
    let mut world = idle();
    let before = version(&world);
    world.take(SEND);
    world.take(Step::Edit(0));
    let newest = version(&world);
    tell(&mut world, newest);
    assert_eq!(known(&world), (before, 1), "S1: what is left of the history before a cut is read");
    converges(&mut world);
    let mut world = World::new(false);
    world.take(viewer(0));
    world.answer(0, 0, How::Done);
    let first = version(&world);
    tell(&mut world, first);
    assert_eq!(known(&world), (Version(0), 1), "S1: what came before is unknown here");
    converges(&mut world);
}

#[test]
fn a_commit_that_is_told_again_or_late_moves_nothing() {
    let mut world = idle();
    world.take(SEND);
    world.take(Step::Interrupt { named: false });
    world.take(SEND);
    let newest = version(&world);
    for version in 1..=newest.0 {
        tell(&mut world, Version(version));
    }
    assert_eq!(known(&world), (newest, 0), "S1: told in order, nothing is missing");
    converges(&mut world);
    for version in (1..=newest.0).rev() {
        let event = world.database.entry(Version(version)).expect("it was committed").committed();
        world.handle_in_vain(0, event);
    }
}

/// The read was asked for when less was cached than is when it answers: it brings that once more.
#[test]
fn a_read_that_was_under_way_brings_nothing_twice_and_loses_nothing() {
    // Behind what was sent comes nothing, one message, or more than a read brings of a tail.
    for (happens_before, turns) in [(true, 0), (false, 0), (false, 1), (false, 2)] {
        let mut world = idle();
        world.handle(0, HubEvent::Chat(ChatEvent::NotFound));
        assert_eq!(known(&world).1, 1, "L1: it looks whether the chat is there");
        if happens_before {
            world.answer(0, 0, How::Happens);
        }
        world.take(SEND);
        let sent = version(&world);
        tell(&mut world, sent);
        assert_eq!(known(&world), (sent, 1));
        world.take(Step::Talk { turns });
        world.take(Step::DropHints { node: 0 });
        world.answer(0, 0, How::Done);
        assert_eq!(known(&world), (version(&world), 0), "S1, L4");
        converges(&mut world);
    }
}

#[test]
fn messages_that_do_not_fit_behind_the_end_of_the_history_are_not_taken() {
    let with_id = |message: &Message, id| Arc::new(Message { id, ..message.clone() });
    for case in
        ["none", "one of two", "not in order", "one twice", "one that is there", "a row of another end"]
    {
        let mut world = idle();
        let before = version(&world);
        world.take(SEND);
        let Entry { state, messages, .. } = world.database.last().clone();
        let [first, .., sent] = &messages[..] else { panic!("two were said") };
        // As if a second message had come with it.
        let second = with_id(sent, sent.id.next());
        let (appended, last) = match case {
            "none" => (vec![], second.id),
            "one of two" => (vec![sent.clone()], second.id),
            "not in order" => (vec![second.clone(), sent.clone()], sent.id),
            "one twice" => (vec![sent.clone(), sent.clone()], sent.id),
            "one that is there" => (vec![with_id(sent, first.id), sent.clone()], sent.id),
            _ => (vec![sent.clone(), second.clone()], sent.id),
        };
        let state = Arc::new(ChatState { last_message: last, ..ChatState::clone(&state) });
        world.handle(0, HubEvent::Chat(ChatEvent::Committed { state, appended: Some(appended.into()) }));
        assert_eq!(known(&world), (before, 1), "S1: {case}: the database says what the history is");
        converges(&mut world);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..2usize;
    let turn = prop_oneof![Just(Rival::Acquire), Just(Rival::Begin), Just(Rival::Part), Just(Rival::Finish)];
    let how = prop_oneof![3 => Just(How::Happens), 6 => Just(How::Done), 1 => Just(How::DoneUnknown)];
    prop_oneof![
        2 => node.clone().prop_map(viewer),
        4 => any::<bool>().prop_map(|interrupt| Step::Send { interrupt }),
        1 => any::<u8>().prop_map(Step::Edit),
        1 => any::<bool>().prop_map(|named| Step::Interrupt { named }),
        4 => turn.prop_map(Step::Rival),
        2 => (1..3u8).prop_map(|turns| Step::Talk { turns }),
        12 => (node.clone(), any::<u8>(), any::<bool>())
            .prop_map(|(node, which, twice)| Step::Hint { node, which, twice, whole: true }),
        6 => (node.clone(), 0..2u8, any::<bool>())
            .prop_map(|(node, which, twice)| Step::Hint { node, which, twice, whole: true }),
        2 => (node.clone(), any::<u8>())
            .prop_map(|(node, which)| Step::Hint { node, which, twice: false, whole: false }),
        8 => (node.clone(), any::<u8>(), how).prop_map(|(node, which, how)| Step::Answer { node, which, how }),
        2 => node.clone().prop_map(|node| Step::Sync { node }),
        1 => node.clone().prop_map(|node| Step::BusLost { node }),
        2 => node.clone().prop_map(|node| Step::Work { node }),
        2 => node.clone().prop_map(|node| Step::Part { node, size: 3 }),
        2 => node.prop_map(|node| Step::Finish { node }),
        6 => (any::<u8>(), 0..8u8).prop_map(|(viewer, events)| Step::View { viewer, events }),
        1 => Just(Step::Flow),
    ]
}

proptest! {
    #![proptest_config(common::config(200))]

    #[test]
    fn in_whatever_order_commits_are_told_viewers_are_told_the_history(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        holds(&[&[viewer(0), viewer(1), Step::Flow], &steps[..]].concat());
    }
}
