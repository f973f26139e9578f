//! Faults of calls to the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_story::{CallFault, LateAnswers, PlannedFault};

#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<PlannedFault>,
    slow_all: Duration,
    slow: BTreeMap<String, Duration>,
    late_all: LateAnswers,
    late: BTreeMap<String, LateAnswers>,
    all_cut_off: bool,
    cut_off: BTreeSet<String>,
    idle: BTreeSet<String>,
    all_exhausted: bool,
    exhausted: BTreeSet<String>,
}

impl Faults {
    pub(super) fn plan(&mut self, planned: PlannedFault) {
        self.planned.push(planned);
    }

    pub(super) fn take(&mut self, replica: &str, op: &str) -> Option<CallFault> {
        let meant = |planned: &PlannedFault| {
            planned.replica.as_deref().is_none_or(|meant| meant == replica)
                && planned.op.as_deref().is_none_or(|meant| meant == op)
        };
        let at = self.planned.iter().position(meant)?;
        let call_fault = self.planned[at].call_fault;
        self.planned[at].times -= 1;
        if self.planned[at].times == 0 {
            self.planned.remove(at);
        }
        Some(call_fault)
    }

    pub(super) fn set_slow(&mut self, replica: Option<&str>, by: Duration) {
        match replica {
            Some(replica) => drop(self.slow.insert(replica.to_owned(), by)),
            None => self.slow_all = by,
        }
    }

    pub(super) fn slow(&self, replica: &str) -> Duration {
        self.slow_all + self.slow.get(replica).copied().unwrap_or_default()
    }

    pub(super) fn set_late(&mut self, replica: Option<&str>, late: LateAnswers) {
        match replica {
            Some(replica) => drop(self.late.insert(replica.to_owned(), late)),
            None => self.late_all = late,
        }
    }

    pub(super) fn late(&self, replica: &str) -> LateAnswers {
        let (all, own) = (self.late_all, self.late.get(replica).copied().unwrap_or_default());
        LateAnswers { by: all.by + own.by, scattered: all.scattered + own.scattered }
    }

    pub(super) fn set_cut_off(&mut self, replica: Option<&str>, cut: bool) {
        match (replica, cut) {
            (None, cut) => self.all_cut_off = cut,
            (Some(replica), true) => drop(self.cut_off.insert(replica.to_owned())),
            (Some(replica), false) => drop(self.cut_off.remove(replica)),
        }
    }

    pub(super) fn is_cut_off(&self, replica: &str) -> bool {
        self.all_cut_off || self.cut_off.contains(replica)
    }

    pub(super) fn set_exhausted(&mut self, replica: Option<&str>, exhausted: bool) {
        match (replica, exhausted) {
            (None, exhausted) => self.all_exhausted = exhausted,
            (Some(replica), true) => drop(self.exhausted.insert(replica.to_owned())),
            (Some(replica), false) => drop(self.exhausted.remove(replica)),
        }
    }

    pub(super) fn is_exhausted(&self, replica: &str) -> bool {
        self.all_exhausted || self.exhausted.contains(replica)
    }

    pub(super) fn set_may_work(&mut self, replica: &str, may: bool) {
        if may {
            self.idle.remove(replica);
        } else {
            self.idle.insert(replica.to_owned());
        }
    }

    pub(super) fn may_work(&self, replica: &str) -> bool {
        !self.idle.contains(replica)
    }

    /// Which replicas may work is up to the story, so that stays.
    pub(super) fn clear_faults(&mut self) {
        *self = Self { idle: std::mem::take(&mut self.idle), ..Self::default() };
    }
}
