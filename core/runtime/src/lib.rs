//! The driver: one task per hub, the ports for what the world must offer, the relay over them, and what
//! the edge means. It takes no decision: the machines do.

#[cfg(feature = "contract")]
pub mod contract;
pub mod demo;
mod driver;
pub mod encode;
mod log_rate;
mod node;
pub mod ports;
pub mod relay;

pub use driver::Next;
pub use log_rate::{LOG_INTERVAL, LogRate};
pub use node::{EdgeError, Node, NodeConfig, RelayConfig, Viewer};
