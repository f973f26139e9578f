//! The one upstream of a hub: a question where the worker is reached that the database names, a dial, and then a relay.
//!
//! Everything that arrives carries its [`DialId`]. What does not belong to the current dial is ignored and
//! closed (R01, R06, R07).

use alloc::sync::Arc;

use super::action::{Deadline, HubAction, Reason};
use super::outbox::Outbox;
use crate::limits::{DIAL_RETRY_DELAY, DIAL_TIMEOUT};
use crate::marks::sometimes;
use crate::replica::ReplicaEvent;
use crate::{ChatId, DialId, Lease, RelayFault, RelayPosition, ReplicaId, Time};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Relay {
    phase: Phase,
    last_dial: u64,
}

/// Whom to follow, and under which lease. Another lease is another target, even if the worker is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) chat: ChatId,
    pub(super) worker: ReplicaId,
    pub(super) lease: Lease,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    /// The replica's machine was asked where the target is reached.
    Locating {
        target: Target,
        until: Time,
    },
    Dialing {
        dial: DialId,
        target: Target,
        until: Time,
    },
    Following {
        dial: DialId,
        target: Target,
    },
    WaitingToRetry {
        target: Target,
        until: Time,
    },
    /// The target rejected our credentials: it is not dialed again (R28).
    Denied {
        target: Target,
    },
}

impl Phase {
    fn target(&self) -> Option<&Target> {
        match self {
            Self::Idle => None,
            Self::Locating { target, .. }
            | Self::Dialing { target, .. }
            | Self::Following { target, .. }
            | Self::WaitingToRetry { target, .. }
            | Self::Denied { target } => Some(target),
        }
    }

    fn dial(&self) -> Option<DialId> {
        match self {
            Self::Dialing { dial, .. } | Self::Following { dial, .. } => Some(*dial),
            Self::Idle | Self::Locating { .. } | Self::WaitingToRetry { .. } | Self::Denied { .. } => None,
        }
    }
}

impl Relay {
    pub(super) fn is_present(&self, dial: DialId) -> bool {
        self.phase.dial() == Some(dial)
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.phase.target()
    }

    /// The worker is reached there: it is dialed, if that is still wanted. `position` is the hub's, never a viewer's.
    pub(super) fn on_located(
        &mut self,
        worker: &ReplicaId,
        address: Arc<str>,
        position: impl FnOnce(&Target) -> Option<RelayPosition>,
        out: &mut Outbox,
    ) {
        self.phase = match core::mem::take(&mut self.phase) {
            Phase::Locating { target, until } if target.worker == *worker => {
                self.last_dial += 1;
                let dial = DialId(self.last_dial);
                let (worker, position) = (target.worker.clone(), position(&target));
                out.push(HubAction::Dial { dial, worker, address, position });
                Phase::Dialing { dial, target, until }
            }
            other => other,
        };
    }

    /// Nobody knows where the worker is reached. Returns whether that was wanted.
    pub(super) fn on_not_located(&mut self, now: Time, worker: &ReplicaId) -> bool {
        let is_asked = matches!(&self.phase, Phase::Locating { target, .. } if target.worker == *worker);
        if is_asked {
            self.wait_to_retry(now);
        }
        is_asked
    }

    fn wait_to_retry(&mut self, now: Time) {
        if let Phase::Locating { target, .. } = core::mem::take(&mut self.phase) {
            self.phase = Phase::WaitingToRetry { target, until: now + DIAL_RETRY_DELAY };
        }
    }

    /// A dial has been answered. If it is not the current one, it is closed.
    pub(super) fn on_dialed(&mut self, dial: DialId, out: &mut Outbox) {
        match core::mem::take(&mut self.phase) {
            Phase::Dialing { dial: present, target, .. } if present == dial => {
                self.phase = Phase::Following { dial, target };
            }
            other => {
                self.phase = other;
                if !self.is_present(dial) {
                    out.push(HubAction::CloseDial { dial });
                }
            }
        }
    }

    /// The dial failed, or the relay broke. Returns under which lease the worker was followed, if that was the current dial.
    pub(super) fn on_gone(&mut self, now: Time, dial: DialId, fault: RelayFault) -> Option<Lease> {
        if !self.is_present(dial) {
            return None;
        }
        let lease = self.phase.target().map(|target| target.lease);
        if let Phase::Dialing { target, .. } | Phase::Following { target, .. } =
            core::mem::take(&mut self.phase)
        {
            self.phase = match fault {
                RelayFault::Denied => Phase::Denied { target },
                RelayFault::Gone | RelayFault::NotWorker | RelayFault::Nonsense => {
                    Phase::WaitingToRetry { target, until: now + DIAL_RETRY_DELAY }
                }
            };
        }
        lease
    }

    /// Aborts the current dial or relay, and tries again after the delay.
    pub(super) fn abort(&mut self, now: Time, dial: DialId, out: &mut Outbox) {
        if self.is_present(dial) {
            out.push(HubAction::CloseDial { dial });
            self.on_gone(now, dial, RelayFault::Nonsense);
        }
    }

    /// Goes for `wanted`, and closes whatever goes to another target. The time that a dial may take counts from the
    /// question where the target is reached.
    pub(super) fn settle(&mut self, now: Time, wanted: Option<Target>, out: &mut Outbox) {
        if self.phase.target() != wanted.as_ref() {
            if let Some(dial) = self.phase.dial() {
                out.push(HubAction::CloseDial { dial });
            }
            self.phase = Phase::Idle;
        }
        if let Phase::Locating { until, .. } | Phase::Dialing { until, .. } = &self.phase
            && *until <= now
        {
            sometimes!("a dial times out");
            match self.phase.dial() {
                Some(dial) => self.abort(now, dial, out),
                None => self.wait_to_retry(now),
            }
        }
        let due = match &self.phase {
            Phase::Idle => true,
            Phase::WaitingToRetry { until, .. } => *until <= now,
            Phase::Locating { .. }
            | Phase::Dialing { .. }
            | Phase::Following { .. }
            | Phase::Denied { .. } => false,
        };
        if let Some(target) = wanted
            && due
        {
            let (chat, replica) = (target.chat, target.worker.clone());
            out.push(HubAction::ToReplica(ReplicaEvent::Locate { chat, replica }));
            self.phase = Phase::Locating { target, until: now + DIAL_TIMEOUT };
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Locating { until, .. } | Phase::Dialing { until, .. } => {
                Some(Deadline { at: *until, reason: Reason::DialTimeout })
            }
            Phase::WaitingToRetry { until, .. } => Some(Deadline { at: *until, reason: Reason::DialRetry }),
            Phase::Idle | Phase::Following { .. } | Phase::Denied { .. } => None,
        }
    }
}
