//! The result of one seed, as one line of JSON.

use mainstem_oracles::Guarantee;
use serde::{Deserialize, Serialize};

use crate::plan;
use crate::run::{Outcome, Verdict};
use crate::tally::Counts;

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Clean,
    Broken,
    NoProgress,
    Panicked,
    Logged,
    Hung,
    /// Its process died, for example because it ran out of memory.
    Died,
}

impl Kind {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Clean => Self::Clean,
            Verdict::Failed(_) if verdict.code() == 2 => Self::NoProgress,
            Verdict::Failed(_) => Self::Broken,
            Verdict::Panicked(_) => Self::Panicked,
            Verdict::Logged(_) => Self::Logged,
            Verdict::Hung => Self::Hung,
        }
    }

    /// The exit code of a program for this outcome.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Broken | Self::Panicked | Self::Logged => 1,
            Self::NoProgress => 2,
            Self::Hung | Self::Died => 4,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedResult {
    pub seed: u64,
    pub verdict: Kind,
    pub guarantee: Option<Guarantee>,
    pub why: String,
    /// The rolling digest of the whole trace, in hexadecimal.
    pub digest: String,
    pub wall_ms: u64,
    /// Kinds of faults in the plan, by the names under which they are counted.
    pub asked: Vec<String>,
    #[serde(flatten)]
    pub counts: Counts,
}

impl SeedResult {
    pub(super) fn of(seed: u64, outcome: Outcome, wall_ms: u64) -> Self {
        let Outcome { verdict, digest, counts, .. } = outcome;
        let why = if matches!(verdict, Verdict::Clean) { String::new() } else { verdict.to_string() };
        Self {
            seed,
            verdict: Kind::of(&verdict),
            guarantee: verdict.guarantee(),
            why,
            digest: format!("{digest:016x}"),
            wall_ms,
            asked: plan::asked(seed).into_iter().map(str::to_owned).collect(),
            counts,
        }
    }

    /// The result of a seed whose process sent nothing.
    pub(super) fn without_word(seed: u64, verdict: Kind, why: String, wall_ms: u64) -> Self {
        let counts = Counts::default();
        Self { seed, verdict, guarantee: None, why, digest: String::new(), wall_ms, asked: vec![], counts }
    }
}
