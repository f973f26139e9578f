//! Stories: scenario files in plain words. Who is where, what happens when, what must be seen.
//!
//! One sentence a line, `#` begins a comment. Every expectation has a bound in virtual time, and every
//! absence a stretch of it. The words are listed in `scenarios/README.md`.

mod ast;
mod expect;
mod lexer;
mod orders;
mod parser;
mod runner;
mod words;

pub use ast::{Expectation, Sentence, Story};
pub use lexer::Problem;
pub use parser::{GUARANTEES, parse};
pub use runner::{Failure, START, play};
