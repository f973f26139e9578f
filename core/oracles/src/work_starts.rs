//! L3: a runnable chat is acquired at once with notifications, and within one poll interval without.

use mainstem_machine::Status;

use crate::idle_work::{IdleWork, still};
use crate::row::judge_work;
use crate::{Evidence, EvidenceIndex, Oracle, Ruling, Seen, WorldFacts};

#[derive(Clone, Debug, Default)]
pub(crate) struct WorkStarts(IdleWork);

impl Oracle for WorkStarts {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        self.0.observe(seen, Status::Running)?;
        let Evidence::Committed(change) = seen.evidence else { return Ok(()) };
        let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
        let (before, after) = past.step();
        judge_work(before, after, change)
    }

    fn missing(&self, index: &EvidenceIndex, facts: &WorldFacts) -> Option<String> {
        if facts.unanswered > 0 {
            return Some(format!("{} orders wait for their answer", facts.unanswered));
        }
        still(index, Status::Running)
    }
}
