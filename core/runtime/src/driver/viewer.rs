//! Viewers, and replicas that follow. Each computes its next event from the current state of the hub, when it
//! can send it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstem_machine::hub::{AudienceEvent, HubEvent};
use mainstem_machine::{Body, Ending, FollowerId, RelayFrame, StreamEvent, SubscriptionId};

use super::{HubCell, Shared};
use crate::limits::viewer::{EVENTS_BYTES_MAX, EVENTS_MAX};
use crate::ports::Env;

/// What a viewer is told next.
#[derive(Debug)]
pub enum Next {
    /// At least one event, in order. Computed now: ask only when the socket can take it.
    Events(Vec<StreamEvent>),
    /// Nothing follows.
    End(Ending),
}

/// A viewer's subscription to a hub. Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct Watch<E: Env> {
    shared: Arc<Shared<E>>,
    cell: Arc<HubCell<E>>,
    subscription: SubscriptionId,
    /// How often there had been news when the hub had nothing left to tell: as long as there is no more, it has not.
    told: Option<u64>,
    /// The chat had other viewers when it was last looked at.
    has_company: bool,
    lag: Option<Duration>,
}

/// What was there to tell.
struct Collected {
    next: Option<Next>,
    /// How long the newest has been there.
    age: Duration,
    /// Nothing is left.
    is_all: bool,
    has_company: bool,
}

impl<E: Env> Watch<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, cell: Arc<HubCell<E>>, subscription: SubscriptionId) -> Self {
        tracing::debug!(chat = %cell.chat(), %subscription, "a viewer subscribed");
        Self { shared, cell, subscription, told: None, has_company: false, lag: None }
    }

    pub(crate) fn lag(&self) -> Option<Duration> {
        self.lag
    }

    /// The bytes of an event, which other viewers who are told the same need not write again. All who ask write it in the same way.
    pub(crate) fn shared(&self, event: &StreamEvent, write: impl FnOnce() -> Bytes) -> Bytes {
        if self.has_company { self.cell.frame().of(event, write) } else { write() }
    }

    pub(crate) async fn next(&mut self) -> Next {
        let mut waited = false;
        loop {
            let news = self.cell.news_count();
            if self.told != Some(news) {
                let Collected { next, age, is_all, has_company } = self.collect();
                self.told = is_all.then_some(news);
                self.has_company = has_company;
                if let Some(next) = next {
                    self.lag = waited.then_some(age);
                    return next;
                }
            }
            let more = self.cell.news();
            let mut more = std::pin::pin!(more);
            more.as_mut().enable();
            if self.told == Some(self.cell.news_count()) {
                more.await;
            }
            waited = true;
        }
    }

    /// The events that are due now. Nothing is awaited between computing events and returning them.
    fn collect(&self) -> Collected {
        let mut events = Vec::new();
        let mut bytes = 0;
        let collected = self.cell.enter(&self.shared.env, |entry| {
            let mut is_all = false;
            while events.len() < EVENTS_MAX && bytes < EVENTS_BYTES_MAX {
                let Some(event) = entry.next_event(self.subscription) else {
                    is_all = true;
                    break;
                };
                bytes += match &event.body {
                    Body::Parts { text, .. } => text.len(),
                    Body::Message(message) => message.content.as_json().len(),
                    _ => 0,
                };
                events.push(event);
            }
            (entry.ending_for(self.subscription), entry.age_of_news(), is_all, entry.has_company())
        });
        // The hub was ended together with its replica.
        let over = (Some(Ending::Leaving), Duration::ZERO, false, false);
        let (ending, age, is_all, has_company) = collected.unwrap_or(over);
        let next = if events.is_empty() { ending.map(Next::End) } else { Some(Next::Events(events)) };
        // Behind the last events comes the end.
        Collected { next, age, is_all: is_all && ending.is_none(), has_company }
    }
}

impl<E: Env> Drop for Watch<E> {
    fn drop(&mut self) {
        let subscription = self.subscription;
        tracing::debug!(chat = %self.cell.chat(), %subscription, "a viewer left");
        self.cell.enter(&self.shared.env, |entry| {
            entry.handle(HubEvent::Audience(AudienceEvent::Leave { subscription }))
        });
    }
}

/// A follower's subscription to a hub. Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct Followed<E: Env> {
    shared: Arc<Shared<E>>,
    cell: Arc<HubCell<E>>,
    follower: FollowerId,
}

impl<E: Env> Followed<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, cell: Arc<HubCell<E>>, follower: FollowerId) -> Self {
        Self { shared, cell, follower }
    }

    /// The next frame; `None` when this replica does not work on the chat any more. Frames are computed one
    /// at a time, so that none is sent after the lease has expired (S5).
    pub(crate) async fn next(&mut self) -> Option<RelayFrame> {
        loop {
            let news = self.cell.news();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            let follower = self.follower;
            let (frame, over) = self
                .cell
                .enter(&self.shared.env, |entry| (entry.next_frame(follower), entry.is_over_for(follower)))
                .unwrap_or((None, true));
            match frame {
                Some(frame) => return Some(frame),
                None if over => return None,
                None => news.await,
            }
        }
    }
}

impl<E: Env> Drop for Followed<E> {
    fn drop(&mut self) {
        let follower = self.follower;
        self.cell.enter(&self.shared.env, |entry| {
            entry.handle(HubEvent::Audience(AudienceEvent::Unfollow { follower }))
        });
    }
}
