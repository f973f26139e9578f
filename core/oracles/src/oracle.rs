//! What an oracle implements: it sees each piece of evidence, together with an index of all evidence so far, and
//! reports why a guarantee is broken.

use mainstem_machine::Time;

use crate::{Docket, Evidence, EvidenceIndex, FaultKind, Guarantee};

/// `Err`: why the guarantee is broken.
pub type Ruling = Result<(), String>;

/// One piece of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub at: Time,
    pub evidence: &'a Evidence,
    /// All evidence so far, including this piece. Only the viewer's screen does not show this event yet.
    pub index: &'a EvidenceIndex,
    /// What is judged now, and where it is counted.
    pub(crate) guarantee: Guarantee,
    pub(crate) docket: &'a Docket,
}

impl Seen<'_> {
    /// There is something to judge.
    pub(crate) fn ask(&self) {
        self.docket.ask(self.guarantee);
    }

    /// This would be a breach without a fault of this kind.
    pub(crate) fn excuse(&self, kind: FaultKind) {
        self.docket.excuse(self.guarantee, kind);
    }

    /// Whether a fault excuses what would be a breach otherwise. If so, it is counted.
    pub(crate) fn is_excused(&self, by: Option<FaultKind>) -> bool {
        by.inspect(|kind| self.excuse(*kind)).is_some()
    }
}

/// The oracle of one guarantee. It uses no randomness: its ruling depends on the evidence alone.
pub trait Oracle: CloneOracle + Send {
    fn observe(&mut self, _seen: &Seen<'_>) -> Ruling {
        Ok(())
    }

    /// The run is over.
    fn finish(&mut self, _at: Time, _index: &EvidenceIndex) -> Ruling {
        Ok(())
    }

    /// Why the guarantee does not hold yet, for a guarantee that has to hold within a bound.
    fn missing(&self, _index: &EvidenceIndex, _facts: &WorldFacts) -> Option<String> {
        None
    }
}

/// An oracle is plain data: a world is cloned along with those who judge it.
pub trait CloneOracle {
    fn clone_boxed(&self) -> Box<dyn Oracle>;
}

impl<T: Oracle + Clone + 'static> CloneOracle for T {
    fn clone_boxed(&self) -> Box<dyn Oracle> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Oracle> {
    fn clone(&self) -> Self {
        (**self).clone_boxed()
    }
}

/// What only the simulator knows.
#[derive(Clone, Debug, Default)]
pub struct WorldFacts {
    pub now: Time,
    /// All current viewers.
    pub viewers: Vec<Standing>,
    /// How many requests are unanswered.
    pub unanswered: usize,
    /// What was found left over (B2).
    pub left: Vec<String>,
}

/// The state of a viewer's current stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub viewer: crate::Name,
    pub chat: mainstem_machine::ChatId,
    pub connected: bool,
}
