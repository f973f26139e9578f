//! Rows in memory. Each call lets others go on before it is answered, as a database does.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, LeaseTerm, Message, MessageId, Page, ReplicaId, Snapshot,
    StoreFacts, Tail, Version, WallTime,
};
use tokio::sync::oneshot;

use super::env::StillEnv;
use crate::driver::yield_now;
use crate::ports::{
    Env, Fault, HeartbeatReport, Held, Listed, Peer, ReplicaRow, Request, Rival, Store, SyncReport,
    SyncRequest,
};

#[derive(Default)]
pub(super) struct MemoryStore {
    env: StillEnv,
    rows: Mutex<BTreeMap<ChatId, Row>>,
    /// Reads panic, as nothing in a store should.
    pub(super) is_broken: AtomicBool,
    /// Another process has the replica's name.
    pub(super) has_rival: AtomicBool,
    /// The names of what was called for the replica's own sake, in the order in which it took effect.
    pub(super) membership: Arc<Mutex<Vec<&'static str>>>,
}

/// Where it is reached.
pub(super) const RIVAL: &str = "there:1";
/// The only other replica.
pub(super) const PEER: &str = "peer";
pub(super) const PEER_ADDRESS: &str = "peer:1";

struct Row {
    state: Arc<ChatState>,
    messages: Vec<Arc<Message>>,
    leased: bool,
}

impl MemoryStore {
    pub(super) fn new(env: StillEnv) -> Self {
        Self { env, ..Self::default() }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<ChatId, Row>> {
        self.rows.lock().expect("no panic")
    }

    pub(super) fn version_of(&self, chat: ChatId) -> Version {
        self.rows()[&chat].state.snapshot_version
    }

    /// Applies and commits at once, and tells nobody.
    pub(super) fn commit(&self, request: &Request) -> Applied {
        let mut rows = self.rows();
        let row = rows.get(&request.chat);
        let role = |id| row.and_then(|row| row.messages.iter().find(|message| message.id == id));
        let facts = StoreFacts {
            now: WallTime(0),
            lease_expired: row.is_none_or(|row| !row.leased),
            message_role: request.command.message().and_then(role).map(|message| message.role),
        };
        let state = row.map(|row| &*row.state);
        let applied = request.command.apply_to(state, request.by.as_deref(), &facts);
        let Some(change) = applied.change() else { return applied };
        let old = rows.remove(&request.chat);
        let (mut messages, leased) = old.map(|row| (row.messages, row.leased)).unwrap_or_default();
        messages.retain(|message| change.cut_from.is_none_or(|from| message.id < from));
        messages.extend(change.inserted.iter().cloned().map(Arc::new));
        let leased = match change.lease {
            LeaseTerm::Keep => leased,
            LeaseTerm::Start => true,
            LeaseTerm::End => false,
        };
        if !change.deleted {
            rows.insert(request.chat, Row { state: change.state.clone(), messages, leased });
        }
        applied
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

    async fn snapshot(&self, chat: ChatId, _: Option<CachedVersions>) -> Result<Option<Snapshot>, Fault> {
        yield_now().await;
        if self.is_broken.load(SeqCst) {
            resume_unwind(Box::new("the store is broken"));
        }
        let snapshot = self.rows().get(&chat).map(|row| Snapshot {
            state: row.state.clone(),
            tail: Tail::Newest { messages: row.messages.clone(), from_start: true },
        });
        yield_now().await;
        Ok(snapshot)
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        _: usize,
    ) -> Result<Option<Page>, Fault> {
        yield_now().await;
        Ok(self.rows().get(&chat).map(|row| {
            let is_asked_for = |id: MessageId| id > after && until.is_none_or(|until| id <= until);
            Page {
                messages: row.messages.iter().filter(|m| is_asked_for(m.id)).cloned().collect(),
                more: false,
                has_base: after == MessageId(0) || row.messages.iter().any(|m| m.id == after),
                reset_version: row.state.reset_version,
                history_version: row.state.history_version,
            }
        }))
    }

    async fn list(&self, _: &str, _: Option<ChatId>, _: usize) -> Result<Listed, Fault> {
        Err(Fault::Refused("no lists here".into()))
    }

    async fn heartbeat(&self, _: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
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
        let peers =
            vec![Peer { replica: ReplicaId::new(PEER).expect("an id"), address: PEER_ADDRESS.into() }];
        Ok(HeartbeatReport { confirmed: held.to_vec(), peers, rival })
    }

    async fn deregister(&self, _: &ReplicaRow) -> Result<(), Fault> {
        yield_now().await;
        self.membership.lock().expect("no panic").push("deregister");
        Ok(())
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        yield_now().await;
        let rows = self.rows();
        let version = |chat: &ChatId| Some((*chat, rows.get(chat)?.state.snapshot_version));
        let free = |row: &&Row| row.state.status.is_runnable() && row.state.worker.is_none();
        Ok(SyncReport {
            versions: request.chats.iter().filter_map(version).collect(),
            runnable: rows.values().filter(free).map(|row| (row.state.id, row.state.status)).collect(),
            soonest_expiry: None,
        })
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(fresh.to_vec())
    }

    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }
}
