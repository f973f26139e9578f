//! The `mainstem` binary's insides: HTTP, configuration, and the command lines.

pub mod cli;
pub mod client;
pub mod config;
pub mod failure;
pub mod http;
pub mod listener;
mod logging;
pub mod serve;
mod units;
