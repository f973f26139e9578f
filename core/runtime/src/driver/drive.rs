//! One loop for both kinds of machine. A machine sits in a cell, under a lock: whoever has an event for it hands it in
//! there. Its task carries out what the machine asks for, waits until something has happened, and hands that in.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Poll};

use mainstem_machine::Time;

use super::sleeper::Sleeper;
use super::task_waker::TaskWaker;
use super::{lock, yield_now};
use crate::limits::driver::EVENTS_MAX;
use crate::ports::Env;
use crate::sync::{AtomicU64, Mutex, Notified, Notify, Ordering};
use crate::tape::{Recorded, Taped};

/// What the loop has to know of a machine.
pub(super) trait Driven: Taped + Sized {
    type Event;
    type Action;
    /// What is kept beside the machine, under its lock.
    type Beside;

    const WAKE: Self::Event;

    fn input(at: Time, event: Self::Event) -> Self::Input;
    fn wake_at(&self) -> Option<Time>;
    /// Takes what it asks for out of what it said, and whether those who wait for news have a reason to look.
    fn asked(said: &mut Self::Output) -> (Vec<Self::Action>, bool);
}

/// A machine, and those who wait for it: its task, and whoever reads its state.
pub(super) struct Cell<M: Driven> {
    inner: Mutex<Inner<M>>,
    news: Notify,
    /// How often there was news.
    news_count: AtomicU64,
    task_waker: TaskWaker,
}

/// The machine, while its lock is held.
pub(super) struct Inner<M: Driven> {
    pub(super) machine: Recorded<M>,
    pub(super) beside: M::Beside,
    pending: VecDeque<M::Action>,
    news: bool,
    /// When there was news last.
    pub(super) news_at: Time,
    /// The task has something to do.
    moved: bool,
    /// The task has ended, or is about to: nothing more is handed in.
    ended: bool,
    /// What the machine panicked with in somebody's hands: its task goes on with it.
    panic: Option<Box<dyn Any + Send>>,
}

impl<M: Driven> Inner<M> {
    pub(super) fn handle(&mut self, now: Time, event: M::Event) {
        if !self.machine.is_finished() {
            self.tell(M::input(now, event));
            self.moved = true;
            if self.news {
                self.news_at = now;
            }
        }
    }

    /// Tells the machine, and takes over what it asks for.
    pub(super) fn tell(&mut self, input: M::Input) -> M::Output {
        let mut said = self.machine.take(input);
        let (actions, news) = M::asked(&mut said);
        self.moved |= !actions.is_empty();
        self.pending.extend(actions);
        self.news |= news;
        said
    }

    fn is_over(&self) -> bool {
        self.ended || self.machine.is_finished()
    }
}

impl<M: Driven> Cell<M> {
    pub(super) fn new(machine: Recorded<M>, beside: M::Beside) -> Self {
        let pending = VecDeque::new();
        let inner = Inner {
            machine,
            beside,
            pending,
            news: false,
            news_at: Time::default(),
            moved: false,
            ended: false,
            panic: None,
        };
        let (inner, news, news_count) = (Mutex::new(inner), Notify::new(), AtomicU64::new(0));
        Self { inner, news, news_count, task_waker: TaskWaker::default() }
    }

    /// Completes when the machine may have news. Enable it before reading the machine, or how often there was news.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// How often there was news. Whoever asks before reading the machine has seen all of so much.
    pub(super) fn news_count(&self) -> u64 {
        self.news_count.load(Ordering::Acquire)
    }

    /// Counted first: who waits by then is woken, and who comes later sees the count.
    fn tell_news(&self) {
        self.news_count.fetch_add(1, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// Reads the machine, also one that is over.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Inner<M>) -> T) -> T {
        read(&lock(&self.inner))
    }

    /// Changes what is kept beside the machine, also beside one that is over.
    pub(super) fn beside<T>(&self, change: impl FnOnce(&mut M::Beside) -> T) -> T {
        change(&mut lock(&self.inner).beside)
    }

    /// Calls `act` with the machine, and wakes its task if there is something to do. `None` if the machine is over, or
    /// panics: then its task unwinds, and who has called goes on, for they may be what a replica cannot live without
    /// (B3).
    pub(super) fn enter<T>(&self, act: impl FnOnce(&mut Inner<M>) -> T) -> Option<T> {
        let (done, moved) = self.enter_quietly(act)?;
        if moved {
            self.task_waker.wake();
        }
        Some(done)
    }

    /// The same for the task itself, which need not be woken.
    fn enter_quietly<T>(&self, act: impl FnOnce(&mut Inner<M>) -> T) -> Option<(T, bool)> {
        let mut inner = lock(&self.inner);
        if inner.is_over() {
            return None;
        }
        let done = catch_unwind(AssertUnwindSafe(|| act(&mut inner)));
        let moved = std::mem::take(&mut inner.moved);
        let done = match done {
            Ok(done) => done,
            Err(panic) => {
                (inner.ended, inner.panic) = (true, Some(panic));
                drop(inner);
                self.task_waker.wake();
                self.tell_news();
                return None;
            }
        };
        let news = std::mem::take(&mut inner.news);
        drop(inner);
        if news {
            self.tell_news();
        }
        Some((done, moved))
    }

    /// Lets nothing more be handed in, and tells those who wait.
    pub(super) fn end(&self) {
        lock(&self.inner).ended = true;
        self.tell_news();
    }
}

/// Who carries out what a machine asks for, and owns everything that is open on its behalf. Dropping it ends that.
pub(super) trait Hands<E: Env> {
    type Machine: Driven;

    /// How many operations can end at the same time.
    const OPERATIONS: usize;

    fn cell(&self) -> &Cell<Self::Machine>;
    fn env(&self) -> &E;
    fn execute(&mut self, action: <Self::Machine as Driven>::Action);
    /// Collects what has happened: all operations that have ended, and up to [`EVENTS_MAX`] events of other sources. If
    /// there are fewer, everything that is open has nothing more, and wakes the task when it has.
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Vec<<Self::Machine as Driven>::Event>);
}

/// Drives a machine until it is finished. If the machine panics, so does this, in whose hands soever it was.
pub(super) async fn drive<E: Env, H: Hands<E>>(mut hands: H) {
    let mut sleeper = Sleeper::<E>::new();
    let mut events = Vec::with_capacity(4);
    let mut is_polled = false;
    loop {
        let (actions, wake_at, finished) = {
            let mut inner = lock(&hands.cell().inner);
            if let Some(panic) = inner.panic.take() {
                drop(inner);
                resume_unwind(panic);
            }
            let actions = std::mem::take(&mut inner.pending);
            (actions, inner.machine.wake_at(), inner.machine.is_finished())
        };
        // What is begun now is to be polled.
        is_polled &= actions.is_empty();
        for action in actions {
            hands.execute(action);
        }
        if finished {
            return;
        }
        sleeper.set(hands.env(), wake_at);
        std::future::poll_fn(|context| {
            let woken = hands.cell().task_waker.poll(context);
            if !std::mem::take(&mut is_polled) {
                hands.poll(context, &mut events);
            }
            if sleeper.poll(context).is_ready() {
                events.push(H::Machine::WAKE);
            }
            if woken || !events.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let many = events.len() >= EVENTS_MAX;
        is_polled = !many;
        assert!(
            events.len() <= EVENTS_MAX + H::OPERATIONS,
            "B3: a machine keeps its thread for a bounded number of events"
        );
        let now = hands.env().now();
        hands.cell().enter_quietly(|inner| events.drain(..).for_each(|event| inner.handle(now, event)));
        events.clear();
        if many {
            yield_now().await;
        }
    }
}
