//! The library of the `mainstem` binary: HTTP, adapters, configuration, and command lines.

pub mod adapters;
pub mod cli;
pub mod client;
pub mod config;
mod content;
mod descriptors;
pub mod doctor;
pub mod failure;
pub mod generators;
pub mod http;
pub mod insight;
pub mod limits;
pub mod listener;
mod logging;
mod outbound;
pub mod rates;
mod retention;
pub mod serve;
mod service_manager;
mod sse;
mod tapes;
mod tls;
pub mod tokio_env;
pub mod tools;
mod units;
mod watched_file;
mod wiring;

pub use tokio_env::TokioEnv;
