//! What the judges of a run were told, in order, to be told again.

use std::sync::{Arc, Mutex, PoisonError};

use mainstem_machine::Time;
use mainstem_oracles::{Evidence, Guarantee, Judge, WorldFacts};

use crate::recording::Recording;
use crate::walk::{Verdict, judged, play};

/// One thing that judges are told.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Something happened.
    Evidence(Time, Evidence),
    /// These guarantees had to hold now.
    Holds(Vec<Guarantee>, WorldFacts),
    /// The run was over.
    Finished(Time),
}

impl Heard {
    /// When it was.
    pub fn at(&self) -> Time {
        match self {
            Self::Evidence(at, _) | Self::Finished(at) => *at,
            Self::Holds(_, facts) => facts.now,
        }
    }

    /// Tells a judge. The guarantees that it finds broken by that, the first one that found it first.
    pub fn tell(&self, judge: &mut Judge) -> Vec<Guarantee> {
        match self {
            Self::Evidence(at, evidence) => {
                judge.observe(*at, evidence.clone()).iter().map(|found| found.guarantee).collect()
            }
            Self::Finished(at) => judge.finish(*at).iter().map(|found| found.guarantee).collect(),
            Self::Holds(guarantees, facts) => {
                judge.missing(guarantees, facts).map(|(guarantee, _)| guarantee).into_iter().collect()
            }
        }
    }
}

/// Keeps what judges are told.
#[derive(Clone, Debug, Default)]
pub struct Testimony(Arc<Mutex<Vec<Heard>>>);

impl Testimony {
    /// Adds what they are told next.
    pub fn push(&self, heard: Heard) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    }

    /// All of it.
    pub fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the judges of a run of these choices are told, if they find nothing.
pub fn testify(recording: &Recording) -> Option<Vec<Heard>> {
    let testimony = Testimony::default();
    let verdict = judged(|| play(recording, &[], None, Some(testimony.clone())));
    (verdict == Verdict::Clean).then(|| testimony.take())
}
