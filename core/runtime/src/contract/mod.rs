//! The contract suites: what every adapter of a port must do, the simulated ones included. A suite consists
//! of plain async functions that take an open adapter. A breach panics and says what was expected.

pub mod bus;
pub mod bus_faults;
pub mod generator;
pub mod store;
