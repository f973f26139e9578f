//! L2: no chat stays `interrupting`, whichever replica died. One that nobody holds is acquired like other
//! work.

use mainstem_machine::Status;

use crate::idle_work::{IdleWork, still};
use crate::{EvidenceIndex, Oracle, Ruling, Seen, WorldFacts};

#[derive(Clone, Debug, Default)]
pub(crate) struct InterruptEnds(IdleWork);

impl Oracle for InterruptEnds {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        self.0.observe(seen, Status::Interrupting)
    }

    fn missing(&self, index: &EvidenceIndex, _facts: &WorldFacts) -> Option<String> {
        still(index, Status::Interrupting)
    }
}
