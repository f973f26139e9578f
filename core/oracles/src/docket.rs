//! What the judges were asked, and what they excused because of a fault. A judge that excuses everything holds
//! nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

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
