//! The report of the zoo: a table, a line of JSON for each bug, and the exit code.

use std::fmt;
use std::time::Duration;

use mainstem_oracles::Guarantee;
use serde::Serialize;

use super::catch::Catch;
use super::entry::Entry;
use super::hunt::Hunted;

const MISSED: u8 = 1;
const HARNESS: u8 = 5;

/// The outcome of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    Caught,
    /// It was not caught by its story, by random runs, or by either.
    Missed,
    /// It had to survive, and did.
    Survived,
    /// It had to survive, and was caught.
    CaughtWrongly,
    /// Unknown, because the harness failed.
    Error,
    /// The time ran out.
    NotReached,
}

/// One row of the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) breaks: Vec<Guarantee>,
    pub(super) fate: Fate,
    /// Random runs are tried only on request.
    pub(super) rare: bool,
    pub(super) story: Option<Catch>,
    /// A story that failed without naming a guarantee that the bug breaks.
    pub(super) story_missed: Option<Catch>,
    pub(super) runs: Option<Runs>,
    /// Walks of the pure world; `None` if they cannot find it.
    pub(super) walk: Option<Runs>,
    pub(super) shrunk: Option<String>,
    pub(super) build_ms: u64,
    pub(super) error: Option<String>,
}

/// What was tried besides the story.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    pub(super) runs: bool,
    pub(super) walks: bool,
}

/// The random runs, or walks.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Runs {
    pub(super) caught: Option<Catch>,
    pub(super) seed: Option<u64>,
    pub(super) seeds_run: u64,
    /// Seeds that failed without naming a guarantee that the bug breaks.
    pub(super) seeds_missed: u64,
    pub(super) ms: u64,
}

impl Row {
    fn blank(entry: &Entry, fate: Fate) -> Self {
        Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            breaks: entry.breaks.clone(),
            fate,
            rare: entry.rare,
            story: None,
            story_missed: None,
            runs: None,
            walk: None,
            shrunk: None,
            build_ms: 0,
            error: None,
        }
    }

    pub(super) fn not_reached(entry: &Entry) -> Self {
        Self::blank(entry, Fate::NotReached)
    }

    pub(super) fn error(entry: &Entry, error: &anyhow::Error) -> Self {
        Self { error: Some(format!("{error:#}")), ..Self::blank(entry, Fate::Error) }
    }

    pub(super) fn hunted(entry: &Entry, hunted: Hunted, built_in: Duration, tried: Tried) -> Self {
        let by_runs = !tried.runs || hunted.by_runs.is_some();
        let walk_seeds = entry.walk.filter(|_| tried.walks);
        let by_walk = walk_seeds.is_none() || hunted.by_walk.is_some();
        let seen = hunted.by_story.is_some() || hunted.story_missed.is_some();
        let fate = match entry.must_survive {
            true if seen || hunted.by_runs.is_some() || hunted.by_walk.is_some() => Fate::CaughtWrongly,
            true => Fate::Survived,
            false if hunted.by_story.is_some() && by_runs && by_walk => Fate::Caught,
            false => Fate::Missed,
        };
        let walk = walk_seeds.map(|seeds| {
            let (seed, caught) = hunted.by_walk.map(|caught| (caught.seed, caught.catch)).unzip();
            let seeds_run = seed.map_or(seeds, |seed| seed + 1);
            Runs { caught, seed, seeds_run, seeds_missed: hunted.walks_missed, ms: millis(hunted.walk_took) }
        });
        let runs = tried.runs.then(|| {
            let (seed, caught) = hunted.by_runs.map(|caught| (caught.seed, caught.catch)).unzip();
            let (seeds_run, seeds_missed) = (hunted.seeds_run, hunted.seeds_missed);
            Runs { caught, seed, seeds_run, seeds_missed, ms: millis(hunted.runs_took) }
        });
        Self {
            story: hunted.by_story,
            story_missed: hunted.story_missed,
            runs,
            walk,
            shrunk: hunted.shrunk,
            build_ms: millis(built_in),
            ..Self::blank(entry, fate)
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The whole zoo.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) stories_only: bool,
    pub(super) without_oracle: Option<Guarantee>,
}

impl Report {
    /// Errors of the harness come first, because without them the result would not be known.
    pub(super) fn code(&self) -> u8 {
        let any = |fate| self.rows.iter().any(|row| row.fate == fate);
        if any(Fate::Error) {
            HARNESS
        } else if any(Fate::Missed) || any(Fate::CaughtWrongly) {
            MISSED
        } else {
            0
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![
            ["", "bug", "breaks", "its story", "random runs", "walks", "shrunk to", "build"]
                .map(str::to_owned),
        ];
        lines.extend(self.rows.iter().map(cells));
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for line in &lines {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        for row in &self.rows {
            if let Some(error) = &row.error {
                writeln!(f, "{}: {error}", row.name)?;
            }
            if let Some(other) = row.story_missed.as_ref().filter(|_| row.fate != Fate::Survived) {
                let named = other.guarantee.map_or("nothing", Guarantee::as_str);
                writeln!(f, "{}: its story fails by {named}: {}", row.name, other.why)?;
            }
        }
        if self.stories_only {
            writeln!(f, "stories only: no random runs and no walks were made")?;
        }
        if let Some(oracle) = &self.without_oracle {
            writeln!(f, "without the oracle of {oracle}: what only that catches is missed")?;
        }
        let count = |fate| self.rows.iter().filter(|row| row.fate == fate).count();
        write!(
            f,
            "{} caught, {} survived as they must, {} missed, {} caught wrongly, {} errors, {} not reached",
            count(Fate::Caught),
            count(Fate::Survived),
            count(Fate::Missed),
            count(Fate::CaughtWrongly),
            count(Fate::Error),
            count(Fate::NotReached),
        )
    }
}

fn cells(row: &Row) -> [String; 8] {
    let fate = match row.fate {
        Fate::Caught | Fate::Survived => "ok",
        Fate::Missed => "MISSED",
        Fate::CaughtWrongly => "WRONG",
        Fate::Error => "ERROR",
        Fate::NotReached => "not reached",
    };
    let known = !matches!(row.fate, Fate::Error | Fate::NotReached);
    let story = match &row.story {
        Some(catch) => by(catch),
        None if known => "not caught".into(),
        None => "-".into(),
    };
    let runs = match &row.runs {
        None if row.rare => "rare: left to its story".into(),
        runs => of_runs(runs.as_ref()),
    };
    let walk = of_runs(row.walk.as_ref());
    let shrunk = row.shrunk.clone().unwrap_or_else(|| "-".into());
    let build = if known { format!("{} s", seconds(row.build_ms)) } else { "-".into() };
    let breaks: Vec<_> = row.breaks.iter().map(|guarantee| guarantee.as_str()).collect();
    [fate.into(), row.name.clone(), breaks.join(" "), story, runs, walk, shrunk, build]
}

fn of_runs(runs: Option<&Runs>) -> String {
    match runs {
        None => "-".into(),
        Some(Runs { caught: None, seeds_run, seeds_missed, ms, .. }) => {
            format!("not caught by {seeds_run} seeds in {} s, {seeds_missed} failed otherwise", seconds(*ms))
        }
        Some(Runs { caught: Some(catch), seeds_run, ms, .. }) => {
            format!("{} after {seeds_run} seeds, {} s", by(catch), seconds(*ms))
        }
    }
}

fn by(catch: &Catch) -> String {
    format!("{} by {}", catch.guarantee.map_or("nothing", Guarantee::as_str), catch.finder.as_str())
}

fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use mainstem_oracles::Guarantee;

    use std::time::Duration;

    use super::{Fate, Report, Row, Tried};
    use crate::zoo::catch::{Catch, Finder};
    use crate::zoo::entry::{Change, Entry};
    use crate::zoo::hunt::{Hunted, RunsCatch};

    fn entry(must_survive: bool) -> Entry {
        Entry {
            name: "R01".into(),
            path: "R01.toml".into(),
            title: "a".into(),
            breaks: if must_survive { vec![] } else { vec![Guarantee::S3] },
            story: None,
            by_determinism: false,
            seeds: 9,
            rare: false,
            walk: Some(7),
            must_survive,
            changes: vec![Change { file: "a".into(), within: None, find: "b".into(), replace: "c".into() }],
        }
    }

    fn catch() -> Catch {
        Catch { guarantee: Some(Guarantee::S3), finder: Finder::Judge, why: "as it is".into() }
    }

    fn by_story() -> Hunted {
        Hunted { by_story: Some(catch()), seeds_run: 9, ..Hunted::default() }
    }

    fn by_both() -> Hunted {
        let caught = Some(RunsCatch { seed: 3, catch: catch() });
        Hunted { by_runs: caught.clone(), by_walk: caught, seeds_run: 4, ..by_story() }
    }

    fn report(rows: Vec<Row>, stories_only: bool) -> Report {
        Report { rows, stories_only, without_oracle: None }
    }

    fn tried(all: bool) -> Tried {
        Tried { runs: all, walks: all }
    }

    fn fate(entry: &Entry, hunted: Hunted, stories_only: bool) -> (Fate, u8) {
        let row = Row::hunted(entry, hunted, Duration::ZERO, tried(!stories_only));
        (row.fate, report(vec![row], stories_only).code())
    }

    #[test]
    fn a_bug_is_caught_by_its_story_and_by_random_runs() {
        let bug = entry(false);
        assert_eq!(fate(&bug, by_both(), false), (Fate::Caught, 0));
        assert_eq!(fate(&bug, by_story(), false), (Fate::Missed, 1));
        assert_eq!(fate(&bug, by_story(), true), (Fate::Caught, 0));
        let by_runs = Hunted { by_story: None, ..by_both() };
        assert_eq!(fate(&bug, by_runs, false), (Fate::Missed, 1));
        let not_by_walk = Hunted { by_walk: None, ..by_both() };
        assert_eq!(fate(&bug, not_by_walk.clone(), false), (Fate::Missed, 1));
        let of_driver = Entry { walk: None, ..bug.clone() };
        assert_eq!(fate(&of_driver, not_by_walk, false), (Fate::Caught, 0));
        let otherwise = Hunted { story_missed: Some(catch()), ..Hunted::default() };
        assert_eq!(fate(&bug, otherwise, true), (Fate::Missed, 1));
    }

    #[test]
    fn what_must_survive_is_never_caught_by_anything() {
        let canary = entry(true);
        assert_eq!(fate(&canary, Hunted::default(), false), (Fate::Survived, 0));
        let by_runs = Hunted { by_story: None, by_walk: None, ..by_both() };
        assert_eq!(fate(&canary, by_runs, false), (Fate::CaughtWrongly, 1));
        let by_walk = Hunted { by_story: None, by_runs: None, ..by_both() };
        assert_eq!(fate(&canary, by_walk, false), (Fate::CaughtWrongly, 1));
        let otherwise = Hunted { story_missed: Some(catch()), ..Hunted::default() };
        assert_eq!(fate(&canary, otherwise, false), (Fate::CaughtWrongly, 1));
    }

    #[test]
    fn an_error_of_the_harness_outweighs_what_was_missed_and_what_was_not_reached_is_listed() {
        let missed = Row::hunted(&entry(false), Hunted::default(), Duration::ZERO, tried(false));
        let error = Row::error(&entry(false), &anyhow::anyhow!("it does not build"));
        let late = Row::not_reached(&entry(false));
        let whole = report(vec![missed, error, late.clone()], true);
        assert_eq!(whole.code(), 5);
        let output = whole.to_string();
        for said in
            ["MISSED", "ERROR", "it does not build", "not reached", "no random runs and no walks were made"]
        {
            assert!(output.contains(said), "{output}");
        }
        assert_eq!(report(vec![late], true).code(), 0);
    }
}
