//! The ports: what the driver needs from the outside world. `server` and `sim` each have their own adapters.

mod bus;
mod env;
mod generator;
mod store;
mod tapes;
mod tools;

pub use bus::{Bus, BusError, BusSubscription, Notice, Topic};
pub use env::{Boxed, Env, TaskHandle, within};
pub use generator::{Conversation, Generated, Generation, Generator};
pub use mainstem_machine::store::{
    HeartbeatReport, Held, IdempotencyKey, Listed, Peer, ReplicaRow, Request, Rival, SyncReport, SyncRequest,
};
pub use mainstem_machine::{Applied, CachedVersions, Effect, Keep, Page, Snapshot, Tail};
pub use store::{Fault, Store};
pub use tapes::{NewTape, TapeFull, TapeWriter, Tapes};
pub use tools::{ServerTool, Tool, ToolCall, ToolOutput, Tools};
