//! Helpers for the tests of the whole system: the shipped binary as real processes, a private PostgreSQL, and
//! clients that judge every stream.
//!
//! The binary is built once, in release mode. `MAINSTEM_TEST_BINARY` names another binary to use instead.

pub mod authority;
pub mod browser;
pub mod bus_server;
pub mod client;
mod client_project;
pub mod cluster;
pub mod collector;
pub mod costs;
pub mod court;
pub mod database_proxy;
pub mod deadline;
pub mod deploy;
pub mod jwt;
pub mod key_set;
mod last_will;
pub mod line_program;
pub mod link;
pub mod measure;
pub mod metrics;
pub mod node;
pub mod openapi;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod scratch;
pub mod shelled;
pub mod shipped_binary;
pub mod stories;
pub mod switch;
pub mod tool_endpoint;
mod transport;
pub mod viewer;
pub mod web_site;
