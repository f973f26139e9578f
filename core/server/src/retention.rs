//! Chats that nobody has touched for long go (`--chat-retention`), a few at a time: looking at all of them takes no index that each
//! write would have to keep, and deleting them holds up nobody.
//!
//! Every replica looks, each in its own time. Two that find the same chat do no harm: one of them deletes it, under its lock and
//! only if it has not changed since.

use std::time::Duration;

use mainstem_machine::{ChatId, Command};
use mainstem_runtime::ports::Env;
use mainstem_runtime::{EdgeError, Node};
use rand::rngs::OsRng;
use rand::{Rng, TryRngCore};
use tokio::time::sleep;

use crate::limits::retention::{
    LOOKED_AT_MAX, PAUSE, ROUNDS_INTERVAL_MAX, ROUNDS_INTERVAL_MIN, ROUNDS_SHARE,
};

/// Deletes what is older, for ever. Ends when the replica does.
pub(crate) async fn keep<E: Env>(node: Node<E>, retention: Duration) {
    let interval = (retention / ROUNDS_SHARE).clamp(ROUNDS_INTERVAL_MIN, ROUNDS_INTERVAL_MAX);
    loop {
        // Not all replicas at once.
        sleep(OsRng.unwrap_err().random_range(interval / 2..=interval * 3 / 2)).await;
        match round(&node, retention).await {
            Ok(0) => {}
            Ok(deleted) => {
                tracing::info!(deleted, "deleted chats that nobody has touched for --chat-retention")
            }
            Err(error) => tracing::warn!(%error, "not all chats could be looked at: the next round goes on"),
        }
    }
}

/// Looks at all chats once.
async fn round<E: Env>(node: &Node<E>, retention: Duration) -> Result<u64, EdgeError> {
    let idle_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let (mut after, mut deleted): (Option<ChatId>, _) = (None, 0);
    loop {
        let stale = node.stale(after, retention, LOOKED_AT_MAX).await?;
        for chat in stale.chats {
            deleted += u64::from(node.expire(chat, Command::Expire { idle_ms }).await?);
        }
        let Some(next) = stale.next else { return Ok(deleted) };
        after = Some(next);
        sleep(PAUSE).await;
    }
}
