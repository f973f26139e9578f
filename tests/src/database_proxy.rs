//! A proxy between a replica and PostgreSQL that does something to the next request of a kind: it cuts the
//! connection before or after, or holds the request, as when the network in between is slow.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A COMMIT, as a simple query of PostgreSQL's protocol (its documentation, "Message Formats").
pub const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its connection is cut before the database gets it: it does not happen.
    CutBefore,
    /// Its connection is cut after the database has answered: it happened, but its answer is lost.
    CutAfter,
    /// The database gets it when it is released, whether its sender is still there or not.
    Held,
}

/// Dropping it ends all its connections.
#[derive(Debug)]
pub struct DatabaseProxy {
    port: u16,
    orders: Arc<Orders>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Orders {
    counts: Mutex<Counts>,
    is_released: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    /// What the next request has in it that something is done to, and what.
    next: Option<(Vec<u8>, Fate)>,
    met: usize,
    answered: usize,
}

impl DatabaseProxy {
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

    /// Does this to the next request that has `what` in it.
    pub fn next(&self, what: &[u8], fate: Fate) {
        self.orders.counts().next = Some((what.to_owned(), fate));
    }

    /// How many requests met their fate.
    pub fn met(&self) -> usize {
        self.orders.counts().met
    }

    /// Lets the database have what is held.
    pub fn release(&self) {
        self.orders.is_released.send_replace(true);
    }

    /// How many of those that were held the database has answered.
    pub fn answered(&self) -> usize {
        self.orders.counts().answered
    }
}

impl Drop for DatabaseProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Orders {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate_of(&self, said: &[u8]) -> Option<Fate> {
        let mut counts = self.counts();
        let is_meant =
            |(what, _): &mut (Vec<u8>, Fate)| said.windows(what.len()).any(|window| window == what);
        let (_, fate) = counts.next.take_if(is_meant)?;
        counts.met += 1;
        Some(fate)
    }
}

async fn accept(listener: TcpListener, postgres: u16, orders: Arc<Orders>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, postgres, orders.clone()));
    }
}

/// Forwards until either side ends or the connection is cut.
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
                let fate = orders.fate_of(said);
                match fate {
                    Some(Fate::CutBefore) => return Ok(()),
                    Some(Fate::Held) => {
                        orders.is_released.subscribe().wait_for(|is_released| *is_released).await.ok();
                    }
                    Some(Fate::CutAfter) | None => {}
                }
                server.write_all(said).await?;
                if fate.is_some() {
                    // It has happened when the database answers.
                    let length = server.read(&mut answered).await?;
                    if fate == Some(Fate::CutAfter) {
                        return Ok(());
                    }
                    orders.counts().answered += 1;
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
