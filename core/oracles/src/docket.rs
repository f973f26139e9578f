//! What the judges were asked, and what they excused because of a fault. A judge that excuses everything holds
//! nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{FaultKind, Guarantee};

/// Counts of one run. Judges count while they look at evidence that others look at too: hence the cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Docket {
    asked: [Cell<u64>; Guarantee::ALL.len()],
    excused: RefCell<BTreeMap<(Guarantee, FaultKind), u64>>,
}

impl Docket {
    pub(crate) fn ask(&self, guarantee: Guarantee) {
        let asked = &self.asked[guarantee as usize];
        asked.set(asked.get() + 1);
    }

    pub(crate) fn excuse(&self, guarantee: Guarantee, kind: FaultKind) {
        *self.excused.borrow_mut().entry((guarantee, kind)).or_default() += 1;
    }

    /// How often something was to be judged under a guarantee, excused or not.
    pub fn asked(&self, guarantee: Guarantee) -> u64 {
        self.asked[guarantee as usize].get()
    }

    /// How often the judge of a guarantee objected to nothing because of a fault of this kind.
    pub fn excused(&self) -> BTreeMap<(Guarantee, FaultKind), u64> {
        self.excused.borrow().clone()
    }
}

/// The sums over many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dockets {
    /// How often the judge of each guarantee had something to judge ...
    pub judged: BTreeMap<Guarantee, u64>,
    /// ... and objected to nothing only because of a fault of this kind.
    pub excused: BTreeMap<Guarantee, BTreeMap<FaultKind, u64>>,
}

impl Dockets {
    /// Adds what was asked and excused in a run.
    pub fn enter(&mut self, docket: &Docket) {
        for guarantee in Guarantee::ALL.iter().filter(|guarantee| docket.asked(**guarantee) > 0) {
            *self.judged.entry(*guarantee).or_default() += docket.asked(*guarantee);
        }
        for ((guarantee, kind), count) in docket.excused.borrow().iter() {
            *self.excused.entry(*guarantee).or_default().entry(*kind).or_default() += count;
        }
    }

    /// Adds those of other runs.
    pub fn add(&mut self, other: &Self) {
        for (guarantee, count) in &other.judged {
            *self.judged.entry(*guarantee).or_default() += count;
        }
        for (guarantee, kinds) in &other.excused {
            let mine = self.excused.entry(*guarantee).or_default();
            kinds.iter().for_each(|(kind, count)| *mine.entry(*kind).or_default() += count);
        }
    }

    /// Judges that had something to judge, and excused all of it: they held nothing.
    pub fn excused_everything(&self) -> Vec<Guarantee> {
        let all = self.judged.iter().filter(|(guarantee, asked)| {
            self.excused.get(guarantee).is_some_and(|kinds| kinds.values().sum::<u64>() >= **asked)
        });
        all.map(|(guarantee, _)| *guarantee).collect()
    }
}

/// What was judged under each guarantee, and what was excused because of which faults.
impl fmt::Display for Dockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "judged      by each guarantee, and of that excused")?;
        for (guarantee, asked) in &self.judged {
            let kinds = self.excused.get(guarantee);
            let mut most: Vec<_> = kinds.into_iter().flatten().collect();
            most.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), **kind));
            let all: u64 = most.iter().map(|(_, count)| **count).sum();
            let most: Vec<_> = most.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            let of = if most.is_empty() { String::new() } else { format!(": {}", most.join(", ")) };
            writeln!(f, "  {guarantee:<4} {asked:>12} {all:>8}{of}")?;
        }
        Ok(())
    }
}
