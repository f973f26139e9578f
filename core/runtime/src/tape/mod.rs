//! Tapes: what a machine was told, so that it can be told again (D4).
//!
//! A tape has a machine's first state, its inputs, and for each input a digest of all that the machine said to
//! it. A machine decides by nothing else, so replaying the tape must lead to the same outputs. Unless asked for
//! them, a tape has no texts of users and models: each is replaced by another of the same length, in bytes and
//! between characters, as which is all that a machine looks at. Of the ids of calls and the names of tools it also sees which are
//! the same, and so does who reads a tape.

mod digest;
mod format;
mod machine;
mod names;
mod recorded;
mod redact;
mod replay;
#[cfg(test)]
mod tests;
mod text;

pub use format::{End, Head, Machine, TapeError, frames, is_tape};
pub(crate) use machine::Taped;
pub use recorded::Recording;
pub(crate) use recorded::{Recorded, Tape};
pub use replay::{Ending, Replayed, Step, Verdict, replay};
