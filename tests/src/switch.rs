//! An address that leads to one server, and then to another, as one does that a failover moves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// Dropping it ends all its connections.
#[derive(Debug)]
pub struct Switch {
    port: u16,
    target: Arc<AtomicU16>,
    cut: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl Switch {
    /// Leads to `target`, a port of the loopback.
    pub async fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (target, cut) = (Arc::new(AtomicU16::new(target)), Arc::<Notify>::default());
        let accepting = tokio::spawn(accept(listener, target.clone(), cut.clone()));
        Ok(Self { port, target, cut, accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// An HTTP server's address by this way.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `url` of a database of the server on `port`, by way of this address.
    pub fn url(&self, url: &str, port: u16) -> String {
        let direct = format!(":{port}/");
        assert!(url.contains(&direct), "{url} is of that server");
        url.replacen(&direct, &format!(":{}/", self.port), 1)
    }

    /// New connections lead there; those that are open stay what they are.
    pub fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
    }

    /// Ends the connections that are open.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: Arc<AtomicU16>, cut: Arc<Notify>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (target, cut) = (target.load(Ordering::SeqCst), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                () = cut.notified() => Ok(()),
                carried = carry(client, target) => carried,
            }
        });
    }
}

async fn carry(mut client: TcpStream, target: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
