//! Which of many are ready: their numbers, in the order in which they were woken. So each gets its turn, and who
//! waits costs nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};

use futures::task::ArcWake;

use crate::sync::{AtomicBool, AtomicWaker, Mutex, Ordering};

#[derive(Clone, Default)]
pub(super) struct Ready(Arc<Queue>);

#[derive(Default)]
struct Queue {
    numbers: Mutex<VecDeque<u64>>,
    /// Of the task that has all of them.
    task: AtomicWaker,
}

/// What wakes one of them.
pub(super) struct Turn {
    number: u64,
    is_queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Ready {
    /// One more, which is not ready yet.
    pub(super) fn admit(&self, number: u64) -> Arc<Turn> {
        Arc::new(Turn { number, is_queued: AtomicBool::new(false), queue: self.0.clone() })
    }

    /// Wakes the task when one becomes ready. Register before the last look at what is ready.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.0.task.register(context.waker());
    }

    /// The one that has been ready longest. It may be gone.
    pub(super) fn next(&self) -> Option<u64> {
        self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Turn {
    /// The waker for its turn, which begins: if it is woken from now on, it gets another.
    pub(super) fn begin(self: &Arc<Self>) -> Waker {
        self.is_queued.store(false, Ordering::SeqCst);
        futures::task::waker(self.clone())
    }

    /// It is ready, behind those that are. For the task itself, which is not woken by this. False if it was already.
    pub(super) fn queue(&self) -> bool {
        let is_new = !self.is_queued.swap(true, Ordering::SeqCst);
        if is_new {
            self.queue.numbers.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.number);
        }
        is_new
    }
}

impl ArcWake for Turn {
    fn wake_by_ref(turn: &Arc<Self>) {
        if turn.queue() {
            turn.queue.task.wake();
        }
    }
}
