//! The one door of a hub: what it is told and what it says, as values. Nothing else changes a hub, so one that was told
//! the same inputs from its first state on is the same hub, and has said the same.

use alloc::vec::Vec;

use super::{Hub, HubAction, HubEvent, JoinedParts};
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
    /// The socket of a viewer can take an event.
    NextEvent(SubscriptionId),
    /// The socket of a follower can take a frame.
    NextFrame(FollowerId),
}

/// All that a hub says to one input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// What it asks for, in this order.
    pub actions: Vec<HubAction>,
    /// What the viewer that asked is told next, if there is anything.
    pub event: Option<StreamEvent>,
    /// What the follower that asked is sent next, if there is anything.
    pub frame: Option<RelayFrame>,
    /// There may be something new for viewers and followers: they should ask, each when its socket can take more.
    pub news: bool,
}

impl Hub {
    /// Takes one input. What it leads to is all in the answer; [`poll_timeout`](Self::poll_timeout) has moved with it.
    /// `joined` is shared by all viewers of a hub.
    #[inline]
    pub fn take(&mut self, input: Input, joined: &mut JoinedParts) -> Output {
        let Input { at, what } = input;
        match what {
            Told::Event(happened) => {
                self.handle(at, happened);
                self.said(None, None)
            }
            Told::NextEvent(subscription) => {
                let event = self.next_event(at, subscription, joined);
                self.said(event, None)
            }
            Told::NextFrame(follower) => {
                let frame = self.next_frame(at, follower);
                self.said(None, frame)
            }
        }
    }

    #[inline]
    fn said(&mut self, event: Option<StreamEvent>, frame: Option<RelayFrame>) -> Output {
        Output { actions: self.out.take(), event, frame, news: core::mem::take(&mut self.news) }
    }
}
