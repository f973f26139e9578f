//! Tells stories to real servers on a real PostgreSQL, before the judges of the laboratory. Models and tools are puppets, dials
//! go through gates, and who may take up chats is decided by the database.
//!
//! Time is not virtual here. What is expected has as long as anything in the tests, whatever the story's bound is; of
//! what must not happen, what has come so far is looked at, and nobody waits for more. How late is too late is said by
//! the judges.

mod asking;
mod calls;
mod expect;
mod gate;
mod hosts;
mod puppet;
mod recover;
mod run;
mod tell;
mod tools;
mod untold;
mod visitor;
mod way;
mod wording;
mod workers;

pub use tell::tell;
pub use untold::untold;

/// Who asks, where servers have no tokens.
const CALLER: &str = "anonymous";
