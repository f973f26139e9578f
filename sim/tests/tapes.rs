//! Tapes of simulated clusters: what every machine said under all kinds of faults, it says again when it is told
//! the same (D4), also when no text of users or models is left on its tape.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_runtime::tape::{End, Ending, Machine, Recording, Verdict, replay};
use mainstem_sim::plan::Plan;
use mainstem_sim::run::{self, Outcome, RunOptions};
use mainstem_sim::story::Story;
use mainstem_sim::tapes::{MemoryTapes, Tape};

const SEEDS: std::ops::Range<u64> = 0..4;

fn story(seed: u64) -> Story {
    Plan::draw(seed).to_story().expect("a plan is a story")
}

fn recorded(story: &Story, seed: u64, with_content: bool) -> (Outcome, Vec<Tape>) {
    let tapes = MemoryTapes::default();
    let recording = Recording { tapes: Arc::new(tapes.clone()), with_content, build: "test".into() };
    let outcome = run::run(story, seed, &RunOptions { recording: Some(recording), ..RunOptions::default() });
    (outcome, tapes.tapes())
}

#[test]
fn every_machine_says_the_same_when_it_is_told_its_tape() {
    let mut machines = BTreeMap::new();
    let (mut told, mut endings) = (0, BTreeMap::new());
    for seed in SEEDS {
        let story = story(seed);
        let plain = run::run(&story, seed, &RunOptions::default());
        for with_content in [false, true] {
            let (outcome, tapes) = recorded(&story, seed, with_content);
            assert_eq!(outcome.digest, plain.digest, "D1: seed {seed} runs as it does without tapes");
            for Tape { name, bytes } in tapes {
                let replayed = replay(&bytes, &mut |_| ()).expect("a tape");
                assert_eq!(replayed.verdict, Verdict::Same, "D4: seed {seed}, {name}: {}", replayed.verdict);
                // A run may end before its machines do, and a crash lets go of nothing.
                let ended =
                    matches!(replayed.ending, Ending::Ended(End::Finished | End::LetGo) | Ending::Cut(0));
                assert!(ended, "D4: seed {seed}, {name}: {:?}", replayed.ending);
                *endings.entry(format!("{:?}", replayed.ending)).or_insert(0) += 1;
                assert_eq!(replayed.head.has_content, with_content);
                told += replayed.inputs;
                let kind = matches!(replayed.head.machine, Machine::Hub { .. });
                *machines.entry(if kind { "hub" } else { "replica" }).or_insert(0) += 1;
            }
        }
    }
    println!("{endings:?} {machines:?} were told {told} inputs");
    assert!(machines["hub"] > 50 && machines["replica"] > 20 && told > 50_000, "{machines:?} {told}");
}
