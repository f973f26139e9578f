//! What operators see of a replica: metrics, and the listener that shows them ([`internal`]).
//!
//! What passes a port is counted around the port (`database`, `bus`, `runs`), what passes the edge at the edge (`edge`), and
//! what there is at a moment is read when it is asked for (`census`, `process`). No machine knows of it. Labels come
//! from short lists of ours: nothing that users or models say, and no id of a chat, is ever one (B1).

mod bus;
mod census;
mod database;
mod edge;
mod exposition;
pub mod internal;
mod process;
mod runs;

use std::sync::Arc;

use mainstem_runtime::ports::Ports;

pub use edge::{Closed, Edge, Face, Resumed, Transport, View};
pub use exposition::Exposition;

/// The metrics of one replica.
#[derive(Clone, Debug)]
pub struct Insight {
    pub edge: Arc<Edge>,
    database: Arc<database::Database>,
    bus: Arc<bus::BusCounts>,
    runs: Arc<runs::Runs>,
}

impl Insight {
    /// `bus` names what carries notices.
    pub fn new(bus: &'static str) -> Self {
        Self {
            edge: Arc::default(),
            database: Arc::default(),
            bus: Arc::new(bus::BusCounts::new(bus)),
            runs: Arc::default(),
        }
    }

    /// The same ports, seen.
    pub fn around(&self, ports: Ports) -> Ports {
        Ports {
            store: Arc::new(database::Seen::new(ports.store, self.database.clone())),
            bus: Arc::new(bus::Seen::new(ports.bus, self.bus.clone())),
            generator: Arc::new(runs::Seen::new(ports.generator, self.runs.clone())),
            tools: ports.tools,
        }
    }
}
