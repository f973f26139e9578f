//! A proxy between a replica and PostgreSQL that can hold a request: the database gets it late, as when the network
//! in between is slow, whether its sender is still there or not.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Dropping it ends all its connections.
#[derive(Debug)]
pub struct HoldingProxy {
    port: u16,
    orders: Arc<Orders>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Orders {
    /// What the next request to be held has in it.
    next: Mutex<Option<Vec<u8>>>,
    is_released: watch::Sender<bool>,
    held: AtomicUsize,
    answered: AtomicUsize,
}

impl HoldingProxy {
    /// A proxy to the PostgreSQL on `port` of the loopback.
    pub async fn start(postgres: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let orders = Arc::<Orders>::default();
        let accepting = tokio::spawn(accept(listener, postgres, orders.clone()));
        Ok(Self { port, orders, accepting })
    }

    /// The URL of a database through the proxy.
    pub fn url(&self, url: &str, postgres: u16) -> String {
        let (direct, through) = (format!(":{postgres}/"), format!(":{}/", self.port));
        assert!(url.contains(&direct), "{url} is of that PostgreSQL");
        url.replacen(&direct, &through, 1)
    }

    /// Holds the next request that has this in it.
    pub fn hold_next(&self, what: &[u8]) {
        *self.orders.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_owned());
    }

    /// How many requests were held.
    pub fn held(&self) -> usize {
        self.orders.held.load(Ordering::SeqCst)
    }

    /// Lets the database have them.
    pub fn release(&self) {
        self.orders.is_released.send_replace(true);
    }

    /// How many of them the database has answered.
    pub fn answered(&self) -> usize {
        self.orders.answered.load(Ordering::SeqCst)
    }
}

impl Drop for HoldingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, postgres: u16, orders: Arc<Orders>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, postgres, orders.clone()));
    }
}

/// Forwards until either side ends.
async fn carry(mut client: TcpStream, postgres: u16, orders: Arc<Orders>) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", postgres)).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            length = client.read(&mut asked) => {
                let said = &asked[..length?];
                if said.is_empty() {
                    return Ok(());
                }
                let is_held = is_held(&orders, said);
                if is_held {
                    orders.held.fetch_add(1, Ordering::SeqCst);
                    orders.is_released.subscribe().wait_for(|is_released| *is_released).await.ok();
                }
                server.write_all(said).await?;
                if is_held {
                    let length = server.read(&mut answered).await?;
                    orders.answered.fetch_add(1, Ordering::SeqCst);
                    client.write_all(&answered[..length]).await?;
                }
            }
            length = server.read(&mut answered) => {
                let said = &answered[..length?];
                if said.is_empty() {
                    return Ok(());
                }
                client.write_all(said).await?;
            }
        }
    }
}

fn is_held(orders: &Orders, said: &[u8]) -> bool {
    let mut next = orders.next.lock().unwrap_or_else(PoisonError::into_inner);
    let is_held = next.as_ref().is_some_and(|what| said.windows(what.len()).any(|window| window == what));
    if is_held {
        *next = None;
    }
    is_held
}
