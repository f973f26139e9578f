//! The ports: what the driver needs from the outside world. `server` and `sim` each have their own adapters.

mod bus;
mod env;
mod generator;
mod hops;
mod store;
mod tapes;
mod tools;

pub use bus::{Bus, BusError, BusSubscription, Notice, Topic};
pub use env::{Boxed, Env, TaskHandle, within};
pub use generator::{Conversation, Generated, Generation, Generator};
pub use hops::{Hop, Hops, Untraced};
pub use mainstem_machine::store::{
    HeartbeatReport, Held, IdempotencyKey, Listed, Listing, Peer, ReplicaRow, Request, Rival, Stale,
    SyncReport, SyncRequest, Ticket,
};
pub use mainstem_machine::{Applied, CachedVersions, Effect, Keep, KnownRow, Page, Snapshot, Tail, Write};
pub use store::{BatchStore, Fault, Store};
pub use tapes::{NewTape, TapeFull, TapeWriter, Tapes};
pub use tools::{NoTools, ServerTool, Tool, ToolCall, Tools};

use std::fmt;
use std::sync::Arc;

/// What a replica works with.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub bus: Arc<dyn Bus>,
    pub generator: Arc<dyn Generator>,
    pub tools: Arc<dyn Tools>,
    /// Who traces follows between replicas.
    pub hops: Arc<dyn Hops>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}
