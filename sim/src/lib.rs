//! The simulator ("laboratory"): the product's driver in a simulated cluster, on madsim's virtual time, with
//! a network, a database, a bus and models of our own. Stories and seeds say what happens. Nothing of it
//! ships.

#[cfg(not(madsim))]
compile_error!(
    "build with `--cfg madsim`; RUSTFLAGS in the environment replaces what .cargo/config.toml sets"
);

pub mod arrows;
pub mod batch;
pub mod bisect;
pub mod bus;
pub mod client;
pub mod cluster;
mod copied_build;
pub mod database;
pub mod determinism;
pub mod device;
pub mod edge;
pub mod env;
pub mod events;
pub mod model;
pub mod net;
pub mod plan;
mod pulse;
pub mod run;
pub mod seed;
pub mod shrink;
pub mod story;
pub mod tally;
pub mod tapes;
mod tools;
pub mod trace;
pub mod visualize;
pub mod wire;
pub mod world;
pub mod zoo;
