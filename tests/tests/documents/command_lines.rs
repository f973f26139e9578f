//! Commands and flags: of `mainstem`, `cargo sim` and `cargo measure-costs`, as their sources declare them, and as documents name them.

use std::collections::BTreeSet;

use super::Wrong;
use super::tree::{Tree, spans};

/// Flags of cargo, kubectl, Helm and PostgreSQL that documents mention.
const FOREIGN: [&str; 10] = [
    "release",
    "workspace",
    "cfg",
    "help",
    "package",
    "from-literal",
    "from-file",
    "set",
    "logs",
    "if-exists",
];
const COMMAND_LINES: &str = "docs/command-lines.md";
/// What `cargo measure-costs` takes.
const MEASURING: &str = "tests/src/costs/options.rs";

/// What `#[arg(long …)]` declares in a source: the flags that `--help` tells.
fn flags(source: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if !line.starts_with("#[arg(") {
            continue;
        }
        let mut attribute = line.to_owned();
        while !attribute.ends_with(")]") {
            let Some(more) = lines.next() else { break };
            attribute.push_str(more);
        }
        let named = attribute.split("long = \"").nth(1).and_then(|rest| rest.split('"').next());
        let arguments = attribute.trim_start_matches("#[arg(").trim_end_matches(")]");
        let is_long = named.is_some() || arguments.split(',').any(|argument| argument.trim() == "long");
        if !is_long || attribute.contains("hide = true") {
            continue;
        }
        let field = lines.find(|line| !line.starts_with("#[") && !line.starts_with("///"));
        let field = field.unwrap_or_default().trim_start_matches("pub ");
        let field = field.split(':').next().unwrap_or_default().trim_start_matches("pub(super) ");
        flags.insert(named.map_or_else(|| field.replace('_', "-"), str::to_owned));
    }
    flags
}

/// The flags that a source takes in a `match`, but for those that it does nothing with.
fn flags_matched(source: &str) -> BTreeSet<String> {
    let arms = source.lines().filter_map(|line| line.trim().strip_prefix("\"--")?.split_once("\" => "));
    arms.filter(|(_, does)| *does != "{}").map(|(flag, _)| flag.to_owned()).collect()
}

/// The subcommands that an enum declares.
fn subcommands(source: &str, of: &str) -> BTreeSet<String> {
    let body = source.split(&format!("\nenum {of} {{\n")).nth(1).and_then(|rest| rest.split("\n}\n").next());
    let mut subcommands = BTreeSet::new();
    let mut hidden = false;
    for line in body.unwrap_or_default().lines() {
        let item = line.strip_prefix("    ").unwrap_or_default();
        hidden |= item.starts_with("#[command(") && item.contains("hide = true");
        if item.starts_with(|c: char| c.is_ascii_uppercase()) {
            let name: String = item.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !std::mem::take(&mut hidden) {
                subcommands.insert(kebab(&name));
            }
        }
    }
    subcommands
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

/// What a document shows as code: its spans, and the lines of its blocks.
fn code(document: &str) -> Vec<(usize, String)> {
    let mut code = vec![];
    let mut in_block = false;
    for (at, line) in document.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            // What stands behind `#` is for people.
            code.push((at + 1, line.split(" # ").next().unwrap_or_default().to_owned()));
        } else {
            code.extend(spans(line).map(|span| (at + 1, span.to_owned())));
        }
    }
    code
}

fn flags_named(code: &str) -> impl Iterator<Item = &str> {
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The word behind a program's name, if it is a subcommand's.
fn subcommands_named<'a>(code: &'a str, program: &'a str) -> impl Iterator<Item = &'a str> {
    let commands = code.split("&&").filter_map(move |command| command.trim().strip_prefix(program));
    commands
        .filter_map(|rest| rest.strip_prefix(' ')?.split_whitespace().next())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

pub(crate) fn check(tree: &Tree) -> Wrong {
    let of = |sources: &str| -> BTreeSet<String> {
        tree.below(sources, ".rs").flat_map(|(_, source)| flags(source)).collect()
    };
    let (product, mut laboratory) = (of("core/server/src/"), of("sim/src/"));
    laboratory.extend(flags_matched(tree.text(MEASURING)));
    let product_commands = subcommands(tree.text("core/server/src/cli.rs"), "Command");
    let laboratory_commands = subcommands(tree.text("sim/src/main.rs"), "Task");
    let mut wrong = vec![];
    let (mut flags_seen, mut commands_seen) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in tree.below("", ".md").filter(|(path, _)| *path != "CHANGELOG.md") {
        for (line, code) in code(text) {
            for flag in flags_named(&code) {
                if !product.contains(flag) && !laboratory.contains(flag) && !FOREIGN.contains(&flag) {
                    wrong.push(format!("{path}:{line}: there is no flag --{flag}"));
                }
                flags_seen.insert(flag.to_owned());
            }
            for (program, commands) in [("cargo sim", &laboratory_commands), ("mainstem", &product_commands)]
            {
                for command in subcommands_named(&code, program) {
                    if !commands.contains(command) {
                        wrong.push(format!("{path}:{line}: there is no {program} {command}"));
                    }
                    commands_seen.insert(format!("{program} {command}"));
                }
            }
        }
    }
    let missing = product.union(&laboratory).filter(|flag| !flags_seen.contains(*flag));
    wrong.extend(missing.map(|flag| format!("no document names the flag --{flag}: {COMMAND_LINES} has all")));
    for (program, commands) in [("cargo sim", &laboratory_commands), ("mainstem", &product_commands)] {
        assert!(commands.len() >= 3, "the subcommands of {program} are found: {commands:?}");
        let missing = commands.iter().map(|name| format!("{program} {name}"));
        let missing = missing.filter(|command| !commands_seen.contains(command));
        wrong.extend(missing.map(|command| format!("no document names {command}")));
    }
    wrong
}

#[test]
fn a_flag_or_a_command_that_is_not_there_or_not_documented_is_found() {
    let cli = "\nenum Command {\n    /// X\n    Serve(Box<X>),\n    Chat(X),\n    Tail(X),\n}\n\n\
               struct X {\n    /// Y\n    #[arg(long, env = \"A_B\")]\n    pub a_b: u8,\n    \
               #[arg(long = \"for\", value_parser = x)]\n    limit: u8,\n    #[arg(short = 'o')]\n    o: u8,\n}\n";
    let sim = "\nenum Task {\n    Run(X),\n    Replay {\n        file: X,\n    },\n    CheckIt,\n    \
               #[command(name = W, hide = true)]\n    Worker {\n        #[arg(long)]\n        deep: X,\n    },\n}\n";
    let measuring = "match x {\n    \"--given\" => {}\n    \"--fast\" => y = true,\n}\n";
    let wrong = |document: &str| {
        check(&Tree::of(&[
            (MEASURING, measuring),
            ("core/server/src/cli.rs", cli),
            ("sim/src/main.rs", sim),
            ("README.md", document),
        ]))
    };
    let good = "`mainstem serve --a-b` `mainstem chat` `mainstem tail`\n```sh\n\
                cargo sim run --for 3s && cargo sim replay --deep  # not --shallow\ncargo sim check-it\n\
                cargo measure-costs -- --fast\n```\n";
    assert_eq!(wrong(good), Wrong::new());
    for (from, to, told) in [
        ("--a-b", "", "no document names the flag --a-b"),
        ("--deep", "--deep --deeper", "there is no flag --deeper"),
        ("--fast", "", "no document names the flag --fast"),
        ("--fast", "--fast --given", "there is no flag --given"),
        ("mainstem tail", "mainstem head", "there is no mainstem head"),
        ("mainstem tail", "", "no document names mainstem tail"),
        ("cargo sim check-it", "cargo sim worker", "there is no cargo sim worker"),
        ("cargo sim check-it", "", "no document names cargo sim check-it"),
    ] {
        let told_of = wrong(&good.replace(from, to)).join("\n");
        assert!(told_of.contains(told), "{told}: {told_of}");
    }
}
