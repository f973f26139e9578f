//! Shrinking: finds a small plan that still breaks the same guarantee, by removing lines, clients, chats and
//! replicas, and by simplifying scripts and times, until no step helps.
//!
//! A candidate is kept only if it was run and broke the same guarantee. Based on Zeller and Hildebrandt,
//! "Simplifying and Isolating Failure-Inducing Input" (2002), with additional steps for the story language.

mod simpler;

use std::time::{Duration, Instant};

use mainstem_oracles::Guarantee;

use crate::plan::Plan;
use crate::run::{Outcome, RunOptions, Verdict, run};
use crate::story::{Problem, START, Story};

/// Seeds under which each candidate is tried, while much can be removed.
const LUCK: u64 = 4;
/// The same, once nothing can be removed with fewer.
const LAST_LUCK: u64 = 16;
/// If a plan has more faults than this, steps are tried that make it no simpler by themselves.
const FEW_FAULTS: usize = 3;

/// What identifies a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    guarantee: Option<Guarantee>,
    /// Without a guarantee: the beginning of the text of the panic.
    text: Option<String>,
}

impl Failure {
    fn of(verdict: &Verdict) -> Option<Self> {
        let guarantee = verdict.guarantee();
        let text = match (verdict, &guarantee) {
            (Verdict::Clean, _) => return None,
            (_, Some(_)) => None,
            (verdict, None) => Some(verdict.to_string().chars().take(60).collect()),
        };
        Some(Self { guarantee, text })
    }
}

/// The result of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub plan: Plan,
    pub verdict: Verdict,
    pub runs: usize,
    pub took: Duration,
    /// False if the time ran out before every step had been tried.
    pub is_minimal: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    #[error("it runs clean: there is nothing to shrink")]
    Clean,
    #[error(transparent)]
    Story(#[from] Problem),
}

struct Shrinker {
    failure: Failure,
    best: Plan,
    verdict: Verdict,
    options: RunOptions,
    jobs: usize,
    luck: u64,
    runs: usize,
    until: Instant,
}

/// Shrinks a plan that fails, for at most `limit` by the wall clock.
pub fn shrink(plan: Plan, options: &RunOptions, jobs: usize, limit: Duration) -> Result<Shrunk, ShrinkError> {
    let began = Instant::now();
    let outcome = run(&plan.to_story()?, plan.seed, options);
    let failure = Failure::of(&outcome.verdict).ok_or(ShrinkError::Clean)?;
    let mut shrinker = Shrinker {
        failure,
        best: plan,
        verdict: outcome.verdict,
        options: options.clone(),
        jobs: jobs.max(1),
        luck: LUCK,
        runs: 1,
        until: began + limit,
    };
    let ended = Duration::from_millis(outcome.counts.simulated_ms);
    let until = ended.saturating_sub(START);
    shrinker.adopt_first(|plan| simpler::without_what_comes_after(plan, until));
    while shrinker.pass() || shrinker.search_deeper() || shrinker.search_elsewhere() {}
    let Shrinker { best: plan, verdict, runs, until, .. } = shrinker;
    Ok(Shrunk { plan, verdict, runs, took: began.elapsed(), is_minimal: Instant::now() < until })
}

/// Runs a plan under its own seed and a few others: without a line, random delays differ, and a race may need
/// another seed to fail.
fn fails_with_luck(
    plan: &Plan,
    failure: &Failure,
    luck: u64,
    options: &RunOptions,
) -> Option<(u64, Outcome)> {
    let story = plan.to_story().ok()?;
    (0..luck).find_map(|more| {
        let seed = plan.seed.wrapping_add(more);
        let outcome = run(&Story { seed: Some(seed), ..story.clone() }, seed, options);
        (Failure::of(&outcome.verdict).as_ref() == Some(failure)).then_some((seed, outcome))
    })
}

impl Shrinker {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Tries every step once. False if none of them helped.
    fn pass(&mut self) -> bool {
        let size = |plan: &Plan| (plan.lines.len(), plan.to_string().len());
        let before = size(&self.best);
        self.adopt_first(simpler::without_a_name);
        self.remove_lines();
        self.adopt_first(simpler::without_a_setting);
        self.adopt_first(simpler::plainer_lines);
        self.adopt_first(simpler::rounder_times);
        !self.is_over() && size(&self.best) < before
    }

    /// If no single line can be removed, tries pairs, and more seeds. False if there is nothing else to try.
    fn search_deeper(&mut self) -> bool {
        if self.is_over() || self.luck == LAST_LUCK {
            return false;
        }
        let before = self.best.lines.len();
        self.adopt_first(simpler::without_two_lines);
        if self.best.lines.len() == before {
            self.luck = LAST_LUCK;
        }
        true
    }

    /// If many faults only lead to a state from which the plan could start: starts from that state, and tries
    /// to remove the faults then. False if that did not help.
    fn search_elsewhere(&mut self) -> bool {
        if self.best.faults().is_ok_and(|faults| faults <= FEW_FAULTS) {
            return false;
        }
        self.luck = LUCK;
        let before = (self.best.clone(), self.verdict.clone());
        for changed in simpler::changed(&before.0) {
            if self.is_over() {
                break;
            }
            if self.first_that_fails(vec![changed]).is_some() {
                while self.pass() {}
                if self.best.lines.len() < before.0.lines.len() {
                    return true;
                }
                (self.best, self.verdict) = before.clone();
            }
        }
        self.luck = LAST_LUCK;
        false
    }

    /// Halves, quarters, …, single lines.
    fn remove_lines(&mut self) {
        let mut chunk = self.best.lines.len().div_ceil(2);
        while chunk > 0 && !self.is_over() {
            let mut at = 0;
            while at < self.best.lines.len() && !self.is_over() {
                let candidates = (0..self.jobs).map_while(|n| {
                    let from = at + n * chunk;
                    (from < self.best.lines.len()).then(|| simpler::without_lines(&self.best, from, chunk))
                });
                let candidates: Vec<_> = candidates.collect();
                let tried = candidates.len();
                match self.first_that_fails(candidates) {
                    // What stood behind has moved up to where the removed lines were.
                    Some(n) => at += n * chunk,
                    None => at += tried * chunk,
                }
            }
            chunk /= 2;
        }
    }

    /// Takes simpler ones as long as there is one that fails.
    fn adopt_first(&mut self, simpler: impl Fn(&Plan) -> Vec<Plan>) {
        let mut passed_over = 0;
        loop {
            let mut candidates = simpler(&self.best);
            candidates.retain(|plan| *plan != self.best);
            let Some(rest) = candidates.get(passed_over..).filter(|rest| !rest.is_empty()) else { return };
            let mut adopted = false;
            for few in rest.chunks(self.jobs) {
                if self.is_over() {
                    return;
                }
                if let Some(n) = self.first_that_fails(few.to_vec()) {
                    passed_over += n;
                    adopted = true;
                    break;
                }
                passed_over += few.len();
            }
            if !adopted {
                return;
            }
        }
    }

    /// Runs the candidates at once, and adopts the first that fails for the same reason. Its place.
    fn first_that_fails(&mut self, candidates: Vec<Plan>) -> Option<usize> {
        self.runs += candidates.len();
        let (options, failure, luck) = (&self.options, &self.failure, self.luck);
        let outcomes: Vec<Option<(u64, Outcome)>> = std::thread::scope(|scope| {
            let running: Vec<_> = candidates
                .iter()
                .map(|plan| scope.spawn(|| fails_with_luck(plan, failure, luck, options)))
                .collect();
            running.into_iter().map(|running| running.join().ok().flatten()).collect()
        });
        let found = outcomes.iter().position(Option::is_some)?;
        let (seed, outcome) = outcomes.into_iter().nth(found).flatten()?;
        self.best = Plan { seed, ..candidates.into_iter().nth(found)? };
        self.verdict = outcome.verdict;
        Some(found)
    }
}
