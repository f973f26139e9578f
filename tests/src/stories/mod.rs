//! Tells stories to real servers on a real PostgreSQL, before the judges of the laboratory. Models and tools are puppets, dials
//! go through gates, and who may take up chats is decided by the database. A test that writes its own play has the same stage.
//!
//! Time is not virtual here. What is expected has as long as anything in the tests, whatever the story's bound is; of
//! what must not happen, what has come so far is looked at, and nobody waits for more. How late is too late is said by
//! the judges.

mod asking;
mod calls;
mod expect;
mod gate;
mod hosts;
mod play;
mod puppet;
mod recover;
mod run;
mod stage;
mod tell;
mod tools;
mod untold;
mod visitor;
mod way;
mod wording;
mod workers;

pub use play::Model;
pub use stage::{Between, Stage};
pub use tell::{tell, tell_between};
pub use tools::{CallEnd, Called, MCP_TOOL, Tools};
pub use untold::untold;

/// Who asks, where servers have no tokens.
const CALLER: &str = "anonymous";
