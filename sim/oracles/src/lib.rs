//! The judges. They know what each viewer was owed from the committed history and from what the models
//! produced, and share no code with what they judge but the names of things. They draw no randomness.
//!
//! Evidence goes in as it happens, and each oracle says at once what it finds broken. One file is one oracle,
//! and judges one guarantee.

mod evidence;
mod index;
mod judge;
mod lives;
mod oracle;
mod past;
mod runs;
mod verdict;
mod view;
pub mod viewer;
mod watcher;

mod convergence;
mod death;
mod history;
mod idle_work;
mod intents;
mod interrupt;
mod interrupt_ends;
mod isolation;
mod kept;
mod leaks;
mod memory;
mod one_writer;
mod order;
mod parts;
mod phase;
mod spin;
mod stale;
mod who_may;
mod work_starts;

pub use evidence::{
    Answer, Begin, Committed, Evidence, Life, Name, Operation, RunEnd, RunId, Settings, StreamEnd, StreamId,
};
pub use index::EvidenceIndex;
pub use judge::{Entry, Judge, ORACLES};
pub use oracle::{Oracle, Ruling, Seen, Standing, WorldFacts};
pub use past::{Moment, Past};
pub use runs::Run;
pub use verdict::Violation;
pub use view::{Preview, ShownStatus, View};
pub use watcher::Watcher;

#[cfg(test)]
mod tests;
