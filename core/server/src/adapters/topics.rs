//! The subscriptions of this process. A subscription that does not take its notices in time ends, so that its
//! owner knows that it may have missed some.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use futures::stream::StreamExt;
use mainstem_runtime::ports::{BusSubscription, Notice, Topic};

use crate::limits::adapters::SUBSCRIPTION_NOTICES_MAX;

/// The subscriptions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics(Arc<Mutex<Subscriptions>>);

#[derive(Debug, Default)]
struct Subscriptions {
    /// By topic, in the order of subscribing.
    queues: BTreeMap<(Topic, u64), Arc<Queue>>,
    last: u64,
}

impl Topics {
    pub(super) fn subscribe(&self, topic: Topic) -> BusSubscription {
        let queue = Arc::<Queue>::default();
        let mut subscriptions = self.locked();
        subscriptions.last += 1;
        let key = (topic, subscriptions.last);
        subscriptions.queues.insert(key.clone(), queue.clone());
        drop(subscriptions);
        Subscription { queue, key, topics: self.clone() }.boxed()
    }

    /// Delivers a notice to all subscriptions of its topics.
    pub(super) fn deliver(&self, notice: &Notice) {
        let mut subscriptions = self.locked();
        let work = notice.free.then_some(Topic::Work);
        for topic in [Some(Topic::Chat(notice.chat)), work].into_iter().flatten() {
            let range = (topic.clone(), 0)..=(topic, u64::MAX);
            let late = subscriptions
                .queues
                .range(range)
                .filter(|(_, queue)| !queue.push(notice))
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>();
            for key in late {
                subscriptions.queues.remove(&key);
            }
        }
    }

    /// Ends all subscriptions, after they have delivered what they hold.
    pub(super) fn end_all(&self) {
        for queue in std::mem::take(&mut self.locked().queues).into_values() {
            queue.end();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.locked().queues.len()
    }

    fn locked(&self) -> MutexGuard<'_, Subscriptions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The undelivered notices of one subscription. It allocates nothing while it is empty; a channel would use
/// memory for every open chat (B1).
#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// No further notices will be added.
    over: bool,
    waker: Option<Waker>,
}

impl Queue {
    /// Adds a notice. If it is full, it ends instead, and returns false.
    fn push(&self, notice: &Notice) -> bool {
        let mut waiting = self.locked();
        let has_capacity = waiting.notices.len() < SUBSCRIPTION_NOTICES_MAX;
        if has_capacity {
            waiting.notices.push_back(notice.clone());
        }
        waiting.over |= !has_capacity;
        wake(waiting);
        has_capacity
    }

    fn end(&self) {
        let mut waiting = self.locked();
        waiting.over = true;
        wake(waiting);
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let mut waiting = self.locked();
        if let Some(notice) = waiting.notices.pop_front() {
            if waiting.notices.is_empty() {
                waiting.notices = VecDeque::new();
            }
            return Poll::Ready(Some(notice));
        }
        if waiting.over {
            return Poll::Ready(None);
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

struct Subscription {
    queue: Arc<Queue>,
    key: (Topic, u64),
    topics: Topics,
}

impl Stream for Subscription {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.queue.poll_next(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topics.locked().queues.remove(&self.key);
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
            row: None,
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

    #[tokio::test]
    async fn who_waits_is_woken_by_a_notice_and_by_the_end() {
        let topics = Topics::default();
        let mut subscription = topics.subscribe(Topic::Chat(notice(0).chat));
        let waiting = tokio::spawn(async move { (subscription.next().await, subscription.next().await) });
        for version in 1..=2 {
            tokio::task::yield_now().await;
            if version == 1 { topics.deliver(&notice(version)) } else { topics.end_all() }
        }
        assert_eq!(waiting.await.expect("no panic"), (Some(notice(1)), None));
        assert_eq!(topics.len(), 0, "B2");
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing() {
        let topics = Topics::default();
        drop(topics.subscribe(Topic::Work));
        assert_eq!(topics.len(), 0, "B2");
    }
}
