//! The way from a replica to its database and its notices: it lets them through, slowly, late, twice or not at all, as a
//! story says. It knows as much of PostgreSQL's protocol as that takes: where a call begins, where it ends, which
//! connection listens, and what the database wants done to its answer (see [`super::calls`]).

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstem_oracles::FaultKind;
use mainstem_story::{BusFate, BusFaults, DatabaseFate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::calls::{CONFLICT, LOST, REFUSED};
use crate::court::Ledger;

/// A client that asks whether the server has TLS (PostgreSQL's documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// What the statement of a snapshot begins with.
const SNAPSHOT: &[u8] = b"WITH head AS (SELECT 1 AS first";

#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    slow: Duration,
    cut_off: bool,
    bus: BusFaults,
    /// So many snapshots are refused.
    snapshots_refused: u32,
}

#[derive(Debug)]
struct Shared {
    replica: String,
    database: u16,
    rules: Mutex<Rules>,
    /// Connections made before are cut when it changes: all, or those that listen.
    cut_all: watch::Sender<u64>,
    cut_listening: watch::Sender<u64>,
    ledger: Ledger,
}

/// Dropping it ends all its connections.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Way {
    /// The way of this replica to the PostgreSQL on this port.
    pub(super) async fn to(database: u16, replica: &str, ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (cut_all, cut_listening) = (watch::Sender::new(0), watch::Sender::new(0));
        let (replica, rules) = (replica.to_owned(), Mutex::default());
        let shared = Arc::new(Shared { replica, database, rules, cut_all, cut_listening, ledger });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { port, shared, accepting }
    }

    pub(super) fn befall(&self, fate: DatabaseFate) {
        let mut rules = self.shared.rules();
        match fate {
            DatabaseFate::Slow(by) => rules.slow = by,
            DatabaseFate::CutOff => {
                rules.cut_off = true;
                self.shared.felt(FaultKind::DatabaseCutOff);
                self.shared.cut_all.send_modify(|times| *times += 1);
            }
            DatabaseFate::Recovers => (rules.slow, rules.cut_off) = (Duration::ZERO, false),
            fate => panic!("{fate:?} is not told here"),
        }
    }

    pub(super) fn set_notices(&self, faults: BusFaults) {
        self.shared.rules().bus = faults;
    }

    pub(super) fn befall_bus(&self, fate: BusFate) {
        let (shared, mut rules) = (&self.shared, self.shared.rules());
        match fate {
            BusFate::Breaks => shared.felt(FaultKind::BusLost),
            // Who listens already is not refused.
            BusFate::Refuses => (rules.bus.refuses, _) = (true, shared.felt(FaultKind::BusRefused)),
            BusFate::Recovers => return rules.bus = BusFaults::default(),
            fate => panic!("{fate:?} is not told here"),
        }
        shared.cut_listening.send_modify(|times| *times += 1);
    }

    /// Refuses so many snapshots.
    pub(super) fn refuse_snapshots(&self, times: u32) {
        self.shared.rules().snapshots_refused += times;
    }

    /// All faults are over.
    pub(super) fn recover(&self) {
        *self.shared.rules() = Rules::default();
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fault takes effect.
    fn felt(&self, kind: FaultKind) {
        self.ledger.fault(kind, &self.replica, None);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if shared.rules().cut_off {
            shared.felt(FaultKind::DatabaseCutOff);
            continue;
        }
        let shared = shared.clone();
        connections.spawn(async move {
            let mut cut = shared.cut_all.subscribe();
            tokio::select! {
                _ = cut.changed() => {}
                _ = pass(client, &shared) => {}
            }
        });
    }
}

/// What the two directions of a connection know of each other.
#[derive(Debug, Default)]
struct Connection {
    /// The database has answered all that was asked.
    is_idle: Mutex<bool>,
    listens: watch::Sender<bool>,
}

async fn pass(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first).await?;
    if first == SSL_REQUEST {
        client.write_all(b"N").await?;
        client.read_exact(&mut first).await?;
    }
    let mut server = TcpStream::connect(("127.0.0.1", shared.database)).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    // The first message has no type.
    let length = u32::from_be_bytes(first[..4].try_into().expect("four of eight")) as usize;
    let mut startup = vec![0; length.saturating_sub(first.len())];
    client.read_exact(&mut startup).await?;
    server.write_all(&[&first[..], &startup].concat()).await?;
    let connection = Connection::default();
    let ((said, answers), (asked, asks)) = (client.into_split(), server.into_split());
    tokio::select! {
        over = carry_calls(said, asks, &connection, shared) => over,
        over = carry_answers(asked, answers, &connection, shared) => over,
        () = is_cut(&connection, shared) => Ok(()),
    }
}

/// Until the connection listens, and those that listen are cut.
async fn is_cut(connection: &Connection, shared: &Shared) {
    connection.listens.subscribe().wait_for(|listens| *listens).await.ok();
    shared.cut_listening.subscribe().changed().await.ok();
}

/// A message of the protocol, its type first.
async fn message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes(head[1..].try_into().expect("four of five")) as usize;
    let mut whole = head.to_vec();
    whole.resize(1 + length, 0);
    from.read_exact(&mut whole[5..]).await?;
    Ok(whole)
}

/// A server is ready for the next query, and in no transaction.
const READY_AND_IDLE: [u8; 6] = *b"Z\0\0\0\x05I";

/// The message that asks to parse this statement.
fn parse(statement: &str) -> Vec<u8> {
    let body = [b"\0", statement.as_bytes(), b"\0\0\0"].concat();
    let length = u32::try_from(4 + body.len()).expect("it is short");
    [&b"P"[..], &length.to_be_bytes(), &body].concat()
}

fn has(message: &[u8], what: &[u8]) -> bool {
    message.windows(what.len()).any(|window| window == what)
}

async fn carry_calls(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connection: &Connection,
    shared: &Shared,
) -> io::Result<()> {
    let mut snapshots = BTreeSet::new();
    loop {
        let mut asked = message(&mut from).await?;
        if has(&asked, b"LISTEN ") {
            connection.listens.send_replace(true);
            if shared.rules().bus.refuses {
                shared.felt(FaultKind::BusRefused);
                return Ok(());
            }
        }
        // The name of a statement is the first text of a Parse, and the second of a Bind.
        let mut texts = asked[5..].split(|byte| *byte == 0).map(<[u8]>::to_vec);
        match asked[0] {
            b'P' if has(&asked, SNAPSHOT) => drop(snapshots.insert(texts.next())),
            b'B' if snapshots.contains(&texts.nth(1)) => {
                let mut rules = shared.rules();
                if rules.snapshots_refused > 0 {
                    rules.snapshots_refused -= 1;
                    shared.felt(FaultKind::DatabaseRefused);
                    // The database refuses what it cannot read.
                    asked = parse(REFUSED);
                }
            }
            _ => {}
        }
        let slow = shared.rules().slow;
        let begins = std::mem::take(&mut *connection.is_idle.lock().unwrap_or_else(PoisonError::into_inner));
        if begins && !slow.is_zero() && !*connection.listens.borrow() {
            shared.felt(FaultKind::DatabaseSlow);
            tokio::time::sleep(slow).await;
            shared.felt(FaultKind::DatabaseSlow);
        }
        to.write_all(&asked).await?;
    }
}

async fn carry_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connection: &Connection,
    shared: &Shared,
) -> io::Result<()> {
    let mut is_lost = false;
    loop {
        let said = message(&mut from).await?;
        // It has happened: by a COMMIT, or by a statement that is a transaction of its own.
        let has_happened = (said[0] == b'C' && has(&said, b"COMMIT")) || said == READY_AND_IDLE;
        if is_lost && has_happened {
            shared.felt(FaultKind::AnswerLost);
            return Ok(());
        }
        match said[0] {
            b'Z' => *connection.is_idle.lock().unwrap_or_else(PoisonError::into_inner) = said[5] == b'I',
            b'N' if has(&said, LOST.as_bytes()) => {
                is_lost = true;
                continue;
            }
            b'E' if has(&said, REFUSED.as_bytes()) => shared.felt(FaultKind::DatabaseRefused),
            b'E' if has(&said, CONFLICT.as_bytes()) => shared.felt(FaultKind::DatabaseConflict),
            b'A' if !notify(&said, &mut to, shared).await? => continue,
            _ => {}
        }
        to.write_all(&said).await?;
    }
}

/// What befalls a notice. False if it is not to be told.
async fn notify(notice: &[u8], to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<bool> {
    let BusFaults { lost, doubled, late, .. } = shared.rules().bus;
    if lost {
        shared.felt(FaultKind::NoticeLost);
        return Ok(false);
    }
    if !late.is_zero() {
        shared.felt(FaultKind::NoticeLate);
        tokio::time::sleep(late).await;
    }
    if doubled {
        shared.felt(FaultKind::NoticeDoubled);
        to.write_all(notice).await?;
    }
    Ok(true)
}
