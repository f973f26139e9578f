//! The judges. They know what each viewer was owed from the committed history and from what the models
//! produced, and share no code with what they judge but the names of things. They draw no randomness.

mod chains;
mod history;
mod intents;
mod kept;
mod order;
mod parts;
mod past;
mod record;
mod stale;
mod verdict;
mod view;
pub mod viewer;
mod writer;

pub use record::{Begin, Committed, Record, Run, Send, Stream};
pub use verdict::Violation;
pub use view::{Preview, ShownStatus, View};

/// Judges a whole run. What is found first in time comes first.
pub fn judge(record: &Record) -> Vec<Violation> {
    let mut found = vec![];
    let checks = [
        history::check,
        parts::check,
        stale::check,
        kept::check,
        order::check,
        intents::check,
        writer::check,
    ];
    for check in checks {
        check(record, &mut found);
    }
    found.sort_by_key(|violation| violation.at);
    found
}

#[cfg(test)]
mod tests;
