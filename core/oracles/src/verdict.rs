//! What the judge finds.

use std::fmt;

use mainstem_machine::Time;

use crate::Guarantee;

/// A guarantee that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub guarantee: Guarantee,
    pub at: Time,
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.guarantee, self.at, self.why)
    }
}
