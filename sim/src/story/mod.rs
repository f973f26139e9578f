//! Stories: scenario files, which say who takes part, what happens when, and what must be seen.
//!
//! Each line is one sentence; `#` begins a comment. Every expectation has a bound in virtual time, and every
//! absence a span of it. `scenarios/README.md` describes the language.

mod ast;
mod expect;
mod lexer;
mod orders;
mod parser;
mod runner;
mod viewers;
mod words;

pub use ast::{Expectation, Sentence, Story};
pub use lexer::Problem;
pub use parser::parse;
pub use runner::{Failure, START, play};
