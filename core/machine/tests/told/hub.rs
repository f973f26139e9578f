//! A hub as these tests talk to it, one thing at a time. What it said is kept until it is asked for.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use mainstem_machine::hub::{self, HubAction, HubConfig, HubEvent, Input, JoinedParts, Output, Told};
use mainstem_machine::{FollowerId, RelayFrame, StreamEvent, SubscriptionId, Time};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hub {
    machine: hub::Hub,
    actions: VecDeque<HubAction>,
    news: bool,
}

impl Hub {
    pub(crate) fn new(now: Time, config: Arc<HubConfig>) -> Self {
        Self { machine: hub::Hub::new(now, config), actions: VecDeque::new(), news: false }
    }

    pub(crate) fn handle(&mut self, at: Time, event: HubEvent) {
        self.take(at, Told::Event(event), &mut JoinedParts::default());
    }

    pub(crate) fn next_event(
        &mut self,
        at: Time,
        viewer: SubscriptionId,
        joined: &mut JoinedParts,
    ) -> Option<StreamEvent> {
        self.take(at, Told::NextEvent(viewer), joined).event
    }

    pub(crate) fn next_frame(&mut self, at: Time, follower: FollowerId) -> Option<RelayFrame> {
        self.take(at, Told::NextFrame(follower), &mut JoinedParts::default()).frame
    }

    pub(crate) fn poll_action(&mut self) -> Option<HubAction> {
        self.actions.pop_front()
    }

    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    fn take(&mut self, at: Time, what: Told, joined: &mut JoinedParts) -> Output {
        let mut said = self.machine.take(Input { at, what }, joined);
        self.actions.extend(std::mem::take(&mut said.actions));
        self.news |= said.news;
        said
    }
}

/// All questions.
impl Deref for Hub {
    type Target = hub::Hub;

    fn deref(&self) -> &hub::Hub {
        &self.machine
    }
}
