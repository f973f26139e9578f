//! Time, tasks, network and entropy.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use mainstem_machine::Time;
use tokio::io::{AsyncRead, AsyncWrite};

/// A task that was spawned. Dropping the handle ends the task.
pub struct TaskHandle(Option<Box<dyn FnOnce() + Send + Sync>>);

impl TaskHandle {
    /// `end` ends the task; it is called at most once.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// Detaches the task: it runs to its end.
    pub fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskHandle")
    }
}

/// Time, tasks, byte streams, entropy. Cheap to clone.
pub trait Env: Clone + fmt::Debug + Send + Sync + Unpin + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Listener: Send + 'static;
    type Sleep: Future<Output = ()> + Send + Sync + 'static;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle;

    /// This process's monotonic clock. It continues while the process is stopped.
    fn now(&self) -> Time;

    fn sleep(&self, duration: Duration) -> Self::Sleep;

    /// Binds `address` (`host:port`; port 0 is any).
    fn listen(&self, address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// The address a listener is bound to, as `host:port`.
    fn local_address(&self, listener: &Self::Listener) -> io::Result<String>;

    fn accept<'a>(
        &self,
        listener: &'a mut Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + use<'a, Self>;

    /// Where an accepted stream comes from, if that can be told.
    fn origin(&self, _stream: &Self::Stream) -> Option<IpAddr> {
        None
    }

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    fn entropy(&self) -> u64;
}

/// Waits for `work`, and fails with [`io::ErrorKind::TimedOut`] after `limit`.
pub async fn within<E: Env, T>(env: &E, limit: Duration, work: impl Future<Output = T>) -> io::Result<T> {
    let work = std::pin::pin!(work);
    let sleep = std::pin::pin!(env.sleep(limit));
    match futures::future::select(work, sleep).await {
        futures::future::Either::Left((done, _)) => Ok(done),
        futures::future::Either::Right(((), _)) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A boxed future.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
