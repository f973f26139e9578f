//! The judges. They know what each viewer was owed from the committed history and from what the models
//! produced, and share no code with what they judge but the names of things. They draw no randomness.

mod record;

pub use record::{Begin, Committed, Record, Run, Stream};
