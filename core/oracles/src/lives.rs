//! Which replicas are up, which of them may work, how their clocks drift, and which faults may be felt where.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, Time};

use crate::marks::Marks;
use crate::{FaultKind, Life, Name};

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) up: bool,
    pub(crate) paused: bool,
    /// Since when it drains.
    pub(crate) draining: Option<Time>,
    pub(crate) may_work: bool,
    /// Incremented with every start.
    pub(crate) life: u64,
    /// The largest difference that the rate of its clock ever had, in thousandths.
    drift: u32,
}

impl Default for Replica {
    fn default() -> Self {
        Self { up: false, paused: false, draining: None, may_work: true, life: 0, drift: 0 }
    }
}

impl Replica {
    /// Why it does nothing now, or only what ends.
    fn rests(&self) -> Option<FaultKind> {
        match self {
            Self { up: false, .. } => Some(FaultKind::Crash),
            Self { paused: true, .. } => Some(FaultKind::Pause),
            Self { draining: Some(_), .. } => Some(FaultKind::Drain),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    replicas: BTreeMap<Name, Replica>,
    pub(crate) marks: Marks,
}

impl Lives {
    pub(crate) fn live(&mut self, at: Time, name: &Name, life: Life) {
        let replica = self.replicas.entry(name.clone()).or_default();
        match life {
            Life::Up => {
                let Replica { life, may_work, drift, .. } = *replica;
                *replica = Replica { up: true, life: life + 1, may_work, drift, ..Replica::default() };
            }
            Life::Crashed | Life::Vanished => replica.up = false,
            Life::Paused => replica.paused = true,
            Life::Resumed => replica.paused = false,
            Life::Draining => replica.draining = replica.draining.or(Some(at)),
        }
        let is_up = replica.up;
        match life {
            Life::Crashed | Life::Vanished => self.marks.strike_host(at, FaultKind::Crash, name),
            Life::Paused => self.marks.strike_host(at, FaultKind::Pause, name),
            Life::Up => self.marks.host_ended(at, name),
            // A process that is dead does not go on when its pause is over.
            Life::Resumed if is_up => self.marks.host_ended(at, name),
            Life::Resumed | Life::Draining => {}
        }
    }

    pub(crate) fn may_work(&mut self, name: &Name, may: bool) {
        self.replicas.entry(name.clone()).or_default().may_work = may;
    }

    pub(crate) fn drift(&mut self, name: &Name, per_mille: u32) {
        let replica = self.replicas.entry(name.clone()).or_default();
        replica.drift = replica.drift.max(per_mille);
    }

    fn drift_of(&self, name: &str) -> u32 {
        self.replicas.get(name).map_or(0, |replica| replica.drift)
    }

    /// The longest time that a span may last if it is measured by the replica's clock.
    pub(crate) fn longest(&self, name: &str, span: Duration) -> Duration {
        span * 1000 / 1000_u32.saturating_sub(self.drift_of(name)).max(1)
    }

    pub(crate) fn shortest(&self, name: &str, span: Duration) -> Duration {
        span * 1000 / (1000 + self.drift_of(name))
    }

    pub(crate) fn replica(&self, name: &str) -> Option<&Replica> {
        self.replicas.get(name)
    }

    /// Replicas that can acquire a chat now.
    pub(crate) fn able(&self) -> impl Iterator<Item = &Name> {
        let able = |(_, r): &(&Name, &Replica)| r.rests().is_none() && r.may_work;
        self.replicas.iter().filter(able).map(|(name, _)| name)
    }

    /// Why a replica may not answer a dial now.
    pub(crate) fn rests(&self, name: &str) -> Option<FaultKind> {
        self.replicas.get(name).map_or(Some(FaultKind::Crash), Replica::rests)
    }

    /// How long it may take until a replica looks at what another one committed then: no time with notifications, and
    /// until it looks by itself without.
    pub(crate) fn notice_of(
        &self,
        by: &str,
        at: &str,
        chat: ChatId,
        since: Time,
        poll: Duration,
    ) -> Duration {
        let told = self.marks.bus(at, since).is_none() && self.marks.bus(by, since).is_none();
        let tells = self.hampered(by, chat, since).is_none()
            && self.replicas.get(by).is_none_or(|replica| replica.up);
        if told && tells { Duration::ZERO } else { self.longest(at, poll) }
    }

    /// What may have kept a replica from acting on the database for a chat as fast as it should, at some time since
    /// then. What befell another chat there did not.
    pub(crate) fn hampered(&self, name: &str, chat: ChatId, since: Time) -> Option<FaultKind> {
        self.marks.host(name, since).or_else(|| self.marks.database(name, chat, since))
    }
}
