//! The driver of the state machines: one task per hub, the ports to the outside world, and the relay
//! between replicas. It takes no decisions: the machines do.

mod batching;
#[cfg(feature = "contract")]
pub mod contract;
pub mod demo;
mod driver;
pub mod limits;
mod log_rate;
mod node;
pub mod ports;
mod principal;
pub mod relay;
mod sync;
pub mod tape;

pub use batching::Batching;
pub use driver::Next;
pub use log_rate::LogRate;
pub use node::{Census, EdgeError, Node, NodeConfig, RelayConfig, Viewer};
pub use principal::{Principal, Right, Unable};
