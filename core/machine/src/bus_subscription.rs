//! A machine's subscription to the bus: a hub's to its chat, a replica's to work. Without one, it learns of changes by
//! the periodic sync alone, and keeps trying to subscribe.

use crate::backoff::Backoff;
use crate::hub::{Deadline, Reason};
use crate::limits::BUS_SUBSCRIBE_TIMEOUT;
use crate::marks::sometimes;
use crate::{OpId, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BusSubscription {
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
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Unsubscribed, answered: false, backoff: Backoff::default() }
    }

    /// Whether a read may begin. The first attempt to subscribe comes before the first read (R19).
    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether this is the answer that was waited for. A read has to follow: changes before the subscription was in
    /// force were not announced.
    pub(crate) fn on_subscribed(&mut self, now: Time, op: OpId, established: bool) -> bool {
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

    pub(crate) fn on_lost(&mut self, now: Time) {
        if self.phase == Phase::Subscribed {
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
    }

    /// Waits no longer for an answer that is overdue. Returns whether it did so just now: what was not announced
    /// until then has to be looked for.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let timed_out = matches!(self.phase, Phase::Subscribing { until, .. } if until <= now);
        if timed_out {
            sometimes!("a bus subscription times out");
            self.answered = true;
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        timed_out
    }

    /// Whether to subscribe now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        match self.phase {
            Phase::Unsubscribed => true,
            Phase::WaitingToRetry { until } => until <= now,
            Phase::Subscribing { .. } | Phase::Subscribed => false,
        }
    }

    /// This operation subscribes.
    pub(crate) fn begin(&mut self, now: Time, op: OpId) {
        self.phase = Phase::Subscribing { op, until: now + BUS_SUBSCRIBE_TIMEOUT };
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self.phase {
            Phase::WaitingToRetry { until } | Phase::Subscribing { until, .. } => {
                Some(Deadline { at: until, reason: Reason::BusRetry })
            }
            Phase::Unsubscribed | Phase::Subscribed => None,
        }
    }
}
