//! Who wants which notices in this process. Whoever does not take them in time is let go: its subscription
//! ends, so that it knows that it may have missed some.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::StreamExt;
use mainstem_runtime::ports::{BusSubscription, Notice, Topic};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::limits::SUBSCRIPTION_NOTICES_MAX;

/// The subscriptions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics(Arc<Mutex<Subscriptions>>);

#[derive(Debug, Default)]
struct Subscriptions {
    /// By topic, and within it by the order of subscribing.
    senders: BTreeMap<(Topic, u64), Sender<Notice>>,
    last: u64,
}

impl Topics {
    pub(super) fn subscribe(&self, topic: Topic) -> BusSubscription {
        let (sender, notices) = mpsc::channel(SUBSCRIPTION_NOTICES_MAX);
        let mut subscriptions = self.locked();
        subscriptions.last += 1;
        let key = (topic, subscriptions.last);
        subscriptions.senders.insert(key.clone(), sender);
        drop(subscriptions);
        Subscription { notices, key, topics: self.clone() }.boxed()
    }

    /// Gives the notice to all that it concerns.
    pub(super) fn deliver(&self, notice: &Notice) {
        let mut subscriptions = self.locked();
        let work = notice.free.then_some(Topic::Work);
        for topic in [Some(Topic::Chat(notice.chat)), work].into_iter().flatten() {
            let range = (topic.clone(), 0)..=(topic, u64::MAX);
            let late = subscriptions
                .senders
                .range(range)
                .filter(|(_, sender)| sender.try_send(notice.clone()).is_err())
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>();
            for key in late {
                subscriptions.senders.remove(&key);
            }
        }
    }

    /// Ends all subscriptions, once they have given what they hold.
    pub(super) fn end_all(&self) {
        self.locked().senders.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.locked().senders.len()
    }

    fn locked(&self) -> MutexGuard<'_, Subscriptions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Subscription {
    notices: Receiver<Notice>,
    key: (Topic, u64),
    topics: Topics,
}

impl Stream for Subscription {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.notices.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topics.locked().senders.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::{ChatId, Version};

    fn notice(version: u64) -> Notice {
        Notice {
            chat: ChatId(uuid::Uuid::from_u128(1)),
            snapshot_version: Version(version),
            history_version: Version(0),
            queue_version: Version(0),
            status: mainstem_machine::Status::Waiting,
            free: false,
            deleted: false,
        }
    }

    #[tokio::test]
    async fn a_subscription_that_lags_gives_what_it_holds_and_ends() {
        let topics = Topics::default();
        let subscription = topics.subscribe(Topic::Chat(notice(0).chat));
        let sent = SUBSCRIPTION_NOTICES_MAX as u64 + 5;
        (0..sent).for_each(|version| topics.deliver(&notice(version)));
        assert_eq!(topics.len(), 0, "B1: a subscription that is full is let go");
        let versions: Vec<_> = subscription.map(|notice| notice.snapshot_version.0).collect().await;
        assert_eq!(versions, (0..SUBSCRIPTION_NOTICES_MAX as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing() {
        let topics = Topics::default();
        drop(topics.subscribe(Topic::Work));
        assert_eq!(topics.len(), 0, "B2");
    }
}
