//! The server: HTTP, the adapters, the command lines.

pub mod adapters;
