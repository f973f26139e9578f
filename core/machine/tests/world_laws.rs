//! The laws of the machines in the pure world: replicas with their hubs, rows, a bus, links, models, viewers and users,
//! where everything may take its time, come twice, or not at all. After every step the judges, which know nothing of
//! machines, look at what was seen, and the laws at what the machines ask for. At the end everything recovers, and
//! everybody has what the database has.

#[path = "common/mod.rs"]
mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_world::{Budget, Choice, Class, Run, Setup, Tools, Verdict, count_marks, tell, walk_by_numbers};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

const NUMBERS_MAX: usize = 400;
/// `PROPTEST_CASES` asks for more, `LAWS_CASES` for fewer.
const CASES: u32 = 1200;
/// The minimum number of times that each choice is among them.
const CHOSEN_MIN: usize = 5;
/// Rare situations that this many runs may miss.
const MARKS_MISSED_MAX: usize = 2;

fn setup() -> impl Strategy<Value = Setup> {
    let few = || prop_oneof![1 => 0u16..3, 2 => 0u16..40];
    let budget = (few(), few(), 0u16..20, 1u16..20, 0u16..60, 0u16..6, 0u16..6, 0u16..3).prop_map(
        |(faults, delays, requests, moves, parts, claims, strangers, drifts)| Budget {
            faults,
            delays,
            requests,
            moves,
            parts,
            passes: u16::MAX,
            claims,
            strangers,
            drifts,
        },
    );
    let replicas = prop_oneof![1 => Just(1u8), 3 => Just(2), 2 => Just(3)];
    let size = (replicas, 1u8..=2, 1u8..=2, viewers_with_friends(), 1usize..=3);
    let lease_s = prop_oneof![Just(6), Just(15)];
    // Calls need answers of some length.
    let answers = prop_oneof![
        2 => (Just(Tools::None), 60usize..400),
        1 => (Just(Tools::Client), Just(600)),
        1 => (Just(Tools::Server), Just(600)),
    ];
    (size, lease_s, answers, 1usize..5, budget).prop_map(
        |(
            (replicas, chats, users, (viewers, friends), workers),
            lease_s,
            (tools, episode_bytes_max),
            tail_messages_max,
            budget,
        )| {
            Setup {
                replicas,
                chats,
                users,
                viewers,
                friends,
                workers,
                lease_ttl: Duration::from_secs(lease_s),
                poll_interval: Duration::from_secs(5),
                episode_bytes_max,
                tools,
                tail_messages_max,
                budget,
                ..Setup::default()
            }
        },
    )
}

/// How many watch, and how many of them watch what is another's.
fn viewers_with_friends() -> impl Strategy<Value = (u8, u8)> {
    (1u8..=3).prop_flat_map(|viewers| (Just(viewers), prop_oneof![2 => Just(0), 1 => 1..=viewers]))
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        60 => Just(Class::Progress),
        4 => Just(Class::Late),
        16 => Just(Class::Model),
        8 => Just(Class::User),
        4 => Just(Class::Delay),
        4 => Just(Class::Fault),
        8 => Just(Class::Time),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<(Class, usize)>> {
    proptest::collection::vec((class(), any::<usize>()), 0..=NUMBERS_MAX)
}

/// How a run ends that is not clean, with its timeline.
fn told(run: &Run) -> String {
    let lines = tell(&run.recording, &[]).0.into_iter();
    let lines: Vec<_> = lines.map(|line| format!("{:?} {}: {}", line.at, line.who, line.what)).collect();
    format!("{}\nafter\n{}\nby\n{}", run.verdict, lines.join("\n"), run.recording)
}

/// What was never chosen and never reached proves nothing (D2), so that is counted.
#[test]
fn whatever_comes_late_twice_or_not_at_all_the_guarantees_and_the_laws_hold() {
    let config = common::config(CASES);
    let whole = config.cases >= CASES;
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let chosen = RefCell::new(BTreeMap::<String, usize>::new());
    let (ended, marks) = count_marks(|| {
        let ended = runner.run(&(setup(), numbers()), |(setup, numbers)| {
            let run = walk_by_numbers(setup, &numbers);
            for choice in &run.recording.choices {
                let words = choice.to_string();
                let name = words.split(' ').next().expect("a choice has a name");
                *chosen.borrow_mut().entry(name.to_owned()).or_default() += 1;
            }
            prop_assert!(run.verdict == Verdict::Clean, "{}", told(&run));
            Ok(())
        });
        // Without the numbers themselves.
        ended.map_err(|error| match error {
            TestError::Fail(why, _) => why.to_string(),
            other => other.to_string(),
        })
    });
    if let Err(why) = ended {
        panic!("{why}");
    }
    if whole {
        let times = |name: &str| chosen.borrow().get(name).copied().unwrap_or_default();
        let seldom: Vec<_> = Choice::names().filter(|name| times(name) < CHOSEN_MIN).collect();
        assert!(seldom.is_empty(), "D2: {seldom:?} were chosen less than {CHOSEN_MIN} times");
        let never: Vec<_> = marks.iter().filter(|(_, times)| **times == 0).map(|(mark, _)| mark).collect();
        assert!(never.len() <= MARKS_MISSED_MAX, "D2: never: {never:?}");
    }
}
