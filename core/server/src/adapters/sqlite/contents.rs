//! Large messages, read once and shared by all who want them at the same time. A message never changes and its
//! id is never given again, so what is held here is what the database has, as long as it has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mainstem_machine::{ChatId, Message, MessageId};
use mainstem_runtime::ports::Fault;
use tokio::sync::Mutex as Turn;

use crate::adapters::rows::{self, Fields, unsigned};
use crate::limits::adapters::{RECENT_MESSAGE_RETENTION, RECENT_MESSAGES_BYTES_MAX};

/// Which messages are read with others: those of up to so many bytes. Of larger ones nothing is, for what stands
/// behind a large value in its row is found by way of all of that value.
macro_rules! small {
    () => {
        " AND octet_length(m.content) <= 32768"
    };
}

pub(super) use small;

/// The message `$2` of the chat `$1`.
pub(super) const MESSAGE: &str = concat!(
    "SELECT ",
    rows::message_columns!("m.content"),
    " FROM messages m WHERE m.chat_id = $1 AND m.id = $2"
);

/// The messages of rows that are to be read apart.
pub(super) fn large(rows: &[impl Fields]) -> sqlx::Result<Vec<MessageId>> {
    let mut large = vec![];
    for row in rows {
        if let Some(id) = row.int("told")?
            && row.int("message_id")?.is_none()
        {
            large.push(MessageId(unsigned(id)));
        }
    }
    Ok(large)
}

type Key = (ChatId, MessageId);
type Slot = Arc<Turn<Weak<Message>>>;

#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What somebody holds or waits for.
    slots: Mutex<BTreeMap<Key, Slot>>,
    /// What was read a moment ago: those who want the same seldom come at the very same time.
    recent: Arc<Mutex<VecDeque<Arc<Message>>>>,
}

impl Contents {
    /// The message, read by `read` unless somebody has it. Who comes while it is read waits for that.
    pub(super) async fn get(
        &self,
        key: Key,
        read: impl AsyncFnOnce() -> Result<Option<Message>, Fault>,
    ) -> Result<Option<Arc<Message>>, Fault> {
        let slot = self.slot(key);
        let mut shared = slot.lock().await;
        if let Some(message) = shared.upgrade() {
            return Ok(Some(message));
        }
        let message = read().await?.map(Arc::new);
        *shared = message.as_ref().map(Arc::downgrade).unwrap_or_default();
        if let Some(message) = &message {
            self.keep(message);
        }
        Ok(message)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = locked(&self.slots);
        // What nobody holds and nobody waits for goes.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|shared| shared.strong_count() > 0)
        });
        slots.entry(key).or_default().clone()
    }

    /// Keeps it for a moment, and lets the oldest go for it (B1, B2).
    fn keep(&self, message: &Arc<Message>) {
        let mut recent = locked(&self.recent);
        recent.push_back(message.clone());
        while recent.len() > 1 && bytes(&recent) > RECENT_MESSAGES_BYTES_MAX {
            recent.pop_front();
        }
        let (kept, message) = (self.recent.clone(), Arc::downgrade(message));
        tokio::spawn(async move {
            tokio::time::sleep(RECENT_MESSAGE_RETENTION).await;
            locked(&kept).retain(|recent| Arc::as_ptr(recent) != message.as_ptr());
        });
    }
}

fn bytes(messages: &VecDeque<Arc<Message>>) -> usize {
    messages.iter().map(|message| message.content.as_json().len()).sum()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use mainstem_machine::{Content, Role, Version, WallTime};

    use super::*;

    fn message(id: u64) -> Message {
        Message {
            id: MessageId(id),
            revision: Version(1),
            role: Role::User,
            content: Content::text("hello"),
            finish_reason: None,
            usage: None,
            interrupted: false,
            episode: None,
            queued_as: None,
            client_id: None,
            turn: None,
            created_at: WallTime(0),
        }
    }

    #[tokio::test]
    async fn who_wants_the_same_at_the_same_time_shares_one_read() {
        let (contents, reads) = (Contents::default(), AtomicUsize::new(0));
        let get = |id: u64| {
            let (contents, reads) = (&contents, &reads);
            async move {
                let got = contents.get((ChatId(uuid::Uuid::from_u128(1)), MessageId(id)), async || {
                    reads.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(Some(message(id)))
                });
                got.await.map(|got| got.map(|got| got.id))
            }
        };
        let told = join_all((0..100).map(|_| get(7))).await;
        assert_eq!(reads.load(Ordering::SeqCst), 1, "content is read once");
        assert_eq!(told, vec![Ok(Some(MessageId(7))); 100]);
        get(8).await.expect("it is read").expect("it is there");
        locked(&contents.recent).clear();
        get(9).await.expect("it is read").expect("it is there");
        let slots = locked(&contents.slots).len();
        assert_eq!(slots, 1, "B1, B2: nothing is left of what nobody has");
    }

    #[tokio::test]
    async fn what_is_kept_for_a_moment_is_bounded() {
        let contents = Contents::default();
        for id in 1..=9 {
            let large = "x".repeat(RECENT_MESSAGES_BYTES_MAX / 4);
            let large = Message { content: Content::text(&large), ..message(id) };
            contents.keep(&Arc::new(large));
            assert!(bytes(&locked(&contents.recent)) <= RECENT_MESSAGES_BYTES_MAX, "B1");
        }
        assert_eq!(locked(&contents.recent).len(), 3);
        tokio::time::sleep(RECENT_MESSAGE_RETENTION * 2).await;
        assert_eq!(locked(&contents.recent).len(), 0, "B2");
    }

    #[tokio::test]
    async fn a_read_that_fails_or_finds_nothing_is_the_next_ones_to_try() {
        let contents = Contents::default();
        let key = (ChatId(uuid::Uuid::from_u128(1)), MessageId(1));
        let failed = contents.get(key, async || Err(Fault::Refused("away".into()))).await;
        assert!(failed.is_err());
        assert_eq!(contents.get(key, async || Ok(None)).await, Ok(None));
        let found = contents.get(key, async || Ok(Some(message(1)))).await;
        assert_eq!(found, Ok(Some(Arc::new(message(1)))));
    }
}
