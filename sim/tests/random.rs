//! The program from outside: random runs are clean and deterministic, exit codes tell failures apart, and a
//! failing run shrinks to a story that breaks the same guarantee.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstem-sim")).args(arguments).output().expect("the program starts")
}

fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

#[test]
fn random_runs_are_clean_and_leave_a_line_each() {
    let results = scratch("clean").join("results.jsonl");
    let ran = sim(&["run", "--seeds", "0..12", "--results", &results.to_string_lossy()]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = std::fs::read_to_string(&results).expect("there are results");
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(lines.len(), 12);
    for line in &lines {
        assert_eq!(line["verdict"], "clean");
        assert_eq!(line["digest"].as_str().map(str::len), Some(16));
    }
    let sum = |what: &str| lines.iter().map(|line| line[what].as_u64().unwrap_or_default()).sum::<u64>();
    assert!(sum("parts") > 5_000, "viewers receive parts");
    for fault in ["crash", "drain", "reset", "notice lost", "database cut off"] {
        assert!(lines.iter().any(|line| line["faults"][fault].is_u64()), "D2: no {fault:?} in any run");
    }
}

#[test]
fn a_seed_has_the_same_trace_in_two_processes() {
    let compared = sim(&["check-determinism", "--seeds", "3..5"]);
    assert!(compared.status.success(), "D1: {}", String::from_utf8_lossy(&compared.stderr));
}

/// A story with an expectation that cannot hold is a failing run.
const IMPOSSIBLE: &str = "guards S1\nreplicas A B C\n\n\
    at 10ms user on A sends \"/model parts=3 every=5ms x\" to chat\n\
    at 20ms viewer V1 on B watches chat\n\
    at 30ms viewer V2 on C watches chat\n\
    at 500ms link between A and B breaks\n\
    at 900ms B crashes\n\
    at 1200ms B restarts\n\
    at 2000ms within 100ms V2 sees message \"never said\"\n";

#[test]
fn what_fails_shrinks_to_less_that_fails_for_the_same() {
    let directory = scratch("shrink");
    let (story, smallest) = (directory.join("impossible.story"), directory.join("smallest.story"));
    std::fs::write(&story, IMPOSSIBLE).expect("a story can be written");
    let shrunk = sim(&["shrink", &story.to_string_lossy(), "-o", &smallest.to_string_lossy()]);
    assert_eq!(shrunk.status.code(), Some(1), "{}", String::from_utf8_lossy(&shrunk.stderr));
    let text = std::fs::read_to_string(&smallest).expect("it was written");
    assert!(text.contains("never said") && !text.contains("B crashes") && !text.contains("V1"), "{text}");
    let again = sim(&["scenarios", &smallest.to_string_lossy()]);
    assert_eq!(again.status.code(), Some(1));
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(told.contains("S1") && told.contains("cargo sim replay"), "{told}");
}

#[test]
fn wrong_words_end_with_64_and_clean_runs_do_not_shrink() {
    for arguments in [&["run", "--seeds", "5..5"][..], &["replay", "no such file"], &["shrink"], &["dance"]] {
        assert_eq!(sim(arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert_eq!(sim(&["shrink", "1"]).status.code(), Some(0));
}
