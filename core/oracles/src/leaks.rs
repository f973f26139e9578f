//! B2: within the retention time after the last viewer of a chat has left, nothing of the chat is left.

use crate::{EvidenceIndex, Oracle, WorldFacts};

#[derive(Clone, Debug, Default)]
pub(crate) struct Leaks;

impl Oracle for Leaks {
    fn missing(&self, index: &EvidenceIndex, facts: &WorldFacts) -> Option<String> {
        facts.left.first().cloned().or_else(|| index.goes_on_for_nothing())
    }
}
