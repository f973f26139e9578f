//! The `mainstem` binary's insides: HTTP, configuration, and the command lines.

pub mod http;
pub mod listener;
