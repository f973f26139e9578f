//! S5: what only a chat's worker may write, nobody else writes.

use crate::{Record, Violation};

/// What a worker writes.
const OF_A_WORKER: [&str; 7] =
    ["begin_attempt", "record_retry", "commit_step", "finish_turn", "finish_interruption", "fail", "release"];

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    for (chat, changes) in record.by_chat() {
        for pair in changes.windows(2) {
            let (before, change) = (pair[0], pair[1]);
            let worker = before.state.worker.as_ref();
            if OF_A_WORKER.contains(&change.command) && worker != Some(&change.replica) {
                let worker = worker.map_or("nobody", |worker| worker.as_str());
                let why = format!(
                    "chat {chat}: {} by {}, and the chat is that of {worker}",
                    change.command, change.replica
                );
                found.push(Violation { guarantee: "S5", at: change.at, why });
            }
        }
    }
}
