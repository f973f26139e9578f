//! The hunt for one bug: its story and random runs have to fail, and to name a guarantee that the bug breaks.
//! Without the bug, the same story must pass and the same seed must be clean; otherwise the catch does not
//! count.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstem_oracles::Guarantee;
use serde::Serialize;

use super::catch::{self, Catch, Explored, Finder, Seed};
use super::entry::Entry;

/// The wall-clock limit of one story.
const STORY_LIMIT: Duration = Duration::from_secs(120);
/// The wall-clock limit of all random runs of one bug, and of shrinking.
const RUNS_LIMIT: Duration = Duration::from_secs(3600);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait while a new program is still open for writing.
const BUSY_MAX: Duration = Duration::from_secs(5);
const NOT_DETERMINISTIC: i32 = 3;
/// The exit code of `explore` that has found nothing, and has not seen everything.
const INCOMPLETE: i32 = 6;

/// The options of the hunt, and the program without a bug.
#[derive(Debug)]
pub(super) struct Hunter {
    clean: PathBuf,
    /// The directory for the programs' output.
    outputs: PathBuf,
    /// All stories. An entry that must survive has to pass all of them.
    stories: Vec<PathBuf>,
    how: How,
    /// Stories that passed without a bug.
    came_true: BTreeSet<PathBuf>,
}

/// How bugs are hunted.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) stories_only: bool,
    pub(super) shrink: bool,
    pub(super) rare: bool,
    pub(super) without_oracle: Option<Guarantee>,
}

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

/// The result for one bug.
#[derive(Clone, Debug, Default)]
pub(super) struct Hunted {
    pub(super) by_story: Option<Catch>,
    /// A story that failed without naming a guarantee that the bug breaks.
    pub(super) story_missed: Option<Catch>,
    /// `None` if it was not tried.
    pub(super) runs: Option<Search>,
    pub(super) walks: Option<Search>,
    pub(super) explore: Option<Search>,
    pub(super) shrunk: Option<String>,
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
    /// Fails if the program lacks a command that is needed: nothing is skipped silently.
    pub(super) fn new(
        clean: PathBuf,
        outputs: PathBuf,
        stories: Vec<PathBuf>,
        how: How,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&outputs).with_context(|| format!("making {}", outputs.display()))?;
        let hunter = Self { clean, outputs, stories, how, came_true: BTreeSet::new() };
        let How { stories_only, shrink, without_oracle, .. } = &hunter.how;
        let mut needs = vec![];
        if !stories_only {
            needs.extend([("run", "--seeds"), ("run", "--stop"), ("run", "--results")]);
            needs.extend([("walk", "--seeds"), ("walk", "--stop"), ("walk", "--results")]);
            needs.extend([("explore", "--states"), ("explore", "--results")]);
        }
        if *shrink {
            needs.push(("shrink", "-o"));
        }
        if without_oracle.is_some() {
            needs.push(("scenarios", "--without-oracle"));
            let of_runs = ["run", "walk", "explore"].map(|command| (command, "--without-oracle"));
            needs.extend(of_runs.into_iter().filter(|_| !*stories_only));
        }
        for (command, option) in needs {
            let mut asking = Command::new(&hunter.clean);
            asking
                .args([command, "--help"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let help = start(&mut asking)?.wait_with_output().context("asking for help")?;
            if !help.status.success() || !String::from_utf8_lossy(&help.stdout).contains(option) {
                bail!(
                    "random runs, shrinking or leaving out an oracle is not available: this program has no \
                     `{command} {option}`; --stories-only does without random runs, and says so in the report"
                );
            }
        }
        Ok(hunter)
    }

    /// Hunts a bug by its story and, within their bounds, by random runs, walks and explore.
    pub(super) fn hunt(&mut self, entry: &Entry, program: &Path, bounds: Bounds) -> anyhow::Result<Hunted> {
        let mut hunted = self.story(entry, program)?;
        if self.how.stories_only {
            return Ok(hunted);
        }
        if let Some(walks) = bounds.walks {
            hunted.walks = Some(self.walks(entry, 0..walks, program)?);
        }
        if let Some(states) = bounds.explore {
            hunted.explore = Some(self.explore(entry, states, program)?);
        }
        if self.how.rare || !entry.rare {
            let runs = self.runs(entry, 0..bounds.runs, program)?;
            // A single run cannot show a difference between two.
            if self.how.shrink
                && !entry.by_determinism
                && let Some(seed) = runs.seed
            {
                hunted.shrunk = Some(self.shrink(entry, program, seed)?);
            }
            hunted.runs = Some(runs);
        }
        Ok(hunted)
    }

    /// The story of a bug alone.
    pub(super) fn story(&mut self, entry: &Entry, program: &Path) -> anyhow::Result<Hunted> {
        let mut hunted = Hunted::default();
        match &entry.story {
            Some(story) => self.hunt_by_story(entry, story, program, &mut hunted)?,
            None => {
                for story in self.stories.clone() {
                    self.hunt_by_story(entry, &story, program, &mut hunted)?;
                    if hunted.by_story.is_some() || hunted.story_missed.is_some() {
                        break;
                    }
                }
            }
        }
        Ok(hunted)
    }

    fn hunt_by_story(
        &mut self,
        entry: &Entry,
        story: &Path,
        program: &Path,
        hunted: &mut Hunted,
    ) -> anyhow::Result<()> {
        if !self.came_true.contains(story) {
            let name = format!("clean.{}", stem(story));
            if let Some(why) = self.try_story(&self.clean, story, entry.by_determinism, &name)? {
                bail!("{} fails without any bug: {}", story.display(), why.why);
            }
            self.came_true.insert(story.to_owned());
        }
        let found = self.try_story(program, story, entry.by_determinism, &format!("{}.story", entry.name))?;
        match found {
            Some(catch) if catch.names(&entry.breaks) => hunted.by_story = Some(catch),
            other => hunted.story_missed = other,
        }
        Ok(())
    }

    /// Runs one story in one program, and returns why it failed.
    fn try_story(
        &self,
        program: &Path,
        story: &Path,
        twice: bool,
        name: &str,
    ) -> anyhow::Result<Option<Catch>> {
        let mut command = Command::new(program);
        command.arg(if twice { "check-determinism" } else { "scenarios" }).arg(story);
        if !twice {
            command.args(["--world", "cluster"]);
        }
        if let Some(oracle) = self.how.without_oracle.filter(|_| !twice) {
            command.args(["--without-oracle", oracle.as_str()]);
        }
        let (code, output) = self.run(command, name, STORY_LIMIT)?;
        match code {
            Some(0) => Ok(None),
            Some(NOT_DETERMINISTIC) if twice => Ok(Some(different(&output))),
            Some(1 | 2 | 4) if !twice => match catch::of_story(&output) {
                Some(found) => Ok(Some(found)),
                None => bail!("{name}: the verdict cannot be read:\n{output}"),
            },
            // A panic outside a run.
            Some(101) | None => bail!("{name}: the program itself broke off:\n{output}"),
            Some(code) => bail!("{name}: exit code {code}:\n{output}"),
        }
    }

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

    /// Shrinks a failing seed, and returns the program's summary.
    fn shrink(&self, entry: &Entry, program: &Path, seed: u64) -> anyhow::Result<String> {
        let file = self.outputs.join(format!("{}.shrunk.story", entry.name));
        let mut command = Command::new(program);
        command.args(["shrink", &seed.to_string(), "-o"]).arg(&file);
        let (code, output) = self.run(command, &format!("{}.shrink", entry.name), RUNS_LIMIT)?;
        let left = output.lines().find_map(|line| line.strip_prefix("shrunk to "));
        match (code, left) {
            (Some(1..=4), Some(left)) => Ok(left.to_owned()),
            (code, _) => bail!("{}: shrinking seed {seed} ended with {code:?}:\n{output}", entry.name),
        }
    }

    /// Runs a program to its end. Returns its exit code, if it has one, and its output.
    fn run(
        &self,
        mut command: Command,
        name: &str,
        limit: Duration,
    ) -> anyhow::Result<(Option<i32>, String)> {
        let path = self.outputs.join(format!("{name}.txt"));
        let output = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let errors = output.try_clone().context("sharing a file")?;
        let mut child = start(command.stdin(Stdio::null()).stdout(output).stderr(errors))?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().context("waiting for a program")? {
                break status;
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{name}: no end after {} s", limit.as_secs());
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        let output = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok((status.code(), String::from_utf8_lossy(&output).into_owned()))
    }
}

/// A program that was just written may still be open for writing in a child process that was forked in the
/// meantime and has not reached its `exec`.
fn start(command: &mut Command) -> anyhow::Result<Child> {
    let until = Instant::now() + BUSY_MAX;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                std::thread::sleep(POLL_INTERVAL);
            }
            started => return started.with_context(|| format!("starting {command:?}")),
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn different(output: &str) -> Catch {
    let why = output.lines().find(|line| line.starts_with("D1: ")).unwrap_or("two traces differ").to_owned();
    Catch { guarantee: Some(Guarantee::D1), finder: Finder::Determinism, why }
}

#[cfg(test)]
#[path = "hunt_tests.rs"]
mod tests;
