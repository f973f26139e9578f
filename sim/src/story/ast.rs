//! What a story says, once it is understood.

use std::time::Duration;

use crate::bus::BusFaults;
use crate::cluster::Settings;
use crate::database::PlannedFault;
use crate::net::DialRule;
use crate::wire::Order;

/// A whole scenario file.
#[derive(Clone, Debug)]
pub struct Story {
    pub name: String,
    /// Of what is left to chance in it; that of the caller, if it says none.
    pub seed: Option<u64>,
    /// The guarantees that it exercises.
    pub guards: Vec<String>,
    pub replicas: Vec<String>,
    pub settings: Settings,
    /// Clients that lose a replica go on at the next one, instead of waiting for it.
    pub roaming: bool,
    /// When all has healed and agrees, one more worker dies.
    pub final_crash: bool,
    /// Replicas whose secret is not that of the others.
    pub wrong_secrets: Vec<String>,
    /// What the product logs as an error, each at least once; any other error fails the story.
    pub errors: Vec<String>,
    /// Texts of errors that the product may log.
    pub tolerated: Vec<String>,
    pub sentences: Vec<Sentence>,
}

/// One line of it.
#[derive(Clone, Debug)]
pub struct Sentence {
    pub line: usize,
    /// As it was written.
    pub text: String,
    /// Since the beginning of the story. What a user asks at a time is not waited for.
    pub at: Option<Duration>,
    pub step: Step,
}

#[derive(Clone, Debug)]
pub enum Step {
    Watch {
        viewer: String,
        replica: String,
        chat: String,
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
        order: UserOrder,
        chat: String,
        replica: Option<String>,
        /// The same is asked there as well, under the same key.
        again: Option<String>,
    },
    /// Somebody who may not see the chat asks to watch it, and to stop what runs.
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
    /// Now.
    Assert(Expectation),
    For {
        span: Duration,
        absence: Absence,
    },
    FromNowOn(Absence),
}

impl Step {
    /// Harm, and not something that clients do or a story expects.
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

/// Who may take up chats from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    Only(String),
    Also(String),
    Everybody,
    Nobody,
}

#[derive(Clone, Debug)]
pub enum UserOrder {
    /// Creates the chat if it is not there.
    Send {
        text: String,
        interrupting: bool,
    },
    Other(Order),
    /// What it is about is found when it is asked: the last one, or the last but so many.
    EditLast {
        but: usize,
        text: String,
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
    /// It goes on when it is cancelled.
    IgnoresCancellation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFate {
    Breaks,
    GoesSilent,
    Cut,
    Joined,
    /// One way, and up to so much more by chance.
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
    CutOff,
    /// No connection of the pool is free.
    Exhausted,
    Recovers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFate {
    Crashes,
    Vanishes,
    Restarts,
    Drains,
    Pauses(Option<Duration>),
    Resumes,
    /// With a secret that is not that of the others, until all heals.
    RestartsWithWrongSecret,
    /// Its clock runs fast by so many in a thousand; slow, if negative.
    Drifts(i32),
}

/// What must be so, at the latest when its time is over.
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
    /// No connection, dial, subscription to the bus, or task that was not there at the start.
    NothingLeft {
        replica: String,
    },
}

/// What a viewer sees, in the order in which the story tells it.
#[derive(Clone, Debug)]
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

/// What must not be.
#[derive(Clone, Debug)]
pub enum Absence {
    SeesNothing { viewer: String },
    SeesNoPart { viewer: String, worker: Option<String> },
    SeesNoReset { viewer: String },
    SeesNoRetry { viewer: String },
    Dials { from: String },
}
