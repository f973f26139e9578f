//! What every [`Bus`] on a server must do when the server, or the network to it, fails: who subscribed hears all that is
//! published afterwards, or the subscription ends; nobody waits for a server that is not there; and when it is there again,
//! the bus is too.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, join_all, select};
use futures::stream::StreamExt;
use mainstem_machine::{ChatId, Status, Version};
use uuid::Uuid;

use super::store::Sleep;
use crate::ports::{Bus, BusError, BusSubscription, Notice, Topic};

/// The longest time until a loss is told: a check's interval, its time limit, and slack.
const LOSS_MAX: Duration = Duration::from_secs(8);
/// The longest time until a bus is there again when its server is.
const RETURN_MAX: Duration = Duration::from_secs(12);
/// The longest time until a notice is delivered.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// What is known is told within it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The longest time of a publication.
const PUBLICATION_MAX: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// Notices that fill any subscription that is not read.
const MANY: u64 = 5_000;
/// Of them published at a time: fewer than may wait.
const AT_A_TIME: u64 = 250;
const ROUNDS: u64 = 5;

/// Two open buses on one server, and what can be done to it.
#[derive(Clone)]
pub struct Subject {
    /// The one whose link to the server fails.
    pub here: Arc<dyn Bus>,
    /// Another one, of another process as it were.
    pub there: Arc<dyn Bus>,
    pub faults: Arc<dyn Faults>,
    /// The longest time until a publication fails while the server is known to be away.
    pub refusal_max: Duration,
    pub sleep: Sleep,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject")
    }
}

/// What befalls a server, and the link to it.
#[async_trait]
pub trait Faults: Send + Sync + 'static {
    /// The server ends without a word.
    async fn kill(&self);
    /// It is there again, at the same address.
    async fn start(&self);
    /// The server stands still, and its connections stay open.
    async fn pause(&self);
    async fn resume(&self);
    /// Ends the connections of `here`.
    async fn cut(&self);
    /// What is sent `here` stays on its way, while the connections stay open.
    async fn stall(&self);
    async fn heal(&self);
    /// What `here` sends takes so long from now on.
    async fn slow(&self, delay: Duration);
    /// Sends so much on the bus's channel that a server lets go of who takes none of it, and waits until it did.
    async fn drown(&self);
    /// Sends what is no notice on the bus's channel.
    async fn babble(&self);
}

/// Every check, one after the other.
pub async fn all(subject: &Subject) {
    a_subscription_that_is_not_read_ends_and_harms_no_other(subject).await;
    who_has_subscribed_hears_what_is_published_next(subject).await;
    a_lost_connection_ends_subscriptions_and_is_replaced(subject).await;
    a_link_that_carries_nothing_any_more_is_lost(subject).await;
    who_takes_notices_too_slowly_is_told(subject).await;
    a_server_that_dies_is_missed_at_once_and_used_again(subject).await;
    a_server_that_hangs_hangs_nobody(subject).await;
    nonsense_is_ignored(subject).await;
}

/// B1, B3.
pub async fn a_subscription_that_is_not_read_ends_and_harms_no_other(subject: &Subject) {
    let mut unread = subscribed(subject, &subject.here, 1).await;
    let mut other = subscribed(subject, &subject.here, 2).await;
    for first in (1..=MANY).step_by(AT_A_TIME as usize) {
        let some = (first..first + AT_A_TIME).map(|version| subject.there.publish(notice(1, version)));
        for published in join_all(some).await {
            published.expect("a bus that is up lets publish");
        }
    }
    heard(subject, &mut other, 2, 1).await;
    let mut held = 0;
    while within(subject, LOSS_MAX, "B1: the end of it", unread.next()).await.is_some() {
        held += 1;
    }
    assert!(held < MANY, "B1: it held {held} notices");
}

/// L1: also right after it has connected, when the server may not have heard of it yet.
pub async fn who_has_subscribed_hears_what_is_published_next(subject: &Subject) {
    let delay = Duration::from_millis(100);
    subject.faults.slow(delay).await;
    for round in 1..=ROUNDS {
        let mut subscription = subscribed(subject, &subject.here, 3).await;
        subject.faults.cut().await;
        ended(subject, &mut subscription).await;
        let mut subscription = subscribed(subject, &subject.here, 3).await;
        heard(subject, &mut subscription, 3, round).await;
    }
    subject.faults.slow(Duration::ZERO).await;
}

pub async fn a_lost_connection_ends_subscriptions_and_is_replaced(subject: &Subject) {
    for round in 1..=ROUNDS {
        let mut chat = subscribed(subject, &subject.here, 4).await;
        let mut work = all_of(subject, &subject.here, Topic::Work).await;
        let mut other = subscribed(subject, &subject.there, 4).await;
        subject.faults.cut().await;
        for subscription in [&mut chat, &mut work] {
            ended(subject, subscription).await;
        }
        let mut again = subscribed(subject, &subject.here, 4).await;
        heard(subject, &mut again, 4, round).await;
        let at_other = within(subject, DELIVERY_MAX, "another's link is another's", other.next()).await;
        assert!(at_other.is_some(), "another's link is another's");
    }
}

/// Half-open: nobody says that it is lost.
pub async fn a_link_that_carries_nothing_any_more_is_lost(subject: &Subject) {
    let mut subscription = subscribed(subject, &subject.here, 5).await;
    subject.faults.stall().await;
    subject.there.publish(notice(5, 1)).await.expect("it has another link");
    ended(subject, &mut subscription).await;
    let refused = within(subject, AT_ONCE, "B3: an answer", subject.here.subscribe(topic(5))).await;
    assert!(refused.is_err(), "what is not heard is not promised");
    subject.faults.heal().await;
    let mut again = subscribed(subject, &subject.here, 5).await;
    heard(subject, &mut again, 5, 2).await;
}

pub async fn who_takes_notices_too_slowly_is_told(subject: &Subject) {
    let mut subscription = subscribed(subject, &subject.here, 6).await;
    subject.faults.stall().await;
    subject.faults.drown().await;
    ended(subject, &mut subscription).await;
    subject.faults.heal().await;
    let mut again = subscribed(subject, &subject.here, 6).await;
    heard(subject, &mut again, 6, 1).await;
}

pub async fn a_server_that_dies_is_missed_at_once_and_used_again(subject: &Subject) {
    let mut lost = subscribed(subject, &subject.here, 7).await;
    subject.faults.kill().await;
    ended(subject, &mut lost).await;
    refuses(subject, 7).await;
    subject.faults.start().await;
    let mut again = subscribed(subject, &subject.here, 7).await;
    heard(subject, &mut again, 7, 2).await;
    // What was refused is not kept until then, when it would be stale.
    let stray = select(again.next(), (subject.sleep)(AT_ONCE)).await;
    assert!(matches!(stray, Either::Right(_)), "what could not be sent was not kept");
}

/// B3.
pub async fn a_server_that_hangs_hangs_nobody(subject: &Subject) {
    let mut lost = subscribed(subject, &subject.here, 8).await;
    subject.faults.pause().await;
    let published =
        within(subject, PUBLICATION_MAX, "B3: an answer", subject.here.publish(notice(8, 1))).await;
    assert!(published.is_err(), "nobody has confirmed it");
    ended(subject, &mut lost).await;
    refuses(subject, 8).await;
    subject.faults.resume().await;
    let mut again = subscribed(subject, &subject.here, 8).await;
    heard(subject, &mut again, 8, 2).await;
}

pub async fn nonsense_is_ignored(subject: &Subject) {
    let mut subscription = subscribed(subject, &subject.here, 9).await;
    subject.faults.babble().await;
    heard(subject, &mut subscription, 9, 1).await;
}

/// Neither subscribes nor publishes, and says so in time.
async fn refuses(subject: &Subject, chat: u128) {
    let subscribed =
        within(subject, AT_ONCE, "B3: an answer at once", subject.here.subscribe(topic(chat))).await;
    let publishing = subject.here.publish(notice(chat, 1));
    let published = within(subject, subject.refusal_max, "B3: an answer in time", publishing).await;
    assert!(subscribed.is_err() && published.is_err(), "there is nobody who could promise it");
}

/// A notice that is published now arrives. One that was under way may come before it.
async fn heard(subject: &Subject, subscription: &mut BusSubscription, chat: u128, version: u64) {
    let expected = notice(chat, 1_000_000 + version);
    // Its link may be on its way back as well.
    retried(subject, "publishing", || subject.there.publish(expected.clone())).await;
    let arrives = async {
        while let Some(received) = subscription.next().await {
            if received == expected {
                return true;
            }
        }
        false
    };
    assert!(within(subject, DELIVERY_MAX, "L1: the notice", arrives).await, "L1: it ended instead");
}

async fn ended(subject: &Subject, subscription: &mut BusSubscription) {
    let end = async { while subscription.next().await.is_some() {} };
    within(subject, LOSS_MAX, "L1: the end of what may have missed something", end).await;
}

async fn subscribed(subject: &Subject, bus: &Arc<dyn Bus>, chat: u128) -> BusSubscription {
    all_of(subject, bus, topic(chat)).await
}

async fn all_of(subject: &Subject, bus: &Arc<dyn Bus>, topic: Topic) -> BusSubscription {
    retried(subject, "subscribing", || bus.subscribe(topic.clone())).await
}

/// Again and again, as machines do.
async fn retried<'a, T>(
    subject: &'a Subject,
    what: &str,
    mut ask: impl FnMut() -> BoxFuture<'a, Result<T, BusError>>,
) -> T {
    let tries = async {
        loop {
            match ask().await {
                Ok(done) => return done,
                Err(_) => (subject.sleep)(RETRY_INTERVAL).await,
            }
        }
    };
    within(subject, RETURN_MAX, what, tries).await
}

async fn within<T>(subject: &Subject, max: Duration, what: &str, work: impl Future<Output = T>) -> T {
    match select(std::pin::pin!(work), (subject.sleep)(max)).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => panic!("not within {max:?}: {what}"),
    }
}

fn id(number: u128) -> ChatId {
    ChatId(Uuid::from_u128(number))
}

fn topic(chat: u128) -> Topic {
    Topic::Chat(id(chat))
}

fn notice(chat: u128, version: u64) -> Notice {
    Notice {
        chat: id(chat),
        snapshot_version: Version(version),
        history_version: Version(0),
        queue_version: Version(0),
        status: Status::Waiting,
        free: true,
        deleted: false,
        row: None,
    }
}
