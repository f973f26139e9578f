//! Commands and reads by way of a store of which much can be asked at once. A command is applied to the chat's row, as its caller knows
//! it or as it is read, and the change is written if the chat is still so: one way to the database and back for who knows
//! the row, two for others. What comes at the same time goes together. Where that does not work out, because the row has moved
//! or is locked or does not tell, the store applies the command under the lock.

mod clock;
mod gather;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use mainstem_machine::{
    CachedVersions, ChatId, ChatState, Command, Decision, KnownRow, Snapshot, Time, Write,
};

use crate::limits::batching::{ALONE_WITHIN, BYTES_MAX, SNAPSHOTS_MAX, TRIES_MAX};
use crate::ports::{Applied, BatchStore, Env, Fault, Request};
use clock::Clock;
use gather::Gather;

/// Who reads which chat, and what is there already.
type Reader = (ChatId, Option<CachedVersions>);

/// Commands and reads on their way to a store. Its tasks end with it.
pub struct Batching<E: Env> {
    env: E,
    store: Arc<dyn BatchStore>,
    snapshots: Gather<Reader, Option<Snapshot>>,
    rows: Gather<ChatId, KnownRow>,
    /// Of chats that are there.
    writes: Gather<Write, bool>,
    /// Of new chats.
    creations: Gather<Write, bool>,
    clock: Clock,
}

impl<E: Env> fmt::Debug for Batching<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching").finish_non_exhaustive()
    }
}

impl<E: Env> Batching<E> {
    pub fn new(env: E, store: Arc<dyn BatchStore>) -> Self {
        let snapshots = {
            let store = store.clone();
            let carry = move |asked: Vec<Reader>| {
                let store = store.clone();
                async move { store.snapshots(&asked).await }.boxed()
            };
            // Each may be a whole tail.
            Gather::new(&env, |_| BYTES_MAX / SNAPSHOTS_MAX, Box::new(carry))
        };
        let rows = {
            let store = store.clone();
            let carry = move |chats: Vec<ChatId>| {
                let store = store.clone();
                async move { store.rows(&chats).await }.boxed()
            };
            Gather::new(&env, |_| 0, Box::new(carry))
        };
        let write = || {
            let store = store.clone();
            let carry = move |writes: Vec<Write>| {
                let store = store.clone();
                async move { store.write(&writes).await }.boxed()
            };
            Gather::new(&env, bytes, Box::new(carry))
        };
        let (writes, creations) = (write(), write());
        Self { env, store, snapshots, rows, writes, creations, clock: Clock::default() }
    }

    /// What a reader lacks of a chat, as [`Store::snapshot`](crate::ports::Store::snapshot) says.
    pub async fn snapshot(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        let began = self.env.now();
        match self.snapshots.ask((chat, cached)).await {
            // Alone it may be had, or what is wrong with it is told.
            Err(Fault::Refused(_)) if self.is_soon(began) => self.store.snapshot_alone(chat, cached).await,
            read => read,
        }
    }

    /// Applies the command and commits it, as [`Store::apply`](crate::ports::Store::apply) says.
    pub async fn apply(&self, request: &Request, known: Option<Arc<ChatState>>) -> Result<Applied, Fault> {
        if !request.can_be_compared() {
            return self.store.apply_locked(request).await;
        }
        let began = self.env.now();
        let mut known = self.known(request, known);
        for _ in 0..TRIES_MAX {
            let (row, is_read) = match known.take() {
                Some(row) => (row, false),
                None => match self.read(request.chat).await {
                    Ok(row) => (row, true),
                    // Alone it may be readable, or what is wrong with it is told.
                    Err(Fault::Refused(_) | Fault::Unknown(_)) if self.is_soon(began) => break,
                    Err(Fault::Unknown(why)) => return Err(Fault::Refused(why)),
                    Err(fault) => return Err(fault),
                },
            };
            match request.decide(&row) {
                Decision::Write(write) => match self.write(write).await {
                    Ok(Some(applied)) => return Ok(applied),
                    Ok(None) => {}
                    // It did not happen, perhaps because of what went with it.
                    Err(Fault::Refused(_)) if self.is_soon(began) => break,
                    Err(fault) => return Err(fault),
                },
                Decision::Answer(applied) if is_read => return Ok(applied),
                Decision::Answer(_) => {}
                Decision::Lock => break,
            }
        }
        self.store.apply_locked(request).await
    }

    /// Whether what failed may go better alone: whatever took long to fail does not fail because of what went with it.
    fn is_soon(&self, began: Time) -> bool {
        self.env.now().since(began) <= ALONE_WITHIN
    }

    /// The row that need not be read.
    fn known(&self, request: &Request, known: Option<Arc<ChatState>>) -> Option<KnownRow> {
        let state = match request.command {
            Command::Create { .. } => None,
            // Who holds it, and until when, has to be read.
            Command::Acquire { .. } => return None,
            _ => Some(known?),
        };
        let now = self.clock.shows(self.env.now())?;
        Some(KnownRow { state, lease: None, now })
    }

    async fn read(&self, chat: ChatId) -> Result<KnownRow, Fault> {
        let row = self.rows.ask(chat).await?;
        self.clock.is_read(row.now, self.env.now());
        Ok(row)
    }

    /// What was applied, if it was written.
    async fn write(&self, write: Write) -> Result<Option<Applied>, Fault> {
        let applied = write.applied();
        Ok(self.is_written(write).await?.then_some(applied))
    }

    async fn is_written(&self, write: Write) -> Result<bool, Fault> {
        // Under a client's key there may be another request under way, for which the database waits: nobody else is to
        // wait with it (B3).
        if write.request.idempotency_key.as_ref().is_some_and(|key| !key.is_drawn()) {
            let written = self.store.write(&[write]).await;
            return written.into_iter().next().unwrap_or(Ok(false));
        }
        let gather = if write.of.is_none() { &self.creations } else { &self.writes };
        gather.ask(write).await
    }
}

/// What the messages of a change and its queue weigh.
fn bytes(write: &Write) -> usize {
    let messages = write.change.inserted.iter().map(|message| message.content.as_json().len());
    let queue = write.change.state.queue.iter().map(|queued| queued.content.as_json().len());
    messages.chain(queue).sum()
}
