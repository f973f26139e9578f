//! The same primitives under a scheduler that decides at each of them which task goes on. Locks and flags are
//! shuttle's. `Notify` and `AtomicWaker` are the real ones: shuttle runs all tasks on one thread, so whatever they do
//! inside is one step, and each of their operations gets a point before it at which another task may go on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Schedules of each test, unless `SCHEDULES` says how many: as many as show each of the races that were planted to
/// try the tests, many times over.
const SCHEDULES: usize = 1000;

/// Preemptions of one schedule under PCT: most races need one or two.
const PREEMPTIONS: usize = 3;

/// Runs `test` under many schedules, half of them random, half with few preemptions at chosen points (PCT). One that
/// fails is printed, and `SHUTTLE_RANDOM_SEED` gives the same ones again.
pub(crate) fn explore(test: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("SCHEDULES").ok().map(|count| count.parse().expect("SCHEDULES is a number"));
    let half = asked.unwrap_or(SCHEDULES).div_ceil(2);
    let test = std::sync::Arc::new(test);
    let random = test.clone();
    Runner::new(RandomScheduler::new(half), config()).run(move || random());
    Runner::new(PctScheduler::new(PREEMPTIONS, half), config()).run(move || test());
}

/// Runs `test` under one schedule, for what has one task.
pub(crate) fn once(test: impl Fn() + Send + Sync + 'static) {
    Runner::new(RandomScheduler::new(1), config()).run(test);
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // It takes all orderings for the strictest one, and says so.
    config.silence_warnings = true;
    config
}

/// Of a task: what is built for tests takes more than shuttle's own.
const STACK_BYTES: usize = 512 * 1024;

/// A point at which another task may go on.
#[derive(Default)]
struct Point(AtomicBool);

impl Point {
    fn pass(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

#[derive(Default)]
pub(crate) struct Notify {
    real: tokio::sync::Notify,
    point: Point,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_waiters(&self) {
        self.point.pass();
        self.real.notify_waiters();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.point.pass();
        Notified { real: Box::pin(self.real.notified()), point: &self.point }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.real.fmt(f)
    }
}

pub(crate) struct Notified<'a> {
    real: Pin<Box<tokio::sync::futures::Notified<'a>>>,
    point: &'a Point,
}

impl Notified<'_> {
    pub(crate) fn enable(mut self: Pin<&mut Self>) -> bool {
        self.point.pass();
        self.real.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.point.pass();
        self.real.as_mut().poll(context)
    }
}

#[derive(Default)]
pub(crate) struct AtomicWaker {
    real: futures::task::AtomicWaker,
    point: Point,
}

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        self.point.pass();
        self.real.register(waker);
    }

    pub(crate) fn wake(&self) {
        self.point.pass();
        self.real.wake();
    }
}
