//! The hub's subscription to the bus. Without one, the hub learns of changes by the periodic sync alone, and
//! keeps trying to subscribe.

use super::event::{Deadline, HubAction, Reason};
use super::outbox::Outbox;
use crate::backoff::Backoff;
use crate::limits::BUS_SUBSCRIBE_TIMEOUT;
use crate::marks::sometimes;
use crate::{OpId, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BusSubscription {
    phase: Phase,
    /// The first attempt has been answered, or has timed out.
    answered: bool,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Unsubscribed,
    Subscribing { op: OpId, until: Time },
    Subscribed,
    WaitingToRetry { until: Time },
}

impl BusSubscription {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Unsubscribed, answered: false, backoff: Backoff::default() }
    }

    /// Whether a read may begin. The first attempt to subscribe comes before the first read (R19).
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether a read has to follow: changes before the subscription was in force were not announced.
    pub(super) fn on_subscribed(&mut self, now: Time, op: OpId, established: bool) -> bool {
        if !matches!(self.phase, Phase::Subscribing { op: present, .. } if present == op) {
            return false;
        }
        self.answered = true;
        if established {
            self.backoff.reset();
            self.phase = Phase::Subscribed;
        } else {
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        true
    }

    pub(super) fn on_lost(&mut self, now: Time) {
        if self.phase == Phase::Subscribed {
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
    }

    /// Subscribes if there is no subscription. Returns whether an attempt timed out, so that a read is needed
    /// instead.
    pub(super) fn settle(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut timed_out = false;
        if let Phase::Subscribing { until, .. } = self.phase
            && until <= now
        {
            sometimes!("a bus subscription times out");
            timed_out = true;
            self.answered = true;
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        let due = match self.phase {
            Phase::Unsubscribed => true,
            Phase::WaitingToRetry { until } => until <= now,
            Phase::Subscribing { .. } | Phase::Subscribed => false,
        };
        if due {
            let op = out.ask(|op| HubAction::BusSubscribe { op });
            self.phase = Phase::Subscribing { op, until: now + BUS_SUBSCRIBE_TIMEOUT };
        }
        timed_out
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.phase {
            Phase::WaitingToRetry { until } | Phase::Subscribing { until, .. } => {
                Some(Deadline { at: until, reason: Reason::BusRetry })
            }
            Phase::Unsubscribed | Phase::Subscribed => None,
        }
    }
}
