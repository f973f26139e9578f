//! Many random runs, on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstem_oracles::{Dockets, Guarantee};

use crate::branch::{Known, Tree};
use crate::marks::{Marks, add, count_marks, missed};
use crate::sightings::Sightings;
use crate::walk::{Run, Verdict};
use crate::world::World;

/// Runs that failed, and are kept.
const FAILED_MAX: usize = 20;
/// In one run of so many, the situations are looked at: it takes a part of the time of a run.
const RUNS_PER_LOOK: u64 = 8;
/// In fewer runs, a judge may have little to judge.
pub(crate) const RUNS_FOR_EXCUSES: u64 = 100;
/// Seeds that a thread takes at a time.
const CHUNK: u64 = 16;

/// Which runs.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Time limit, by the wall clock.
    pub limit: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// Choices of a run, at the most, before its recovery.
    pub choices: usize,
    /// Ends after the first run that is not clean.
    pub stop: bool,
    /// Walks branch also where they come to a situation that their thread has never seen. What a seed does depends on
    /// those before it then.
    pub branch_new: bool,
    /// Guarantees whose oracles are switched off.
    pub without: &'a [Guarantee],
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Seeds.
    pub seeds: u64,
    /// Runs: one of each seed, and those that branch from it.
    pub runs: u64,
    /// Choices in them.
    pub choices: u64,
    /// Runs that were not clean.
    pub failed: u64,
    /// The first of them, by seed.
    pub first: Vec<(u64, Run)>,
    /// How often each mark was passed.
    pub marks: Marks,
    /// What the judges were asked, and what they excused.
    pub dockets: Dockets,
    /// The situations of some runs.
    pub sightings: Sightings,
    /// How long it took.
    pub took: Duration,
}

impl Batch<'_> {
    /// Runs them. `progress` is called now and then, with the number of runs so far.
    pub fn run(&self, progress: impl Fn(u64, Duration) + Sync) -> Walked {
        let (next, done) = (AtomicU64::new(self.seeds.start), AtomicU64::new(0));
        let (stop, sum) = (AtomicBool::new(false), Mutex::new(Walked::default()));
        let sightings = Mutex::new(Sightings::default());
        let begun = Instant::now();
        let lane = || {
            let (part, marks) = count_marks(|| {
                let (mut part, mut situations) = (Walked::default(), vec![]);
                let mut known = Known::default();
                loop {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    for seed in from..from.saturating_add(CHUNK).min(self.seeds.end) {
                        let late = self.limit.is_some_and(|limit| begun.elapsed() >= limit);
                        if late || stop.load(Ordering::Relaxed) {
                            return part;
                        }
                        let known = self.branch_new.then_some(&mut known);
                        let tree = if seed.is_multiple_of(RUNS_PER_LOOK) {
                            let see = |world: &World| world.situations(&mut situations);
                            let tree = Tree::walk(seed, self.choices, self.without, known, see);
                            let mut sightings = sightings.lock().unwrap_or_else(PoisonError::into_inner);
                            sightings.add(&mut situations, begun.elapsed());
                            tree
                        } else {
                            Tree::walk(seed, self.choices, self.without, known, |_| {})
                        };
                        part.take(seed, tree);
                        stop.fetch_or(self.stop && part.failed > 0, Ordering::Relaxed);
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, begun.elapsed());
                    }
                    if from.saturating_add(CHUNK) >= self.seeds.end {
                        return part;
                    }
                }
            });
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(part, &marks);
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(lane);
            }
        });
        let mut walked = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        walked.sightings = sightings.into_inner().unwrap_or_else(PoisonError::into_inner);
        walked.took = begun.elapsed();
        walked
    }
}

impl Walked {
    fn take(&mut self, seed: u64, Tree { run, runs, choices, dockets }: Tree) {
        self.seeds += 1;
        self.runs += runs;
        self.choices += choices;
        self.dockets.add(&dockets);
        if run.verdict != Verdict::Clean {
            self.failed += 1;
            if self.first.len() < FAILED_MAX {
                self.first.push((seed, run));
            }
        }
    }

    fn add(&mut self, part: Self, marks: &Marks) {
        self.seeds += part.seeds;
        self.runs += part.runs;
        self.choices += part.choices;
        self.failed += part.failed;
        self.dockets.add(&part.dockets);
        self.first.extend(part.first);
        self.first.sort_by_key(|(seed, _)| *seed);
        self.first.truncate(FAILED_MAX);
        add(&mut self.marks, marks);
    }

    /// Marks that no run passed, though so many ought to have.
    pub fn missed(&self) -> Vec<&'static str> {
        missed(&self.marks, self.seeds)
    }

    /// Judges that held nothing in a batch of a size that says something: whatever they were asked, they excused.
    pub fn held_nothing(&self) -> Vec<Guarantee> {
        if self.runs < RUNS_FOR_EXCUSES { vec![] } else { self.dockets.excused_everything() }
    }

    /// Marks that no run passed.
    pub fn never(&self) -> Vec<&'static str> {
        self.marks.iter().filter(|(_, count)| **count == 0).map(|(mark, _)| *mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use mainstem_oracles::FaultKind;

    use super::*;

    #[test]
    fn a_judge_that_excused_everything_held_nothing() {
        let walked = |runs, excused| {
            let mut walked = Walked { runs, ..Walked::default() };
            walked.dockets.judged.insert(Guarantee::S7, 5);
            walked.dockets.excused.insert(Guarantee::S7, [(FaultKind::Drain, excused)].into());
            walked.held_nothing()
        };
        assert_eq!(walked(RUNS_FOR_EXCUSES, 4), vec![]);
        assert_eq!(walked(RUNS_FOR_EXCUSES, 5), vec![Guarantee::S7]);
        assert_eq!(walked(RUNS_FOR_EXCUSES - 1, 5), vec![], "a small batch says nothing");
    }

    #[test]
    fn what_the_judges_of_all_runs_were_asked_is_counted() {
        let walk = |seeds| {
            Batch { seeds, limit: None, jobs: 2, choices: 100, stop: false, branch_new: false, without: &[] }
                .run(|_, _| {})
        };
        let (few, more) = (walk(0..40), walk(0..80));
        let sum = |walked: &Walked| walked.dockets.judged.values().sum::<u64>();
        assert!(0 < sum(&few) && sum(&few) < sum(&more));
        assert!(few.dockets.judged.contains_key(&Guarantee::L1), "{}", few.dockets);
        assert!(more.dockets.excused.contains_key(&Guarantee::B3), "{}", more.dockets);
    }
}
