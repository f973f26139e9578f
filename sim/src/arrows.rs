//! What was sent in a run, from where to where, and whether it arrived; and when hosts were down or paused.
//! It is kept only to visualize a run: it is not evidence, and not part of the digest.

use mainstem_machine::Time;

/// Arrows that a run keeps, and changes of state that it keeps. Further ones are only counted (B1).
const ARROWS_MAX: usize = 400_000;

/// What carries an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Client,
    Relay,
    Database,
    Bus,
}

/// One message from a sender to a receiver.
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
    /// It was in flight when the run ended.
    UnderWay,
    /// The receiver took it.
    Arrived(Time),
    Lost(Time),
}

/// The state of a host.
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

/// Identifies an arrow while it is in flight. Empty if the run is not recorded.
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

    /// Sets the fate of an arrow, unless it has one already.
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
