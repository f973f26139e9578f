//! What happened in a run, line by line, for those who want to read it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mainstem_machine::Time;

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// What was chosen.
    Chosen,
    /// What came of it.
    Happened,
    /// A fault took effect.
    Fault,
    /// A guarantee was found broken.
    Broken,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What kind of line it is.
    pub told: Told,
    /// To whom: a replica, a viewer, `database`, `run`.
    pub who: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at.as_micros() / 1000;
        write!(f, "{:>4}.{:03} {:<10} {}", ms / 1000, ms % 1000, self.who, self.what)
    }
}

/// The lines of a run. They outlast a world that panics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<Line>>>);

impl Trace {
    pub(crate) fn push(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
