//! The AI SDK as it is published, against three replicas: after everything, what the client shows is what the database has.

mod answers;
mod browser;
mod cuts;
mod files;
mod page;
mod refused;
mod socket;
mod stops;
mod tools;
mod wire;

/// The major versions, each with what it says of itself in the query.
const ALL: [(u64, &str); 4] = [(5, ""), (6, ""), (7, ""), (7, "?ai=7")];
