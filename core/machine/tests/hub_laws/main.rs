//! The laws of a hub: two hubs of one chat, and a third replica, in a world where everything may come late,
//! twice, or not at all. After every step, judges that know nothing about hubs check the guarantees. At the
//! end there is a recovery phase, after which every viewer must have what the database has.

mod backoff;
#[path = "../common/mod.rs"]
mod common;

mod claims;
mod client;
mod database;
mod driver;
mod following;
mod node;
mod quiet;
mod recover;
mod relays;
mod rival;
mod running;
mod sends;
mod step;
mod viewers;
mod work;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mainstem_machine::hub::{HubAction, HubEvent};
use mainstem_machine::{Body, StreamEvent};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use step::{Step, steps};
use world::World;

const STEPS_MAX: usize = 160;
/// `PROPTEST_CASES` asks for more, `LAWS_CASES` for fewer, `HUB_LAWS_SEED` for others.
const CASES: u32 = 2000;
const SHRINKS_MAX: u32 = 20_000;

fn runner() -> TestRunner {
    let config = common::config(CASES);
    let max_shrink_iters = config.max_shrink_iters.min(SHRINKS_MAX);
    let config = Config { max_shrink_iters, ..config };
    let seed = std::env::var("HUB_LAWS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn run(steps: &[Step], traced: bool) -> (World, Result<(), String>) {
    let mut world = World::new(traced);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for step in steps {
            world.take(*step);
        }
        world.recover();
    }));
    let ended = ended.map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "a panic".into(), |message| (*message).into()),
    });
    (world, ended)
}

#[test]
fn whatever_comes_late_twice_or_not_at_all_the_guarantees_hold() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ended = runner().run(&steps(STEPS_MAX), |steps| {
        run(&steps, false).1.map_err(proptest::test_runner::TestCaseError::fail)
    });
    let Err(TestError::Fail(reason, steps)) = ended else {
        std::panic::set_hook(hook);
        return ended.expect("nothing is rejected");
    };
    let (world, _) = run(&steps, true);
    std::panic::set_hook(hook);
    let trace = world.trace.unwrap_or_default().join("\n");
    panic!("{reason}\nafter\n{trace}\nby {} steps: {steps:?}", steps.len());
}

/// Guards the test above: a situation that never occurs proves nothing (D2).
#[test]
fn the_random_steps_reach_what_is_rare() {
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut runner = runner();
    for _ in 0..CASES {
        let steps = steps(STEPS_MAX).new_tree(&mut runner).expect("steps are drawn").current();
        for (what, times) in run(&steps, false).0.seen {
            *seen.entry(what).or_default() += times;
        }
    }
    eprintln!("{seen:#?}");
    for what in [
        "start",
        "part",
        "done",
        "cancel",
        "outgrown",
        "page",
        "dialed",
        "late dial",
        "frame on a closed link",
        "broken",
        "garbage",
        "finished",
        "shown to all",
        "acquire",
        "release",
        "begin_attempt",
        "record_retry",
        "finish_turn",
        "finish_interruption",
        "fail",
        "edit",
        "promote",
        "delete",
        "sent queue",
        "sent error",
        "sent retry",
        "sent parts",
        "sent preview_reset",
        "sent history_reset",
        "sent synced",
    ] {
        let times = seen.get(what).copied().unwrap_or_default();
        assert!(times >= 20, "D2: {what} happened {times} times only");
    }
}

fn word<T, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "done".into())
}

fn event(event: &StreamEvent) -> String {
    match &event.body {
        Body::Message(message) => format!("message {} of {:?}", message.id, message.episode),
        Body::QueueUpdate(queue) => format!("queue of {}", queue.len()),
        other => format!("{other:?}"),
    }
}

fn describe(event: &HubEvent) -> String {
    match event {
        HubEvent::SnapshotRead { op, outcome: mainstem_machine::hub::OpOutcome::Done(Some(snapshot)) } => {
            let state = &snapshot.state;
            let (version, worker) = (state.snapshot_version, &state.worker);
            format!("read {op}: {version}, {:?} {:?}, {worker:?}", state.status, state.live_episode())
        }
        HubEvent::Applied { op, outcome: mainstem_machine::hub::OpOutcome::Done(done) } => {
            format!("applied {op}: {}", word(done))
        }
        HubEvent::Acquired { state, .. } => format!("acquired {:?}", state.lease),
        other => format!("{other:?}"),
    }
}

fn asked(action: &HubAction) -> String {
    match action {
        HubAction::Apply { op, command } => format!("apply {op}: {}", command.name()),
        other => format!("{other:?}"),
    }
}
