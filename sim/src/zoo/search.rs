//! The searches for one bug: random runs, walks and explore, each up to the first catch that counts, within bounds.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::catch::{Catch, Explored, Seed};
use super::entry::Entry;
use super::hunt::{Hunter, NOT_DETERMINISTIC, RUNS_LIMIT, different, millis};

/// The exit code of `explore` that has found nothing, and has not seen everything.
const INCOMPLETE: i32 = 6;

/// How many seeds, or states, each strategy may take. `None` is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) runs: u64,
    pub(super) walks: Option<u64>,
    pub(super) explore: Option<States>,
}

/// The states that `explore` may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum States {
    /// As many as it takes by itself.
    ByItself,
    AtMost(u64),
}

/// What came of seeds tried one after the other, or of states.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Search {
    pub(super) caught: Option<Catch>,
    /// Where it was caught; states have none.
    pub(super) seed: Option<u64>,
    /// Seeds, or states, up to the catch and with it.
    pub(super) tried: u64,
    /// Those that failed without naming a guarantee that the bug breaks.
    pub(super) missed: u64,
    pub(super) ms: u64,
}

impl Search {
    fn caught_at(&mut self, seed: u64, catch: Catch) {
        (self.seed, self.caught) = (Some(seed), Some(catch));
    }
}

impl Hunter {
    /// Random runs of these seeds, up to the first that catches it.
    pub(super) fn runs(&self, entry: &Entry, seeds: Range<u64>, program: &Path) -> anyhow::Result<Search> {
        let start = Instant::now();
        let mut search = if entry.by_determinism {
            self.compare_seeds(entry, seeds, program)?
        } else {
            self.first_that_counts(entry, seeds, program)?
        };
        search.ms = millis(start.elapsed());
        Ok(search)
    }

    fn first_that_counts(
        &self,
        entry: &Entry,
        Range { start: mut next, end }: Range<u64>,
        program: &Path,
    ) -> anyhow::Result<Search> {
        let mut search = Search::default();
        while next < end {
            let seeds = self.seeds(program, next, end, &entry.name)?;
            search.tried += seeds.len() as u64;
            let Some(last) = seeds.last().filter(|last| last.seed >= next) else {
                bail!("{}: random runs of {next}..{end} left no result", entry.name);
            };
            let Some(catch) = last.catch() else { break };
            if entry.must_survive || catch.names(&entry.breaks) {
                let again = self.seeds(&self.clean, last.seed, last.seed + 1, "clean")?;
                if again.iter().any(|seed| seed.catch().is_some()) {
                    bail!("seed {} is not clean without any bug either: {}", last.seed, catch.why);
                }
                search.caught_at(last.seed, catch);
                break;
            }
            search.missed += 1;
            next = last.seed + 1;
        }
        Ok(search)
    }

    /// Walks of these seeds, up to the first that catches it.
    pub(super) fn walks(&self, entry: &Entry, seeds: Range<u64>, program: &Path) -> anyhow::Result<Search> {
        let start = Instant::now();
        let Range { start: first, end } = seeds;
        let mut search = Search { tried: end - first, ..Search::default() };
        let mut next = first;
        while next < end {
            let Some(failed) = self.walk(program, next, end, &entry.name)? else { break };
            let catch = failed.catch().context("a walk that failed is a catch")?;
            if entry.must_survive || catch.names(&entry.breaks) {
                if self.walk(&self.clean, failed.seed, failed.seed + 1, "clean")?.is_some() {
                    bail!("seed {} of walk is not clean without any bug either: {}", failed.seed, catch.why);
                }
                search.tried = failed.seed + 1 - first;
                search.caught_at(failed.seed, catch);
                break;
            }
            search.missed += 1;
            next = failed.seed + 1;
        }
        search.ms = millis(start.elapsed());
        Ok(search)
    }

    /// All states of the small world that `explore` looks at by itself, up to the first that is not clean.
    pub(super) fn explore(&self, entry: &Entry, states: States, program: &Path) -> anyhow::Result<Search> {
        let start = Instant::now();
        let results = self.outputs.join(format!("{}.explore.jsonl", entry.name));
        let _ = std::fs::remove_file(&results);
        let mut command = Command::new(program);
        command.args(["explore", "--results"]).arg(&results);
        if let States::AtMost(states) = states {
            command.args(["--states", &states.to_string()]);
        }
        command.arg("--output").arg(self.outputs.join(format!("{}.explore.world", entry.name)));
        if let Some(oracle) = &self.how.without_oracle {
            command.args(["--without-oracle", oracle.as_str()]);
        }
        let (code, output) = self.run(command, &format!("{}.explore", entry.name), RUNS_LIMIT)?;
        let read = std::fs::read_to_string(&results).unwrap_or_default();
        let Some(line) = read.lines().next().filter(|_| matches!(code, Some(0..=2 | INCOMPLETE))) else {
            bail!("{}: explore ended with {code:?}:\n{output}", entry.name);
        };
        let explored: Explored =
            serde_json::from_str(line).with_context(|| format!("reading {}", results.display()))?;
        let mut search = Search { tried: explored.states, ..Search::default() };
        match explored.seed.catch() {
            Some(catch) if entry.must_survive || catch.names(&entry.breaks) => search.caught = Some(catch),
            Some(_) => search.missed = 1,
            None => {}
        }
        search.ms = millis(start.elapsed());
        Ok(search)
    }

    /// The first walk that is not clean.
    fn walk(&self, program: &Path, from: u64, to: u64, name: &str) -> anyhow::Result<Option<Seed>> {
        let results = self.outputs.join(format!("{name}.walks.jsonl"));
        let _ = std::fs::remove_file(&results);
        let mut command = Command::new(program);
        command.args(["walk", "--seeds", &format!("{from}..{to}"), "--stop", "--results"]).arg(&results);
        command.arg("--output").arg(self.outputs.join(format!("{name}.world")));
        if let Some(oracle) = &self.how.without_oracle {
            command.args(["--without-oracle", oracle.as_str()]);
        }
        let (code, output) = self.run(command, &format!("{name}.walk"), RUNS_LIMIT)?;
        let read = std::fs::read_to_string(&results).unwrap_or_default();
        let first = read.lines().next().map(serde_json::from_str).transpose();
        let first: Option<Seed> = first.with_context(|| format!("reading {}", results.display()))?;
        match (code, first) {
            (Some(0), None) => Ok(None),
            // A bug may keep walks from a mark, which is no catch.
            (Some(1), None) if results.exists() => Ok(None),
            (Some(1 | 2), Some(first)) => Ok(Some(first)),
            (code, _) => bail!("{name}: walks ended with {code:?}:\n{output}"),
        }
    }

    /// Random runs, in the order of their seeds, up to the first one that is not clean.
    fn seeds(&self, program: &Path, from: u64, to: u64, name: &str) -> anyhow::Result<Vec<Seed>> {
        let results = self.outputs.join(format!("{name}.seeds.jsonl"));
        let _ = std::fs::remove_file(&results);
        let mut command = Command::new(program);
        command.args(["run", "--seeds", &format!("{from}..{to}"), "--stop", "--results"]).arg(&results);
        if let Some(oracle) = self.how.without_oracle {
            command.args(["--without-oracle", oracle.as_str()]);
        }
        let (code, output) = self.run(command, &format!("{name}.runs"), RUNS_LIMIT)?;
        let read = std::fs::read_to_string(&results).unwrap_or_default();
        let seeds: Result<Vec<Seed>, _> =
            read.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect();
        let mut seeds = seeds.with_context(|| format!("reading {}", results.display()))?;
        seeds.sort_by_key(|seed| seed.seed);
        // With several workers, some later seeds may have ended as well.
        if let Some(at) = seeds.iter().position(|seed| seed.catch().is_some()) {
            seeds.truncate(at + 1);
        }
        match code {
            Some(0..=4) => Ok(seeds),
            code => bail!("{name}: random runs ended with {code:?}:\n{output}"),
        }
    }

    /// Runs each seed in two processes.
    fn compare_seeds(&self, entry: &Entry, seeds: Range<u64>, program: &Path) -> anyhow::Result<Search> {
        let mut search = Search::default();
        for seed in seeds {
            let mut command = Command::new(program);
            command.args(["check-determinism", "--seeds", &format!("{seed}..{}", seed + 1)]);
            let (code, output) = self.run(command, &format!("{}.runs", entry.name), RUNS_LIMIT)?;
            search.tried += 1;
            match code {
                Some(0) => {}
                Some(NOT_DETERMINISTIC) => {
                    search.caught_at(seed, different(&output));
                    break;
                }
                code => bail!("{}: comparing seed {seed} ended with {code:?}:\n{output}", entry.name),
            }
        }
        Ok(search)
    }
}
