//! What files of `deploy` name of `mainstem` is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mainstem_tests::deploy;
use mainstem_tests::process::run;

/// Flags of Docker, apt, cargo, kubectl and Helm that the files name.
const FOREIGN: [&str; 16] = [
    "build",
    "file",
    "from",
    "locked",
    "logs",
    "namespace",
    "no-install-recommends",
    "now",
    "package",
    "platform",
    "release",
    "set",
    "tag",
    "up",
    "username",
    "yes",
];

/// What `serve --help` tells: flags, and variables.
async fn known() -> (BTreeSet<String>, BTreeSet<String>) {
    let help = run(&["serve", "--help"]).await;
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    (words(&help, "--").collect(), words(&help, "MAINSTEM_").map(|word| format!("MAINSTEM_{word}")).collect())
}

/// What stands behind `mark`, up to where a name ends.
fn words<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = String> + 'a {
    let is_name = move |c: char| {
        if mark == "--" { c.is_ascii_lowercase() || c == '-' } else { c.is_ascii_uppercase() || c == '_' }
    };
    text.split(mark)
        .skip(1)
        .map(move |rest| rest.chars().take_while(|c| is_name(*c)).collect::<String>())
        .filter(|word| !word.is_empty())
}

fn files(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

#[tokio::test]
async fn every_flag_and_variable_that_deploy_names_is_one_of_serve() {
    let (flags, variables) = known().await;
    assert!(
        flags.contains("drain-timeout") && variables.contains("MAINSTEM_DRAIN_TIMEOUT"),
        "{flags:?} {variables:?}"
    );
    let mut all = vec![];
    files(&deploy::path(""), &mut all);
    assert!(all.len() > 20, "{all:?}");
    let mut seen = 0;
    for file in all {
        let text = fs::read_to_string(&file).expect("a text");
        for word in words(&text, "MAINSTEM_") {
            let name = format!("MAINSTEM_{word}");
            assert!(variables.contains(&name), "{}: there is no {name}", file.display());
            seen += 1;
        }
        for flag in words(&text, "--").filter(|flag| !flag.starts_with('-')) {
            let is_known = flags.contains(&flag) || FOREIGN.contains(&&*flag);
            assert!(is_known, "{}: there is no --{flag}", file.display());
        }
    }
    assert!(seen > 20, "the variables are found: {seen}");
}
