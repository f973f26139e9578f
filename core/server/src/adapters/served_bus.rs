//! The bus on a server beside the database. One connection carries all notices of the process, in both directions. When it
//! is lost, or anything may have been missed, all subscriptions end, and subscribing and publishing fail until it is
//! there again. A server that is not there costs speed and nothing else, so nobody is kept from starting by it.
//!
//! All notices of a cluster come on one channel, and [`Topics`] sorts them, as with PostgreSQL: they tell of commits, a few
//! to an answer, while a subscription at the server for each open chat would be a round trip for each viewer that comes, and
//! a storm of them whenever the connection is made anew.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mainstem_machine::backoff::Backoff;
use mainstem_runtime::ports::{Bus, BusError, BusSubscription, Notice, Topic};
use rand::rngs::OsRng;
use rand::{RngCore, TryRngCore};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::notices::{Inbox, encode};
use super::supervised::supervised;
use super::topics::Topics;
use crate::limits::adapters::{
    BUS_CONNECT_TIMEOUT, BUS_START_TIMEOUT, CALL_TIMEOUT, LISTEN_CHECK_INTERVAL, LISTEN_CHECK_TIMEOUT,
    LISTEN_RETRY_DELAY_MAX, LISTEN_RETRY_DELAY_MIN, PUBLISH_BATCH_MAX, PUBLISH_WAITING_MAX,
};

/// A kind of server.
#[async_trait]
pub(super) trait Server: Send + Sync + 'static {
    /// What it is and where, without a password.
    fn place(&self) -> String;

    /// Connects. When it returns, the server has confirmed that all that is published from now on comes to `inbox`.
    async fn connect(&self, inbox: Arc<Inbox>) -> Result<Arc<dyn Line>, String>;
}

/// A connection. Dropping it closes it.
#[async_trait]
pub(super) trait Line: Send + Sync {
    /// Publishes. When it returns, the server has them all.
    async fn publish(&self, notices: Vec<String>) -> Result<(), String>;

    /// Asks the server whether it is there, and whether it is still one to be connected with.
    async fn check(&self) -> Result<(), String>;

    /// Completes when the connection is lost, or when something may have been missed: why.
    async fn lost(&self) -> String;
}

#[derive(Clone)]
enum Connection {
    NotTried,
    Up(Arc<dyn Line>),
    Down(String),
}

impl Connection {
    fn line(&self) -> Result<&Arc<dyn Line>, BusError> {
        match self {
            Self::Up(line) => Ok(line),
            Self::NotTried => Err(BusError("it was not connected yet".to_owned())),
            Self::Down(why) => Err(BusError(why.clone())),
        }
    }
}

/// A notice as it is sent, and whom to tell that it was.
type Publication = (String, oneshot::Sender<Result<(), BusError>>);

pub(super) struct ServedBus {
    topics: Topics,
    connection: watch::Receiver<Connection>,
    waiting: mpsc::Sender<Publication>,
    tasks: [JoinHandle<()>; 2],
}

impl fmt::Debug for ServedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBus").finish_non_exhaustive()
    }
}

impl ServedBus {
    /// Waits a moment for the first connection, and returns without it if need be.
    pub(super) async fn open(server: impl Server) -> Self {
        let server = Arc::new(server);
        let topics = Topics::default();
        let (connections, mut connection) = watch::channel(Connection::NotTried);
        let connections = Arc::new(connections);
        let (waiting, publications) = mpsc::channel(PUBLISH_WAITING_MAX);
        let publications = Arc::new(Mutex::new(publications));
        let lost = {
            let (topics, connections) = (topics.clone(), connections.clone());
            move || {
                connections.send_replace(Connection::Down("it panicked".to_owned()));
                topics.end_all();
            }
        };
        let keeping = {
            let (topics, server) = (topics.clone(), server.clone());
            move || keep(server.clone(), topics.clone(), connections.clone())
        };
        let publishing = {
            let connection = connection.clone();
            move || publish(connection.clone(), publications.clone())
        };
        let tasks = [
            tokio::spawn(supervised("bus", LISTEN_RETRY_DELAY_MAX, keeping, lost)),
            tokio::spawn(supervised("publish", LISTEN_RETRY_DELAY_MAX, publishing, || {})),
        ];
        let tried = connection.wait_for(|connection| !matches!(connection, Connection::NotTried));
        if timeout(BUS_START_TIMEOUT, tried).await.is_err() {
            tracing::warn!(
                bus = server.place(),
                "no answer within {BUS_START_TIMEOUT:?}: polling until the bus is there"
            );
        }
        Self { topics, connection, waiting, tasks }
    }
}

impl Drop for ServedBus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Bus for ServedBus {
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError> {
        // Hold the state, so that a loss that is reported later ends this subscription too.
        let connection = self.connection.borrow();
        connection.line()?;
        Ok(self.topics.subscribe(topic))
    }

    async fn publish(&self, notice: Notice) -> Result<(), BusError> {
        let (done, outcome) = oneshot::channel();
        self.waiting
            .try_send((encode(&notice), done))
            .map_err(|_| BusError("too many notices wait to be published".to_owned()))?;
        match timeout(CALL_TIMEOUT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Err(BusError(format!("a notice was not published within {CALL_TIMEOUT:?}"))),
        }
    }
}

/// Sends what waits to whatever connection there is. Nothing is kept for a later one: it would be stale.
async fn publish(
    connection: watch::Receiver<Connection>,
    publications: Arc<Mutex<mpsc::Receiver<Publication>>>,
) {
    let mut publications = publications.lock().await;
    let mut batch = Vec::new();
    while publications.recv_many(&mut batch, PUBLISH_BATCH_MAX).await > 0 {
        // Skip notices whose publisher has stopped waiting.
        batch.retain(|(_, done)| !done.is_closed());
        let (notices, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let outcome = send(&connection, notices).await;
        for done in waiting {
            // The publisher may have stopped waiting.
            done.send(outcome.clone()).ok();
        }
    }
}

async fn send(connection: &watch::Receiver<Connection>, notices: Vec<String>) -> Result<(), BusError> {
    let line = connection.borrow().line()?.clone();
    let sent = async {
        tokio::select! {
            sent = line.publish(notices) => sent,
            why = line.lost() => Err(why),
        }
    };
    match timeout(CALL_TIMEOUT, sent).await {
        Ok(sent) => sent.map_err(BusError),
        Err(_) => Err(BusError(format!("no answer within {CALL_TIMEOUT:?}"))),
    }
}

/// Keeps connected, and tells when it is.
async fn keep(server: Arc<impl Server>, topics: Topics, connections: Arc<watch::Sender<Connection>>) {
    let bus = server.place();
    let inbox = Arc::new(Inbox::new(topics.clone()));
    let mut backoff = Backoff::between(LISTEN_RETRY_DELAY_MIN, LISTEN_RETRY_DELAY_MAX);
    // What the log was told last. A connection counts once it has been checked, so that one that fails again and again is
    // told of once.
    let mut told_up = None;
    loop {
        let connecting = timeout(BUS_CONNECT_TIMEOUT, server.connect(inbox.clone()));
        let connected = connecting
            .await
            .unwrap_or_else(|_| Err(format!("it did not answer within {BUS_CONNECT_TIMEOUT:?}")));
        let why = match connected {
            Ok(line) => {
                connections.send_replace(Connection::Up(line.clone()));
                if told_up.is_none() {
                    tracing::info!(bus, "connected to the bus");
                    told_up = Some(true);
                }
                loop {
                    if let Err(why) = checked(&*line).await {
                        break why;
                    }
                    backoff.reset();
                    if told_up.replace(true) == Some(false) {
                        tracing::info!(bus, "connected to the bus again");
                    }
                }
            }
            Err(why) => why,
        };
        connections.send_replace(Connection::Down(why.clone()));
        topics.end_all();
        if told_up.replace(false) == Some(false) {
            tracing::debug!(bus, error = why, "the bus cannot be reached");
        } else {
            tracing::warn!(bus, error = why, "the bus cannot be reached: polling until it is there");
        }
        // All replicas lose their connections at once when the server goes away.
        sleep(backoff.next_delay_spread(OsRng.unwrap_err().next_u64())).await;
    }
}

/// Whether the connection is there an interval from now, or why not, as soon as that is known.
async fn checked(line: &dyn Line) -> Result<(), String> {
    if let Ok(why) = timeout(LISTEN_CHECK_INTERVAL, line.lost()).await {
        return Err(why);
    }
    // No notice may mean a dead link.
    tokio::select! {
        why = line.lost() => Err(why),
        answer = timeout(LISTEN_CHECK_TIMEOUT, line.check()) => {
            answer.unwrap_or_else(|_| Err(format!("it was silent for {LISTEN_CHECK_TIMEOUT:?}")))
        }
    }
}
