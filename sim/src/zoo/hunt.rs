//! The hunt for one bug: its story and random runs have to fail, and to name a guarantee that the bug breaks.
//! Without the bug, the same story must pass and the same seed must be clean; otherwise the catch does not
//! count.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstem_oracles::Guarantee;

use super::catch::{self, Catch, Finder};
use super::entry::Entry;
use super::search::{Bounds, Search};

/// The wall-clock limit of one story.
const STORY_LIMIT: Duration = Duration::from_secs(120);
/// The wall-clock limit of all random runs of one bug, and of shrinking.
pub(super) const RUNS_LIMIT: Duration = Duration::from_secs(3600);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait while a new program is still open for writing.
const BUSY_MAX: Duration = Duration::from_secs(5);
pub(super) const NOT_DETERMINISTIC: i32 = 3;

/// The options of the hunt, and the program without a bug.
#[derive(Debug)]
pub(super) struct Hunter {
    pub(super) clean: PathBuf,
    /// The directory for the programs' output.
    pub(super) outputs: PathBuf,
    /// All stories. An entry that must survive has to pass all of them.
    stories: Vec<PathBuf>,
    pub(super) how: How,
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
    pub(super) fn run(
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

pub(super) fn different(output: &str) -> Catch {
    let why = output.lines().find(|line| line.starts_with("D1: ")).unwrap_or("two traces differ").to_owned();
    Catch { guarantee: Some(Guarantee::D1), finder: Finder::Determinism, why }
}

#[cfg(test)]
#[path = "hunt_tests.rs"]
mod tests;
