//! B2: when the last viewer of a chat has gone, then within the retention time nothing of it is left.

use crate::{Facts, Known, Oracle};

#[derive(Debug, Default)]
pub(crate) struct Leaks;

impl Oracle for Leaks {
    fn missing(&self, _known: &Known, facts: &Facts) -> Option<String> {
        facts.left.first().cloned()
    }
}
