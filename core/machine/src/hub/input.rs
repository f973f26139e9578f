//! What a hub is told and what it says, as values. Nothing else changes a hub, so one that was told the same
//! inputs from its first state on is the same hub, and has said the same.

use alloc::vec::Vec;

use super::{Deadline, Hub, HubAction, HubEvent, JoinedParts};
use crate::{FollowerId, RelayFrame, StreamEvent, SubscriptionId, Time};

/// One thing that a hub is told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Input {
    /// The time on the clock that [`Hub::new`] was given.
    pub at: Time,
    /// What it is told.
    pub what: Told,
}

/// What a hub is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Told {
    /// Something has happened.
    Event(HubEvent),
    /// A viewer can take an event: as [`Hub::next_event`].
    NextEvent(SubscriptionId),
    /// A follower can take a frame: as [`Hub::next_frame`].
    NextFrame(FollowerId),
}

/// All that a hub says to one input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// What it asks for, in this order.
    pub actions: Vec<HubAction>,
    /// What the viewer that asked is told.
    pub event: Option<StreamEvent>,
    /// What the follower that asked is sent.
    pub frame: Option<RelayFrame>,
    /// Whether viewers and followers should ask.
    pub news: bool,
    /// When it wants to be woken.
    pub deadline: Option<Deadline>,
}

impl Hub {
    /// Takes one input. A hub that is driven by this alone needs no other call.
    pub fn take(&mut self, input: Input, joined: &mut JoinedParts) -> Output {
        let Input { at, what } = input;
        let (mut event, mut frame) = (None, None);
        match what {
            Told::Event(happened) => self.handle(at, happened),
            Told::NextEvent(subscription) => event = self.next_event(at, subscription, joined),
            Told::NextFrame(follower) => frame = self.next_frame(at, follower),
        }
        let actions = core::iter::from_fn(|| self.poll_action()).collect();
        Output { actions, event, frame, news: self.take_news(), deadline: self.poll_timeout() }
    }
}
