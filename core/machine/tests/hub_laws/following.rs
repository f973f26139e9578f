//! What a follower and the worker that it follows do at moments that random steps seldom meet, claim by claim.

use mainstem_machine::hub::{AudienceEvent, ChatEvent, HubEvent, LeaseEvent, LeavingEvent, RelayEvent};
use mainstem_machine::{Episode, FollowerId, Lease, Part, RelayFrame, Seq};

use crate::database::LEASE_TTL;
use crate::node::{Link, Pending};
use crate::step::{From, How, Rival, Step};
use crate::world::World;

const WORK: Step = Step::Work { node: 0 };
const PART: Step = Step::Part { node: 0, size: 3 };
const FOLLOWER: FollowerId = FollowerId(1_000);

fn viewer(node: usize) -> Step {
    Step::Subscribe { node, from: From::Fresh }
}

fn world(steps: &[Step]) -> World {
    let mut world = World::new(false);
    steps.iter().for_each(|step| world.take(*step));
    world
}

/// Whether the first hub sends a follower away that came after these steps: before the answers of the database,
/// and with them.
fn sends_away(steps: &[Step], settled: bool) -> bool {
    let mut world = world(steps);
    world.handle(0, HubEvent::Audience(AudienceEvent::Follow { follower: FOLLOWER, position: None }));
    if settled {
        world.take(Step::Settle { node: 0 });
    }
    world.nodes[0].hub.as_ref().expect("it has a follower").is_over_for(FOLLOWER)
}

#[test]
fn a_follower_is_sent_away_by_who_does_not_work_on_the_chat_and_by_nobody_else() {
    let watched = [viewer(0), Step::Settle { node: 0 }];
    assert!(!sends_away(&watched, false), "R18: what was read before it came says nothing");
    assert!(sends_away(&watched, true), "B2: it would wait for nothing");
    let acquire = |late| Step::Acquire { node: 0, has_slot: true, late };
    assert!(!sends_away(&[viewer(0), acquire(true)], true), "R18: the row names this replica");
    for settled in [false, true] {
        assert!(!sends_away(&[acquire(false)], settled), "S2: it is about to work");
        assert!(!sends_away(&[WORK], settled), "S2: it works");
    }
}

#[test]
fn a_follower_that_left_and_one_of_a_hub_that_ends_wait_for_nothing() {
    let mut world = world(&[WORK]);
    let is_over = |world: &World| world.nodes[0].hub.as_ref().map(|hub| hub.is_over_for(FOLLOWER));
    assert_eq!(is_over(&world), Some(true), "B2: it never came");
    world.handle(0, HubEvent::Audience(AudienceEvent::Follow { follower: FOLLOWER, position: None }));
    assert_eq!(is_over(&world), Some(false));
    world.handle(0, HubEvent::Leaving(LeavingEvent::Close));
    assert_eq!(is_over(&world), Some(true), "B2: all streams end");
}

/// That read brings what the run has committed, so nothing else asks for another, and it began before the follower
/// came, so it says nothing to it.
#[test]
fn a_follower_that_came_during_the_last_read_of_a_run_is_sent_away_at_its_end() {
    let mut world = world(&[WORK, PART]);
    let lease = world.database.state().lease;
    world.handle(0, HubEvent::Lease(LeaseEvent::Lost { lease }));
    world.handle(0, HubEvent::Audience(AudienceEvent::Follow { follower: FOLLOWER, position: None }));
    world.take(Step::Finish { node: 0 });
    assert_eq!(
        world.nodes[0].pending.iter().map(Pending::name).collect::<Vec<_>>(),
        ["snapshot", "finish_turn"]
    );
    for which in [1, 0] {
        world.take(Step::Answer { node: 0, which, how: How::Done });
        world.take(Step::DropHints { node: 0 });
    }
    let now = world.now;
    while world.nodes[0].hub.as_mut().expect("it has a follower").next_frame(now, FOLLOWER).is_some() {}
    world.settle_node(0);
    world.take(Step::Settle { node: 0 });
    assert!(world.nodes[0].hub.as_ref().expect("it has a follower").is_over_for(FOLLOWER), "B2");
}

#[test]
fn a_worker_whose_lease_may_have_run_out_sends_its_followers_nothing_until_it_is_confirmed() {
    let mut world = world(&[WORK, PART]);
    let lease = world.database.state().lease;
    world.handle(0, HubEvent::Audience(AudienceEvent::Follow { follower: FOLLOWER, position: None }));
    world.now = world.now + LEASE_TTL;
    let now = world.now;
    let frame = |world: &mut World| world.nodes[0].hub.as_mut().expect("it works").next_frame(now, FOLLOWER);
    assert_eq!(frame(&mut world), None, "S5: another replica may work on the chat");
    world.confirm(0, lease, now);
    assert!(frame(&mut world).is_some(), "S2: it goes on");
}

#[test]
fn a_relay_that_is_dialed_again_goes_on_where_it_broke_off() {
    let mut world = world(&[WORK, viewer(1), Step::Flow, PART, PART, Step::Flow]);
    let episode = world.nodes[0].model.expect("it works").episode;
    for times in 1..3 {
        world.take(Step::Break { node: 1, which: 0 });
        while world.nodes[1].connections.len() == times {
            world.take(Step::Settle { node: 1 });
            world.take(Step::Deadline { node: 1 });
        }
        [PART, Step::Flow, PART, Step::Flow].into_iter().for_each(|step| world.take(step));
        assert_eq!(world.nodes[1].connections.len(), times + 1, "S2: what it has is not asked for again");
        assert_eq!(world.nodes[1].connections[times].link, Link::Following);
        let shown = world.court.view(&world.viewers[0].name).preview.as_ref().map(|p| p.blocks.text());
        assert_eq!(shown, Some(world.database.produced[&episode].text()), "L1");
    }
}

#[test]
fn a_worker_that_knows_more_than_its_follower_prompts_a_read_and_no_other_frame_does() {
    let followed = [WORK, viewer(1), Step::Flow, PART, Step::Flow];
    let asks = |frame: fn(Episode) -> RelayFrame| {
        let mut world = world(&followed);
        assert!(world.nodes[1].pending.is_empty());
        let dial = world.nodes[1].connections[0].dial;
        let present = world.database.state().present_episode();
        world.handle(1, HubEvent::Relay(RelayEvent::Relayed { dial, frame: frame(present) }));
        world.nodes[1].pending.iter().map(Pending::name).collect::<Vec<_>>()
    };
    let ahead = |episode: Episode| opened(Episode { attempt: episode.attempt + 1, ..episode });
    assert_eq!(asks(ahead), ["snapshot"], "L1");
    assert_eq!(asks(opened), [""; 0], "L4: it has read of this one");
    assert_eq!(asks(|episode| opened(Episode { attempt: 0, ..episode })), [""; 0], "L4: it has read more");
    assert_eq!(asks(|episode| RelayFrame::Closed { episode }), ["snapshot"], "L1: its outcome is in the row");
    let unknown = |episode| RelayFrame::Closed { episode: Episode { attempt: 9, ..episode } };
    assert_eq!(asks(unknown), [""; 0], "L4: it is nothing to this hub");
}

#[test]
fn what_was_relayed_before_something_that_makes_no_sense_is_asked_for_again() {
    let mut world = world(&[WORK, viewer(1), Step::Flow, PART, Step::Flow]);
    let dial = world.nodes[1].connections[0].dial;
    let episode = world.nodes[0].model.expect("it works").episode;
    world.nodes[1].connections[0].spoiled = true;
    let parts = vec![Part::piece(&b"\xff"[..])];
    world.handle(
        1,
        HubEvent::Relay(RelayEvent::Relayed {
            dial,
            frame: RelayFrame::Parts { episode, first_seq: Seq(2), parts },
        }),
    );
    assert_eq!(world.nodes[1].connections[0].link, Link::Closed);
    while world.nodes[1].connections.len() == 1 {
        world.take(Step::Deadline { node: 1 });
    }
    assert_eq!(world.nodes[1].connections[1].position, None, "S2: nothing of it is trusted");
}

#[test]
fn what_was_generated_under_a_lease_that_is_lost_is_relayed_to_nobody() {
    let mut world = world(&[WORK, PART]);
    world.handle(0, HubEvent::Audience(AudienceEvent::Follow { follower: FOLLOWER, position: None }));
    [Step::Jump, Step::Rival(Rival::Acquire), Step::Sync { node: 0 }, Step::Settle { node: 0 }]
        .into_iter()
        .for_each(|step| world.take(step));
    assert!(world.nodes[0].held.is_none(), "it has learned of it");
    let now = world.now;
    let hub = world.nodes[0].hub.as_mut().expect("it has a follower");
    assert_eq!(hub.next_frame(now, FOLLOWER), None, "S5");
    assert!(hub.is_over_for(FOLLOWER), "B2");
}

#[test]
fn a_row_without_new_messages_need_not_be_read_again() {
    let mut world = world(&[WORK, viewer(0), Step::Flow]);
    let committed = |world: &mut World, step| {
        world.take(step);
        world.take(Step::DropHints { node: 0 });
        let event = world.database.last().committed();
        world.handle(0, event);
        let known = world.nodes[0].hub.as_ref().map(|hub| hub.snapshot_version());
        (known == Some(world.database.state().snapshot_version), world.nodes[0].pending.len())
    };
    assert_eq!(committed(&mut world, Step::Send { interrupt: false }), (true, 0), "L4: the queue is in it");
    assert_eq!(committed(&mut world, Step::Edit(0)), (false, 1), "L1: it has a new message");
}

fn opened(episode: Episode) -> RelayFrame {
    RelayFrame::Opened { episode, lease: Lease(1) }
}

/// What the second hub, which follows the first, waits for.
fn reads(world: &World) -> usize {
    let pending = world.nodes[1].pending.iter();
    pending.filter(|pending| matches!(pending, Pending::Snapshot { .. })).count()
}

/// The turn ends, and the relay with it: by the worker's word, or without one. The second hub hears of it by the relay alone.
fn ends(world: &mut World, with_word: bool) {
    let episode = world.nodes[0].model.expect("it works").episode;
    [Step::Finish { node: 0 }, Step::Settle { node: 0 }, Step::DropHints { node: 1 }]
        .into_iter()
        .for_each(|step| world.take(step));
    let dial = world.nodes[1].connections.last().expect("it follows").dial;
    if with_word {
        let frame = RelayFrame::Closed { episode };
        world.handle(1, HubEvent::Relay(RelayEvent::Relayed { dial, frame }));
    } else {
        world.take(Step::Break { node: 1, which: 0 });
    }
}

#[test]
fn the_end_of_a_relay_asks_for_a_read_unless_the_row_that_comes_next_tells_of_it() {
    let followed = [WORK, viewer(1), Step::Flow, PART, Step::Flow];
    for with_word in [true, false] {
        let mut quiet = world(&followed);
        ends(&mut quiet, with_word);
        assert_eq!(reads(&quiet), 1, "L5: at once, by word: {with_word}");
        quiet.answer(1, 0, How::Done);
        assert_eq!(reads(&quiet), 0, "L4: and once");
        for happens_before in [true, false] {
            let mut reading = world(&followed);
            reading.handle(1, HubEvent::Chat(ChatEvent::NotFound));
            if happens_before {
                reading.answer(1, 0, How::Happens);
            }
            ends(&mut reading, with_word);
            assert_eq!(reads(&reading), 1);
            reading.answer(1, 0, How::Done);
            let more = usize::from(happens_before);
            assert_eq!(reads(&reading), more, "L1, L4: by word: {with_word}; read before: {happens_before}");
            reading.take(Step::Flow);
        }
    }
}
