//! One run of one story, on a thread of its own, with a limit by the wall clock.
//!
//! madsim keeps state per thread, so no thread is used twice. In a loop that never awaits, virtual time
//! stands still: only the wall clock detects that.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::time::Duration;

use madsim::runtime::Runtime;
use mainstem_machine::Time;
use mainstem_oracles::{Guarantee, Judge};
use mainstem_runtime::tape::Recording;

use mainstem_world::Testimony;

use crate::arrows::Arrows;
use crate::events;
use crate::story::{self, Failure, Story};
use crate::tally::{Counts, Tally};
use crate::trace::{Kind, Line, Trace};
use crate::world::World;

/// The limit by the wall clock. A story takes about a second.
pub const WALL_LIMIT: Duration = Duration::from_secs(60);
const STACK: usize = 16 << 20;

/// The verdict of a run.
#[derive(Clone, Debug)]
pub enum Verdict {
    Clean,
    Failed(Failure),
    /// Something was asserted and was not so.
    Panicked(String),
    /// The product logged an unexpected error.
    Logged(String),
    /// It took longer than [`WALL_LIMIT`].
    Hung,
}

impl Verdict {
    /// The guarantee that was broken, if one is named.
    pub fn guarantee(&self) -> Option<Guarantee> {
        match self {
            Self::Failed(failure) => Some(failure.guarantee),
            Self::Panicked(why) => why.split([':', ' ']).next()?.parse().ok(),
            Self::Clean | Self::Logged(_) | Self::Hung => None,
        }
    }

    /// The exit code of a program for this verdict.
    pub fn code(&self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed(failure) if failure.guarantee.is_liveness() => 2,
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
    pub arrows: Arrows,
    pub digest: u64,
    pub counts: Counts,
}

/// Options of a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Keep the lines of the trace; otherwise only their digest.
    pub trace: bool,
    /// A guarantee whose oracle is switched off.
    pub without_oracle: Option<Guarantee>,
    /// Keep what the judges are told.
    pub testimony: Option<Testimony>,
    /// Keep tapes of what the machines are told.
    pub recording: Option<Recording>,
}

/// Runs a story to its end, or to the first violation.
pub fn run(story: &Story, seed: u64, options: &RunOptions) -> Outcome {
    let seed = story.seed.unwrap_or(seed);
    let (trace, tally) =
        (if options.trace { Trace::default() } else { Trace::for_digest() }, Tally::default());
    let (sender, receiver) = mpsc::channel();
    let (played, writing, counting) = (story.clone(), trace.clone(), tally.clone());
    let (recording, testimony) = (options.recording.clone(), options.testimony.clone());
    let thread = std::thread::Builder::new().name(story.name.clone()).stack_size(STACK);
    let judge = Judge::without(options.without_oracle.as_slice());
    thread
        .spawn(move || {
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
                let _subscriber = events::record(&writing, &counting);
                runtime.block_on(async {
                    let world = World::judged_by(judge, seed, writing.clone(), counting.clone());
                    if let Some(testimony) = testimony {
                        world.keep(testimony);
                    }
                    let ended = story::play(&played, &world, recording).await;
                    if let Err(failure) = &ended {
                        let micros = madsim::time::TimeHandle::current().elapsed().as_micros();
                        let at = Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
                        writing.write(at, "verdict", Kind::Broken, format_args!("{failure}"));
                    }
                    ended
                })
            }));
            let verdict = match ended {
                Ok(Ok(())) => Verdict::Clean,
                Ok(Err(failure)) => Verdict::Failed(failure),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    Verdict::Panicked(text.unwrap_or_else(|| "without a word".into()))
                }
            };
            // After the limit, nobody receives the verdict any more.
            let _ = sender.send(verdict);
        })
        .expect("a thread can be started");
    let verdict = receiver.recv_timeout(WALL_LIMIT).unwrap_or(Verdict::Hung);
    // A failure is in the trace already.
    let unreported = !matches!(verdict, Verdict::Failed(_) | Verdict::Hung);
    let verdict = match verdict {
        Verdict::Clean => judge_errors(story, &trace.errors()),
        verdict => verdict,
    };
    if unreported && !matches!(verdict, Verdict::Clean) {
        trace.write(trace.last(), "verdict", Kind::Broken, format_args!("{verdict}"));
    }
    let (lines, arrows) = (trace.lines(), trace.arrows());
    Outcome { verdict, lines, arrows, digest: trace.digest(), counts: tally.counts() }
}

/// Fails if the product logged an error that is not expected, or did not log one that is.
fn judge_errors(story: &Story, errors: &[Line]) -> Verdict {
    let allowed = || story.errors.iter().chain(&story.tolerated);
    let is_expected = |line: &&Line| allowed().any(|error| line.what.contains(error));
    if let Some(line) = errors.iter().find(|line| !is_expected(line)) {
        return Verdict::Logged(line.to_string());
    }
    match story.errors.iter().find(|error| !errors.iter().any(|line| line.what.contains(*error))) {
        None => Verdict::Clean,
        Some(error) => {
            let why = format!("the product never logged the error {error:?}");
            Verdict::Failed(Failure { guarantee: story.guards[0], line: None, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict of a story about a replica that its peers deny, with more lines in its heading.
    fn verdict(more: &str) -> Verdict {
        let head = "guards S10\nreplicas A C\nsecret of C is another\n";
        let tale =
            "only A works\nuser sends \"one\"\nviewer V on C watches chat\nwithin 1s C dialed A once\n";
        let story = story::parse("x", &format!("{head}{more}{tale}")).expect("a story");
        run(&story, 0, &RunOptions::default()).verdict
    }

    #[test]
    fn a_sentence_that_finds_nothing_to_do_fails() {
        let verdict = |tale: &str| {
            let head = "guards S1\nreplicas A B C\nonly A works\nuser sends \"one\"\nviewer V on C watches chat\n\
                        within 1s V sees status running on A\n";
            run(&story::parse("x", &format!("{head}{tale}\n")).expect("a story"), 0, &RunOptions::default())
                .verdict
        };
        assert!(matches!(verdict("link between A and C breaks"), Verdict::Clean), "there is a relay");
        for (tale, guarantee, why) in [
            ("next finish_turn of A loses its answer", "D2", "answer lost after commit"),
            ("next dial from A to C fails", "D2", "dial refused"),
            ("link between A and B breaks", "D2", "reset"),
            ("user promotes last", "S1", "nothing to ask that of"),
            ("V leaves\nwithin 1s V sees end", "S1", "V has left"),
        ] {
            let verdict = verdict(tale);
            let Verdict::Failed(Failure { guarantee: found, why: told, .. }) = &verdict else {
                panic!("{tale}: {verdict}");
            };
            assert!(found.as_str() == guarantee && told.contains(why), "{tale}: {verdict}");
        }
    }

    #[test]
    fn an_error_is_forgiven_only_if_it_is_expected_and_comes() {
        let denied = "expects an error \"a peer denies our credentials\"\n";
        assert!(matches!(verdict(""), Verdict::Logged(_)));
        assert!(matches!(verdict(denied), Verdict::Clean));
        let other = format!("{denied}expects an error \"the sky falls\"\n");
        assert!(matches!(verdict(&other), Verdict::Failed(failure) if failure.why.contains("the sky falls")));
    }
}
