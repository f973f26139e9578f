//! Who lives, who may work, and what is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_machine::Time;

use crate::{Life, Name};

/// An operation of the database that was under way when all healed is given up by then, and done again; so is a
/// subscription to the bus.
const AFTERMATH: Duration = Duration::from_secs(13);

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) draining: bool,
    pub(crate) may_work: bool,
    /// Raised with every start.
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
    /// Whom a fault touches that is in force.
    touched: BTreeSet<Name>,
    /// Links under a fault that goes on, and when others were struck last; those that are slow stay so.
    links: BTreeSet<(Name, Name)>,
    affected_links: BTreeMap<(Name, Name), Time>,
    slow_links: BTreeSet<(Name, Name)>,
    /// Over which a dial may fail.
    barred: BTreeSet<(Name, Name)>,
    /// A fault of the bus or the database is in force.
    bus_suffers: bool,
    database_suffers: bool,
    /// From when on what was under way at a fault is over.
    bus_works_from: Time,
    calm_from: Time,
    /// The most by which any clock has differed, in a thousand.
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
        // Whoever starts has nothing in its way that stood there before.
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

    pub(crate) fn suffer(&mut self, at: Time, kind: &str, who: &Name, other: Option<&Name>) {
        if let Some(other) = other {
            let link = (who.clone(), other.clone());
            if matches!(kind, "dials" | "clog" | "half-open") {
                self.barred.insert(link.clone());
            }
            match kind {
                "link slow" => drop(self.slow_links.insert(link)),
                // What is under way already does not care.
                "dials" | "reset" => drop(self.affected_links.insert(link, at)),
                _ => drop(self.links.insert(link)),
            }
            self.uneasy = true;
            return;
        }
        match kind {
            // A death is told as a life, and the rest is what clients and models do.
            "crash" | "drain" | "asked twice" | "viewer moves" | "a stranger tries" => {}
            _ if kind.starts_with("model") => {}
            "viewer stops reading" => drop(self.touched.insert(who.clone())),
            "pause" | "clock drifts" => {
                self.uneasy = true;
                self.touched.insert(who.clone());
            }
            _ => {
                self.uneasy = true;
                let bus = kind.starts_with("bus") || kind.starts_with("notice");
                self.bus_suffers |= bus;
                self.database_suffers |= !bus;
            }
        }
    }

    pub(crate) fn drift(&mut self, name: &Name, per_mille: u32) {
        self.drift = self.drift.max(per_mille);
        if per_mille > 0 {
            self.uneasy = true;
            self.touched.insert(name.clone());
        }
    }

    /// The longest and the shortest that a span may last by a replica's clock.
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

    /// Whether what goes over the link since then may be late.
    pub(crate) fn is_link_touched(&self, one: &str, other: &str, since: Time) -> bool {
        let pairs = [(Name::from(one), Name::from(other)), (Name::from(other), Name::from(one))];
        let affected = |pair| self.affected_links.get(pair).is_some_and(|at| *at >= since);
        pairs.iter().any(|pair| self.links.contains(pair) || self.slow_links.contains(pair) || affected(pair))
    }

    /// Replicas that can take up a chat now.
    pub(crate) fn able(&self) -> impl Iterator<Item = &Name> {
        let able = |(_, r): &(&Name, &Replica)| r.up && !r.paused && !r.draining && r.may_work;
        self.replicas.iter().filter(able).map(|(name, _)| name)
    }

    /// Whether nothing is in the way of what is due.
    pub(crate) fn is_calm(&self, at: Time) -> bool {
        !self.uneasy && at >= self.calm_from
    }

    /// Whether whoever has to hear of a change hears of it at once.
    pub(crate) fn is_notified(&self, at: Time) -> bool {
        !self.bus_suffers && at >= self.bus_works_from
    }
}
