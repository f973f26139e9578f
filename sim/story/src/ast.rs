//! A parsed story.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{MessageId, SendMode};
use mainstem_oracles::Guarantee;

use crate::faults::{BusFate, BusFaults, DatabaseFate, DialRule, LinkFate, PlannedFault};
use crate::order::Order;
use crate::settings::Settings;

/// A story file.
#[derive(Clone, Debug)]
pub struct Story {
    pub name: String,
    /// The seed of everything random in it; the caller's seed if there is none.
    pub seed: Option<u64>,
    /// The guarantees that the story exercises.
    pub guards: Vec<Guarantee>,
    pub replicas: Vec<String>,
    pub settings: Settings,
    /// Clients that lose a replica continue at the next one, instead of waiting for it.
    pub roaming: bool,
    /// After the recovery phase, when all viewers agree with the database, one more worker dies.
    pub final_crash: bool,
    /// Replicas with another secret than the others.
    pub wrong_secrets: Vec<String>,
    /// Errors that the product must log, each at least once. Any other error fails the story.
    pub errors: Vec<String>,
    /// Errors that the product may log.
    pub tolerated: Vec<String>,
    /// Why a world cannot tell the story.
    pub untold: BTreeMap<StoryWorld, String>,
    pub sentences: Vec<Sentence>,
}

/// A world that tells stories besides the simulated cluster, which can tell all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoryWorld {
    Pure,
    RealServers,
}

/// One sentence.
#[derive(Clone, Debug)]
pub struct Sentence {
    pub line: usize,
    /// The sentence as written.
    pub text: String,
    /// The time since the beginning of the story. Requests of users at a given time are not waited for.
    pub at: Option<Duration>,
    pub step: Step,
}

#[derive(Clone, Debug)]
pub enum Step {
    Watch {
        viewer: String,
        replica: String,
        chat: String,
        claim: Claim,
        /// The account for which it asks.
        caller: String,
    },
    /// It comes with what another viewer had seen, this many events ago, and with the cursor of that time.
    Resume {
        viewer: String,
        replica: String,
        of: String,
        back: u64,
    },
    /// It comes with what another viewer has seen, and with a cursor of a future that the database does not know, as
    /// after it was restored from a backup.
    Foresee {
        viewer: String,
        replica: String,
        of: String,
        /// There were more messages in that future.
        messages: bool,
    },
    Leave {
        viewer: String,
    },
    Move {
        viewer: String,
        replica: String,
    },
    Read {
        viewer: String,
        reads: bool,
    },
    Order {
        /// The account that asks.
        caller: String,
        order: UserOrder,
        chat: String,
        replica: Option<String>,
        /// The same request is sent there as well, under the same key.
        again: Option<String>,
        key: Keyed,
        /// It has to be refused.
        refused: bool,
    },
    /// Somebody who may not see the chat requests to watch it, and to interrupt it.
    Stranger {
        replica: String,
        chat: String,
    },
    Work(Workers),
    Model {
        replica: String,
        chat: String,
        line: Said,
    },
    Dials {
        from: String,
        to: String,
        rule: DialRule,
        next_only: bool,
    },
    Flow {
        from: String,
        to: String,
        flows: bool,
    },
    Link {
        one: String,
        other: String,
        fate: LinkFate,
    },
    Notices {
        replica: String,
        faults: BusFaults,
    },
    Bus {
        replica: String,
        fate: BusFate,
    },
    Database {
        replica: Option<String>,
        /// Only what is asked for this chat.
        chat: Option<String>,
        fate: DatabaseFate,
    },
    CallFault(PlannedFault),
    Replica {
        replica: String,
        fate: ReplicaFate,
    },
    Wait(Duration),
    Within {
        bound: Duration,
        expectation: Expectation,
    },
    /// The expectation has to hold now.
    Assert(Expectation),
    For {
        span: Duration,
        absence: Absence,
    },
    FromNowOn(Absence),
}

impl Step {
    /// The name under which it is counted when it takes effect, if it is a fault that may find nothing to
    /// affect (D2).
    pub fn lands_as(&self) -> Option<&'static str> {
        Some(match self {
            Self::Dials { rule: DialRule::Refused, .. } => "dial refused",
            Self::Dials { rule: DialRule::Hangs, .. } => "dial hanging",
            Self::Dials { rule: DialRule::Takes(_), .. } => "dial late",
            Self::Flow { flows: false, .. } => "clog",
            Self::Link { fate: LinkFate::Breaks, .. } => "reset",
            Self::Link { fate: LinkFate::GoesSilent, .. } => "half-open",
            Self::Notices { faults: BusFaults { lost: true, .. }, .. } => "notice lost",
            Self::Notices { faults: BusFaults { doubled: true, .. }, .. } => "notice doubled",
            Self::Notices { faults, .. } if *faults != BusFaults::default() => "notice late",
            Self::Bus { fate: BusFate::Breaks, .. } => "bus lost",
            Self::Bus { fate: BusFate::GoesSilent, .. } => "bus silent",
            Self::Bus { fate: BusFate::Refuses, .. } => "bus refused",
            Self::Bus { fate: BusFate::Hangs, .. } => "bus hangs",
            Self::Database { fate: DatabaseFate::Slow(_), .. } => "database slow",
            Self::Database { fate: DatabaseFate::AnswersLate(_), .. } => "answer late",
            Self::Database { fate: DatabaseFate::CutOff, .. } => "database cut off",
            Self::Database { fate: DatabaseFate::Exhausted, .. } => "pool exhausted",
            Self::CallFault(planned) => planned.call_fault.kind().as_str(),
            Self::Watch { claim: Claim::After(_) | Claim::AfterLast { .. } | Claim::AfterCut, .. } => {
                "viewer claims messages"
            }
            Self::Resume { .. } => "viewer resumes from long ago",
            Self::Foresee { .. } => "viewer comes from a future",
            Self::Model { line: Said::IgnoresCancellation, .. } => "model ignores cancellation",
            _ => return None,
        })
    }

    /// Whether this is a fault, and not an operation of a client or an expectation.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Dials { rule, .. } => *rule != DialRule::Through,
            Self::Flow { flows, .. } => !flows,
            Self::Link { fate, .. } => *fate != LinkFate::Joined,
            Self::Notices { faults, .. } => *faults != BusFaults::default(),
            Self::Bus { fate, .. } => *fate != BusFate::Recovers,
            Self::Database { fate, .. } => *fate != DatabaseFate::Recovers,
            Self::Replica { fate, .. } => !matches!(fate, ReplicaFate::Restarts | ReplicaFate::Resumes),
            Self::CallFault(_) => true,
            _ => false,
        }
    }
}

/// What a viewer says that it has when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Nothing,
    /// The messages up to this one, whether it is there or not.
    After(MessageId),
    /// Up to the last one in the history, or this many before it.
    AfterLast {
        but: usize,
    },
    /// Up to the newest one that was in the history and is not any more.
    AfterCut,
}

/// Which replicas may acquire chats from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    Only(String),
    Also(String),
    Everybody,
    Nobody,
}

/// The idempotency key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// One that no request had before: it is asked again until it is answered.
    Fresh,
    /// This one, whoever used it before, and for whatever.
    Named(String),
    /// None: it is asked once, and if its answer is lost, nobody knows whether it happened.
    Without,
}

#[derive(Clone, Debug)]
pub enum UserOrder {
    /// Creates the chat if it does not exist.
    Send {
        text: String,
        interrupting: bool,
    },
    Other(Order),
    /// All calls that wait for the client.
    AnswerCalls,
    /// The target is determined when the request is sent: the last one, or the one this many before it.
    EditLast {
        but: usize,
        text: String,
    },
    RegenerateLast {
        but: usize,
        mode: SendMode,
    },
    PromoteLast {
        but: usize,
    },
    WithdrawLast {
        but: usize,
    },
}

#[derive(Clone, Debug)]
pub enum Said {
    Parts(u64),
    Text(String),
    Done,
    Failed {
        retryable: bool,
    },
    /// It ignores cancellation.
    IgnoresCancellation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFate {
    Crashes,
    Vanishes,
    Restarts,
    Drains,
    Pauses(Option<Duration>),
    Resumes,
    /// With another secret than the others, until the recovery phase.
    RestartsWithWrongSecret,
    /// Its clock runs fast by this many thousandths; slow if negative.
    Drifts(i32),
}

/// An expectation. It has to hold at the end of its bound at the latest.
#[derive(Clone, Debug)]
pub enum Expectation {
    Sees {
        viewer: String,
        sight: Sight,
    },
    Chat {
        chat: String,
        status: String,
        worker: Option<String>,
    },
    Connections {
        from: String,
        to: String,
        count: u64,
    },
    DialsInFlight {
        from: String,
        to: String,
        count: u64,
    },
    Dialed {
        from: String,
        to: String,
        count: u64,
    },
    ModelRuns {
        replica: String,
        chat: String,
        runs: bool,
    },
    /// There is no connection, dial, bus subscription or task that was not there at the start.
    NothingLeft {
        replica: String,
    },
}

/// An event that a viewer has to see, in the order of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Status { status: String, worker: Option<String> },
    Parts { first: u64, last: u64, worker: Option<String> },
    Message { text: String },
    Answer { parts: u64, interrupted: bool },
    PreviewReset { reason: Option<String> },
    HistoryReset,
    Synced,
    Queue { length: usize },
    Error { code: Option<String> },
    Retry { over: bool },
    End,
}

/// Something that must not happen.
#[derive(Clone, Debug)]
pub enum Absence {
    SeesNothing { viewer: String },
    SeesNoPart { viewer: String, worker: Option<String> },
    SeesNoReset { viewer: String },
    SeesNoRetry { viewer: String },
    Dials { from: String },
}
