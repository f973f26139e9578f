//! L2: no chat stays `interrupting`, whoever died. One that nobody owns is taken up like other work.

use mainstem_machine::Status;

use crate::idle_work::{IdleWork, still};
use crate::{Facts, Known, Oracle, Ruling, Seen};

#[derive(Debug, Default)]
pub(crate) struct InterruptEnds(IdleWork);

impl Oracle for InterruptEnds {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        self.0.observe(seen, Status::Interrupting)
    }

    fn missing(&self, known: &Known, _facts: &Facts) -> Option<String> {
        still(known, Status::Interrupting)
    }
}
