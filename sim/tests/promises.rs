//! `docs/guarantees.md`, held against the tree. A promise is kept if four things say its id: an assertion in the
//! product, an oracle, a story that exercises it, and a planted bug that breaks it. The document names them, and
//! says why where there cannot be one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mainstem_oracles::ORACLES;

const FOUR: [&str; 4] = ["assertion", "oracle", "story", "planted bug"];
const NOT_KEPT: &str = "not kept yet";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// What the document says of each id, by the words before the colon: `oracle`, `story`, …
fn promises(document: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut promises = BTreeMap::new();
    for section in document.split("\n### ").skip(1) {
        // Of the next chapter's introduction nothing is ours.
        let section = section.split("\n## ").next().unwrap_or_default();
        let id = section.split_whitespace().next().expect("a heading begins with an id").to_owned();
        let items = section.split("\n- ").skip(1).filter_map(|item| item.split_once(": "));
        let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let items = items.map(|(what, said)| (what.to_owned(), unwrapped(said))).collect();
        assert!(promises.insert(id.clone(), items).is_none(), "{id} has two sections");
    }
    promises
}

/// The paths in an item, which stand between backticks.
fn paths(said: &str) -> impl Iterator<Item = &str> {
    said.split('`').skip(1).step_by(2).filter(|word| word.contains('/') && !word.contains(' '))
}

/// The id, and neither the end nor the beginning of another one.
fn says(text: &str, id: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id)
}

fn a_line_says(text: &str, begins: &str, id: &str) -> bool {
    text.lines().any(|line| line.starts_with(begins) && says(line, id))
}

/// What ships of a source file: without the modules that only tests have.
fn shipped(source: &str) -> String {
    let mut lines = source.lines();
    let mut kept = vec![];
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let _ = lines.find(|line| *line == "}" || (line.starts_with("mod ") && line.ends_with(';')));
        } else {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Whether a file is part of the product. Its judges are not, nor the suites that hold adapters against their
/// contracts.
fn is_product(path: &str) -> bool {
    let path = Path::new(path);
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.first().is_some_and(|first| first == "core")
        && names.get(1).is_some_and(|package| package != "oracles")
        && names.get(2).is_some_and(|name| name == "src")
        && names.iter().all(|name| name != "contract" && name != "tests" && name != "tests.rs")
}

/// Whether one of the assertions in a source says the id at the beginning of its text.
fn asserts(source: &str, id: &str) -> bool {
    ["assert!(", "assert_eq!(", "assert_ne!(", "expect("].into_iter().any(|begin| {
        source.match_indices(begin).any(|(at, _)| {
            let rest = &source[at..];
            rest[..rest.find(");").map_or(rest.len(), |end| end + 1)].contains(&format!("\"{id}: "))
        })
    })
}

/// Whether a file says the id as a thing of this kind does; else what it should have said.
fn fits(what: &str, path: &str, text: &str, id: &str) -> Result<(), &'static str> {
    let (fits, otherwise) = match what {
        "assertion" => (
            is_product(path) && asserts(&shipped(text), id),
            "is no product code with an assertion whose text begins with the id",
        ),
        "oracle" => (
            text.lines().take_while(|line| line.starts_with("//!")).any(|line| says(line, id))
                || text.lines().any(|line| line.contains("///") && says(line, id)),
            "does not say in its documentation that it judges the id",
        ),
        "story" => (a_line_says(text, "guards", id), "does not name the id in its `guards` line"),
        _ => (a_line_says(text, "breaks", id), "does not name the id in its `breaks` line"),
    };
    if fits { Ok(()) } else { Err(otherwise) }
}

/// Everything that is wrong with what the document says of one id.
fn lacking(id: &str, items: &BTreeMap<String, String>) -> Vec<String> {
    if items.contains_key(NOT_KEPT) {
        let others = items.keys().filter(|what| *what != NOT_KEPT);
        return others.map(|what| format!("{id} is not kept yet, and has: {what}")).collect();
    }
    let mut all: Vec<String> = items
        .keys()
        .filter(|what| !FOUR.contains(&what.as_str()))
        .map(|what| format!("{id}: there is no such thing as {what:?}"))
        .collect();
    for what in FOUR {
        let Some(said) = items.get(what) else {
            all.push(format!("{id} has no {what}, and no reason why"));
            continue;
        };
        // The laboratory's own promises have an oracle too, but not all have a story or a bug.
        let may_lack = what == "assertion" || (id.starts_with('D') && what != "oracle");
        if let Some(reason) = said.strip_prefix("none, because ") {
            if !may_lack || reason.len() < 20 {
                all.push(format!("{id}: {what}: there has to be one, or a reason"));
            }
            continue;
        }
        let mut named = paths(said).peekable();
        if named.peek().is_none() {
            all.push(format!("{id}: {what}: names no file"));
        }
        // What else an item mentions comes in later sentences, and only has to be there.
        let first = said.split(". ").next().unwrap_or_default();
        for path in named {
            match read(path) {
                None => all.push(format!("{id}: {what}: there is no {path}")),
                Some(text) if first.contains(path) => {
                    all.extend(fits(what, path, &text, id).err().map(|why| format!("{id}: {path} {why}")));
                }
                Some(_) => {}
            }
        }
    }
    all
}

#[test]
fn every_promise_has_an_assertion_an_oracle_a_story_and_a_planted_bug() {
    let document = read("docs/guarantees.md").expect("docs/guarantees.md");
    let promises = promises(&document);
    let mut all: Vec<String> = promises.iter().flat_map(|(id, items)| lacking(id, items)).collect();
    for oracle in ORACLES {
        let file = promises.get(oracle.id.as_str()).and_then(|items| items.get("oracle"));
        if file.is_none_or(|said| !said.contains("core/oracles/src/")) {
            all.push(format!("{} has an oracle, and docs/guarantees.md names none", oracle.id));
        }
    }
    let kept = promises.iter().filter(|(_, items)| !items.contains_key(NOT_KEPT)).map(|(id, _)| id);
    let judged =
        |id: &&String| id.starts_with('D') || ORACLES.iter().any(|oracle| oracle.id.as_str() == **id);
    all.extend(kept.filter(|id| !judged(id)).map(|id| format!("{id} is promised, and no oracle judges it")));
    assert!(promises.len() >= 25, "docs/guarantees.md has sections `### ID name`: {:?}", promises.keys());
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_only_tests_have_is_no_assertion_of_the_product() {
    let source = "fn a() {\n    assert!(x, \"S1: held\");\n}\n\n#[cfg(test)]\nmod tests {\n    \
                  fn b() {\n        assert!(x, \"S2: held\");\n    }\n}\n\nfn c() {\n    \
                  assert_eq!(\n        x,\n        y,\n        \"S3: held\"\n    );\n    found(\"S4: told\");\n}\n";
    let kept = shipped(source);
    let said = ["S1", "S2", "S3", "S4"].map(|id| asserts(&kept, id));
    assert_eq!(said, [true, false, true, false]);
    assert!(asserts(&shipped("#[cfg(test)]\nmod tests;\n\nfn a() { assert!(x, \"S1: held\"); }\n"), "S1"));
    assert!(is_product("core/machine/src/hub/mod.rs"));
    for path in [
        "core/oracles/src/judge.rs",
        "core/runtime/src/contract/bus.rs",
        "core/machine/src/hub/episodes/tests.rs",
        "sim/src/run.rs",
    ] {
        assert!(!is_product(path), "{path}");
    }
}

#[test]
fn what_is_wrong_with_a_promise_is_told() {
    let good = "\n### L4 no spin\n\nx\n\n- assertion: `core/machine/src/hub/outbox.rs`\n\
                - oracle: `core/oracles/src/spin.rs`\n- story: `scenarios/R03.story`\n\
                - planted bug: `scenarios/bugs/R12.toml`\n";
    let wrong = |document: &str| lacking("L4", &promises(document)["L4"]);
    assert_eq!(wrong(good), Vec::<String>::new());
    for (from, to, told) in [
        ("R03.story", "T5.story", "`guards` line"),
        ("R12.toml", "R01.toml", "`breaks` line"),
        ("spin.rs", "leaks.rs", "that it judges"),
        ("spin.rs", "spins.rs", "there is no core/oracles/src/spins.rs"),
        ("hub/outbox.rs", "hub/relay.rs", "no product code with an assertion"),
        ("`core/machine/src/hub/outbox.rs`", "none, because so", "or a reason"),
        ("- oracle: `core/oracles/src/spin.rs`\n", "", "L4 has no oracle"),
        (
            "- oracle: `core/oracles/src/spin.rs`",
            "- oracle: none, because nobody could ever judge it",
            "has to be one",
        ),
    ] {
        let told_of = wrong(&good.replace(from, to)).join("\n");
        assert!(told_of.contains(told), "{told}: {told_of}");
    }
}
