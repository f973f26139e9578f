//! Drives the machines: one task for each hub, and one for the replica. The tasks pass events in and carry
//! out the actions; they decide nothing. One loop serves both (`drive`).

mod announcer;
mod database;
mod drive;
mod follows;
mod heartbeats;
mod hub;
#[cfg(test)]
pub(crate) mod interleavings;
mod registry;
mod replica;
mod shared_frame;
mod sleeper;
mod task_waker;
mod viewer;
mod vitals;

use std::fmt;
use std::sync::{Arc, PoisonError};

use mainstem_machine::hub::HubConfig;
use mainstem_machine::{ChatId, Time};

use crate::ports::{Bus, Env, Generator, Hops, Ports, ReplicaRow, Store, Tools};
use crate::relay::Peers;
use crate::sync::{Mutex, MutexGuard};
use crate::tape::{Machine, Recording, Tape};

pub(crate) use announcer::AnnouncerCell;
pub(crate) use database::bounded;
pub(crate) use follows::Follows;
pub(crate) use heartbeats::Heartbeats;
pub(crate) use hub::{Entry, HubCell};
pub(crate) use registry::Registry;
pub(crate) use replica::{ReplicaCell, run as run_replica};
pub use viewer::Next;
pub(crate) use viewer::{Followed, Watch};
pub(crate) use vitals::Vitals;

/// The state that all tasks of one replica share.
pub(crate) struct Shared<E: Env> {
    pub(crate) env: E,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) generator: Arc<dyn Generator>,
    pub(crate) tools: Arc<dyn Tools>,
    pub(crate) hub_config: Arc<HubConfig>,
    /// This replica's entry in the table of members.
    pub(crate) row: ReplicaRow,
    /// `None` if the replica runs alone, without a relay.
    pub(crate) peers: Option<Peers<E>>,
    pub(crate) registry: Registry<E>,
    pub(crate) replica: ReplicaCell,
    pub(crate) announcer: AnnouncerCell,
    pub(crate) heartbeats: Arc<Heartbeats>,
    pub(crate) hops: Arc<dyn Hops>,
    recording: Option<Recording>,
}

impl<E: Env> Shared<E> {
    pub(crate) fn new(
        env: E,
        ports: Ports,
        hub_config: Arc<HubConfig>,
        row: ReplicaRow,
        peers: Option<Peers<E>>,
        replica: ReplicaCell,
        recording: Option<Recording>,
    ) -> Arc<Self> {
        let Ports { store, bus, generator, tools, hops } = ports;
        let (registry, announcer) = (Registry::default(), AnnouncerCell::default());
        Arc::new(Self {
            env,
            store,
            bus,
            generator,
            tools,
            hub_config,
            row,
            peers,
            registry,
            replica,
            announcer,
            heartbeats: Arc::default(),
            hops,
            recording,
        })
    }

    /// The tape of a hub that begins now, if tapes are kept.
    fn hub_tape(&self, chat: ChatId, now: Time) -> Option<Tape> {
        let recording = self.recording.as_ref()?;
        recording.begin(Machine::Hub { chat, config: (*self.hub_config).clone() }, now)
    }
}

impl<E: Env> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("replica", &self.hub_config.replica).finish_non_exhaustive()
    }
}

/// Locks a mutex even if it is poisoned: a panic in one machine must not block everything else.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Yields to the other tasks.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
