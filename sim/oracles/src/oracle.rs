//! What an oracle is: it sees each piece of evidence beside all that is known, and says why a promise is
//! broken.

use mainstem_machine::Time;

use crate::{Evidence, EvidenceIndex};

/// `Err`: why the promise is broken.
pub type Ruling = Result<(), String>;

/// One piece of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub at: Time,
    pub evidence: &'a Evidence,
    /// All that is known, this included; but a viewer's screen does not yet show what it is about to.
    pub index: &'a EvidenceIndex,
}

/// The judge of one guarantee. It draws no randomness, and its verdict depends on the evidence alone.
pub trait Oracle: Send {
    fn observe(&mut self, _seen: &Seen<'_>) -> Ruling {
        Ok(())
    }

    /// The run is over.
    fn finish(&mut self, _at: Time, _index: &EvidenceIndex) -> Ruling {
        Ok(())
    }

    /// What is not yet as it has to be in the end, within the guarantee's bound.
    fn missing(&self, _index: &EvidenceIndex, _facts: &WorldFacts) -> Option<String> {
        None
    }
}

/// What only whoever runs the world can tell.
#[derive(Clone, Debug, Default)]
pub struct WorldFacts {
    pub now: Time,
    /// Everybody who watches now.
    pub viewers: Vec<Standing>,
    /// How many requests wait for their answer.
    pub unanswered: usize,
    /// What was found that should be gone (B2).
    pub left: Vec<String>,
}

/// How a viewer's present stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub viewer: crate::Name,
    pub chat: mainstem_machine::ChatId,
    pub connected: bool,
}
