//! OpenAI's clients as they are published, against three replicas: after everything, what a client is told is what the database
//! has.

mod answers;
mod completions;
mod cuts;
mod refused;
mod sdk;
mod shown;
mod stops;
mod tools;
mod turns;

/// The packages of npm and of PyPI.
const BOTH: [&str; 2] = ["node", "python"];
