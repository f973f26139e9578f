//! What a story says, once it is understood.

use std::time::Duration;

use crate::bus::Weather;
use crate::cluster::Settings;
use crate::database::Armed;
use crate::net::DialRule;
use crate::wire::Order;

/// A whole scenario file.
#[derive(Clone, Debug)]
pub struct Story {
    pub name: String,
    /// The guarantees that it exercises.
    pub guards: Vec<String>,
    pub replicas: Vec<String>,
    pub settings: Settings,
    pub sentences: Vec<Sentence>,
}

/// One line of it.
#[derive(Clone, Debug)]
pub struct Sentence {
    pub line: usize,
    /// As it was written.
    pub text: String,
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
        weather: Weather,
    },
    Bus {
        replica: String,
        fate: BusFate,
    },
    Database {
        replica: Option<String>,
        fate: DatabaseFate,
    },
    Harm(Armed),
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
}

#[derive(Clone, Debug)]
pub enum Said {
    Parts(u64),
    Text(String),
    Done,
    Failed { retryable: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFate {
    Breaks,
    GoesSilent,
    Cut,
    Joined,
    Takes(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusFate {
    Breaks,
    GoesSilent,
    Refuses,
    Recovers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFate {
    Slow(Duration),
    CutOff,
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
    Dials { from: String },
}
