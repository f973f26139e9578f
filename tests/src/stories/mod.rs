//! Tells stories to real servers on a real PostgreSQL. Models are puppets, dials go through gates, and who may take up
//! chats is decided by the database. Viewers judge their streams as everywhere in the tests.
//!
//! Time is not virtual here. What is expected has as long as anything in the tests, whatever the story's bound is; of
//! what must not happen, what has come so far is looked at, and nobody waits for more.

mod gate;
mod puppet;
mod tell;
mod untold;

pub use tell::tell;
pub use untold::untold;
