//! Runs hyper on `Env`: timers, tasks, and the lifetime of a connection.
//!
//! Whatever hyper spawns for a connection runs in the one task of that connection. So a part costs one
//! wake-up, not one for its stream and another for the connection, and when the connection ends, nothing of
//! it is left (B2).

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, Stream};
use futures::task::ArcWake;
use hyper::rt::{Executor, Sleep, Timer};
use mainstem_machine::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::relay::{ROUNDS_MAX, SILENCE_MAX, WRITES_MAX};
use crate::ports::{Boxed, Env};
use crate::sync::{AtomicBool, AtomicWaker, Mutex, Ordering};

/// hyper's clock. hyper needs `Instant`s, of which only differences matter: each is computed from its
/// distance to a moment at which both clocks were read.
pub(super) struct EnvTimer<E: Env> {
    env: E,
    origin: (Time, Instant),
}

impl<E: Env> EnvTimer<E> {
    pub(super) fn new(env: E) -> Self {
        let origin = (env.now(), Instant::now());
        Self { env, origin }
    }
}

impl<E: Env> Timer for EnvTimer<E> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(EnvSleep(Box::pin(self.env.sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        let (ours, theirs) = self.origin;
        theirs + self.env.now().since(ours)
    }
}

struct EnvSleep<S>(Pin<Box<S>>);

impl<S: Future<Output = ()>> Future for EnvSleep<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + Sync> Sleep for EnvSleep<S> {}

/// The tasks that hyper spawns for one connection. [`Driven`] runs them.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Spawned>);

#[derive(Default)]
struct Spawned {
    queue: Mutex<Vec<Boxed<'static, ()>>>,
    waker: AtomicWaker,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
        self.0.waker.wake();
    }
}

/// A connection with all its tasks. When the connection ends, so do its tasks.
pub(super) struct Driven<C> {
    connection: Pin<Box<C>>,
    tasks: Tasks,
    running: FuturesUnordered<Boxed<'static, ()>>,
    /// It was woken, and has yielded once so that other ready tasks run first.
    gathering: bool,
    woken: Arc<Woken>,
}

/// Forwards a wake-up and remembers it. `FuturesUnordered` wakes itself after every second task that has more
/// to do; without this, each pair of parts would be a write of its own.
#[derive(Default)]
struct Woken {
    again: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.again.store(true, Ordering::Release);
        woken.task.wake();
    }
}

impl<C: Future> Driven<C> {
    pub(super) fn new(connection: C, tasks: Tasks) -> Self {
        Self {
            connection: Box::pin(connection),
            tasks,
            running: FuturesUnordered::new(),
            gathering: false,
            woken: Arc::default(),
        }
    }

    /// Polls the tasks until all of them are pending.
    fn run_tasks(&mut self) {
        let waker = futures::task::waker(self.woken.clone());
        let mut context = Context::from_waker(&waker);
        for _ in 0..ROUNDS_MAX {
            self.woken.again.store(false, Ordering::Release);
            while let Poll::Ready(Some(())) = Pin::new(&mut self.running).poll_next(&mut context) {}
            if !self.woken.again.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Adds the tasks that were spawned since. False if there were none.
    fn start_spawned(&self) -> bool {
        let spawned = std::mem::take(&mut *self.tasks.0.queue.lock().unwrap_or_else(PoisonError::into_inner));
        let any = !spawned.is_empty();
        for task in spawned {
            self.running.push(task);
        }
        any
    }
}

impl<C: Future> Future for Driven<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        this.tasks.0.waker.register(cx.waker());
        // Hubs that are ready at the same moment run first, so that everything they send goes out in one
        // write.
        this.gathering = !this.gathering;
        if this.gathering {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Tasks run before the connection, which then writes what they have to send.
        this.start_spawned();
        for _ in 0..WRITES_MAX {
            this.woken.task.register(cx.waker());
            this.run_tasks();
            if let Poll::Ready(end) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            // What was written has made room for what a task has left, which need not wait for others to have their turn.
            let has_more = this.woken.again.load(Ordering::Acquire);
            if !(this.start_spawned() || has_more) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A byte stream that remembers whether anything was received.
pub(super) struct Link<S> {
    stream: S,
    heard: Heard,
}

impl<S> Link<S> {
    pub(super) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

#[derive(Clone, Default)]
pub(super) struct Heard(Arc<AtomicBool>);

impl Heard {
    /// Waits until nothing was received for one whole [`SILENCE_MAX`]. On a working link, keep-alives arrive
    /// more often. hyper detects a dead peer too, but then tries to write a GOAWAY frame, and would wait for
    /// that until the kernel gives up.
    pub(super) async fn silence<E: Env>(self, env: E) {
        loop {
            env.sleep(SILENCE_MAX).await;
            if !self.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heard")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.heard.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use shuttle::future::{block_on, spawn};
    use tokio::sync::oneshot;

    use super::*;
    use crate::sync::{AtomicU64, explore, once};

    /// How many tasks have ended, and the connection that waits for all of them.
    #[derive(Default)]
    struct Ended {
        count: AtomicU64,
        waker: AtomicWaker,
    }

    /// Runs a connection that spawns so many tasks, one at a time, and is handed so many from elsewhere. It ends when
    /// all have, and each waits for somebody else.
    async fn run(own: usize, handed_in: usize) {
        let (tasks, ended) = (Tasks::default(), Arc::<Ended>::default());
        let (go, gone): (Vec<_>, Vec<_>) = (0..own + handed_in).map(|_| oneshot::channel::<()>()).unzip();
        let waiting = |gone: oneshot::Receiver<()>| {
            let ended = ended.clone();
            async move {
                gone.await.expect("it is told to go on");
                ended.count.fetch_add(1, Ordering::SeqCst);
                ended.waker.wake();
            }
        };
        let mut waiting: Vec<_> = gone.into_iter().map(waiting).collect();
        let elsewhere = waiting.split_off(own);
        let (handing_to, all) = (tasks.clone(), ended.clone());
        let handing = spawn(async move { elsewhere.into_iter().for_each(|task| handing_to.execute(task)) });
        let spawning_to = tasks.clone();
        let connection = poll_fn(move |context| {
            all.waker.register(context.waker());
            if let Some(task) = waiting.pop() {
                spawning_to.execute(task);
            }
            let is_over = all.count.load(Ordering::SeqCst) == (own + handed_in) as u64;
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        let waking: Vec<_> = go.into_iter().map(|go| spawn(async move { go.send(()) })).collect();
        Driven::new(connection, tasks).await;
        handing.await.expect("no panic");
        for waking in waking {
            waking.await.expect("no panic").expect("it waits");
        }
    }

    /// All streams are one: if each write were followed by others' turns, a busy replica would send what fits one write
    /// in each round of all its tasks.
    #[test]
    fn what_a_write_makes_room_for_is_written_before_others_have_their_turn() {
        const PIECES: usize = WRITES_MAX / 2;
        once(|| {
            block_on(async {
                let (tasks, room) = (Tasks::default(), Arc::new((Mutex::new(0), AtomicWaker::default())));
                let (taking, written) = (room.clone(), Arc::<Ended>::default());
                let task = async move {
                    for _ in 0..PIECES {
                        poll_fn(|context| {
                            taking.1.register(context.waker());
                            let mut waiting = taking.0.lock().expect("no panic");
                            if *waiting > 0 {
                                return Poll::Pending;
                            }
                            *waiting += 1;
                            Poll::Ready(())
                        })
                        .await;
                    }
                };
                let count = written.clone();
                let connection = poll_fn(move |_| {
                    let piece = std::mem::take(&mut *room.0.lock().expect("no panic"));
                    let so_far = count.count.fetch_add(piece, Ordering::SeqCst) + piece;
                    room.1.wake();
                    if so_far == PIECES as u64 { Poll::Ready(()) } else { Poll::Pending }
                });
                tasks.execute(task);
                let mut driven = Box::pin(Driven::new(connection, tasks));
                let mut turns = 0;
                poll_fn(|context| {
                    turns += 1;
                    driven.as_mut().poll(context)
                })
                .await;
                // In the first one it gathers.
                assert_eq!(turns, 2);
            });
        });
    }

    #[test]
    fn a_task_of_a_connection_goes_on_whoever_wakes_it() {
        explore(|| block_on(run(1, 0)));
        explore(|| block_on(run(2, 1)));
    }

    #[test]
    fn a_task_that_is_handed_in_from_elsewhere_is_begun() {
        explore(|| block_on(run(0, 1)));
    }
}
