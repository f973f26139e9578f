//! The database, seen: how long each operation takes, how it fails, and what the changes say of how the cluster is.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, Command, MessageId, Page, Rejection, Snapshot, Turn,
    TurnStatus,
};
use mainstem_runtime::ports::{
    Effect, Fault, HeartbeatReport, Held, Listed, Listing, ReplicaRow, Request, Stale, Store, SyncReport,
    SyncRequest, Ticket,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Label = [(&'static str, &'static str); 1];

#[derive(Debug)]
pub(super) struct Database {
    seconds: Family<Label, Histogram, fn() -> Histogram>,
    failures: Family<Label, Counter>,
    turns: Family<Label, Counter>,
    takeovers: Counter,
    retries: Counter,
    lease_lost: Counter,
}

impl Default for Database {
    fn default() -> Self {
        let database = Self {
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 2.0, 16))),
            failures: Family::default(),
            turns: Family::default(),
            takeovers: Counter::default(),
            retries: Counter::default(),
            lease_lost: Counter::default(),
        };
        for outcome in ["refused", "full", "unknown", "given_up"] {
            drop(database.failures.get_or_create(&[("outcome", outcome)]));
        }
        for status in [TurnStatus::Completed, TurnStatus::Interrupted, TurnStatus::Failed] {
            drop(database.turns.get_or_create(&[("status", status.as_str())]));
        }
        database
    }
}

impl Database {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "database_operation_seconds",
            "Operations on the database that were answered",
            self.seconds.clone(),
        );
        registry.register(
            "database_failures",
            "Operations on the database that were not, by what is known of them",
            self.failures.clone(),
        );
        registry.register("turns", "Turns that ended here, by how", self.turns.clone());
        registry.register(
            "takeovers",
            "Answers that another worker had begun, or this one before, and that this one makes anew",
            self.takeovers.clone(),
        );
        registry.register("retries", "Generations that failed and are tried again", self.retries.clone());
        registry.register(
            "lease_lost",
            "Writes of this worker that were refused: another one has its chat",
            self.lease_lost.clone(),
        );
    }

    /// What a command says of the cluster.
    fn applied(&self, command: &Command, applied: &Applied) {
        if applied.answer == Err(Rejection::Fenced) {
            self.lease_lost.inc();
        }
        let Effect::Changed(change) = &applied.effect else { return };
        match command {
            Command::Acquire { .. } if change.takes_over => _ = self.takeovers.inc(),
            Command::RecordRetry { .. } => _ = self.retries.inc(),
            // What it is created with is nobody's work.
            Command::Create { .. } => return,
            _ => {}
        }
        for turn in &change.ended {
            self.turns.get_or_create(&[("status", turn.status.as_str())]).inc();
        }
    }
}

/// An operation that was begun. One that is dropped before its answer was given up.
struct Begun<'a> {
    database: &'a Database,
    op: &'static str,
    at: Instant,
    is_over: bool,
}

impl Begun<'_> {
    fn over<T>(mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        self.is_over = true;
        let failure = match &outcome {
            Ok(_) => {
                let seconds = self.at.elapsed().as_secs_f64();
                self.database.seconds.get_or_create(&[("op", self.op)]).observe(seconds);
                return outcome;
            }
            Err(Fault::Refused(_)) => "refused",
            Err(Fault::Full(_)) => "full",
            Err(Fault::Unknown(_)) => "unknown",
        };
        self.database.failures.get_or_create(&[("outcome", failure)]).inc();
        outcome
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.database.failures.get_or_create(&[("outcome", "given_up")]).inc();
        }
    }
}

pub(super) struct Seen {
    inner: Arc<dyn Store>,
    database: Arc<Database>,
}

impl Seen {
    pub(super) fn new(inner: Arc<dyn Store>, database: Arc<Database>) -> Self {
        Self { inner, database }
    }

    async fn seen<T>(
        &self,
        op: &'static str,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let begun = Begun { database: &self.database, op, at: Instant::now(), is_over: false };
        begun.over(asked.await)
    }

    async fn applied(
        &self,
        request: &Request,
        asked: impl Future<Output = Result<Applied, Fault>>,
    ) -> Result<Applied, Fault> {
        let applied = self.seen(request.command.name(), asked).await?;
        self.database.applied(&request.command, &applied);
        Ok(applied)
    }
}

#[async_trait]
impl Store for Seen {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        self.applied(request, self.inner.apply(request)).await
    }

    async fn apply_knowing(&self, request: &Request, known: Arc<ChatState>) -> Result<Applied, Fault> {
        self.applied(request, self.inner.apply_knowing(request, known)).await
    }

    async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        self.seen("snapshot", self.inner.snapshot(chat, cached)).await
    }

    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        self.seen("state", self.inner.state(chat)).await
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        self.seen("page", self.inner.page(chat, after, until, limit)).await
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        self.seen("turn", self.inner.turn(chat, turn)).await
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        self.seen("message_ids", self.inner.message_ids(chat, first, last)).await
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        self.seen("list", self.inner.list(user, listing, before, limit)).await
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        self.seen("stale", self.inner.stale(after, idle_for, limit)).await
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        self.seen("named_chat", self.inner.named_chat(owner, external_id)).await
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        self.seen("heartbeat", self.inner.heartbeat(replica, held)).await
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        self.seen("deregister", self.inner.deregister(replica)).await
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        self.seen("sync", self.inner.sync(request)).await
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        self.seen("secret", self.inner.secret(fresh)).await
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        self.seen("keep_ticket", self.inner.keep_ticket(ticket)).await
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        self.seen("take_ticket", self.inner.take_ticket(digest)).await
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.seen("ping", self.inner.ping()).await
    }
}
