//! The heartbeats of a replica. A late one would take the name again that the replica has just given back, so before
//! it deregisters, no more begin, and those that are on their way are waited for.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Shared, bounded, lock};
use crate::ports::{Env, Fault, HeartbeatReport, Held};
use crate::sync::{Mutex, Notify};

#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// No more begin.
    is_over: bool,
    in_flight: usize,
}

/// A heartbeat that may still take effect.
struct InFlight(Arc<Heartbeats>);

impl Heartbeats {
    fn begin(self: &Arc<Self>) -> Option<InFlight> {
        let mut state = lock(&self.state);
        if state.is_over {
            return None;
        }
        state.in_flight += 1;
        Some(InFlight(self.clone()))
    }

    /// Lets no more begin, and waits for those in flight: not for longer than an operation may take.
    pub(crate) async fn end(&self) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            {
                let mut state = lock(&self.state);
                state.is_over = true;
                if state.in_flight == 0 {
                    return;
                }
            }
            settled.await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.state).in_flight -= 1;
        self.0.settled.notify_waiters();
    }
}

impl<E: Env> Shared<E> {
    /// Sends a heartbeat, in a task of its own: whoever asked for it may stop waiting, and it would still be on its
    /// way.
    pub(super) async fn heartbeat(self: &Arc<Self>, held: Vec<Held>) -> Result<HeartbeatReport, Fault> {
        let Some(in_flight) = self.heartbeats.begin() else {
            return Err(Fault::Refused("this replica deregisters".into()));
        };
        let (answer, answered) = oneshot::channel();
        let shared = self.clone();
        let sending = async move {
            let report = bounded(&shared.env, shared.store.heartbeat(&shared.row, &held)).await;
            drop(in_flight);
            let _ = answer.send(report);
        };
        self.env.spawn(sending).detach();
        answered.await.unwrap_or_else(|_| Err(Fault::Unknown("the heartbeat broke off".into())))
    }
}
