//! Swarm testing: draws the conditions of a run, that is, which kinds of things may happen, how many
//! participants there are, and which settings they have. Each run switches whole kinds off, because one fault
//! can hide another. Times and limits are drawn short, so that rare situations become common.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::seed;
use mainstem_story::USER;

/// A kind of thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    // The bus.
    NoticesLost,
    NoticesDoubled,
    NoticesLate,
    NoticesScattered,
    BusRefuses,
    BusHangs,
    BusBreaks,
    BusSilent,
    // The database.
    DatabaseSlow,
    DatabaseCutOff,
    PoolExhausted,
    CallRefused,
    CallConflicts,
    AnswerLost,
    AnswersLate,
    AnswerLate,
    OneChatsDatabase,
    // The network.
    DialsHang,
    DialsFail,
    DialsLate,
    LinkBreaks,
    LinkSilent,
    LinkCut,
    LinkClogs,
    LinkSlow,
    // Replicas.
    Crash,
    Vanish,
    Pause,
    Drain,
    AnotherSecret,
    ClockDrifts,
    // Models.
    ModelFails,
    ModelFailsForGood,
    ModelStalls,
    ModelBursts,
    ModelDeaf,
    ModelSaysMuch,
    ModelCalls,
    ToolFails,
    ToolHangs,
    // Clients.
    ViewerMoves,
    ViewerStopsReading,
    ViewerLeaves,
    ViewerClaims,
    ViewerResumes,
    ViewerFromFuture,
    AskedTwice,
    Interrupts,
    InterruptingSends,
    Edits,
    Regenerates,
    Promotes,
    Withdraws,
    Answers,
    Deletes,
    Stranger,
    Accounts,
    Shares,
    OthersChats,
    WithoutKey,
    KeyAgain,
    KeyOfAnother,
}

impl Kind {
    pub const ALL: [Self; 62] = [
        Self::NoticesLost,
        Self::NoticesDoubled,
        Self::NoticesLate,
        Self::NoticesScattered,
        Self::BusRefuses,
        Self::BusHangs,
        Self::BusBreaks,
        Self::BusSilent,
        Self::DatabaseSlow,
        Self::DatabaseCutOff,
        Self::PoolExhausted,
        Self::CallRefused,
        Self::CallConflicts,
        Self::AnswerLost,
        Self::AnswersLate,
        Self::AnswerLate,
        Self::OneChatsDatabase,
        Self::DialsHang,
        Self::DialsFail,
        Self::DialsLate,
        Self::LinkBreaks,
        Self::LinkSilent,
        Self::LinkCut,
        Self::LinkClogs,
        Self::LinkSlow,
        Self::Crash,
        Self::Vanish,
        Self::Pause,
        Self::Drain,
        Self::AnotherSecret,
        Self::ClockDrifts,
        Self::ModelFails,
        Self::ModelFailsForGood,
        Self::ModelStalls,
        Self::ModelBursts,
        Self::ModelDeaf,
        Self::ModelSaysMuch,
        Self::ModelCalls,
        Self::ToolFails,
        Self::ToolHangs,
        Self::ViewerMoves,
        Self::ViewerStopsReading,
        Self::ViewerLeaves,
        Self::ViewerClaims,
        Self::ViewerResumes,
        Self::ViewerFromFuture,
        Self::AskedTwice,
        Self::Interrupts,
        Self::InterruptingSends,
        Self::Edits,
        Self::Regenerates,
        Self::Promotes,
        Self::Withdraws,
        Self::Answers,
        Self::Deletes,
        Self::Stranger,
        Self::Accounts,
        Self::Shares,
        Self::OthersChats,
        Self::WithoutKey,
        Self::KeyAgain,
        Self::KeyOfAnother,
    ];

    /// Whether the kind is a fault, and not ordinary behaviour of clients.
    pub fn is_fault(self) -> bool {
        self < Self::ModelFails
    }

    /// The name under which it is counted when it takes effect (D2).
    pub const fn lands_as(self) -> &'static str {
        match self {
            Self::NoticesLost => "notice lost",
            Self::NoticesDoubled => "notice doubled",
            Self::NoticesLate | Self::NoticesScattered => "notice late",
            Self::BusRefuses => "bus refused",
            Self::BusHangs => "bus hangs",
            Self::BusBreaks => "bus lost",
            Self::BusSilent => "bus silent",
            Self::DatabaseSlow => "database slow",
            Self::DatabaseCutOff => "database cut off",
            Self::PoolExhausted => "pool exhausted",
            Self::CallRefused => "database refused",
            Self::CallConflicts => "database conflict",
            Self::AnswerLost => "answer lost after commit",
            Self::AnswersLate | Self::AnswerLate => "answer late",
            Self::OneChatsDatabase => "database of one chat",
            Self::DialsHang => "dial hanging",
            Self::DialsFail => "dial refused",
            Self::DialsLate => "dial late",
            Self::LinkBreaks => "reset",
            Self::LinkSilent => "half-open",
            Self::LinkCut | Self::LinkClogs => "clog",
            Self::LinkSlow => "link slow",
            Self::Crash | Self::Vanish => "crash",
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::AnotherSecret => "another secret",
            Self::ClockDrifts => "clock drifts",
            Self::ModelFails => "model fails",
            Self::ModelFailsForGood => "model fails for good",
            Self::ModelStalls => "model stalls",
            Self::ModelBursts => "model bursts",
            Self::ModelDeaf => "model ignores cancellation",
            Self::ModelSaysMuch => "model says much",
            Self::ModelCalls => "model calls",
            Self::ToolFails => "tool fails",
            Self::ToolHangs => "tool hangs",
            Self::ViewerMoves => "viewer moves",
            Self::ViewerClaims => "viewer claims messages",
            Self::ViewerResumes => "viewer resumes from long ago",
            Self::ViewerFromFuture => "viewer comes from a future",
            Self::ViewerStopsReading => "viewer stops reading",
            Self::AskedTwice => "asked twice",
            Self::Stranger => "a stranger tries",
            Self::ViewerLeaves => "viewer leaves",
            Self::Interrupts => "interrupted",
            Self::InterruptingSends => "sent to interrupt",
            Self::Edits => "edited",
            Self::Regenerates => "regenerated",
            Self::Promotes => "promoted",
            Self::Withdraws => "withdrawn",
            Self::Answers => "calls answered",
            Self::Deletes => "deleted",
            Self::Accounts => "chat of another account",
            Self::Shares => "unshared",
            Self::OthersChats => "asked for another's chat",
            Self::WithoutKey => "asked without a key",
            Self::KeyAgain => "key used again",
            Self::KeyOfAnother => "key of another caller",
        }
    }
}

/// The conditions of a run.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    pub(super) on: BTreeSet<Kind>,
    pub(super) replicas: Vec<&'static str>,
    pub(super) viewers: usize,
    pub(super) chats: usize,
    /// How long things happen before the recovery phase.
    pub(super) span: Duration,
    /// In milliseconds.
    pub(super) lease: u64,
    workers: usize,
    tail: usize,
    answers: usize,
    last_blow: bool,
}

/// An account besides the first one.
pub(super) const OTHER: &str = "user2";
const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
/// The bounds of that time. With the start and the recovery phase, a run takes half a minute and more.
const SPAN: Duration = Duration::from_secs(18);

impl Swarm {
    pub(super) fn draw(run: u64) -> Self {
        let mut rng = seed::stream(run, "swarm");
        // One run in eight has no faults, to find bugs that need none.
        let share = *[0, 20, 20, 35, 35, 50, 50, 80].choose(&mut rng).expect("there are some");
        let client = *[40, 70, 90].choose(&mut rng).expect("there are some");
        let on = Kind::ALL.into_iter().filter(|kind| {
            // Each kind has a random stream of its own: a new one switches no other on or off.
            let mut rng = seed::stream(run, &format!("swarm {kind:?}"));
            let share = if kind.is_fault() { share } else { client };
            rng.random_range(0..100) < share
        });
        let on = on.collect();
        let replicas =
            NAMES[..[3, 3, 3, 3, 4, 5, 2].choose(&mut rng).copied().expect("there are some")].to_vec();
        Self {
            on,
            replicas,
            viewers: rng.random_range(3..=6),
            chats: rng.random_range(1..=4),
            span: SPAN,
            // In a calm run, a missing notice shows only if syncs are rare.
            lease: match share {
                0 => 15_000,
                _ => *[2_000, 3_000, 5_000, 5_000, 15_000].choose(&mut rng).expect("there are some"),
            },
            workers: if rng.random_range(0..6) == 0 { rng.random_range(1..=2) } else { 64 },
            tail: if rng.random_range(0..2) == 0 { rng.random_range(1..=4) } else { 64 },
            answers: if rng.random_range(0..10) == 0 { rng.random_range(600..6_000) } else { 8 << 20 },
            last_blow: rng.random_range(0..3) == 0,
        }
    }

    pub(super) fn is_on(&self, kind: Kind) -> bool {
        self.on.contains(&kind)
    }

    pub(super) fn chat_name(&self, chat: usize) -> String {
        if chat == 0 { "chat".to_owned() } else { format!("chat{}", chat + 1) }
    }

    /// The account whose chat it is.
    pub(super) fn owner(&self, chat: usize) -> &'static str {
        if self.is_on(Kind::Accounts) && chat % 2 == 1 { OTHER } else { USER }
    }

    /// What a viewer of a chat watches, and for whom.
    pub(super) fn watched(&self, chat: usize) -> String {
        self.watched_after(chat, "")
    }

    /// The same of one that has something.
    pub(super) fn watched_after(&self, chat: usize, after: &str) -> String {
        let (name, owner) = (self.chat_name(chat), self.owner(chat));
        let by = if owner == USER { String::new() } else { format!(" as {owner}") };
        format!("{name}{after}{by}")
    }

    pub(super) fn heading(&self) -> Vec<String> {
        let mut heading = vec![
            "guards S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 L1 L2 L3 L4 L5 L6 B1 B2 B3".to_owned(),
            format!("replicas {}", self.replicas.join(" ")),
            "clients roam".to_owned(),
            format!("lease {}ms", self.lease),
            format!("heartbeat {}ms", self.lease / 3),
            // An unnoticed death shows only if syncs are as rare as possible.
            format!("poll {}ms", self.lease / if self.last_blow { 2 } else { 3 }),
            "grace 1s".to_owned(),
            "delays vary by 2ms".to_owned(),
        ];
        if self.workers < 64 {
            heading.push(format!("workers {}", self.workers));
        }
        if self.tail < 64 {
            heading.push(format!("tail {}", self.tail));
        }
        if self.answers < 8 << 20 {
            heading.push(format!("answers {}", self.answers));
        }
        if self.is_on(Kind::AnotherSecret) {
            heading.push("may log \"a peer denies our credentials\"".to_owned());
        }
        if self.last_blow {
            heading.push("in the end a worker dies".to_owned());
        }
        heading
    }
}

/// Draws one of several values by weight.
pub(super) fn weighted<T: Copy>(rng: &mut StdRng, choices: &[(u32, T)]) -> T {
    let all: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.random_range(0..all);
    for (weight, choice) in choices {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *choice,
        }
    }
    unreachable!("the weights add up")
}
