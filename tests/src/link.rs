//! A link to a server of the loopback that fails: it is slow, carries nothing back, or is cut.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that are carried at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Dropping it ends all its connections.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it was cut.
    cuts: watch::Sender<u64>,
    is_stalled: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
}

impl Link {
    /// Leads to `target`, a port of the loopback.
    pub async fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::<State>::default();
        let accepting = tokio::spawn(accept(listener, target, state.clone()));
        Ok(Self { port, state, accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the connections that are open.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Carries nothing from the server any more, while connections stay open, or does so again.
    pub fn stall(&self, is_stalled: bool) {
        self.state.is_stalled.send_replace(is_stalled);
    }

    /// What is sent to the server takes so long.
    pub fn slow(&self, delay: Duration) {
        self.state.delay.send_replace(delay);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let mut cuts = state.cuts.subscribe();
            tokio::select! {
                _ = cuts.changed() => Ok(()),
                carried = carry(client, target, &state) => carried,
            }
        });
    }
}

async fn carry(client: TcpStream, target: u16, state: &State) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        done = forth(from_client, to_server, state) => done,
        done = back(from_server, to_client, state) => done,
    }
}

async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        let delay = *state.delay.borrow();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut is_stalled = state.is_stalled.subscribe();
    loop {
        is_stalled.wait_for(|stalled| !stalled).await.map_err(io::Error::other)?;
        let length = tokio::select! {
            length = from.read(&mut chunk) => length?,
            _ = is_stalled.changed() => continue,
        };
        if length == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..length]).await?;
    }
}
