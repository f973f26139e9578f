//! Tapes of simulated clusters: what every machine said under all kinds of faults, it says again when it is told
//! the same (D4), also when no text of users or models is left on its tape.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use mainstem_runtime::tape::{End, Ending, Machine, Recording, Verdict, frames, replay};
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
    let recording =
        Recording { tapes: Arc::new(tapes.clone()), with_content, key: [7; 32], build: "test".into() };
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

fn replayed(name: &str, tape: &[u8], flags: &[&str]) -> Output {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tapes");
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let path = directory.join(name);
    std::fs::write(&path, tape).expect("a tape can be written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_mainstem-sim"));
    program.arg("replay").arg(&path).args(flags).output().expect("the program starts")
}

/// The tape of a hub with a run, and texts in it.
fn a_hub() -> Vec<u8> {
    let story = "guards S1\nreplicas A\nuser sends \"swordfish\"\nmodel on A says 3 parts\nviewer V on A watches chat\n\
                 within 1s V sees parts 1..3 of A\nmodel on A finishes\nwithin 1s V sees answer of 3 parts\n";
    let story = mainstem_sim::story::parse("taped", story).expect("a story");
    let (outcome, tapes) = recorded(&story, 0, false);
    assert!(matches!(outcome.verdict, run::Verdict::Clean), "{}", outcome.verdict);
    tapes.into_iter().find(|tape| tape.name.starts_with("hub-")).expect("a hub").bytes
}

#[test]
fn a_tape_is_told_as_a_timeline_and_its_end_with_it() {
    let tape = a_hub();
    let told = replayed("whole.tape", &tape, &["--trace"]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "D4: {text}");
    for part in
        ["told", "Subscribe", "says", "ReadSnapshot", "Generated", "FinishTurn", "Parts", "the same outputs"]
    {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert!(text.contains("without texts") && !text.contains("swordfish"), "{text}");
    let torn = replayed("torn.tape", &tape[..tape.len() - 30], &[]);
    let text = String::from_utf8_lossy(&torn.stdout);
    assert!(torn.status.code() == Some(0) && text.contains("not whole"), "{text}");
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tape.html");
    let paged = replayed("paged.tape", &tape, &["--html", &page.to_string_lossy()]);
    assert_eq!(paged.status.code(), Some(0));
    assert!(std::fs::read_to_string(page).expect("a page").contains("ReadSnapshot"));
}

#[test]
fn a_tape_whose_outputs_differ_exits_1_and_names_the_input() {
    let tape = a_hub();
    let mut pieces = frames(&tape).expect("a tape");
    // Without the first input, what comes after it finds another hub.
    pieces.remove(1);
    let told = replayed("other.tape", &pieces.concat(), &[]);
    let (text, why) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(1), "{text}{why}");
    assert!(why.contains("D4: ") && why.contains("to input ") && why.contains("cargo sim replay "), "{why}");
    assert!(text.contains("told") && text.contains("says"), "the input is told: {text}");
}

#[test]
fn a_damaged_tape_is_no_evidence() {
    let mut tape = a_hub();
    let middle = tape.len() / 2;
    tape[middle] ^= 1;
    let told = replayed("damaged.tape", &tape, &[]);
    assert_eq!(told.status.code(), Some(5), "{}", String::from_utf8_lossy(&told.stdout));
    assert!(String::from_utf8_lossy(&told.stderr).contains("damaged at byte"));
}
