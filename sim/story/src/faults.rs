//! Faults, as stories name them.

use std::time::Duration;

use mainstem_oracles::FaultKind;

/// The faults that affect the notices for one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusFaults {
    pub lost: bool,
    pub doubled: bool,
    /// Each notice is late by this much.
    pub late: Duration,
    /// Each notice is late by up to this much more, at random, so that they are reordered.
    pub scattered: Duration,
    pub refuses: bool,
    /// Requests to subscribe are not answered.
    pub hangs: bool,
}

/// The rule for the dials of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialRule {
    Through,
    Refused,
    /// Dials hang until the link gets another rule; then they complete, late.
    Hangs,
    Takes(Duration),
}

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// The operation does not happen.
    Refused,
    /// The operation does not happen, because of a conflict with another one.
    Conflict,
    /// The operation happens, but its answer is lost.
    AnswerLost,
    /// The operation happens, and its answer takes this much longer, while others act on what was committed.
    AnswerLate(Duration),
}

impl CallFault {
    pub const fn kind(self) -> FaultKind {
        match self {
            Self::Refused => FaultKind::DatabaseRefused,
            Self::Conflict => FaultKind::DatabaseConflict,
            Self::AnswerLost => FaultKind::AnswerLost,
            Self::AnswerLate(_) => FaultKind::AnswerLate,
        }
    }
}

/// How much longer answers take, after their operations have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateAnswers {
    pub by: Duration,
    /// Each by up to this much more, at random, so that they overtake each other.
    pub scattered: Duration,
}

/// A fault that waits for the calls it is meant for.
#[derive(Clone, Debug)]
pub struct PlannedFault {
    pub call_fault: CallFault,
    /// The replica whose calls are affected; `None` for all.
    pub replica: Option<String>,
    /// The operation, by the name of its command or method; `None` for all.
    pub op: Option<String>,
    /// The chat whose calls are affected; `None` for all.
    pub chat: Option<String>,
    /// How many calls are affected.
    pub times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFate {
    Breaks,
    GoesSilent,
    Cut,
    Joined,
    /// The latency of one direction, and the random extra latency at most.
    Takes(Duration, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusFate {
    Breaks,
    GoesSilent,
    Refuses,
    Hangs,
    Recovers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFate {
    Slow(Duration),
    AnswersLate(LateAnswers),
    CutOff,
    /// The connection pool is exhausted.
    Exhausted,
    Recovers,
}
