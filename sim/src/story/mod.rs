//! Plays stories in the simulated cluster. `mainstem_story` has their language.

mod expect;
mod orders;
mod runner;
mod viewers;

pub use mainstem_story::{Expectation, Problem, Sentence, Story, parse};
pub use runner::{Failure, START, play};
