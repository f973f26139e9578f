//! Which replicas are up, which of them may work, and which faults are in force.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_machine::Time;

use crate::fault::Strikes;
use crate::{FaultKind, Life, Name};

/// How long after faults are cleared their effects last: by then, database operations and bus subscriptions
/// that were in flight have timed out and been retried.
const AFTERMATH: Duration = Duration::from_secs(13);

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) draining: bool,
    pub(crate) may_work: bool,
    /// Incremented with every start.
    pub(crate) life: u64,
}

impl Default for Replica {
    fn default() -> Self {
        Self { up: false, paused: false, draining: false, may_work: true, life: 0 }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    replicas: BTreeMap<Name, Replica>,
    /// Hosts affected by a fault that is in force.
    touched: BTreeSet<Name>,
    /// Links under a lasting fault, links with the time of their last momentary fault, and links that are
    /// slow for the rest of the run.
    links: BTreeSet<(Name, Name)>,
    affected_links: BTreeMap<(Name, Name), Time>,
    slow_links: BTreeSet<(Name, Name)>,
    /// Links over which dials may fail.
    barred: BTreeSet<(Name, Name)>,
    /// A fault of the bus or the database is in force.
    bus_suffers: bool,
    database_suffers: bool,
    /// The time at which the effects of past faults are over.
    bus_works_from: Time,
    calm_from: Time,
    /// The largest difference of any clock's rate, in thousandths.
    drift: u32,
    /// A fault other than the death of a replica is in force.
    pub(crate) uneasy: bool,
    pub(crate) faults_cleared_at: Option<Time>,
}

impl Lives {
    pub(crate) fn live(&mut self, name: &Name, life: Life) {
        let replica = self.replicas.entry(name.clone()).or_default();
        match life {
            Life::Up => {
                let life = replica.life + 1;
                *replica = Replica { up: true, life, may_work: replica.may_work, ..Replica::default() };
            }
            Life::Crashed | Life::Vanished => replica.up = false,
            Life::Paused => replica.paused = true,
            Life::Resumed => replica.paused = false,
            Life::Draining => replica.draining = true,
        }
        // A replica that starts is not affected by earlier faults.
        match life {
            Life::Up => self.touched.remove(name),
            _ => self.touched.insert(name.clone()),
        };
        if matches!(life, Life::Paused | Life::Resumed) {
            self.uneasy = true;
        }
    }

    pub(crate) fn may_work(&mut self, name: &Name, may: bool) {
        self.replicas.entry(name.clone()).or_default().may_work = may;
    }

    pub(crate) fn suffer(&mut self, at: Time, kind: FaultKind, who: &Name, other: Option<&Name>) {
        if let Some(other) = other {
            let link = (who.clone(), other.clone());
            if matches!(kind, FaultKind::DialsRuled | FaultKind::Clog | FaultKind::HalfOpen) {
                self.barred.insert(link.clone());
            }
            match kind {
                FaultKind::LinkSlow => drop(self.slow_links.insert(link)),
                // These do not affect what is in flight already.
                FaultKind::DialsRuled | FaultKind::Reset => drop(self.affected_links.insert(link, at)),
                _ => drop(self.links.insert(link)),
            }
            self.uneasy = true;
            return;
        }
        match kind.strikes() {
            Strikes::Nothing => {}
            // What they affect comes with the link.
            Strikes::Dials | Strikes::Link => self.uneasy = true,
            Strikes::Host | Strikes::Clock => {
                self.uneasy |= kind != FaultKind::ViewerStopsReading;
                self.touched.insert(who.clone());
            }
            Strikes::Bus => (self.uneasy, self.bus_suffers) = (true, true),
            Strikes::Database => (self.uneasy, self.database_suffers) = (true, true),
        }
    }

    pub(crate) fn drift(&mut self, name: &Name, per_mille: u32) {
        self.drift = self.drift.max(per_mille);
        if per_mille > 0 {
            self.uneasy = true;
            self.touched.insert(name.clone());
        }
    }

    /// The longest time that a span may last if it is measured by a replica's clock.
    pub(crate) fn longest(&self, span: Duration) -> Duration {
        span * 1000 / 1000_u32.saturating_sub(self.drift).max(1)
    }

    pub(crate) fn shortest(&self, span: Duration) -> Duration {
        span * 1000 / (1000 + self.drift)
    }

    pub(crate) fn clear_faults(&mut self, at: Time) {
        self.touched.clear();
        self.links.clear();
        self.affected_links.clear();
        self.barred.clear();
        if std::mem::take(&mut self.bus_suffers) {
            self.bus_works_from = at + AFTERMATH;
        }
        if std::mem::take(&mut self.database_suffers) {
            self.calm_from = at + AFTERMATH;
        }
        self.uneasy = !self.slow_links.is_empty();
        self.faults_cleared_at = Some(at);
    }

    pub(crate) fn replica(&self, name: &str) -> Option<&Replica> {
        self.replicas.get(name)
    }

    pub(crate) fn is_touched(&self, name: &str) -> bool {
        self.touched.contains(name)
    }

    pub(crate) fn is_link_barred(&self, one: &str, other: &str) -> bool {
        let pairs = [(Name::from(one), Name::from(other)), (Name::from(other), Name::from(one))];
        pairs.iter().any(|pair| self.barred.contains(pair))
    }

    /// Whether data that went over the link since then may be late.
    pub(crate) fn is_link_touched(&self, one: &str, other: &str, since: Time) -> bool {
        let pairs = [(Name::from(one), Name::from(other)), (Name::from(other), Name::from(one))];
        let affected = |pair| self.affected_links.get(pair).is_some_and(|at| *at >= since);
        pairs.iter().any(|pair| self.links.contains(pair) || self.slow_links.contains(pair) || affected(pair))
    }

    /// Replicas that can acquire a chat now.
    pub(crate) fn able(&self) -> impl Iterator<Item = &Name> {
        let able = |(_, r): &(&Name, &Replica)| r.up && !r.paused && !r.draining && r.may_work;
        self.replicas.iter().filter(able).map(|(name, _)| name)
    }

    /// Whether no fault delays anything.
    pub(crate) fn is_calm(&self, at: Time) -> bool {
        !self.uneasy && at >= self.calm_from
    }

    /// Whether the bus delivers notices at once.
    pub(crate) fn is_notified(&self, at: Time) -> bool {
        !self.bus_suffers && at >= self.bus_works_from
    }
}
