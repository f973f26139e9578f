//! Operations on the database, traced: a span for each, below that of the turn that it is for, if that is answered here. And
//! the turns' own, which are over when the database says so.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use async_trait::async_trait;
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, Command, MessageId, Page, Snapshot, Turn, TurnStatus,
};
use mainstem_runtime::ports::{
    Fault, HeartbeatReport, Held, Listed, Listing, ReplicaRow, Request, Stale, Store, SyncReport,
    SyncRequest, Ticket,
};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::traces::{self, Over, Place, Traces};

pub(super) struct TracedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) traces: Arc<Traces>,
    /// As OpenTelemetry names it.
    pub(super) system: &'static str,
}

impl TracedStore {
    async fn traced<T>(
        &self,
        op: &'static str,
        chat: Option<ChatId>,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let since = SystemTime::now();
        let outcome = asked.await;
        let turn = chat.and_then(|chat| self.traces.turn(chat)).map(|turn| turn.id);
        self.tell(op, since, chat, turn, outcome.as_ref().err());
        outcome
    }

    fn tell(
        &self,
        op: &'static str,
        since: SystemTime,
        chat: Option<ChatId>,
        turn: Option<MessageId>,
        fault: Option<&Fault>,
    ) {
        let mut attributes =
            vec![KeyValue::new("db.system.name", self.system), KeyValue::new("db.operation.name", op)];
        attributes.extend(chat.map(|chat| KeyValue::new("mainstem.chat", chat.to_string())));
        let error = fault.map(|fault| match fault {
            Fault::Refused(_) => "refused",
            Fault::Full(_) => "full",
            Fault::Unknown(_) => "unknown",
        });
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        let of_turn = chat.zip(turn).map(|(chat, turn)| Place::of_turn(chat, turn));
        self.traces.over(Over {
            place: of_turn.map_or_else(Place::alone, Place::below),
            name: op.into(),
            kind: SpanKind::Client,
            since,
            attributes,
            error: error.map(Into::into),
        });
    }

    async fn applied(
        &self,
        request: &Request,
        asked: impl Future<Output = Result<Applied, Fault>>,
    ) -> Result<Applied, Fault> {
        let (since, chat) = (SystemTime::now(), request.chat);
        let outcome = asked.await;
        let change = outcome.as_ref().ok().and_then(Applied::change);
        // What users ask for is no part of the answer that runs meanwhile.
        let known = self.traces.turn(chat).map(|turn| turn.id).filter(|_| request.by.is_none());
        let worked_on = change.filter(|_| request.by.is_none()).and_then(|change| match &change.ended[..] {
            [ended, ..] => Some(ended.id),
            [] => change.state.turn_id(),
        });
        if let (None, Some(id)) = (known, worked_on) {
            self.traces.answers(chat, traces::Turn { id, since });
        }
        self.tell(request.command.name(), since, Some(chat), worked_on.or(known), outcome.as_ref().err());
        if let Some(change) = change
            && !matches!(request.command, Command::Create { .. })
        {
            change.ended.iter().for_each(|turn| self.ended(chat, turn));
        }
        outcome
    }

    fn ended(&self, chat: ChatId, turn: &Turn) {
        let known = self.traces.ended(chat).filter(|known| known.id == turn.id);
        let mut attributes = vec![
            KeyValue::new("mainstem.chat", chat.to_string()),
            KeyValue::new("mainstem.turn", i64::try_from(turn.id.0).unwrap_or(i64::MAX)),
            KeyValue::new("mainstem.turn.status", turn.status.as_str()),
            KeyValue::new("mainstem.turn.steps", i64::try_from(turn.steps).unwrap_or(i64::MAX)),
        ];
        let error = turn.error.as_ref().filter(|_| turn.status == TurnStatus::Failed);
        let error = error.map(|error| error.code.to_string());
        attributes.extend(error.clone().map(|error| KeyValue::new("error.type", error)));
        self.traces.over(Over {
            place: Place::of_turn(chat, turn.id),
            name: "turn".into(),
            kind: SpanKind::Internal,
            since: known.map_or_else(SystemTime::now, |known| known.since),
            attributes,
            error: error.map(Into::into),
        });
    }
}

#[async_trait]
impl Store for TracedStore {
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
        self.traced("snapshot", Some(chat), self.inner.snapshot(chat, cached)).await
    }

    async fn state(&self, chat: ChatId) -> Result<Option<Arc<ChatState>>, Fault> {
        self.traced("state", Some(chat), self.inner.state(chat)).await
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        self.traced("page", Some(chat), self.inner.page(chat, after, until, limit)).await
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        self.traced("turn", Some(chat), self.inner.turn(chat, turn)).await
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        self.traced("message_ids", Some(chat), self.inner.message_ids(chat, first, last)).await
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        self.traced("list", None, self.inner.list(user, listing, before, limit)).await
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        self.traced("stale", None, self.inner.stale(after, idle_for, limit)).await
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        self.traced("named_chat", None, self.inner.named_chat(owner, external_id)).await
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        self.traced("heartbeat", None, self.inner.heartbeat(replica, held)).await
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        self.traced("deregister", None, self.inner.deregister(replica)).await
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        self.traced("sync", None, self.inner.sync(request)).await
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        self.traced("secret", None, self.inner.secret(fresh)).await
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        self.traced("keep_ticket", None, self.inner.keep_ticket(ticket)).await
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        self.traced("take_ticket", None, self.inner.take_ticket(digest)).await
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.traced("ping", None, self.inner.ping()).await
    }
}
