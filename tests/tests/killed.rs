//! A killed test leaves neither processes nor the files of a PostgreSQL behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mainstem_tests::deadline::until;

#[tokio::test]
async fn what_a_killed_test_held_ends_with_it() {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_holds-servers"));
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut said = BufReader::new(holder.stdout.take().expect("it is piped"));
    said.read_line(&mut line).expect("it says what it holds");
    let [postgres, replica, directory] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("it said {line:?}")
    };
    let left = || [is_running(postgres), is_running(replica), Path::new(directory).exists()].map(usize::from);
    let left = || left().iter().sum::<usize>();
    assert_eq!(left(), 3, "all are there: {line}");
    // By SIGKILL, so that none of its own code can run any more.
    holder.kill().expect("a child can be killed");
    holder.wait().expect("a child can be waited for");
    until("nothing is left", async || (left() == 0).then_some(())).await;
}

/// Whether the process exists and is not a zombie.
fn is_running(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
}
