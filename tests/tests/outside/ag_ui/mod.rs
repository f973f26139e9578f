//! Clients of AG-UI as they are published, against three replicas: after everything, what a client shows is what the database
//! has.

mod agent;
mod answers;
mod browser;
mod cuts;
mod refused;
mod stops;
mod tabs;
mod tools;
mod wire;

/// The clients that a program of ours drives: `@ag-ui/client` 0.0.59 and 1.0, which cannot resume, and TanStack's, which does.
const ALL: [&str; 3] = ["ag-ui-0", "ag-ui-1", "tanstack"];
