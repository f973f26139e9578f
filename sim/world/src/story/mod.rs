//! Tells a story in the pure world. Each sentence becomes choices: what happens is chosen, what it says of the network,
//! the bus and the database decides what becomes of everything under way, and what is expected is looked for while
//! time passes. So what was told is a list of choices, and `replay` takes it.

mod cast;
mod comings;
mod deeds;
mod expect;
mod faults;
mod plays;
mod tell;
mod untold;

pub use tell::{Missed, Telling, tell_story};
pub use untold::{Untold, untold};
