//! The contract suites: what every adapter of a port must do, the simulated ones included. A suite is plain
//! async functions over an adapter that was opened already; a breach panics and says what was expected.

pub mod bus;
pub mod generator;
pub mod store;
