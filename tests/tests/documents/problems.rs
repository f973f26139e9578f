//! Codes that clients are told: of problem documents, and of generations that failed.

use std::collections::BTreeSet;

use super::Wrong;
use super::tree::Tree;

const PROTOCOL: &str = "docs/protocol.md";

/// The string literals of a source that could be codes, each with where it begins.
fn literals(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let code =
        |text: &&str| text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    source.match_indices('"').filter_map(move |(at, _)| {
        let text = source[at + 1..].split('"').next().filter(code)?;
        Some((at, text))
    })
}

/// Without what only tests have, which stands at the end.
fn shipped(source: &str) -> &str {
    source.split("\n#[cfg(test)]\n").next().unwrap_or_default()
}

/// What follows a status in `Problem::new(…)` and in the table of rejections.
fn problem_codes(source: &str) -> BTreeSet<&str> {
    let source = shipped(source);
    let ends = |before: &str| {
        let before = before.trim_end().strip_suffix(',').unwrap_or_default().trim_end();
        let status = before.rsplit(['(', '\n', ' ']).next().unwrap_or_default();
        status == "status" || status.starts_with("StatusCode::")
    };
    literals(source).filter(|(at, _)| ends(&source[..*at])).map(|(_, code)| code).collect()
}

/// What `RunError`s are made of.
fn failure_codes(source: &str) -> BTreeSet<&str> {
    let source = shipped(source);
    let is_code = |at: usize, text: &str| {
        text.starts_with("provider_") || source[..at].ends_with("code: ") && source[at..].contains(".into()")
    };
    literals(source).filter(|(at, text)| is_code(*at, text)).map(|(_, code)| code).collect()
}

/// The first cells of the tables between one heading and the next.
fn documented<'a>(document: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let section = document.split(&format!("\n{heading}\n")).nth(1).unwrap_or_default();
    let section = section.split("\n#").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let is_product = |path: &str| {
        path.contains("/src/") && !path.contains("/contract/") && !path.starts_with("core/oracles/")
    };
    let product = tree.below("core/", ".rs").filter(|(path, _)| is_product(path));
    let failures: BTreeSet<&str> = product.flat_map(|(_, source)| failure_codes(source)).collect();
    let edge = tree.below("core/server/src/http/", ".rs");
    let problems: BTreeSet<&str> = edge.flat_map(|(_, source)| problem_codes(source)).collect();
    let document = tree.text(PROTOCOL);
    let mut wrong = vec![];
    for (what, heading, codes) in
        [("problem", "### Problems", &problems), ("failure", "### Codes of failed generations", &failures)]
    {
        let documented = documented(document, heading);
        let missing = codes.difference(&documented).map(|code| format!("{PROTOCOL} lacks the {what} {code}"));
        wrong.extend(missing);
        if what == "problem" {
            let gone =
                documented.difference(codes).map(|code| format!("{PROTOCOL}: no {what} has the code {code}"));
            wrong.extend(gone);
        }
        assert!(!codes.is_empty(), "codes are found: {what}");
    }
    wrong
}

#[test]
fn a_code_that_is_not_documented_or_not_there_is_found() {
    let source = "fn a() { Self::new(StatusCode::BAD_REQUEST, \"malformed\", \"It is\"); }\n\
                  fn b() { (\n    StatusCode::CONFLICT,\n    \"busy\", \"x\") }\n\
                  fn c() { RunError { code: \"too_large\".into(), message } }\n\
                  #[cfg(test)]\nmod tests { fn d() { x(StatusCode::OK, \"nothing\") } }\n";
    let document = "\n### Problems\n\n| code | x |\n| --- | --- |\n| `malformed` | `y` |\n| `busy` | |\n\n\
                    ### Codes of failed generations\n\n| `too_large` | |\n";
    let wrong = |document: &str| {
        check(&Tree::of(&[("core/server/src/http/problem.rs", source), (PROTOCOL, document)])).join("\n")
    };
    assert_eq!(wrong(document), "");
    assert!(wrong(&document.replace("`busy`", "x")).contains("lacks the problem busy"));
    assert!(wrong(&document.replace("`too_large`", "x")).contains("lacks the failure too_large"));
    assert!(wrong(&document.replace("`busy`", "`busier`")).contains("no problem has the code busier"));
}
