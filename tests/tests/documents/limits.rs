//! The limits that docs/operations.md tells: each number is that of the constant, or the default of the flag, that its row names, and
//! each bound of the edge has its row.

use std::collections::BTreeMap;

use super::Wrong;
use super::tree::Tree;

const DOCUMENT: &str = "docs/operations.md";
const COMMAND_LINES: &str = "docs/command-lines.md";
/// Where constants are, and the room of those that are in no module.
const SOURCES: [(&str, &str); 3] = [
    ("core/server/src/limits.rs", ""),
    ("core/runtime/src/limits.rs", ""),
    ("core/machine/src/limits.rs", "machine"),
];

/// A bound: so many, or so many nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Count(i128),
    Time(i128),
}

const SECOND: i128 = 1_000_000_000;

type Constants = BTreeMap<String, Value>;

/// The constants of a source, by `room::NAME`. Of expressions those are understood that bounds are made of.
fn constants(source: &str, outer: &str) -> Constants {
    let (mut room, mut found) = (outer.to_owned(), Constants::new());
    for statement in source.split_inclusive([';', '{', '}']) {
        let code: Vec<&str> =
            statement.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
        let code = code.join(" ");
        if let Some((_, name)) = code.rsplit_once("pub mod ") {
            room = name.trim_end_matches('{').trim().to_owned();
        }
        let Some((name, value)) =
            code.trim_end_matches(';').rsplit_once("pub const ").and_then(|(_, of)| of.split_once('='))
        else {
            continue;
        };
        let name = name.split(':').next().unwrap_or_default().trim();
        let known = |name: &str| found.get(&format!("{room}::{name}")).copied();
        if let Some(value) = evaluate(value.trim(), &known) {
            found.insert(format!("{room}::{name}"), value);
        }
    }
    found
}

fn evaluate(expression: &str, known: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    if let Some((unit, number)) =
        expression.strip_prefix("Duration::from_").and_then(|rest| rest.split_once('('))
    {
        let unit = match unit {
            "secs" => SECOND,
            "millis" => SECOND / 1000,
            _ => return None,
        };
        return Some(Value::Time(unit * count(number.strip_suffix(')')?, known)?));
    }
    match known(expression) {
        Some(value) => Some(value),
        None => count(expression, known).map(Value::Count),
    }
}

fn count(expression: &str, known: &dyn Fn(&str) -> Option<Value>) -> Option<i128> {
    // From the operator that binds least.
    for operator in [" << ", " - ", " + ", " * "] {
        if let Some((left, right)) = expression.rsplit_once(operator) {
            let (left, right) = (count(left, known)?, count(right, known)?);
            return Some(match operator {
                " << " => left << right,
                " - " => left - right,
                " + " => left + right,
                _ => left * right,
            });
        }
    }
    match expression.split(" as ").next()?.trim() {
        "u64::MAX" => Some(u64::MAX.into()),
        "i64::MAX" => Some(i64::MAX.into()),
        text => match known(text) {
            Some(Value::Count(count)) => Some(count),
            _ => text.replace('_', "").parse().ok(),
        },
    }
}

/// The numbers of a cell, as people write them: `1,024 bytes`, `64 KiB`, `500 ms to 2 s`, `2^64 - 3`.
fn numbers(cell: &str) -> Vec<Value> {
    let words: Vec<&str> = cell.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    let (mut found, mut at) = (vec![], 0);
    while at < words.len() {
        let unit = words.get(at + 1).copied().unwrap_or_default();
        if let Some(exponent) = words[at].strip_prefix("2^") {
            let less = words.get(at + 2).and_then(|word| word.parse::<i128>().ok()).filter(|_| unit == "-");
            let power = exponent.parse::<u32>().ok().map(|exponent| 1_i128 << exponent);
            found.extend(power.zip(less).map(|(power, less)| Value::Count(power - less)));
            at += 3;
            continue;
        }
        if let Ok(number) = words[at].replace(',', "").parse::<i128>() {
            found.push(match unit {
                "KiB" => Value::Count(number << 10),
                "MiB" => Value::Count(number << 20),
                "s" => Value::Time(number * SECOND),
                "ms" => Value::Time(number * SECOND / 1000),
                _ => Value::Count(number),
            });
        }
        at += 1;
    }
    found
}

/// The rows of the tables of limits: what they say, and the names behind it.
fn rows(document: &str) -> Vec<(&str, Vec<&str>)> {
    let section = document.split("\n## Limits\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    rows.filter_map(|cells| {
        let names: Vec<_> = cells.last()?.split('`').skip(1).step_by(2).collect();
        (!names.is_empty()).then(|| (cells.get(1).copied().unwrap_or_default(), names))
    })
    .collect()
}

/// The default of a flag, as its row says it.
fn default_of<'a>(command_lines: &'a str, flag: &str) -> Option<&'a str> {
    let row = command_lines.lines().find(|line| {
        line.strip_prefix("| `")
            .and_then(|rest| rest.strip_prefix(flag))
            .is_some_and(|rest| rest.starts_with(' '))
    });
    row?.split(" | ").nth(1)
}

fn compare(document: &str, command_lines: &str, constants: &Constants) -> Wrong {
    let (mut wrong, rows) = (vec![], rows(document));
    for (cell, names) in &rows {
        if let [flag] = names[..]
            && flag.starts_with("--")
        {
            let default = default_of(command_lines, flag).map(|default| default.replace('`', ""));
            if default.as_deref() != Some(&*cell.replace('`', "")) {
                wrong.push(format!("{DOCUMENT}: {flag} is {cell}, and in {COMMAND_LINES} {default:?}"));
            }
            continue;
        }
        let there: Vec<_> = names.iter().map(|name| constants.get(*name).copied()).collect();
        let told: Vec<_> = numbers(cell).into_iter().map(Some).collect();
        if told != there {
            wrong.push(format!("{DOCUMENT} says {cell:?} of {names:?}, which are {there:?}"));
        }
    }
    let is_told = |name: &str| rows.iter().any(|(_, names)| names.contains(&name));
    let missing = constants.keys().filter(|name| name.starts_with("edge::") && !is_told(name));
    wrong.extend(missing.map(|name| format!("{DOCUMENT} has no row of {name}")));
    wrong
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let mut all = Constants::new();
    for (path, outer) in SOURCES {
        let source = tree.text(path);
        let found = constants(source, outer);
        let there = source.lines().filter(|line| line.trim_start().starts_with("pub const ")).count();
        // Those of the runtime that are made of the machines' are not understood, and named by no row.
        assert!(found.len() * 10 > there * 8, "{path}: {} of {there} are understood", found.len());
        all.extend(found);
    }
    let edge =
        tree.text(SOURCES[0].0).split("pub mod edge {").nth(1).and_then(|rest| rest.split("\n}\n").next());
    let there = edge.unwrap_or_default().lines().filter(|line| line.trim_start().starts_with("pub const "));
    let understood = all.keys().filter(|name| name.starts_with("edge::"));
    assert_eq!(understood.count(), there.count(), "all bounds of the edge are understood");
    compare(tree.text(DOCUMENT), tree.text(COMMAND_LINES), &all)
}

#[test]
fn a_limit_that_is_told_wrong_or_not_at_all_is_found() {
    let source = "/// The edge; of it.\npub mod edge {\n    /// A; b.\n    pub const A_MAX: usize = 1 << 20;\n    pub const B_MAX: u64 =\n        u64::MAX - 2;\n\
                  pub const C_TIMEOUT: Duration = Duration::from_secs(5 * 60);\n    pub const D_MAX: usize = A_MAX + 2 * 1_024;\n}\n";
    let constants = constants(source, "");
    assert_eq!(constants["edge::B_MAX"], Value::Count((1 << 64) - 3));
    assert_eq!(constants["edge::D_MAX"], Value::Count((1 << 20) + 2048));
    let wrong = |a: &str, flag: &str| {
        let document = format!(
            "\n## Limits\n\n| what | how much | beyond it | named |\n| --- | --- | --- | --- |\n| a | {a} | x | `edge::A_MAX` |\n\
             | b, c | 2^64 - 3, 300 s | | `edge::B_MAX` `edge::C_TIMEOUT` |\n| q | {flag} | 409 `full` | `--queue-max` |\n\n## Next\n\n\
             | d | 1 | | `edge::D_MAX` |\n"
        );
        compare(&document, "| `--queue-max-too N` | 9 | x |\n| `--queue-max N` | `20` | y |\n", &constants)
            .len()
    };
    assert_eq!(wrong("1 MiB, or less", "20"), 1, "D has no row");
    assert_eq!(wrong("1,048,576 bytes", "20"), 1);
    assert_eq!(wrong("1 KiB", "20"), 2);
    assert_eq!(wrong("1 MiB or 2", "20"), 2);
    assert_eq!(wrong("much", "20"), 2);
    assert_eq!(wrong("1 MiB", "21"), 2);
}
