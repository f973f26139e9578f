//! The production environment: tokio's tasks, timers and TCP, the process's clock, and the system's entropy.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mainstem_machine::Time;
use mainstem_runtime::ports::{Env, TaskHandle};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::net::{TcpListener, TcpStream};

/// [`Env`] on tokio. Used only inside a tokio runtime that has its timers and its network enabled.
#[derive(Clone, Debug)]
pub struct TokioEnv {
    start: Instant,
}

impl TokioEnv {
    /// Time begins now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for TokioEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Env for TokioEnv {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Sleep = tokio::time::Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let task = tokio::spawn(task).abort_handle();
        TaskHandle::new(move || task.abort())
    }

    fn now(&self) -> Time {
        // The kernel's monotonic clock, which continues while the process is stopped.
        Time::START + self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    async fn listen(&self, address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    fn local_address(&self, listener: &TcpListener) -> io::Result<String> {
        Ok(listener.local_addr()?.to_string())
    }

    fn accept<'a>(
        &self,
        listener: &'a mut TcpListener,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send + use<'a> {
        async move {
            let (stream, _) = listener.accept().await?;
            without_delay(&stream);
            Ok(stream)
        }
    }

    fn origin(&self, stream: &TcpStream) -> Option<IpAddr> {
        stream.peer_addr().ok().map(|address| address.ip().to_canonical())
    }

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        without_delay(&stream);
        Ok(stream)
    }

    fn entropy(&self) -> u64 {
        OsRng.try_next_u64().expect("the system gives entropy")
    }
}

/// Sets TCP_NODELAY, so that a part does not wait for the acknowledgement of the previous one. If that fails,
/// the connection is lost already, and its user will notice.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost as soon as it was made");
    }
}
