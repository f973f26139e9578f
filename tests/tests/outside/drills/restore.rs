//! A backup is restored: by the lines of `docs/operations.md`, as they stand there.

use std::fs;
use std::process::{Command, Stdio};

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::postgres::programs;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::workspace_root;
use mainstem_tests::viewer::{Kind, Viewer};

use super::metric;

/// The blocks of lines of that section: the backup, and the restoration.
fn lines() -> Vec<String> {
    let text =
        fs::read_to_string(workspace_root().join("docs/operations.md")).expect("the document is there");
    let section = text.split("\n## Backup and restore\n").nth(1).expect("it has the section");
    let section = section.split("\n## ").next().expect("a split has a first piece");
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("a block ends").to_owned()).collect()
}

/// Runs lines of a shell in this directory, as an operator of this database.
async fn carry_out(lines: &str, scratch: &Scratch, database: &str) {
    let others = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{others}", programs().expect("PostgreSQL's programs").display());
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -euo pipefail\n{lines}")]).current_dir(scratch.path());
    bash.env("PATH", path).env("DATABASE", database).stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || bash.output().expect("bash starts"));
    let done = running.await.expect("no panic");
    assert!(done.status.success(), "{lines}\n{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn after_a_backup_was_restored_each_page_has_what_the_database_has() {
    let scratch = Scratch::new();
    let short = [&INTERNAL[..], &["--drain-timeout", "500ms"]].concat();
    let serving = [&short[..], &["--workers", "0"]].concat();
    let mut cluster = Cluster::start(&[&short, &serving, &serving]).await;
    let clients = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let [a, b, c] = &clients;
    let chat = a.create("/demo parts=3 interval=0").await;
    a.until_idle(&chat).await;
    let busy = a.create("/demo parts=150 interval=20ms").await;
    let mut watching = Viewer::open(b, &busy, Kind::EventStream).await;
    watching.until("parts are shown", |s| s.seq > 5).await;
    let blocks = lines();
    let [backup, restoration] = &blocks[..] else { panic!("{blocks:?}") };
    carry_out(backup, &scratch, &cluster.database).await;

    // What is lost: an answer that two pages have seen, and a chat.
    a.send(&chat, "/demo parts=5 interval=0").await;
    a.until_idle(&chat).await;
    let young = a.create("/demo parts=1 interval=0").await;
    let mut pages =
        [Viewer::open(b, &chat, Kind::EventStream).await, Viewer::open(b, &chat, Kind::EventStream).await];
    for page in &mut pages {
        page.until("all is shown", |s| s.messages.len() == 4 && s.is_synced).await;
    }
    for replica in &mut cluster.replicas {
        replica.terminate();
        assert_eq!(replica.ended().await.code(), Some(0));
    }
    carry_out(restoration, &scratch, &cluster.database).await;
    for replica in &mut cluster.replicas {
        replica.start_again().await;
    }

    let [page, late] = &mut pages;
    page.resume_after_restoration(c).await;
    page.until("all of it anew", |s| s.is_synced && s.history_resets == 1).await;
    page.finish(a).await;
    assert_eq!(page.screen.messages.len(), 2);
    let resets = [("result", "history_reset")];
    assert_eq!(metric(&cluster.replicas[2], "mainstem_streams_resumed_total", &resets).await, 1.0);
    assert_eq!(Viewer::refused(c, &young, Kind::EventStream, "").await, (404, "no_such_chat".into()));

    // A page that comes back only when its chat has as many messages again is told as well.
    a.send(&chat, "/demo parts=7 interval=0").await;
    page.until("the next answer", |s| s.messages.len() == 4 && s.status == "waiting").await;
    page.finish(a).await;
    late.resume_after_restoration(c).await;
    late.until("all of it anew", |s| s.is_synced && s.messages.len() == 4).await;
    late.finish(a).await;
    assert_eq!((late.screen.last_text(), late.screen.history_resets), (counted(7), 1), "S1");
    assert_eq!(metric(&cluster.replicas[2], "mainstem_streams_resumed_total", &resets).await, 2.0);

    // What was being answered at the time of the backup is answered anew.
    watching.resume_on(c).await;
    watching.until("all is answered", |s| s.messages.len() == 2).await;
    watching.until_idle().await;
    watching.finish(a).await;
    assert_eq!((watching.screen.last_text(), watching.screen.history_resets), (counted(150), 0));
    assert_eq!(watching.screen.resets.len(), 1, "{:?}", watching.screen.resets);
    for replica in &cluster.replicas {
        assert!(!replica.log().contains(" ERROR "), "{}", replica.log());
    }
}
