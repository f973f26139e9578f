//! B2: when the last viewer of a chat has gone, then within the retention time nothing of it is left.

use crate::{EvidenceIndex, Oracle, WorldFacts};

#[derive(Debug, Default)]
pub(crate) struct Leaks;

impl Oracle for Leaks {
    fn missing(&self, _index: &EvidenceIndex, facts: &WorldFacts) -> Option<String> {
        facts.left.first().cloned()
    }
}
