//! A promise is kept if four things say its id: an assertion in the product, an oracle, a scenario that exercises
//! it, and a planted bug that breaks it. One that lacks one of them is not kept yet.

use std::path::{Path, PathBuf};

use mainstem_oracles::ORACLES;

/// Those of the product. D1 to D3 are the laboratory's own, and its tests hold them.
const PROMISES: [&str; 18] = [
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "L1", "L2", "L3", "L4", "L5", "B1", "B2",
    "B3",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a directory that end so.
fn texts(directory: &Path, extension: &str) -> Vec<String> {
    let mut texts = vec![];
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            texts.extend(self::texts(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            texts.push(std::fs::read_to_string(&path).expect("a file can be read"));
        }
    }
    texts
}

/// The id, and not the beginning of another one.
fn says(text: &str, before: &str, id: &str) -> bool {
    text.match_indices(&format!("{before}{id}"))
        .any(|(at, found)| !text[at + found.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

fn lacking(what: &str, has: impl Fn(&str) -> bool) -> Vec<String> {
    PROMISES.iter().filter(|id| !has(id)).map(|id| format!("{id} has no {what}")).collect()
}

#[test]
fn every_promise_has_an_assertion_an_oracle_a_scenario_and_a_planted_bug() {
    let core = ["core/machine/src", "core/runtime/src"]
        .map(|directory| texts(&root().join(directory), "rs"))
        .concat();
    let scenarios = texts(&root().join("scenarios"), "story");
    let bugs = texts(&root().join("scenarios/bugs"), "toml");
    let line = |text: &str, begins: &str, id: &str, before: &str| {
        text.lines().any(|line| line.starts_with(begins) && says(line, before, id))
    };
    let mut all = lacking("assertion", |id| core.iter().any(|text| says(text, "\"", id)));
    all.extend(lacking("oracle", |id| ORACLES.iter().any(|oracle| oracle.id == id)));
    all.extend(lacking("scenario", |id| scenarios.iter().any(|text| line(text, "guards", id, " "))));
    all.extend(lacking("planted bug", |id| bugs.iter().any(|text| line(text, "breaks", id, "\""))));
    assert!(all.is_empty(), "{}", all.join("\n"));
}
