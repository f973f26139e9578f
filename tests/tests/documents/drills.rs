//! Tables of `docs/operations.md`: each failure drill names its test, and each check of the doctor is there.

use std::collections::BTreeSet;

use super::Wrong;
use super::tree::{Tree, spans};

const PAGE: &str = "docs/operations.md";
const TESTS: &str = "tests/tests/outside/";
const DOCTOR: &str = "core/server/src/doctor/";

fn section<'a>(tree: &'a Tree, heading: &str) -> &'a str {
    let rest = tree.text(PAGE).split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
    rest.split("\n## ").next().unwrap_or_default()
}

/// The first cells of the rows of a section's table.
fn first_cells(section: &str) -> Vec<&str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    // The head, and the line below it.
    rows.skip(2).filter_map(|row| row.split(" | ").next()).collect()
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let section = section(tree, "Failure drills");
    let comment = section.split("<!--").nth(1).unwrap_or_default().split("-->").next().unwrap_or_default();
    let named: Vec<_> = comment.lines().filter_map(|line| line.rsplit_once(": ")).collect();
    let (drills, with_tests) = (first_cells(section), named.iter().map(|(drill, _)| *drill));
    let mut wrong = vec![];
    if drills.is_empty() || !with_tests.clone().eq(drills.iter().copied()) {
        let with_tests: Vec<_> = with_tests.collect();
        wrong.push(format!("{PAGE}: the drills are {drills:?}, and tests are named of {with_tests:?}"));
    }
    for (drill, test) in named {
        let (file, name) = test.split_once(' ').unwrap_or((test, ""));
        let text = tree.text(&format!("{TESTS}{file}"));
        // Not one that only begins so, and not one that nobody runs.
        let is_there = text.split("#[tokio::test").skip(1).any(|rest| {
            let head = rest.split('{').next().unwrap_or_default();
            head.contains(&format!("async fn {name}()")) && !head.contains("#[ignore")
        });
        if name.is_empty() || !is_there {
            wrong.push(format!("{PAGE}: {drill}: there is no test {name} in {TESTS}{file}"));
        }
    }
    wrong
}

/// What a source of the doctor names a check: the first text of a finding, of a file that is looked at, or behind `check =`.
fn checks(text: &str) -> BTreeSet<&str> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let before =
        ["::ok(", "::warn(", "::fail(", "look(", "check = ", "(check, told) = (", "(check, share) = ("];
    let places = before.iter().flat_map(|before| text.split(before).skip(1));
    places.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

pub(crate) fn check_doctor(tree: &Tree) -> Wrong {
    let documented: BTreeSet<_> = first_cells(section(tree, "Doctor")).into_iter().flat_map(spans).collect();
    let found: BTreeSet<_> = tree.below(DOCTOR, ".rs").flat_map(|(_, text)| checks(text)).collect();
    let missing = found.difference(&documented);
    let mut wrong: Wrong =
        missing.map(|check| format!("{PAGE}: the doctor's {check} is not there")).collect();
    if found.len() < 10 {
        wrong.push(format!("{DOCTOR}: only {found:?} are found"));
    }
    wrong
}

#[test]
fn a_drill_without_its_test_is_found() {
    let page = |rows: &str, named: &str| {
        format!(
            "\n## Failure drills\n\n| drill | a |\n| --- | --- |\n{rows}\n<!-- Tests.\n{named}-->\n\n## Next\n"
        )
    };
    let test =
        "#[tokio::test]\nasync fn it_dies() {}\n#[tokio::test]\n#[ignore = \"x\"]\nasync fn it_sleeps() {}\n";
    let wrong = |page: &str| check(&Tree::of(&[(PAGE, page), ("tests/tests/outside/a.rs", test)])).len();
    assert_eq!(wrong(&page("| death | b |", "death: a.rs it_dies\n")), 0);
    for (rows, named) in [
        ("| death | b |", ""),
        ("| death | b |\n| sleep | c |", "death: a.rs it_dies\n"),
        ("| death | b |", "death: a.rs it_die\n"),
        ("| death | b |", "death: b.rs it_dies\n"),
        ("| death | b |", "death: a.rs it_sleeps\n"),
        ("| death | b |", "death: a.rs\n"),
        ("", ""),
    ] {
        assert_ne!(wrong(&page(rows, named)), 0, "{rows} {named}");
    }
}

#[test]
fn a_check_that_is_not_documented_is_found() {
    let source = "Finding::ok(\"one\", x); let check = \"two\"; look(\"--three\", y);\n#[cfg(test)] Finding::ok(\"four\"";
    assert_eq!(checks(source), BTreeSet::from(["one", "two", "--three"]));
    let page = "\n## Doctor\n\n| check | fails |\n| --- | --- |\n| `one`, `two` | x |\n";
    let wrong = check_doctor(&Tree::of(&[(PAGE, page), ("core/server/src/doctor/a.rs", source)]));
    assert!(wrong.iter().any(|wrong| wrong.contains("--three")) && wrong.len() == 2, "{wrong:?}");
}
