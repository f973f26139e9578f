//! Viewers and followers: who is there, what each is told next, and the pages that are read for them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use super::event::{AudienceEvent, OpOutcome};
use super::follower::Follower;
use super::subscription::{Sight, Step, Subscription};
use super::{Hub, HubAction, JoinedParts, Runner};
use crate::backoff::Backoff;
use crate::limits::{FOLLOWERS_MAX, PAGE_READS_MAX, SUBSCRIPTIONS_MAX};
use crate::marks::sometimes;
use crate::{Ending, FollowerId, OpId, Page, RelayFrame, StreamEvent, SubscriptionId, Time};

/// Reads of pages: which viewers wait for one, which are in flight, and the delay after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pages {
    pub(super) wanted: BTreeSet<SubscriptionId>,
    pub(super) reading: BTreeMap<OpId, SubscriptionId>,
    pub(super) backoff: Backoff,
    pub(super) retry_at: Option<Time>,
}

impl Hub {
    /// Somebody comes or goes.
    pub(super) fn on_audience(&mut self, event: AudienceEvent) {
        match event {
            AudienceEvent::Subscribe { subscription, from, user } => {
                assert!(self.has_capacity_for_viewer(), "B1: viewers are bounded");
                let came = self.reader.want_fresh_unless(self.cached.is_some());
                let viewer = Box::new(Subscription::new(from, came, user));
                let replaced = self.subscriptions.insert(subscription, viewer);
                assert!(replaced.is_none(), "a subscription's id is used once");
                self.news = true;
            }
            AudienceEvent::Leave { subscription } => {
                self.subscriptions.remove(&subscription);
                self.pages.wanted.remove(&subscription);
            }
            AudienceEvent::Follow { follower, position } => {
                assert!(self.has_capacity_for_follower(), "B1: followers are bounded");
                let came = self.reader.want_fresh_unless(self.runner.is_some());
                self.followers.insert(follower, Follower::new(position, came));
                self.news = true;
            }
            AudienceEvent::Unfollow { follower } => drop(self.followers.remove(&follower)),
        }
    }

    /// The next event of a viewer, if there is one. May request a read.
    pub(super) fn next_event(
        &mut self,
        now: Time,
        subscription: SubscriptionId,
        joined: &mut JoinedParts,
    ) -> Option<StreamEvent> {
        self.check_lease(now);
        let cached = self.cached.as_ref()?;
        let viewer = self.subscriptions.get_mut(&subscription)?;
        let suspended_lease = self.runner.as_ref().and_then(Runner::suspended_lease);
        let (reader, deleted) = (&self.reader, self.ending == Some(Ending::Deleted));
        // A read that found no chat says nothing about a cursor that is ahead of the cached state.
        let is_past = |mark| !deleted && reader.is_past(mark);
        match viewer.look(&cached.state, is_past) {
            Sight::Open => {}
            Sight::Closed => return None,
            Sight::Unknown(mark) => {
                self.reader.want_past(mark);
                self.settle_reader(now);
                return None;
            }
        }
        let step = viewer.next(cached, &self.episodes, joined, suspended_lease, is_past);
        match step {
            Step::Event(body) => return Some(StreamEvent { cursor: viewer.cursor(), body }),
            Step::Nothing => {}
            Step::Page => {
                if viewer.wants_page() {
                    self.pages.wanted.insert(subscription);
                    self.settle_pages(now);
                }
            }
            Step::FreshRead(mark) => {
                self.reader.want_past(mark);
                self.settle_reader(now);
            }
        }
        None
    }

    /// Why this viewer's stream ends once all remaining events are sent; `None` if it goes on.
    pub fn ending_for(&self, subscription: SubscriptionId) -> Option<Ending> {
        let viewer = self.subscriptions.get(&subscription).zip(self.cached.as_ref());
        let is_shut_out = viewer.is_some_and(|(viewer, cached)| {
            let is_past = |mark| self.ending != Some(Ending::Deleted) && self.reader.is_past(mark);
            viewer.sight(&cached.state, is_past) == Sight::Closed
        });
        if is_shut_out { Some(Ending::Unshared) } else { self.ending }
    }

    /// The next frame of a follower, if there is one. May request a read.
    pub(super) fn next_frame(&mut self, now: Time, follower: FollowerId) -> Option<RelayFrame> {
        self.check_lease(now);
        let came = self.followers.get(&follower)?.came;
        match &self.runner {
            Some(runner) if runner.suspended_lease().is_some() => return None,
            Some(_) => {}
            // The run has ended since: a read tells whether this replica works on the chat at all.
            None => {
                self.reader.want_past(came);
                self.settle_reader(now);
            }
        }
        self.followers.get_mut(&follower)?.next_frame(&self.episodes)
    }

    /// Whether a follower has nothing more to wait for, because this replica does not work on the chat.
    pub fn is_over_for(&self, follower: FollowerId) -> bool {
        let Some(follower) = self.followers.get(&follower) else { return true };
        let is_past = self.reader.is_past(follower.came);
        self.ending.is_some() || (self.runner.is_none() && is_past && !self.is_named_worker())
    }

    /// How many viewers are here.
    pub fn viewers(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether one more viewer can be admitted (B1).
    pub fn has_capacity_for_viewer(&self) -> bool {
        self.subscriptions.len() < SUBSCRIPTIONS_MAX
    }

    /// Whether one more follower can be admitted (B1).
    pub fn has_capacity_for_follower(&self) -> bool {
        self.followers.len() < FOLLOWERS_MAX
    }

    pub(super) fn on_page(&mut self, now: Time, op: OpId, outcome: OpOutcome<Option<Page>>) {
        let Some(subscription) = self.pages.reading.remove(&op) else { return };
        let viewer = self.subscriptions.get_mut(&subscription).filter(|viewer| viewer.is_reading(op));
        let (Some(viewer), Some(cached)) = (viewer, &self.cached) else { return };
        match outcome {
            OpOutcome::Done(page) => {
                self.pages.backoff.reset();
                sometimes!("a page is read");
                if !page.is_some_and(|page| viewer.on_page(page, cached)) {
                    sometimes!("a page is of another history");
                    viewer.await_read(self.reader.want_fresh());
                }
            }
            OpOutcome::Refused | OpOutcome::Unknown => {
                viewer.on_page_failed();
                self.pages.wanted.insert(subscription);
                self.pages.retry_at = Some(now + self.pages.backoff.next_delay());
            }
        }
        self.news = true;
    }

    pub(super) fn settle_pages(&mut self, now: Time) {
        if self.pages.wanted.is_empty() {
            self.pages.retry_at = None;
        }
        if self.pages.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.pages.retry_at = None;
        let Some(cached) = &self.cached else { return };
        let until = cached.state.last_message;
        while self.pages.reading.len() < PAGE_READS_MAX
            && let Some(subscription) = self.pages.wanted.pop_first()
        {
            let Some(viewer) = self.subscriptions.get_mut(&subscription) else { continue };
            let after = viewer.message();
            let op = self.out.ask(|op| HubAction::ReadPage { op, after, until });
            viewer.begin_page(op);
            self.pages.reading.insert(op, subscription);
        }
    }
}
