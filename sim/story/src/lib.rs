//! The story language: scenario files, which say who takes part, what happens when, and what must be seen. Several
//! worlds tell the same stories: the simulated cluster, the pure world, and real servers.
//!
//! Each line is one sentence; `#` begins a comment. Every expectation has a bound in time, and every absence a span of
//! it. `scenarios/README.md` describes the language.

mod ast;
mod faults;
mod kinds;
mod lexer;
mod order;
mod parser;
mod script;
mod settings;
mod sights;
mod words;

pub use ast::{
    Absence, Claim, Expectation, Keyed, ReplicaFate, Said, Sentence, Sight, Step, Story, StoryWorld,
    UserOrder, Workers,
};
pub use faults::{
    BusFate, BusFaults, CallFault, DatabaseFate, DialRule, LateAnswers, LinkFate, PlannedFault,
};
pub use kinds::{called_tool, offered_tools, part_of_all_kinds, parts_of_call, result_of};
pub use lexer::Problem;
pub use order::Order;
pub use parser::parse;
pub use script::{Carrying, Script, Turn};
pub use settings::{Settings, TOOL_TIMEOUT};
pub use sights::{describe, find, intruder};

/// The account of users whose name a story does not say.
pub const USER: &str = "user";
