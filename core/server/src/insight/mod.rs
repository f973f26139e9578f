//! What operators see of a replica: metrics, the listener that shows them ([`internal`]), and traces.
//!
//! What passes a port is counted around the port (`database`, `bus`, `runs`), what passes the edge at the edge (`edge`), and
//! what there is at a moment is read when it is asked for (`census`, `process`). No machine knows of it. Labels come
//! from short lists of ours: nothing that users or models say, and no id of a chat, is ever one (B1).

mod attempts;
mod bus;
mod census;
mod database;
mod edge;
mod exposition;
mod hops;
pub mod internal;
mod operations;
mod process;
mod runs;
mod traces;

use std::sync::Arc;

use mainstem_runtime::ports::Ports;

pub use attempts::Provider;
pub use edge::{Closed, Edge, Face, Limit, Resumed, Transport, View};
pub use exposition::Exposition;
pub use traces::Traces;

/// The metrics of one replica, and its traces.
#[derive(Clone, Debug)]
pub struct Insight {
    pub edge: Arc<Edge>,
    database: Arc<database::Database>,
    bus: Arc<bus::BusCounts>,
    runs: Arc<runs::Runs>,
    traces: Option<Arc<Traces>>,
}

impl Insight {
    /// `bus` names what carries notices.
    pub fn new(bus: &'static str, traces: Option<Traces>) -> Self {
        Self {
            edge: Arc::default(),
            database: Arc::default(),
            bus: Arc::new(bus::BusCounts::new(bus)),
            runs: Arc::default(),
            traces: traces.map(Arc::new),
        }
    }

    /// Tells what is left.
    pub fn flush(&self) {
        if let Some(traces) = &self.traces {
            traces.flush();
        }
    }

    /// The same ports, seen. `system` is the database's name in traces.
    pub fn around(&self, mut ports: Ports, system: &'static str, provider: Provider) -> Ports {
        if let Some(traces) = self.traces.clone() {
            ports.store =
                Arc::new(operations::TracedStore { inner: ports.store, traces: traces.clone(), system });
            ports.hops = Arc::new(hops::TracedHops(traces.clone()));
            ports.generator =
                Arc::new(attempts::TracedGenerator { inner: ports.generator, traces, provider });
        }
        Ports {
            store: Arc::new(database::Seen::new(ports.store, self.database.clone())),
            bus: Arc::new(bus::Seen::new(ports.bus, self.bus.clone())),
            generator: Arc::new(runs::Seen::new(ports.generator, self.runs.clone())),
            tools: ports.tools,
            hops: ports.hops,
        }
    }
}
