//! What the tests of the whole need: what ships, as real processes; a PostgreSQL of their own; clients that
//! judge every stream as it comes.
//!
//! What ships is built once, in release. `MAINSTEM_TEST_BINARY` names another binary to take instead.

pub mod browser;
pub mod client;
pub mod cluster;
pub mod commit_proxy;
pub mod deadline;
mod last_will;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod raw;
pub mod scratch;
pub mod shelled;
pub mod shipped_binary;
pub mod switch;
mod transport;
pub mod viewer;
