//! The hub's subscription to the bus. Whether it is in force is a state: without it the hub goes on by the
//! periodic sync alone, and tries again.

use super::event::{Deadline, HubAction, Reason};
use super::outbox::Outbox;
use crate::backoff::Backoff;
use crate::limits::BUS_SUBSCRIBE_TIMEOUT;
use crate::marks::sometimes;
use crate::{OpId, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Arming {
    phase: Phase,
    /// The first attempt has been answered, or was waited for long enough.
    answered: bool,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Unarmed,
    Subscribing { op: OpId, until: Time },
    Armed,
    WaitingToRetry { until: Time },
}

impl Arming {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Unarmed, answered: false, backoff: Backoff::default() }
    }

    /// Whether a read may begin: the first attempt comes before it (R19).
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether a read has to follow: what changed before the subscription was in force was not told.
    pub(super) fn on_subscribed(&mut self, now: Time, op: OpId, armed: bool) -> bool {
        if !matches!(self.phase, Phase::Subscribing { op: present, .. } if present == op) {
            return false;
        }
        self.answered = true;
        if armed {
            self.backoff.reset();
            self.phase = Phase::Armed;
        } else {
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        true
    }

    pub(super) fn on_lost(&mut self, now: Time) {
        if self.phase == Phase::Armed {
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
    }

    /// Moves towards being armed. Tells whether an attempt was given up, so that a read has to do.
    pub(super) fn settle(&mut self, now: Time, out: &mut Outbox) -> bool {
        let mut given_up = false;
        if let Phase::Subscribing { until, .. } = self.phase
            && until <= now
        {
            sometimes!("a bus subscription is given up");
            given_up = true;
            self.answered = true;
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        let due = match self.phase {
            Phase::Unarmed => true,
            Phase::WaitingToRetry { until } => until <= now,
            Phase::Subscribing { .. } | Phase::Armed => false,
        };
        if due {
            let op = out.ask(|op| HubAction::BusSubscribe { op });
            self.phase = Phase::Subscribing { op, until: now + BUS_SUBSCRIBE_TIMEOUT };
        }
        given_up
    }

    pub(super) fn close(&mut self, out: &mut Outbox) {
        if self.phase != Phase::Unarmed {
            out.push(HubAction::BusUnsubscribe);
        }
        self.phase = Phase::Unarmed;
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.phase {
            Phase::WaitingToRetry { until } | Phase::Subscribing { until, .. } => {
                Some(Deadline { at: until, reason: Reason::BusRetry })
            }
            Phase::Unarmed | Phase::Armed => None,
        }
    }
}
