//! Wakes the task of a hub or of the replica after another task has passed an event to its machine.

use std::task::Context;

use crate::sync::{AtomicBool, AtomicWaker, Ordering};

#[derive(Default)]
pub(super) struct TaskWaker {
    requested: AtomicBool,
    waker: AtomicWaker,
}

impl TaskWaker {
    pub(super) fn wake(&self) {
        self.requested.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was woken since the last time. If not, the task is woken when it is.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.requested.swap(false, Ordering::AcqRel)
    }
}
