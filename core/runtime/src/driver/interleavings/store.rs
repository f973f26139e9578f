//! Rows in memory. Each call lets others go on before it is answered, as a database does.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::{
    Applied, CachedVersions, ChatId, MessageId, Page, Snapshot, Time, Turn, Version, WallTime,
};
use mainstem_rows::Rows;
use tokio::sync::oneshot;

use super::env::StillEnv;
use crate::driver::yield_now;
use crate::ports::{
    Env, Fault, HeartbeatReport, Held, Listed, Listing, ReplicaRow, Request, Rival, Stale, Store, SyncReport,
    SyncRequest, Ticket,
};

/// No time passes here.
const NOW: Time = Time::START;

pub(super) struct MemoryStore {
    env: StillEnv,
    rows: Mutex<Rows>,
    /// Reads panic, as nothing in a store should.
    pub(super) is_broken: AtomicBool,
    /// Another process has the replica's name.
    pub(super) has_rival: AtomicBool,
    /// The names of what was called for the replica's own sake, in the order in which it took effect.
    pub(super) membership: Arc<Mutex<Vec<&'static str>>>,
}

/// Where it is reached.
pub(super) const RIVAL: &str = "there:1";

impl MemoryStore {
    pub(super) fn new(env: StillEnv) -> Self {
        Self {
            env,
            rows: Mutex::new(Rows::new(Duration::MAX)),
            is_broken: AtomicBool::default(),
            has_rival: AtomicBool::default(),
            membership: Arc::default(),
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().expect("no panic")
    }

    pub(super) fn version_of(&self, chat: ChatId) -> Version {
        self.rows().state(chat).expect("it is there").snapshot_version
    }

    /// Applies and commits at once, and tells nobody.
    pub(super) fn commit(&self, request: &Request) -> Applied {
        self.rows().apply(NOW, WallTime(0), request)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        yield_now().await;
        let applied = self.commit(request);
        yield_now().await;
        Ok(applied)
    }

    async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        yield_now().await;
        if self.is_broken.load(SeqCst) {
            resume_unwind(Box::new("the store is broken"));
        }
        let snapshot = self.rows().snapshot(chat, cached);
        yield_now().await;
        Ok(snapshot)
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        yield_now().await;
        Ok(self.rows().page(chat, after, until, limit))
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        yield_now().await;
        Ok(self.rows().turn(chat, turn))
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        yield_now().await;
        Ok(self.rows().message_ids(chat, first, last))
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        yield_now().await;
        Ok(self.rows().list(user, listing, before, limit))
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        Ok(self.rows().stale(WallTime(0), after, idle_for, limit))
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        yield_now().await;
        Ok(self.rows().named(owner, external_id))
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        // It is on its way, whoever waits for the answer.
        let (membership, (arrived, arrives)) = (self.membership.clone(), oneshot::channel());
        let sent = async move {
            yield_now().await;
            membership.lock().expect("no panic").push("heartbeat");
            let _ = arrived.send(());
        };
        self.env.spawn(sent).detach();
        arrives.await.expect("it arrives");
        yield_now().await;
        let rival = Rival { address: RIVAL.into(), silent_for: Duration::ZERO };
        let rival = self.has_rival.load(SeqCst).then_some(rival);
        let report = self.rows().heartbeat(NOW, replica, held.iter().copied());
        Ok(HeartbeatReport { rival, ..report })
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        yield_now().await;
        self.membership.lock().expect("no panic").push("deregister");
        self.rows().deregister(replica);
        Ok(())
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        yield_now().await;
        Ok(self.rows().sync(NOW, request.chats.iter().copied(), request.runnable_max))
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(self.rows().secret(fresh))
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        Ok(self.rows().keep_ticket(NOW, ticket))
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        Ok(self.rows().take_ticket(NOW, digest))
    }

    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }
}
