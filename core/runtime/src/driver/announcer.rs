//! Publishes notices on the bus: the newest of each chat, a few at a time, each tried once. Notices are
//! hints: a replica that misses one learns of the change by its next sync.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::ChatId;
use mainstem_machine::limits::OP_TIMEOUT;

use super::{Shared, lock};
use crate::limits::driver::{ANNOUNCEMENTS_MAX, WAITING_MAX};
use crate::ports::{Env, Notice, within};
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Announcer(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<ChatId, Notice>,
    in_flight: usize,
}

impl Announcer {
    pub(super) fn announce<E: Env>(&self, shared: &Arc<Shared<E>>, notice: Notice) {
        {
            let mut queue = lock(&self.0);
            if queue.waiting.len() >= WAITING_MAX {
                tracing::warn!(
                    "the bus is too slow: dropping notices, other replicas see changes by polling"
                );
                return;
            }
            let newer =
                queue.waiting.get(&notice.chat).is_none_or(|w| w.snapshot_version < notice.snapshot_version);
            if newer {
                queue.waiting.insert(notice.chat, notice);
            }
            if queue.in_flight >= ANNOUNCEMENTS_MAX {
                return;
            }
            queue.in_flight += 1;
        }
        let publishing = shared.clone();
        shared.env.spawn(async move { publishing.announcer.publish(&publishing).await }).detach();
    }

    /// Publishes until no notice waits.
    async fn publish<E: Env>(&self, shared: &Shared<E>) {
        while let Some(notice) = self.next() {
            let published = within(&shared.env, OP_TIMEOUT, shared.bus.publish(notice)).await;
            match published {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not publish a notice: others see the change by polling")
                }
                Err(_) => tracing::warn!("publishing a notice timed out: others see the change by polling"),
            }
        }
    }

    fn next(&self) -> Option<Notice> {
        let mut queue = lock(&self.0);
        let notice = queue.waiting.pop_first().map(|(_, notice)| notice);
        if notice.is_none() {
            queue.in_flight -= 1;
        }
        notice
    }
}
