//! The lines of `docs/operations.md` by which three replicas are set up, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use mainstem_tests::postgres::Postgres;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::server_binary;

/// All lines of that section, one behind the other.
fn lines() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the tree");
    let text = fs::read_to_string(root.join("docs/operations.md")).expect("the document is there");
    let section = text.split("\n## Three replicas\n").nth(1).expect("it has the section");
    let section = section.split("\n## ").next().expect("a split has a first piece");
    let blocks =
        section.split("```sh\n").skip(1).map(|block| block.split("```").next().expect("a block ends"));
    blocks.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_document_set_up_three_replicas_with_tls_jwts_and_metrics() {
    let (scratch, postgres) = (Scratch::new(), Postgres::shared().expect("a PostgreSQL"));
    let database = postgres.fresh_database().expect("a database");
    let others = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{others}", server_binary().parent().expect("a directory").display());
    // Job control, as a terminal has it; the first line that fails ends it, and all replicas with it.
    let script =
        format!("set -emo pipefail\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n{}", lines());
    let running = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(scratch.path()).env("PATH", path).env("DATABASE", database);
        let done = bash.stdin(Stdio::null()).output().expect("bash starts");
        let logs = ["r1.log", "r2.log", "r3.log"].map(|log| fs::read_to_string(scratch.path().join(log)));
        (done, logs.map(Result::unwrap_or_default))
    });
    let (done, logs) = running.await.expect("no panic");
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{errors}\n{}", logs.join("\n--\n"));
    assert!(out.contains("message_part") && out.contains("mainstem_ready 1"), "{out}");
    for log in &logs {
        assert!(log.contains("stopped") && !log.contains("ERROR") && !log.contains("WARN"), "{log}");
    }
}
