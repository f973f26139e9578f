//! The way to a replica's relay port: it lets dials through, refuses them, or lets them hang, as a story says.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstem_oracles::FaultKind;
use mainstem_story::DialRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::court::Ledger;

#[derive(Debug)]
struct State {
    rule: DialRule,
    next: VecDeque<DialRule>,
    dialed: u64,
    dialing: u64,
    open: u64,
}

#[derive(Debug)]
struct Shared {
    /// Whose relay port it is.
    of: String,
    ledger: Ledger,
    target: SocketAddr,
    state: Mutex<State>,
    /// Dials that hang go through.
    released: Notify,
    broken: Notify,
}

/// Dropping it ends all its connections.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Gate {
    /// The way to this address.
    pub(super) async fn to(target: SocketAddr, of: &str, ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (rule, next) = (DialRule::Through, VecDeque::new());
        let state = Mutex::new(State { rule, next, dialed: 0, dialing: 0, open: 0 });
        let of = of.to_owned();
        let shared =
            Arc::new(Shared { of, ledger, target, state, released: Notify::new(), broken: Notify::new() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { port, shared, accepting }
    }

    pub(super) fn set(&self, rule: DialRule, next_only: bool) {
        let mut state = self.shared.state();
        if next_only {
            return state.next.push_back(rule);
        }
        state.rule = rule;
        if rule == DialRule::Through {
            state.next.clear();
            self.shared.released.notify_waiters();
        }
    }

    /// Breaks the connections that are open.
    pub(super) fn break_all(&self) {
        self.shared.broken.notify_waiters();
    }

    pub(super) fn dialed(&self) -> u64 {
        self.shared.state().dialed
    }

    pub(super) fn dialing(&self) -> u64 {
        self.shared.state().dialing
    }

    pub(super) fn open(&self) -> u64 {
        self.shared.state().open
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let rule = {
            let mut state = shared.state();
            state.dialed += 1;
            state.next.pop_front().unwrap_or(state.rule)
        };
        let befell = match rule {
            DialRule::Through => None,
            DialRule::Refused => Some(FaultKind::DialRefused),
            DialRule::Hangs => Some(FaultKind::DialHanging),
            DialRule::Takes(_) => Some(FaultKind::DialLate),
        };
        // Who dialed is not seen here.
        befell.into_iter().for_each(|kind| shared.ledger.fault(kind, &shared.of, None));
        let shared = shared.clone();
        connections.spawn(async move { pass(client, rule, &shared).await.ok() });
    }
}

async fn pass(mut client: TcpStream, rule: DialRule, shared: &Shared) -> io::Result<()> {
    let mut said = vec![];
    match rule {
        DialRule::Refused => return Ok(()),
        DialRule::Through => {}
        DialRule::Hangs | DialRule::Takes(_) => {
            let released = shared.released.notified();
            shared.state().dialing += 1;
            let waited = wait(&mut client, &mut said, rule, released).await;
            shared.state().dialing -= 1;
            waited?;
        }
    }
    let mut server = TcpStream::connect(shared.target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    server.write_all(&said).await?;
    let broken = shared.broken.notified();
    shared.state().open += 1;
    tokio::select! {
        () = broken => {}
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
    }
    shared.state().open -= 1;
    Ok(())
}

/// Until the dial goes through. `Err`: whoever dialed has given up.
async fn wait(
    client: &mut TcpStream,
    said: &mut Vec<u8>,
    rule: DialRule,
    released: impl Future<Output = ()>,
) -> io::Result<()> {
    let over = async move {
        match rule {
            DialRule::Takes(span) => tokio::time::sleep(span).await,
            _ => released.await,
        }
    };
    tokio::pin!(over);
    let mut bytes = [0; 4096];
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            read = client.read(&mut bytes) => match read? {
                0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                length => said.extend_from_slice(&bytes[..length]),
            },
        }
    }
}
