//! Links between documents, and files that code and documents name.

use super::Wrong;
use super::tree::{Tree, spans};

/// From where a path in a text may be meant, besides the text's own directory.
const BASES: [&str; 6] =
    ["", "core/", "sim/src/", "core/machine/src/", "core/runtime/src/", "core/server/src/"];
/// Kinds of files whose names in documents have to be there.
const KINDS: [&str; 6] = [".rs", ".md", ".toml", ".story", ".proto", ".sql"];
/// What a reader of docs/laboratory.md makes, and is not in the tree.
const MADE_BY_READERS: [&str; 2] = ["first/", "R08.html"];

fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

/// A relative path, from a directory that ends with `/` or is the root.
fn join(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn is_there(tree: &Tree, from: &str, path: &str) -> bool {
    BASES.iter().any(|base| tree.has(&join(base, path))) || tree.has(&join(directory(from), path))
}

/// The anchor that a heading has.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).any(|found| found == anchor)
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let mut wrong = vec![];
    for (path, text) in tree.files() {
        for (at, line) in text.lines().enumerate() {
            let mut found = if path.ends_with(".md") { in_document(tree, path, line) } else { vec![] };
            found.extend(documents_named(tree, path, line));
            wrong.extend(found.into_iter().map(|why| format!("{path}:{}: {why}", at + 1)));
        }
    }
    wrong
}

fn in_document(tree: &Tree, path: &str, line: &str) -> Wrong {
    let mut wrong = vec![];
    for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if link.starts_with("http") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { path.to_owned() } else { join(directory(path), file) };
        if !tree.has(&target) {
            wrong.push(format!("the link {link} leads to nothing"));
        } else if !anchor.is_empty() && !has_anchor(tree.text(&target), anchor) {
            wrong.push(format!("the link {link} leads to no heading"));
        }
    }
    for span in spans(line) {
        let is_path = span.contains('/') && !span.contains([' ', '*', '{', '…', ':', '<']);
        let is_file = KINDS.iter().any(|kind| span.ends_with(kind));
        let is_room =
            ["core/", "sim/", "tests/", "scenarios/", "docs/"].iter().any(|room| span.starts_with(room));
        let made = MADE_BY_READERS.iter().any(|made| span.starts_with(made))
            || span.starts_with("scenarios/regressions");
        if is_path && (is_file || is_room) && !made && !is_there(tree, path, span) {
            wrong.push(format!("there is no {span}"));
        }
    }
    wrong
}

/// Documents that any text names.
fn documents_named(tree: &Tree, path: &str, line: &str) -> Wrong {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "._/-".contains(c)));
    let words =
        words.map(|word| word.trim_end_matches('.')).filter(|word| word.ends_with(".md") && word.len() > 3);
    words.filter(|word| !is_there(tree, path, word)).map(|word| format!("there is no {word}")).collect()
}

/// Texts that are not in the tree, and by which names comments referred to them.
const UNNAMED: [&str; 4] = ["the design", "the interface", "the project's design", "the specification"];

/// Comments that refer to a text without saying which: a reader cannot follow them.
pub(crate) fn check_unnamed(tree: &Tree) -> Wrong {
    let mut wrong = vec![];
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".proto")) {
        for (at, line) in text.lines().enumerate() {
            // Names of tests are read as sentences too.
            let said = line.trim_start().strip_prefix("//").unwrap_or_default().to_lowercase();
            let named = line.trim_start().strip_prefix("fn ").unwrap_or_default().replace('_', " ");
            let unnamed = |text: &str| {
                let padded = format!(" {text} ");
                UNNAMED.iter().any(|word| {
                    padded.match_indices(word).any(|(at, _)| {
                        !padded[..at].ends_with(char::is_alphanumeric)
                            && !padded[at + word.len()..].starts_with(char::is_alphanumeric)
                    })
                })
            };
            if (unnamed(&said) && !said.contains(".md")) || unnamed(&named) {
                wrong.push(format!(
                    "{path}:{}: which text? name a file of the tree: {}",
                    at + 1,
                    line.trim()
                ));
            }
        }
    }
    wrong
}

#[test]
fn a_link_or_a_name_that_leads_to_nothing_is_found() {
    let wrong = |path: &str, text: &str| {
        let tree = [
            ("README.md", ""),
            ("docs/a.md", "# A head: `one`\n"),
            ("core/machine/src/hub/mod.rs", ""),
            (path, text),
        ];
        check(&Tree::of(&tree)).len()
    };
    let good = "[x](a.md) [y](a.md#a-head-one) [z](../README.md) `core/machine` `hub/mod.rs` `docs/a.md` [w](#b)\n# b";
    assert_eq!(wrong("docs/b.md", good), 0);
    for bad in
        ["[x](b/a.md)", "[x](a.md#another)", "[x](#b)", "`hub/none.rs`", "`sim/nowhere`", "see docs/c.md."]
    {
        assert_ne!(wrong("docs/b.md", bad), 0, "{bad}");
    }
    assert_eq!(wrong("core/machine/src/x.rs", "//! As docs/a.md says, and README.md."), 0);
    assert_eq!(wrong("core/machine/src/x.rs", "//! As design.md says."), 1);
}

#[test]
fn a_comment_that_does_not_say_which_text_it_means_is_found() {
    let wrong = |line: &str| check_unnamed(&Tree::of(&[("a.rs", line)])).len();
    assert_eq!(wrong("/// As the interface says."), 1);
    assert_eq!(wrong("//! See the table in the project's design."), 1);
    assert_eq!(wrong("    fn what_the_interface_names() {"), 1);
    assert_eq!(wrong("/// As the interface of docs/protocol.md says."), 0);
    assert_eq!(wrong("// The designer's interfaces."), 0);
    assert_eq!(wrong("let the_interface = 3;"), 0);
}
