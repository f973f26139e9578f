//! Every scenario passes, and one of them has the same trace twice.

use std::path::{Path, PathBuf};

use mainstem_sim::run::{RunOptions, Verdict, run};
use mainstem_sim::{determinism, story};

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let directories = [directory.clone(), directory.join("regressions")];
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the scenarios can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "story"));
    files.sort();
    assert!(files.len() >= 53, "T1 to T9 and R01 to R44 at the least");
    files
}

fn read(file: &Path) -> story::Story {
    let text = std::fs::read_to_string(file).expect("a scenario can be read");
    let name = file.file_stem().expect("a scenario has a name").to_string_lossy();
    story::parse(&name, &text).unwrap_or_else(|problem| panic!("{}:{problem}", file.display()))
}

#[test]
fn every_scenario_comes_true() {
    let mut failed = vec![];
    for file in files() {
        let outcome = run(&read(&file), 0, &RunOptions::default());
        if !matches!(outcome.verdict, Verdict::Clean) {
            failed.push(format!("{}: {}", file.display(), outcome.verdict));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_scenario_leaves_the_same_trace_in_two_processes() {
    let program = Path::new(env!("CARGO_BIN_EXE_mainstem-sim"));
    let file = files().remove(3);
    let difference =
        determinism::check(program, program, &file.to_string_lossy(), 0).expect("both processes run");
    assert_eq!(difference, None, "D1: {}", file.display());
}
