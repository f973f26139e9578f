//! A proxy between a replica and PostgreSQL that can cut a connection at its COMMIT.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A simple query of PostgreSQL's protocol (its documentation, "Message Formats").
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// Where the next COMMIT's connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the database gets it: the commit does not happen.
    Before,
    /// After the database has answered: the commit happened, but its answer is lost.
    After,
}

/// Dropping it ends all its connections.
#[derive(Debug)]
pub struct CommitProxy {
    port: u16,
    orders: Arc<Mutex<Orders>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Orders {
    cut: Option<Cut>,
    cuts: usize,
}

impl CommitProxy {
    /// A proxy to the PostgreSQL on `port` of the loopback.
    pub async fn start(postgres: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let orders = Arc::<Mutex<Orders>>::default();
        let accepting = tokio::spawn(accept(listener, postgres, orders.clone()));
        Ok(Self { port, orders, accepting })
    }

    /// The URL of a database through the proxy.
    pub fn url(&self, url: &str, postgres: u16) -> String {
        let (direct, through) = (format!(":{postgres}/"), format!(":{}/", self.port));
        assert!(url.contains(&direct), "{url} is of that PostgreSQL");
        url.replacen(&direct, &through, 1)
    }

    /// Cuts the connection that commits next.
    pub fn cut_next(&self, cut: Cut) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).cut = Some(cut);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).cuts
    }
}

impl Drop for CommitProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, postgres: u16, orders: Arc<Mutex<Orders>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, postgres, orders.clone()));
    }
}

/// Forwards until either side ends or the connection is cut.
async fn carry(mut client: TcpStream, postgres: u16, orders: Arc<Mutex<Orders>>) -> io::Result<()> {
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
                let commits = said.windows(COMMIT.len()).any(|window| window == COMMIT);
                let cut = if commits { cut(&orders) } else { None };
                if cut == Some(Cut::Before) {
                    return Ok(());
                }
                server.write_all(said).await?;
                if cut == Some(Cut::After) {
                    // The database commits before it answers.
                    let _ = server.read(&mut answered).await?;
                    return Ok(());
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

fn cut(orders: &Mutex<Orders>) -> Option<Cut> {
    let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    let cut = orders.cut.take();
    orders.cuts += usize::from(cut.is_some());
    cut
}
