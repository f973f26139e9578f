//! What a machine is to its tape.

use std::fmt::Debug;
use std::hash::Hash;

use mainstem_machine::hub::{self, Deadline, Hub, JoinedParts, Told};
use mainstem_machine::replica::{self, Replica};
use mainstem_machine::{FollowerId, RelayFrame, StreamEvent, SubscriptionId, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::recorded::Recorded;
use super::redact::Redact;

/// A machine whose outputs follow from its inputs alone.
pub(crate) trait Taped {
    type Input: Clone + Debug + Serialize + DeserializeOwned + Redact;
    type Action: Debug;
    type Output: Clone + Hash + Redact + Said;

    fn take(&mut self, input: Self::Input, joined: &mut JoinedParts) -> Self::Output;
    fn poll_action(&mut self) -> Option<Self::Action>;
    /// Whether it takes nothing any more.
    fn is_finished(&self) -> bool;
    fn time_of(input: &Self::Input) -> Time;
}

/// All that a machine said to one input.
pub(crate) trait Said {
    /// For people, a line for each thing; and when it wants to be woken.
    fn lines(&self) -> (Vec<String>, Option<Deadline>);
}

impl Taped for Hub {
    type Input = hub::Input;
    type Action = hub::HubAction;
    type Output = hub::Output;

    fn take(&mut self, input: hub::Input, joined: &mut JoinedParts) -> hub::Output {
        self.take(input, joined)
    }

    fn poll_action(&mut self) -> Option<hub::HubAction> {
        self.poll_action()
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn time_of(input: &hub::Input) -> Time {
        input.at
    }
}

impl Said for hub::Output {
    fn lines(&self) -> (Vec<String>, Option<Deadline>) {
        let mut lines: Vec<String> = self.actions.iter().map(|action| format!("{action:?}")).collect();
        lines.extend(self.event.iter().map(|event| format!("{:?}", event.body)));
        lines.extend(self.frame.iter().map(|frame| format!("{frame:?}")));
        lines.extend(self.news.then(|| "News".to_owned()));
        (lines, self.deadline)
    }
}

impl Taped for Replica {
    type Input = replica::Input;
    type Action = replica::ReplicaAction;
    type Output = replica::Output;

    fn take(&mut self, input: replica::Input, _: &mut JoinedParts) -> replica::Output {
        self.take(input)
    }

    fn poll_action(&mut self) -> Option<replica::ReplicaAction> {
        self.poll_action()
    }

    fn is_finished(&self) -> bool {
        false
    }

    fn time_of(input: &replica::Input) -> Time {
        input.at
    }
}

impl Said for replica::Output {
    fn lines(&self) -> (Vec<String>, Option<Deadline>) {
        (self.actions.iter().map(|action| format!("{action:?}")).collect(), self.deadline)
    }
}

/// How the driver tells a hub.
impl Recorded<Hub> {
    pub(crate) fn handle(&mut self, at: Time, event: hub::HubEvent) {
        match self.is_taped() {
            false => self.machine.handle(at, event),
            true => drop(self.tell(hub::Input { at, what: Told::Event(event) }, &mut JoinedParts::default())),
        }
    }

    pub(crate) fn next_event(
        &mut self,
        at: Time,
        subscription: SubscriptionId,
        joined: &mut JoinedParts,
    ) -> Option<StreamEvent> {
        match self.is_taped() {
            false => self.machine.next_event(at, subscription, joined),
            true => self.tell(hub::Input { at, what: Told::NextEvent(subscription) }, joined).event,
        }
    }

    pub(crate) fn next_frame(&mut self, at: Time, follower: FollowerId) -> Option<RelayFrame> {
        match self.is_taped() {
            false => self.machine.next_frame(at, follower),
            true => {
                let input = hub::Input { at, what: Told::NextFrame(follower) };
                self.tell(input, &mut JoinedParts::default()).frame
            }
        }
    }

    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news) | self.machine.take_news()
    }

    fn tell(&mut self, input: hub::Input, joined: &mut JoinedParts) -> hub::Output {
        let mut output = self.take(input, joined);
        self.news |= output.news;
        self.actions.extend(std::mem::take(&mut output.actions));
        output
    }
}

/// How the driver tells the replica's machine.
impl Recorded<Replica> {
    pub(crate) fn handle(&mut self, at: Time, event: replica::ReplicaEvent) {
        match self.is_taped() {
            false => self.machine.handle(at, event),
            true => {
                let output = self.take(replica::Input { at, event }, &mut JoinedParts::default());
                self.actions.extend(output.actions);
            }
        }
    }
}
