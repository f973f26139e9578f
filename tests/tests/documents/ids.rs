//! Ids: those of guarantees have a section in `docs/guarantees.md`, those of races a story in `scenarios`.

use std::collections::BTreeSet;

use super::Wrong;
use super::tree::Tree;

const GUARANTEES: &str = "docs/guarantees.md";
/// The number of nothing, for tests that need an id which is not there.
const NOTHING: &str = "99";

enum Id<'a> {
    Guarantee(&'a str),
    Race(&'a str),
}

impl<'a> Id<'a> {
    fn of(word: &'a str) -> Option<Self> {
        let (kind, number) = word.split_at_checked(1)?;
        if number.is_empty() || number == NOTHING || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match (kind, number.len()) {
            ("S" | "L" | "B" | "D", 1 | 2) => Some(Self::Guarantee(word)),
            ("T", 1) | ("R", 2) => Some(Self::Race(word)),
            _ => None,
        }
    }
}

/// The ids that have a section, and those of them that are not kept yet.
fn sections(document: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let sections = document.split("\n### ").skip(1);
    let sections = sections.filter_map(|section| Some((section.split_whitespace().next()?, section)));
    let (mut all, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for (id, section) in sections {
        all.insert(id);
        if section.contains("\n- not kept yet: ") {
            waiting.insert(id);
        }
    }
    (all, waiting)
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let (all, waiting) = sections(tree.text(GUARANTEES));
    let mut wrong = vec![];
    for (path, text) in tree.files() {
        for (at, line) in text.lines().enumerate() {
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let why = match Id::of(word) {
                    Some(Id::Guarantee(id)) if !all.contains(id) => format!("{id} is not in {GUARANTEES}"),
                    Some(Id::Guarantee(id)) if waiting.contains(id) && path != GUARANTEES => {
                        format!("{GUARANTEES} says that {id} is not kept yet")
                    }
                    Some(Id::Race(id)) if !tree.has(&format!("scenarios/{id}.story")) => {
                        format!("there is no scenarios/{id}.story")
                    }
                    _ => continue,
                };
                wrong.push(format!("{path}:{}: {why}", at + 1));
            }
        }
    }
    wrong
}

#[test]
fn an_id_of_nothing_is_found_wherever_it_stands() {
    let guarantees = "# G\n\n### S1 one\n\nx\n\n### S11 later\n\nx\n\n- not kept yet: waits\n";
    let wrong = |path: &str, text: &str| {
        check(&Tree::of(&[(GUARANTEES, guarantees), ("scenarios/R01.story", ""), (path, text)])).len()
    };
    assert_eq!(wrong("a.rs", "// S1, R01: fine; S99 is nothing, and so are X1, S123, T10 and a_S2"), 0);
    assert_eq!(wrong("a.rs", "assert!(x, \"S2: held\");"), 1);
    assert_eq!(wrong("a.rs", "// R02, R01 (T1)"), 2);
    assert_eq!(wrong("scenarios/R01.story", "guards L1 S1"), 1);
    assert_eq!(wrong("docs/x.md", "S11 is promised"), 1, "what is not kept yet is not claimed");
}
