//! The primitives by which tasks meet: locks, flags, wake-ups. What several tasks share is made of these, because
//! this crate's own tests put others in their place (`explored.rs`), at each of which a scheduler of theirs decides
//! who goes on.

#[cfg(test)]
mod explored;

#[cfg(test)]
pub(crate) use explored::*;

#[cfg(not(test))]
pub(crate) use self::real::*;

#[cfg(not(test))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Mutex, MutexGuard};

    pub(crate) use futures::task::AtomicWaker;
    pub(crate) use tokio::sync::Notify;
    pub(crate) use tokio::sync::futures::Notified;
}
