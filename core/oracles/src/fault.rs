//! The kinds of faults. Each says what it can delay or break: a kind that says nothing does not compile, so that
//! nothing is excused because nobody knows what a fault does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! faults {
    ($($kind:ident $name:literal),+ $(,)?) => {
        /// A kind of thing that may befall a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultKind {
            $(#[serde(rename = $name)] $kind),+
        }

        impl FaultKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The name under which it is counted and told.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name),+
                }
            }
        }
    };
}

faults! {
    NoticeLost "notice lost",
    NoticeDoubled "notice doubled",
    NoticeLate "notice late",
    BusRefused "bus refused",
    BusHangs "bus hangs",
    BusLost "bus lost",
    BusSilent "bus silent",
    DatabaseSlow "database slow",
    DatabaseCutOff "database cut off",
    PoolExhausted "pool exhausted",
    DatabaseRefused "database refused",
    DatabaseConflict "database conflict",
    AnswerLost "answer lost after commit",
    AnswerLate "answer late",
    // Dials over a link have a rule from now on; the three below are dials that it struck.
    DialsRuled "dials",
    DialHanging "dial hanging",
    DialRefused "dial refused",
    DialLate "dial late",
    Reset "reset",
    HalfOpen "half-open",
    Clog "clog",
    LinkSlow "link slow",
    Crash "crash",
    Pause "pause",
    Drain "drain",
    AnotherSecret "another secret",
    ClockDrifts "clock drifts",
    ModelFails "model fails",
    ModelFailsForGood "model fails for good",
    ModelStalls "model stalls",
    ModelBursts "model bursts",
    ModelSaysMuch "model says much",
    ModelDeaf "model ignores cancellation",
    ModelCalls "model calls",
    ToolFails "tool fails",
    ToolHangs "tool hangs",
    ViewerMoves "viewer moves",
    ViewerStopsReading "viewer stops reading",
    AskedTwice "asked twice",
    StrangerTries "a stranger tries",
}

/// What a fault can delay or break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strikes {
    /// Nothing that is promised: ordinary behaviour of clients and models, or what comes as evidence of its own.
    Nothing,
    /// The way from the bus to one replica.
    Bus,
    /// The way from one replica to the database and back.
    Database,
    /// Everything that one host does.
    Host,
    /// What a host does by its clock.
    Clock,
    /// Dials over one link.
    Dials,
    /// Data over one link.
    Link,
}

impl FaultKind {
    pub(crate) const fn strikes(self) -> Strikes {
        match self {
            Self::NoticeLost
            | Self::NoticeDoubled
            | Self::NoticeLate
            | Self::BusRefused
            | Self::BusHangs
            | Self::BusLost
            | Self::BusSilent => Strikes::Bus,
            Self::DatabaseSlow
            | Self::DatabaseCutOff
            | Self::PoolExhausted
            | Self::DatabaseRefused
            | Self::DatabaseConflict
            | Self::AnswerLost
            | Self::AnswerLate => Strikes::Database,
            Self::DialsRuled
            | Self::DialHanging
            | Self::DialRefused
            | Self::DialLate
            | Self::AnotherSecret => Strikes::Dials,
            Self::Reset | Self::HalfOpen | Self::Clog | Self::LinkSlow => Strikes::Link,
            Self::Pause | Self::ViewerStopsReading => Strikes::Host,
            Self::ClockDrifts => Strikes::Clock,
            // That a replica dies or drains comes as evidence of its own.
            Self::Crash
            | Self::Drain
            | Self::ModelFails
            | Self::ModelFailsForGood
            | Self::ModelStalls
            | Self::ModelBursts
            | Self::ModelSaysMuch
            | Self::ModelDeaf
            | Self::ModelCalls
            | Self::ToolFails
            | Self::ToolHangs
            | Self::ViewerMoves
            | Self::AskedTwice
            | Self::StrangerTries => Strikes::Nothing,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not the name of a kind of fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a kind of fault, like \"reset\", found {0:?}")]
pub struct UnknownFault(pub String);

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.iter().find(|kind| kind.as_str() == text);
        named.copied().ok_or_else(|| UnknownFault(text.to_owned()))
    }
}
