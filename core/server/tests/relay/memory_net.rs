//! A network inside the process, for more connections than a test has file descriptors. Every address leads
//! to the same listener.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstem::TokioEnv;
use mainstem_machine::Time;
use mainstem_runtime::ports::{Env, TaskHandle};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// The data in flight in one direction of a connection.
const PIPE_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct MemoryNet {
    env: TokioEnv,
    listener: Arc<Mutex<Option<mpsc::UnboundedSender<DuplexStream>>>>,
}

impl MemoryNet {
    pub(crate) fn new() -> Self {
        Self { env: TokioEnv::new(), listener: Arc::default() }
    }
}

impl Env for MemoryNet {
    type Stream = DuplexStream;
    type Listener = mpsc::UnboundedReceiver<DuplexStream>;
    type Sleep = tokio::time::Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.env.spawn(task)
    }

    fn now(&self) -> Time {
        self.env.now()
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.env.sleep(duration)
    }

    async fn listen(&self, _address: &str) -> io::Result<Self::Listener> {
        let (connected, incoming) = mpsc::unbounded_channel();
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected);
        Ok(incoming)
    }

    fn local_address(&self, _listener: &Self::Listener) -> io::Result<String> {
        Ok("anywhere:0".into())
    }

    fn accept<'a>(
        &self,
        listener: &'a mut Self::Listener,
    ) -> impl Future<Output = io::Result<DuplexStream>> + Send + use<'a> {
        async move { listener.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into()) }
    }

    async fn connect(&self, _address: &str) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
        listener.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    fn entropy(&self) -> u64 {
        self.env.entropy()
    }
}
