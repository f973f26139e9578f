//! What was sent in a run, from whom to whom, and what became of it; and who stood when. Kept for whoever
//! looks at a run, never judged by and no part of the digest.

use mainstem_machine::Time;

/// Arrows and changes that a run keeps, each. Those beyond it are counted (B1).
const ARROWS_MAX: usize = 400_000;

/// What carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Client,
    Relay,
    Database,
    Bus,
}

/// One thing on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    pub from: String,
    pub to: String,
    pub way: Way,
    pub label: String,
    pub sent: Time,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// When the run ended.
    UnderWay,
    /// Whoever it was for took it.
    Arrived(Time),
    Lost(Time),
}

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Up,
    Paused,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Time,
    pub who: String,
    pub standing: Standing,
}

/// Names an arrow for as long as it is under way. Stands for nothing where nobody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrowId(Option<u32>);

impl ArrowId {
    pub(crate) const UNRECORDED: Self = Self(None);
}

#[derive(Clone, Debug, Default)]
pub struct Arrows {
    pub arrows: Vec<Arrow>,
    pub changes: Vec<Change>,
    /// Arrows and changes that were not kept.
    pub dropped: usize,
}

impl Arrows {
    pub(crate) fn send(&mut self, arrow: Arrow) -> ArrowId {
        if self.arrows.len() >= ARROWS_MAX {
            self.dropped += 1;
            return ArrowId::UNRECORDED;
        }
        let id = u32::try_from(self.arrows.len()).expect("bounded above");
        self.arrows.push(arrow);
        ArrowId(Some(id))
    }

    /// What became of it first stays.
    pub(crate) fn settle(&mut self, id: ArrowId, fate: Fate) {
        let arrow = id.0.and_then(|id| self.arrows.get_mut(id as usize));
        if let Some(arrow) = arrow.filter(|arrow| arrow.fate == Fate::UnderWay) {
            arrow.fate = fate;
        }
    }

    pub(crate) fn change(&mut self, change: Change) {
        if self.changes.len() >= ARROWS_MAX {
            self.dropped += 1;
        } else {
            self.changes.push(change);
        }
    }
}
