//! The `mainstem` server: what the runtime asks of the world, given.

pub mod tokio_env;

pub use tokio_env::TokioEnv;
