//! Requests that schemathesis makes of the document, valid ones and others, by the hundred: no server fails, and none
//! answers what it does not say. `tests/clients/python/schemathesis.toml` has what is left out, and why.

use std::process::{Output, Stdio};

use mainstem_tests::cluster::alone;
use mainstem_tests::openapi::Document;
use mainstem_tests::process::Replica;
use mainstem_tests::python;
use mainstem_tests::scratch::Scratch;
use tokio::process::Command;

const TOKEN: &str = "t-ann";

/// Runs it to its end, in these phases, with so many requests of each kind.
async fn run(replica: &Replica, phases: &str, examples: &str) -> Output {
    let mut command = Command::from(python::command());
    command.args(["-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]);
    command.arg(format!("{}/openapi.json", replica.url())).arg("--no-color");
    command.args(["--checks", "all", "--exclude-checks", "ensure_resource_availability"]);
    command.args(["--phases", phases, "--max-examples", examples]).env("MAINSTEM_TOKEN", TOKEN);
    command.current_dir(python::directory()).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.expect("Python starts")
}

/// The number in front of a word, or behind it.
fn number(said: &str, before: &str, behind: &str) -> usize {
    let lines = said.lines().filter_map(|line| line.trim().strip_prefix(before));
    let mut numbers = lines.filter_map(|line| line.split(behind).next()?.trim().parse().ok());
    numbers.next().unwrap_or_else(|| panic!("{before:?} is not said: {said}"))
}

/// Asserts that nothing was found, by so many requests at the least.
async fn nothing_found(replica: &Replica, ran: Output, requests_min: usize) {
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let document = Document::of(&replica.client()).await;
    // All but the stream, and what it has read already.
    assert_eq!(number(&said, "Tested:", "\n"), document.requests().len() - 2, "{said}");
    assert!(number(&said, "", " generated") >= requests_min, "{said}");
    assert!(!replica.log().contains("panicked"), "a handler panicked");
}

#[tokio::test]
async fn whatever_a_server_is_asked_it_answers_what_the_document_says() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let ran = run(&replica, "fuzzing,stateful", "20").await;
    nothing_found(&replica, ran, 300).await;
}

#[tokio::test]
async fn a_server_that_asks_for_tokens_is_not_had_without_and_answers_what_the_document_says() {
    let scratch = Scratch::new();
    let auth = scratch.file("auth.toml", &format!("[tokens]\n\"{TOKEN}\" = \"ann\"\n"));
    let replica = alone(&scratch, &["--auth-file", &auth]).await;
    let ran = run(&replica, "coverage", "1").await;
    nothing_found(&replica, ran, 1500).await;
}
