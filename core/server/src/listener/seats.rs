//! The connections that there may be at once. When all are taken, whoever comes gets that of the connection
//! that has been idle for longest: between requests, or not done with the head of its first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::edge::EVICTION_TIMEOUT;
use crate::rates::{Entry, Peer};

#[derive(Debug)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    max: u32,
    idle: Mutex<Idle>,
}

/// The idle ones by when they became so.
#[derive(Debug, Default)]
struct Idle {
    last: u64,
    seats: BTreeMap<u64, Arc<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_evicted: AtomicBool,
    waker: AtomicWaker,
    /// Where it is among the idle ones.
    idle: Mutex<Option<u64>>,
}

/// The seat of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    occupant: Occupant,
    entry: Entry,
    _permit: OwnedSemaphorePermit,
}

/// Says what the connection in a seat is at.
#[derive(Clone, Debug)]
pub(super) struct Occupant {
    seats: Arc<Seats>,
    state: Arc<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        let bound = u32::try_from(max).unwrap_or(u32::MAX);
        Arc::new(Self { free: Arc::new(Semaphore::new(max)), max: bound, idle: Mutex::default() })
    }

    /// A seat for a connection that is idle so far. `None` if all others are at work.
    pub(super) async fn take(self: &Arc<Self>, entry: Entry) -> Option<Seat> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let freed =
                    self.evict_oldest().then(|| timeout(EVICTION_TIMEOUT, self.free.clone().acquire_owned()));
                freed?.await.ok()?.ok()?
            }
        };
        let occupant = Occupant { seats: self.clone(), state: Arc::default() };
        occupant.is_idle_now();
        Some(Seat { occupant, entry, _permit: permit })
    }

    fn evict_oldest(&self) -> bool {
        let Some((_, oldest)) = lock(&self.idle).seats.pop_first() else { return false };
        oldest.is_evicted.store(true, Ordering::Release);
        oldest.waker.wake();
        true
    }

    /// Waits until all are free.
    pub(super) async fn all_free(&self) {
        drop(self.free.acquire_many(self.max).await);
    }
}

impl Seat {
    pub(super) fn peer(&self) -> Peer {
        self.entry.peer
    }

    pub(super) fn occupant(&self) -> Occupant {
        self.occupant.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.occupant.is_busy_now();
    }
}

impl Occupant {
    pub(super) fn is_idle_now(&self) {
        let mut idle = lock(&self.seats.idle);
        idle.last += 1;
        let at = idle.last;
        idle.seats.insert(at, self.state.clone());
        *lock(&self.state.idle) = Some(at);
    }

    pub(super) fn is_busy_now(&self) {
        let mut idle = lock(&self.seats.idle);
        if let Some(at) = lock(&self.state.idle).take() {
            idle.seats.remove(&at);
        }
    }

    /// Whether the seat is another's and the connection was at nothing. The task is woken when it may be.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> bool {
        self.state.waker.register(cx.waker());
        self.state.is_evicted.load(Ordering::Acquire) && lock(&self.state.idle).is_some()
    }

    /// Lets go of the task that was to be woken: what is known of how to wake it keeps all of its memory.
    pub(super) fn is_nobodys_task(&self) {
        drop(self.state.waker.take());
    }
}
