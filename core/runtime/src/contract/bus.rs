//! What every [`Bus`] must do. A bus may lose notices when it fails, so these checks run without faults.

use std::sync::Arc;

use futures::future::{Either, select};
use futures::stream::StreamExt;
use mainstem_machine::{ChatId, Lease, NextRow, ReplicaId, Status, Version, WallTime};
use uuid::Uuid;

use super::store::Sleep;
use crate::ports::{Bus, BusSubscription, Notice, Topic};

/// The longest time until a notice is delivered.
const DELIVERY_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// An open bus that nobody else uses.
#[derive(Clone)]
pub struct Subject {
    pub bus: Arc<dyn Bus>,
    pub sleep: Sleep,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject")
    }
}

/// Every check, one after the other.
pub async fn all(subject: &Subject) {
    a_notice_after_subscribing_is_delivered_whole(subject).await;
    topics_do_not_mix(subject).await;
    work_is_told_only_of_free_chats(subject).await;
    all_subscriptions_of_a_topic_are_told(subject).await;
    a_dropped_subscription_harms_nobody(subject).await;
}

pub async fn a_notice_after_subscribing_is_delivered_whole(subject: &Subject) {
    let mut chat = subscribe(subject, Topic::Chat(id(1))).await;
    for notice in [
        Notice { free: true, status: Status::Running, ..notice(1, 7) },
        Notice { status: Status::Interrupting, ..notice(1, 8) },
        Notice { deleted: true, ..notice(1, u64::MAX) },
        Notice { history_version: Version(8), queue_version: Version(9), ..notice(1, 10) },
        Notice { row: Some(row(1).into()), ..notice(1, 11) },
        Notice { row: Some(row(u64::MAX).into()), ..notice(1, 12) },
    ] {
        publish(subject, notice.clone()).await;
        assert_eq!(next(subject, &mut chat).await, notice, "L1: the notice arrives as it was published");
    }
}

pub async fn topics_do_not_mix(subject: &Subject) {
    let mut first = subscribe(subject, Topic::Chat(id(2))).await;
    let mut second = subscribe(subject, Topic::Chat(id(3))).await;
    for version in 1..=5 {
        publish(subject, notice(2, version)).await;
        publish(subject, notice(3, 100 + version)).await;
    }
    for version in 1..=5 {
        assert_eq!(next(subject, &mut first).await, notice(2, version), "only what its topic is about");
        assert_eq!(
            next(subject, &mut second).await,
            notice(3, 100 + version),
            "only what its topic is about"
        );
    }
}

pub async fn work_is_told_only_of_free_chats(subject: &Subject) {
    let mut work = subscribe(subject, Topic::Work).await;
    publish(subject, notice(4, 1)).await;
    publish(subject, Notice { free: true, ..notice(5, 2) }).await;
    publish(subject, Notice { deleted: true, ..notice(4, 3) }).await;
    publish(subject, Notice { free: true, ..notice(4, 4) }).await;
    for expected in [notice(5, 2), notice(4, 4)] {
        let expected = Notice { free: true, ..expected };
        assert_eq!(next(subject, &mut work).await, expected, "L3: work is what is runnable and nobody's");
    }
}

pub async fn all_subscriptions_of_a_topic_are_told(subject: &Subject) {
    let mut subscriptions = Vec::new();
    for _ in 0..8 {
        subscriptions.push(subscribe(subject, Topic::Chat(id(6))).await);
    }
    publish(subject, notice(6, 1)).await;
    for subscription in &mut subscriptions {
        assert_eq!(next(subject, subscription).await, notice(6, 1), "each subscription gets each notice");
    }
}

pub async fn a_dropped_subscription_harms_nobody(subject: &Subject) {
    let dropped = subscribe(subject, Topic::Chat(id(7))).await;
    let mut kept = subscribe(subject, Topic::Chat(id(7))).await;
    drop(dropped);
    publish(subject, notice(7, 1)).await;
    assert_eq!(next(subject, &mut kept).await, notice(7, 1), "another's leaving ends no subscription");
    drop(kept);
    publish(subject, notice(7, 2)).await;
    let mut again = subscribe(subject, Topic::Chat(id(7))).await;
    publish(subject, notice(7, 3)).await;
    let mut received = next(subject, &mut again).await;
    // A notice that was in flight when it subscribed may still arrive.
    if received == notice(7, 2) {
        received = next(subject, &mut again).await;
    }
    assert_eq!(received, notice(7, 3), "a new subscription gets what follows");
}

fn id(number: u128) -> ChatId {
    ChatId(Uuid::from_u128(number))
}

/// A row as long as it may be, if the number is.
fn row(n: u64) -> NextRow {
    NextRow {
        status: Status::Interrupting,
        worker: ReplicaId::new("w".repeat(if n == u64::MAX { 64 } else { 1 })).ok(),
        lease: Lease(n),
        attempt_lease: Some(Lease(n)),
        attempt: n,
        retries: n == 1,
        updated_at: WallTime(i64::MIN),
    }
}

fn notice(chat: u128, version: u64) -> Notice {
    Notice {
        chat: id(chat),
        snapshot_version: Version(version),
        history_version: Version(0),
        queue_version: Version(0),
        status: Status::Waiting,
        free: false,
        deleted: false,
        row: None,
    }
}

async fn subscribe(subject: &Subject, topic: Topic) -> BusSubscription {
    subject.bus.subscribe(topic).await.expect("a bus that is up lets subscribe")
}

async fn publish(subject: &Subject, notice: Notice) {
    subject.bus.publish(notice).await.expect("a bus that is up lets publish");
}

async fn next(subject: &Subject, subscription: &mut BusSubscription) -> Notice {
    match select(subscription.next(), (subject.sleep)(DELIVERY_MAX)).await {
        Either::Left((Some(notice), _)) => notice,
        Either::Left((None, _)) => panic!("a subscription ended though nothing was lost"),
        Either::Right(_) => panic!("L1: a notice was not delivered within {DELIVERY_MAX:?}"),
    }
}
