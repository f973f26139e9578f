//! The bus on PostgreSQL's LISTEN and NOTIFY. One connection listens for the whole process. When it is lost,
//! all subscriptions end, and subscribing fails until it listens again. Notices are published in batches. Both are
//! tasks that are begun again should they panic.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use mainstem_machine::backoff::Backoff;
use mainstem_runtime::ports::{Bus, BusError, BusSubscription, Notice, Topic};
use rand::rngs::OsRng;
use rand::{RngCore, TryRngCore};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{Executor, query};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::PostgresStore;
use super::notices::{Inbox, encode};
use super::supervised::supervised;
use super::topics::Topics;
use crate::limits::adapters::{
    CALL_TIMEOUT, LISTEN_CHECK_INTERVAL, LISTEN_CHECK_TIMEOUT, LISTEN_RETRY_DELAY_MAX,
    LISTEN_RETRY_DELAY_MIN, OPEN_TIMEOUT, PUBLISH_BATCH_MAX, PUBLISH_WAITING_MAX,
};

/// The channel, within one database.
const CHANNEL: &str = "mainstem";

#[derive(Debug)]
pub struct PostgresBus {
    topics: Topics,
    listening: watch::Receiver<Listening>,
    waiting: mpsc::Sender<Publication>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
enum Listening {
    Yes,
    /// And why, once it was tried.
    No(Option<String>),
}

impl Listening {
    fn is_on(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// A notice as it is sent, and whom to tell that it was.
type Publication = (String, oneshot::Sender<Result<(), BusError>>);

impl PostgresBus {
    /// Listens and publishes on the store's database.
    pub async fn open(store: &PostgresStore) -> anyhow::Result<Self> {
        let topics = Topics::default();
        let (listens, mut listening) = watch::channel(Listening::No(None));
        let (waiting, publications) = mpsc::channel(PUBLISH_WAITING_MAX);
        let pool = store.connections().requests().clone();
        let options = pool.connect_options().as_ref().clone();
        let outdated = store.connections().outdated();
        let listens = Arc::new(listens);
        let lost = {
            let (topics, listens) = (topics.clone(), listens.clone());
            move || {
                listens.send_replace(Listening::No(Some("it panicked".to_owned())));
                topics.end_all();
            }
        };
        let listening_begins = {
            let topics = topics.clone();
            move || listen(options.clone(), topics.clone(), listens.clone(), outdated.clone())
        };
        let publications = Arc::new(Mutex::new(publications));
        let publishing_begins = move || publish(pool.clone(), publications.clone());
        let tasks = [
            tokio::spawn(supervised("listen", LISTEN_RETRY_DELAY_MAX, listening_begins, lost)),
            tokio::spawn(supervised("publish", LISTEN_RETRY_DELAY_MAX, publishing_begins, || {})),
        ];
        let bus = Self { topics, listening: listening.clone(), waiting, tasks };
        let waited = timeout(OPEN_TIMEOUT, listening.wait_for(Listening::is_on)).await;
        let listens = matches!(waited, Ok(Ok(_)));
        drop(waited);
        if !listens {
            match &*listening.borrow() {
                Listening::No(Some(error)) => anyhow::bail!("LISTEN is not available at PostgreSQL: {error}"),
                _ => anyhow::bail!("LISTEN was not answered by PostgreSQL within {OPEN_TIMEOUT:?}"),
            }
        }
        Ok(bus)
    }
}

impl Drop for PostgresBus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Bus for PostgresBus {
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError> {
        // Hold the state, so that a loss that is reported later ends this subscription too.
        let listening = self.listening.borrow();
        if listening.is_on() {
            Ok(self.topics.subscribe(topic))
        } else {
            Err(BusError("the connection that listens is lost and not back yet".to_owned()))
        }
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

/// Sends all waiting notices in one transaction, because PostgreSQL commits transactions with NOTIFY one at a
/// time.
async fn publish(pool: PgPool, publications: Arc<Mutex<mpsc::Receiver<Publication>>>) {
    let mut publications = publications.lock().await;
    let mut batch = Vec::new();
    while publications.recv_many(&mut batch, PUBLISH_BATCH_MAX).await > 0 {
        // Skip notices whose publisher has stopped waiting.
        batch.retain(|(_, done)| !done.is_closed());
        let (payloads, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let send = query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
            .bind(CHANNEL)
            .bind(payloads)
            .execute(&pool);
        let outcome = match timeout(CALL_TIMEOUT, send).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(BusError(error.to_string())),
            Err(_) => Err(BusError(format!("no answer within {CALL_TIMEOUT:?}"))),
        };
        for done in waiting {
            // The publisher may have stopped waiting.
            done.send(outcome.clone()).ok();
        }
    }
}

/// Keeps listening, and tells when it does. What leads to a server that turned out to be read-only is given up:
/// nobody notifies there.
async fn listen(
    options: PgConnectOptions,
    topics: Topics,
    listens: Arc<watch::Sender<Listening>>,
    mut outdated: watch::Receiver<Option<Instant>>,
) {
    let inbox = Inbox::new(topics.clone());
    let mut backoff = Backoff::between(LISTEN_RETRY_DELAY_MIN, LISTEN_RETRY_DELAY_MAX);
    loop {
        outdated.mark_unchanged();
        match timeout(OPEN_TIMEOUT, connect(&options)).await {
            Ok(Ok(mut listener)) => {
                backoff.reset();
                listens.send_replace(Listening::Yes);
                let lost = tokio::select! {
                    biased;
                    () = changed(&mut outdated) => "the server is read-only".to_owned(),
                    lost = forward(&mut listener, &inbox) => lost,
                };
                listens.send_replace(Listening::No(Some(lost.clone())));
                topics.end_all();
                tracing::warn!(
                    error = lost,
                    "lost the connection for notifications: polling until it is back"
                );
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "listening failed");
                listens.send_replace(Listening::No(Some(error.to_string())));
            }
            Err(_) => tracing::debug!("listening was not answered"),
        }
        // All replicas lose their connections at once when the server goes away.
        sleep(backoff.next_delay_spread(OsRng.unwrap_err().next_u64())).await;
    }
}

/// Waits for ever if there is nobody to tell.
async fn changed(outdated: &mut watch::Receiver<Option<Instant>>) {
    if outdated.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Delivers notifications until the connection is lost. Returns the reason.
async fn forward(listener: &mut PgListener, inbox: &Inbox) -> String {
    loop {
        match timeout(LISTEN_CHECK_INTERVAL, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                inbox.take(notification.payload().as_bytes());
            }
            Ok(Ok(None)) => return "it was closed".to_owned(),
            Ok(Err(error)) => return error.to_string(),
            // No notification may mean a dead link.
            Err(_) => match timeout(LISTEN_CHECK_TIMEOUT, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("it was silent for {LISTEN_CHECK_TIMEOUT:?}"),
            },
        }
    }
}
