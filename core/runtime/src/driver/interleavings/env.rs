//! An environment without a network, whose clock stands until it is moved. It counts its tasks.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use mainstem_machine::Time;
use tokio::io::DuplexStream;

use crate::ports::{Env, TaskHandle};
use crate::sync::Notify;

#[derive(Clone, Debug, Default)]
pub(crate) struct StillEnv {
    shared: Arc<Shared>,
    is_broken: bool,
}

#[derive(Debug, Default)]
struct Shared {
    clock: Mutex<Clock>,
    tasks: AtomicUsize,
    task_ended: Notify,
    entropy: AtomicU64,
}

#[derive(Debug, Default)]
struct Clock {
    passed: Duration,
    sleepers: BTreeMap<u64, (Duration, Waker)>,
    last: u64,
}

impl StillEnv {
    /// Lets time pass, and wakes who waited for it.
    pub(crate) fn pass(&self, duration: Duration) {
        let due: Vec<Waker> = {
            let mut clock = self.shared.clock.lock().expect("no panic");
            clock.passed += duration;
            let passed = clock.passed;
            let due = clock.sleepers.extract_if(.., |_, (until, _)| *until <= passed);
            due.map(|(_, (_, waker))| waker).collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// The same, but whoever reads its clock panics.
    pub(super) fn broken(&self) -> Self {
        Self { is_broken: true, ..self.clone() }
    }

    /// Waits until no task is left.
    pub(crate) async fn all_tasks_ended(&self) {
        loop {
            let ended = self.shared.task_ended.notified();
            if self.shared.tasks.load(SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// A task that has not ended.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, SeqCst);
        self.0.task_ended.notify_waiters();
    }
}

/// What is dropped first is the task.
struct Task<T> {
    task: Pin<Box<T>>,
    _alive: Alive,
}

impl<T: Future> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.task.as_mut().poll(context).map(drop)
    }
}

impl Env for StillEnv {
    type Stream = DuplexStream;
    type Listener = ();
    type Sleep = Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.shared.tasks.fetch_add(1, SeqCst);
        let task = Box::pin(AssertUnwindSafe(task).catch_unwind());
        let running = shuttle::future::spawn(Task { task, _alive: Alive(self.shared.clone()) });
        let abort = running.abort_handle();
        TaskHandle::new(move || abort.abort())
    }

    fn now(&self) -> Time {
        if self.is_broken {
            resume_unwind(Box::new("the clock is broken"));
        }
        Time::START + self.shared.clock.lock().expect("no panic").passed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut clock = self.shared.clock.lock().expect("no panic");
        clock.last += 1;
        Sleep { id: clock.last, until: clock.passed + duration, shared: self.shared.clone() }
    }

    async fn listen(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_address(&self, (): &()) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept<'a>(&self, (): &'a mut ()) -> impl Future<Output = io::Result<DuplexStream>> + Send + use<'a> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }

    async fn connect(&self, _: &str) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn entropy(&self) -> u64 {
        self.shared.entropy.fetch_add(1, SeqCst)
    }
}

pub(crate) struct Sleep {
    id: u64,
    until: Duration,
    shared: Arc<Shared>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.shared.clock.lock().expect("no panic");
        if clock.passed >= self.until {
            return Poll::Ready(());
        }
        clock.sleepers.insert(self.id, (self.until, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.shared.clock.lock().expect("no panic").sleepers.remove(&self.id);
    }
}
