//! One run of one story: on a thread of its own, under a clock on the wall.
//!
//! madsim keeps state per thread, so a thread is never used twice. A loop that never awaits stands still in
//! virtual time; only the wall clock notices.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::time::Duration;

use madsim::runtime::Runtime;

use crate::events;
use crate::story::{self, Failure, Story};
use crate::trace::{Line, Trace};

/// By the wall clock. A story takes a second or so.
pub const WALL_LIMIT: Duration = Duration::from_secs(60);
const STACK: usize = 16 << 20;

/// What a run came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    Clean,
    Failed(Failure),
    /// Something was asserted and was not so.
    Panicked(String),
    /// The product logged an error: something that somebody must wake up for.
    Logged(String),
    /// It went on for longer than [`WALL_LIMIT`].
    Hung,
}

impl Verdict {
    /// The exit code of a program whose run came to this.
    pub fn code(&self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed(failure) if failure.guarantee.starts_with('L') => 2,
            Self::Failed(_) | Self::Panicked(_) | Self::Logged(_) => 1,
            Self::Hung => 4,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Panicked(why) => write!(f, "an assertion failed: {why}"),
            Self::Logged(line) => write!(f, "the product logged an error: {line}"),
            Self::Hung => write!(f, "no end after {} s by the wall clock", WALL_LIMIT.as_secs()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub lines: Vec<Line>,
    pub digest: u64,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Runs a story to its end, or to the first thing that is not as promised.
pub fn run(story: &Story, seed: u64) -> Outcome {
    let seed = story.seed.unwrap_or(seed);
    let trace = Trace::default();
    let (sender, receiver) = mpsc::channel();
    let (telling, writing) = (story.clone(), trace.clone());
    let thread = std::thread::Builder::new().name(story.name.clone()).stack_size(STACK);
    thread
        .spawn(move || {
            let told = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
                let _subscriber = events::record(&writing);
                runtime.block_on(story::tell(&telling, seed, writing.clone()))
            }));
            let verdict = match told {
                Ok(Ok(world)) => (Verdict::Clean, world.faults()),
                Ok(Err(failure)) => (Verdict::Failed(failure), BTreeMap::new()),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    (Verdict::Panicked(text.unwrap_or_else(|| "without a word".into())), BTreeMap::new())
                }
            };
            // Nobody listens to a run that came too late.
            let _ = sender.send(verdict);
        })
        .expect("a thread can be started");
    let (verdict, faults) = receiver.recv_timeout(WALL_LIMIT).unwrap_or((Verdict::Hung, BTreeMap::new()));
    let lines = trace.lines();
    let error = lines.iter().find(|line| line.what.starts_with("ERROR:"));
    let verdict = match (verdict, error) {
        (Verdict::Clean, Some(line)) => Verdict::Logged(line.to_string()),
        (verdict, _) => verdict,
    };
    Outcome { verdict, lines, digest: trace.digest(), faults }
}
