//! The oracles. They know what each viewer has to get, from the committed history and from what the models
//! produced. They share only types with the code under test, and use no randomness.
//!
//! Evidence goes in as it happens, and each oracle reports at once what it finds broken. Each oracle has a
//! file of its own, and judges one guarantee.

mod blocks;
mod docket;
mod evidence;
mod fault;
mod guarantee;
mod index;
mod judge;
mod lives;
mod marks;
mod oracle;
mod past;
mod prompted;
mod returned;
mod runs;
mod shared;
mod tools;
mod tools_end;
mod turns;
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
mod on_time;
mod one_writer;
mod order;
mod parts;
mod phase;
mod row;
mod spin;
mod stale;
mod who_may;
mod work_starts;

pub use blocks::Blocks;
pub use docket::{Docket, Dockets};
pub use evidence::{
    Answer, Begin, Committed, Evidence, Life, Name, Operation, RunEnd, RunId, Settings, StreamEnd, StreamId,
};
pub use fault::{FaultKind, UnknownFault};
pub use guarantee::{Guarantee, UnknownGuarantee};
pub use index::EvidenceIndex;
pub use judge::{Entry, Judge, ORACLES};
pub use oracle::{CloneOracle, Oracle, Ruling, Seen, Standing, WorldFacts};
pub use past::{Moment, Past, begins_attempt};
pub use runs::Run;
pub use verdict::Violation;
pub use view::{Preview, ShownStatus, View};
pub use watcher::Watcher;

#[cfg(test)]
mod tests;
