//! An environment that has only a clock: time advances when nothing else can happen. It counts the timers
//! that were created and those that still exist.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mainstem_machine::Time;
use mainstem_runtime::ports::{Env, TaskHandle};

#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualEnv {
    clock: Arc<Clock>,
    timers: Arc<Timers>,
}

#[derive(Debug, Default)]
struct Clock {
    micros: AtomicU64,
    /// The deadlines of the timers that were polled.
    wanted: Mutex<Vec<u64>>,
}

#[derive(Debug, Default)]
struct Timers {
    made: AtomicUsize,
    held: AtomicUsize,
}

impl VirtualEnv {
    /// Runs `work`, and advances time to the next timer whenever it waits. `None` if it waits without a
    /// timer.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            self.clock.wanted.lock().unwrap().clear();
            if let Poll::Ready(done) = work.as_mut().poll(&mut cx) {
                return Some(done);
            }
            let next = self.clock.wanted.lock().unwrap().iter().copied().min()?;
            self.clock.micros.fetch_max(next, SeqCst);
        }
    }

    /// Advances time without polling anything.
    pub(crate) fn pass(&self, duration: Duration) {
        self.clock.micros.fetch_add(duration.as_micros() as u64, SeqCst);
    }

    /// The same clock, with a separate count of timers.
    pub(crate) fn with_timers_of_its_own(&self) -> Self {
        Self { clock: self.clock.clone(), timers: Arc::default() }
    }

    pub(crate) fn timers_made(&self) -> usize {
        self.timers.made.load(SeqCst)
    }

    pub(crate) fn timers_held(&self) -> usize {
        self.timers.held.load(SeqCst)
    }
}

#[derive(Debug)]
pub(crate) struct Sleep {
    clock: Arc<Clock>,
    timers: Arc<Timers>,
    until: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.micros.load(SeqCst) >= self.until {
            return Poll::Ready(());
        }
        self.clock.wanted.lock().unwrap().push(self.until);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.held.fetch_sub(1, SeqCst);
    }
}

impl Env for VirtualEnv {
    type Stream = tokio::io::DuplexStream;
    type Listener = ();
    type Sleep = Sleep;

    fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        panic!("the demo generator spawns nothing");
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.micros.load(SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.timers.made.fetch_add(1, SeqCst);
        self.timers.held.fetch_add(1, SeqCst);
        let until = (self.now() + duration).as_micros();
        Sleep { clock: self.clock.clone(), timers: self.timers.clone(), until }
    }

    async fn listen(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_address(&self, (): &()) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept<'a>(&self, (): &'a mut ()) -> impl Future<Output = io::Result<Self::Stream>> + Send + use<'a> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }

    async fn connect(&self, _: &str) -> io::Result<Self::Stream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn entropy(&self) -> u64 {
        panic!("the demo generator draws nothing");
    }
}
