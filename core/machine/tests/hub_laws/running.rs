//! What a runner does at moments that random steps seldom meet, claim by claim.

use std::time::Duration;

use mainstem_machine::hub::{
    ChatEvent, DatabaseEvent, Deadline, HubAction, HubEvent, LeaseEvent, ModelEvent, OpOutcome, Reason,
};
use mainstem_machine::limits::{ATTEMPTS_MAX, HISTORY_PATIENCE, LEASE_MARGIN_PER_MILLE, OP_RETRY_DELAY_MIN};
use mainstem_machine::{Command, Lease, Version};

use crate::database::LEASE_TTL;
use crate::node::Pending;
use crate::step::{From, How, Rival, Step};
use crate::world::{EPISODE_BYTES_MAX, World};

fn world(steps: &[Step]) -> World {
    let mut world = World::new(false);
    steps.iter().for_each(|step| world.take(*step));
    world
}

/// What the first hub waits for, by name.
fn pending(world: &World) -> Vec<&'static str> {
    world.nodes[0].pending.iter().map(Pending::name).collect()
}

/// Answers the pending operation of this name.
fn answer(world: &mut World, name: &str, how: How) {
    let at = pending(world).iter().position(|pending| *pending == name);
    world.answer(0, at.unwrap_or_else(|| panic!("{name} is not among {:?}", pending(world))), how);
}

fn deadline(world: &World) -> Deadline {
    world.nodes[0].hub.as_ref().and_then(|hub| hub.poll_timeout()).expect("a runner waits for something")
}

const ACQUIRE: Step = Step::Acquire { node: 0, has_slot: true, late: false };
const WORK: Step = Step::Work { node: 0 };
/// A history that is longer than a snapshot's tail.
const LONG: Step = Step::Talk { turns: 4 };

#[test]
fn a_lease_runs_out_here_a_little_before_it_does_in_the_database() {
    let world = world(&[WORK]);
    let lease_lasts = LEASE_TTL - LEASE_TTL * LEASE_MARGIN_PER_MILLE / 1000;
    assert_eq!(
        deadline(&world),
        Deadline { at: world.now + lease_lasts, reason: Reason::LeaseRunsOut },
        "S5"
    );
    assert!(lease_lasts < LEASE_TTL && lease_lasts > LEASE_TTL * 9 / 10);
}

#[test]
fn a_confirmation_that_is_as_late_as_the_lease_is_long_lets_nothing_go_on() {
    let mut world = world(&[WORK]);
    world.now = world.now + LEASE_TTL / 2;
    world.take(Step::Heartbeat { node: 0, late: true });
    world.take(Step::Jump);
    world.handle(0, HubEvent::Wake);
    assert!(world.nodes[0].model.is_none());
    world.take(Step::HeartbeatResult { node: 0, which: 0 });
    assert_eq!(pending(&world), [""; 0], "S5: it counts from when it was asked for");
    world.take(Step::Wake { node: 0 });
    assert_eq!(pending(&world), [""; 0]);
}

#[test]
fn a_confirmation_that_runs_out_as_it_comes_lets_nothing_go_on() {
    let mut world = world(&[WORK, Step::Heartbeat { node: 0, late: true }]);
    world.now = deadline(&world).at;
    world.take(Step::HeartbeatResult { node: 0, which: 0 });
    assert!(world.nodes[0].model.is_none());
    assert_eq!(pending(&world), [""; 0], "S5");
}

#[test]
fn a_lease_that_was_not_confirmed_prompts_a_read_if_it_is_the_runners() {
    let mut world = world(&[WORK]);
    let lease = world.nodes[0].held.as_ref().expect("it works").lease;
    world.handle(0, HubEvent::Lease(LeaseEvent::Lost { lease: Lease(lease.0 + 1) }));
    assert_eq!(pending(&world), [""; 0], "another lease says nothing about this one");
    world.handle(0, HubEvent::Lease(LeaseEvent::Lost { lease }));
    assert_eq!(pending(&world), ["snapshot"], "L1: the row decides");
}

#[test]
fn a_history_newer_than_the_row_is_read_with_the_row_before_it_is_loaded_again() {
    let mut world = world(&[LONG, ACQUIRE]);
    answer(&mut world, "bus", How::Done);
    answer(&mut world, "snapshot", How::Done);
    world.take(Step::Edit(0));
    world.take(Step::DropHints { node: 0 });
    answer(&mut world, "history", How::Done);
    assert_eq!(pending(&world), ["snapshot"], "L4: it is not loaded over and over");
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), ["begin_attempt"], "what was loaded is of the newest history");
}

#[test]
fn a_history_of_the_row_is_worked_on_without_another_read() {
    let mut world = world(&[LONG, ACQUIRE]);
    answer(&mut world, "bus", How::Done);
    answer(&mut world, "snapshot", How::Done);
    answer(&mut world, "history", How::Done);
    assert_eq!(pending(&world), [""; 0]);
    assert!(world.nodes[0].model.is_some());
}

#[test]
fn a_history_that_the_hub_has_read_is_not_loaded() {
    let mut world = world(&[ACQUIRE]);
    assert_eq!(pending(&world), ["bus"], "it is about to be read");
    answer(&mut world, "bus", How::Done);
    assert_eq!(pending(&world), ["snapshot"]);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), [""; 0], "it began with the acquisition");
    assert!(world.nodes[0].model.is_some());
}

#[test]
fn a_bus_that_does_not_answer_holds_up_no_run() {
    let mut world = world(&[ACQUIRE]);
    let Deadline { at, .. } = deadline(&world);
    assert_eq!(at, world.now + HISTORY_PATIENCE, "B3");
    world.now = at;
    world.handle(0, HubEvent::Wake);
    assert_eq!(pending(&world), ["bus", "history"], "B3");
}

#[test]
fn an_answer_to_the_runner_before_is_not_taken_for_one_to_the_runner_now() {
    let mut world = beginning_anew();
    world.take(Step::Jump);
    // The hub learns from the row that another replica has the chat, and then gets it back.
    world.take(Step::Rival(crate::step::Rival::Acquire));
    world.sync(0);
    answer(&mut world, "snapshot", How::Done);
    assert!(world.nodes[0].held.is_none(), "S5");
    world.take(Step::Jump);
    world.take(ACQUIRE);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), ["begin_attempt"], "of the runner before");
    assert!(world.nodes[0].model.is_some());
    answer(&mut world, "begin_attempt", How::Done);
    assert_eq!(pending(&world), [""; 0], "R34: the refusal is not this one's");
    assert!(world.nodes[0].model.is_some());
}

#[test]
fn an_attempt_that_is_interrupted_before_its_beginning_is_answered_starts_no_model() {
    let mut world = beginning_anew();
    let started = world.seen["start"];
    answer(&mut world, "begin_attempt", How::Happens);
    world.take(Step::Interrupt { named: false });
    world.sync(0);
    answer(&mut world, "snapshot", How::Done);
    answer(&mut world, "begin_attempt", How::Done);
    assert_eq!(world.seen["start"], started, "S7: it is over already");
    assert_eq!(pending(&world), ["finish_interruption"], "L2");
}

/// A worker whose history was edited under it, about to begin an attempt at the new one.
fn beginning_anew() -> World {
    let mut world = world(&[WORK, Step::Edit(0)]);
    world.sync(0);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), ["begin_attempt"]);
    world
}

#[test]
fn the_next_attempt_begins_when_the_delay_that_was_recorded_has_passed_and_not_before() {
    let asked = 3_000;
    let fail = Step::Fail { node: 0, retryable: true, after_ms: Some(asked), entropy: 0 };
    let mut world = world(&[WORK, fail]);
    answer(&mut world, "record_retry", How::Done);
    world.take(Step::Settle { node: 0 });
    let due = Deadline { at: world.now + Duration::from_millis(asked), reason: Reason::GenerationRetry };
    assert_eq!(deadline(&world), due, "L4");
    world.now = world.now + Duration::from_millis(asked - 1);
    world.handle(0, HubEvent::Wake);
    assert_eq!(pending(&world), [""; 0], "L4: it is not yet time");
    world.now = due.at;
    world.handle(0, HubEvent::Wake);
    answer(&mut world, "begin_attempt", How::Done);
    assert!(world.nodes[0].model.is_some(), "L1: it is tried again");
}

/// The text that the pending command puts into the history.
fn committed(world: &World) -> Option<String> {
    let [Pending::Apply { command, .. }] = &world.nodes[0].pending[..] else {
        panic!("one write is under way, not {:?}", pending(world))
    };
    let (Command::FinishTurn { answer: text, .. }
    | Command::FinishInterruption { partial: text, .. }
    | Command::Fail { partial: text, .. }) = command
    else {
        panic!("{} has no text", command.name())
    };
    text.as_ref().map(|content| content.to_text())
}

#[test]
fn what_was_generated_is_committed_however_it_ends() {
    const PART: Step = Step::Part { node: 0, size: 3 };
    let fail = Step::Fail { node: 0, retryable: false, after_ms: None, entropy: 0 };
    let interrupt = [Step::Interrupt { named: false }, Step::Sync { node: 0 }];
    for end in [&[Step::Finish { node: 0 }][..], &[fail], &interrupt] {
        let mut world = world(&[WORK, PART, PART]);
        let episode = world.nodes[0].model.expect("it works").episode;
        end.iter().for_each(|step| world.take(*step));
        if pending(&world) == ["snapshot"] {
            answer(&mut world, "snapshot", How::Done);
        }
        assert_eq!(committed(&world), Some(world.database.produced[&episode].text()), "S4: {end:?}");
    }
    assert_eq!(committed(&world(&[WORK, Step::Finish { node: 0 }])), None, "S4: nothing was generated");
}

/// The attempt's end is in the row, though its runner was not told so.
#[test]
fn what_a_retry_has_voided_is_not_committed_by_an_interruption() {
    let fail = Step::Fail { node: 0, retryable: true, after_ms: None, entropy: 0 };
    let mut world = world(&[WORK, Step::Part { node: 0, size: 3 }, fail]);
    answer(&mut world, "record_retry", How::DoneUnknown);
    world.take(Step::Interrupt { named: false });
    world.take(Step::Settle { node: 0 });
    world.now = deadline(&world).at;
    world.handle(0, HubEvent::Wake);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(committed(&world), None, "S4: a preview_reset took it back");
}

#[test]
fn a_retry_that_was_recorded_though_nobody_said_so_is_not_recorded_again_and_waited_for() {
    let asked = 3_000;
    let fail = Step::Fail { node: 0, retryable: true, after_ms: Some(asked), entropy: 0 };
    let mut world = world(&[WORK, Step::Part { node: 0, size: 3 }, fail]);
    answer(&mut world, "record_retry", How::DoneUnknown);
    world.take(Step::Settle { node: 0 });
    world.now = deadline(&world).at;
    world.handle(0, HubEvent::Wake);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), [""; 0], "R34");
    assert_eq!(deadline(&world).reason, Reason::GenerationRetry, "what clients were told holds");
    world.now = deadline(&world).at;
    world.handle(0, HubEvent::Wake);
    assert_eq!(pending(&world), ["begin_attempt"], "L3");
}

#[test]
fn a_worker_that_takes_over_waits_out_the_delay_that_was_told() {
    let asked = Duration::from_secs(60);
    let after_ms = Some(60_000);
    let fail = Step::Fail { node: 0, retryable: true, after_ms, entropy: 0 };
    let mut world = world(&[WORK, fail]);
    answer(&mut world, "record_retry", How::Done);
    let due = world.now + asked;
    // Nobody renews its lease.
    world.now = world.now + 2 * LEASE_TTL;
    world.take(Step::Work { node: 1 });
    assert!(world.nodes[1].held.is_some(), "the other replica has the chat");
    assert!(world.nodes[1].model.is_none() && world.nodes[1].pending.is_empty(), "it is not yet time");
    world.now = due;
    world.take(Step::Heartbeat { node: 1, late: false });
    world.take(Step::HeartbeatResult { node: 1, which: 0 });
    world.handle(1, HubEvent::Wake);
    assert_eq!(world.nodes[1].pending.len(), 1, "L3: it is time");
}

#[test]
fn a_viewer_behind_the_last_parts_gets_them_before_their_message() {
    let part = Step::Part { node: 0, size: 3 };
    let viewer = Step::Subscribe { node: 0, from: From::Fresh };
    let mut world = world(&[WORK, viewer, part, Step::Flow, part, Step::Finish { node: 0 }]);
    world.take(Step::Settle { node: 0 });
    assert!(world.nodes[0].held.is_none(), "the turn is over");
    assert_eq!(world.seen["sent parts"], 1);
    world.take(Step::View { viewer: 0, events: 1 });
    assert_eq!(world.seen["sent parts"], 2, "S9");
    world.take(Step::Flow);
    let view = world.court.view(&world.viewers[0].name);
    assert!(world.database.last().messages.starts_with(&view.messages));
}

#[test]
fn a_write_that_failed_is_followed_up_soon_by_a_read_and_then_a_write() {
    for how in [How::Refused, How::Unknown] {
        let mut world = world(&[WORK, Step::Finish { node: 0 }]);
        answer(&mut world, "finish_turn", how);
        let due = Deadline { at: world.now + OP_RETRY_DELAY_MIN, reason: Reason::RunnerRetry };
        assert_eq!(deadline(&world), due, "L1");
        world.now = due.at;
        world.handle(0, HubEvent::Wake);
        world.handle(0, HubEvent::Wake);
        assert_eq!(pending(&world), ["snapshot"], "R34: nothing is written before the row is read");
        answer(&mut world, "snapshot", How::Done);
        assert_eq!(pending(&world), ["finish_turn"]);
    }
}

#[test]
fn what_was_cut_short_by_the_clock_is_kept_if_it_turns_out_to_be_interrupted() {
    let mut world = world(&[WORK, Step::Part { node: 0, size: 3 }]);
    let episode = world.nodes[0].model.expect("it works").episode;
    world.now = deadline(&world).at;
    world.handle(0, HubEvent::Wake);
    assert!(world.nodes[0].model.is_none(), "S5: the lease has run out here");
    world.take(Step::Heartbeat { node: 0, late: false });
    assert_eq!(pending(&world), ["begin_attempt"]);
    world.take(Step::Interrupt { named: false });
    answer(&mut world, "begin_attempt", How::Done);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(committed(&world), Some(world.database.produced[&episode].text()), "S7");
}

#[test]
fn the_last_attempt_that_is_allowed_is_not_followed_by_another() {
    let mut world = world(&[WORK]);
    for attempt in 1..=ATTEMPTS_MAX {
        world.take(Step::Fail { node: 0, retryable: true, after_ms: None, entropy: 0 });
        let last = attempt == ATTEMPTS_MAX;
        assert_eq!(pending(&world), [if last { "fail" } else { "record_retry" }], "L4: attempt {attempt}");
        world.take(Step::Settle { node: 0 });
        if !last {
            world.now = deadline(&world).at;
            world.handle(0, HubEvent::Wake);
            world.take(Step::Settle { node: 0 });
        }
    }
    assert!(world.nodes[0].model.is_none());
}

#[test]
fn a_run_is_handed_over_at_once_or_at_its_end_as_is_asked() {
    let mut at_once = world(&[WORK, Step::HandOver { node: 0 }]);
    assert_eq!(pending(&at_once), ["release"], "it does not wait for the end of the turn");
    assert!(at_once.nodes[0].model.is_none());
    answer(&mut at_once, "release", How::Done);
    assert!(at_once.nodes[0].held.is_none());
    let at_end = world(&[WORK, Step::Drain { node: 0 }]);
    assert_eq!(pending(&at_end), [""; 0]);
    assert!(at_end.nodes[0].model.is_some());
}

#[test]
fn a_run_over_a_history_that_is_edited_gives_way_to_one_over_the_new() {
    let mut world = world(&[WORK]);
    let before = world.nodes[0].model.expect("it works").episode;
    world.take(Step::Edit(0));
    world.sync(0);
    answer(&mut world, "snapshot", How::Done);
    assert!(world.nodes[0].model.is_none(), "S7: nobody wants it any more");
    world.take(Step::Settle { node: 0 });
    assert!(world.nodes[0].model.is_some_and(|model| model.episode > before));
}

#[test]
fn what_a_run_still_says_that_was_stopped_is_not_taken_for_the_next_ones() {
    let mut world = world(&[WORK, Step::Part { node: 0, size: 3 }, Step::Edit(0), Step::Settle { node: 0 }]);
    assert_eq!((world.seen["cancel"], world.seen["start"]), (1, 2));
    world.take(Step::Ghost { node: 0, which: 0 });
    assert!(world.nodes[0].model.is_some(), "R36");
}

#[test]
fn an_answer_may_be_as_long_as_its_bound_and_no_longer() {
    let mut world = world(&[WORK, Step::Part { node: 0, size: EPISODE_BYTES_MAX as u16 }]);
    assert!(world.nodes[0].model.is_some(), "B1: it fits");
    world.take(Step::Part { node: 0, size: 2 });
    assert!(world.nodes[0].model.is_none(), "B1");
}

#[test]
fn an_answer_to_a_history_that_is_edited_gives_way_to_one_to_the_new() {
    let mut world = world(&[WORK, Step::Part { node: 0, size: 3 }, Step::Finish { node: 0 }]);
    world.take(Step::Edit(0));
    answer(&mut world, "finish_turn", How::Done);
    answer(&mut world, "snapshot", How::Done);
    assert_eq!(pending(&world), ["begin_attempt"], "S4: the new history has no answer yet");
    world.take(Step::Settle { node: 0 });
    assert!(world.nodes[0].model.is_some());
}

#[test]
fn who_comes_while_a_model_runs_is_synced_when_it_has_what_was_there() {
    let part = Step::Part { node: 0, size: 3 };
    let viewer = |node| Step::Subscribe { node, from: From::Fresh };
    let world = world(&[WORK, part, part, viewer(0), viewer(1), Step::Flow]);
    assert!(world.nodes[0].model.is_some());
    assert!(world.viewers.iter().all(|viewer| world.court.view(&viewer.name).synced), "S9");
}

#[test]
fn a_hint_of_what_is_known_leads_to_no_read() {
    let mut world = world(&[WORK]);
    for version in (0..=world.database.state().snapshot_version.0).map(mainstem_machine::Version) {
        world.handle(0, HubEvent::Chat(ChatEvent::Hint { snapshot_version: version }));
        assert_eq!(pending(&world), [""; 0], "L4: {version}");
    }
}

#[test]
fn a_history_that_is_of_no_use_is_dropped_and_one_that_comes_too_late_is_not_kept() {
    let mut world = world(&[ACQUIRE, Step::Settle { node: 0 }]);
    while world.nodes[0].model.is_none() {
        world.take(Step::Settle { node: 0 });
    }
    let kept: Vec<_> = world.nodes[0].histories.keys().copied().collect();
    assert_eq!(kept.len(), 1, "B1: for another attempt at the same history");
    let late = HubEvent::Database(DatabaseEvent::HistoryLoaded {
        op: kept[0],
        outcome: OpOutcome::Done(Version(1)),
    });
    let mut hub = world.nodes[0].hub.clone().expect("it has a run");
    hub.handle(world.now, late.clone());
    assert_eq!(hub.poll_action(), Some(HubAction::DropHistory { op: kept[0] }), "B1: nobody waits for it");
    let lease = world.nodes[0].held.as_ref().expect("it holds the chat").lease;
    world.take(Step::Jump);
    world.take(Step::Rival(Rival::Acquire));
    world.handle(0, HubEvent::Lease(LeaseEvent::Lost { lease }));
    world.flow();
    assert!(world.nodes[0].held.is_none(), "S5");
    assert_eq!(world.nodes[0].histories.len(), 0, "B2: nothing is left of its runner");
    let mut hub = world.nodes[0].hub.clone().expect("it is kept for a while");
    hub.handle(world.now, late);
    assert_eq!(
        hub.poll_action(),
        Some(HubAction::DropHistory { op: kept[0] }),
        "B2: it came after its runner"
    );
}

#[test]
fn a_model_whose_answer_breaks_off_is_tried_again_as_often_as_one_that_fails() {
    let mut world = world(&[WORK]);
    for attempt in 1..=ATTEMPTS_MAX {
        while world.nodes[0].model.is_none() {
            world.pass();
            world.flow();
        }
        let generation = world.nodes[0].model.as_ref().expect("it runs").generation;
        world.end(0, HubEvent::Model(ModelEvent::BrokeOff { generation, entropy: 0 }));
        let last = attempt == ATTEMPTS_MAX;
        let Some(Pending::Apply { command, .. }) = world.nodes[0].pending.first() else {
            panic!("L4: attempt {attempt}: {:?}", pending(&world))
        };
        let (Command::RecordRetry { error, .. } | Command::Fail { error, .. }) = command else {
            panic!("L4: attempt {attempt}: {command:?}")
        };
        assert_eq!((error.code.as_ref(), command.name() == "fail"), ("generator_broke_off", last), "L4");
        world.flow();
    }
}
