//! The contract suites: what every adapter of a port must do, the simulated ones included.

pub mod generator;
