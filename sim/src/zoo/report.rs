//! The report of the zoo: a table, a line of JSON for each bug, and the exit code.

use std::fmt;
use std::time::Duration;

use mainstem_oracles::Guarantee;
use serde::Serialize;

use super::catch::Catch;
use super::entry::Entry;
use super::hunt::{Hunted, millis};
use super::search::Search;

const MISSED: u8 = 1;
const HARNESS: u8 = 5;

/// The outcome of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    Caught,
    /// It was not caught by its story, or by something else that was tried.
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
    pub(super) runs: Option<Search>,
    /// Walks of the pure world; `None` if they cannot find it.
    pub(super) walks: Option<Search>,
    /// `None` if it is not known to find it.
    pub(super) explore: Option<Search>,
    pub(super) shrunk: Option<String>,
    pub(super) build_ms: u64,
    pub(super) error: Option<String>,
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
            walks: None,
            explore: None,
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

    pub(super) fn hunted(entry: &Entry, hunted: Hunted, built_in: Duration) -> Self {
        let searches = || [&hunted.runs, &hunted.walks, &hunted.explore].into_iter().flatten();
        let by_any = searches().any(|search| search.caught.is_some());
        let by_all = searches().all(|search| search.caught.is_some());
        let seen = hunted.by_story.is_some() || hunted.story_missed.is_some();
        let fate = match entry.must_survive {
            true if seen || by_any => Fate::CaughtWrongly,
            true => Fate::Survived,
            false if hunted.by_story.is_some() && by_all => Fate::Caught,
            false => Fate::Missed,
        };
        Self {
            story: hunted.by_story,
            story_missed: hunted.story_missed,
            runs: hunted.runs,
            walks: hunted.walks,
            explore: hunted.explore,
            shrunk: hunted.shrunk,
            build_ms: millis(built_in),
            ..Self::blank(entry, fate)
        }
    }
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
            ["", "bug", "breaks", "its story", "random runs", "walks", "explore", "shrunk to", "build"]
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

fn cells(row: &Row) -> [String; 9] {
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
        runs => of_search(runs.as_ref(), "seeds"),
    };
    let walks = of_search(row.walks.as_ref(), "seeds");
    let explore = of_search(row.explore.as_ref(), "states");
    let shrunk = row.shrunk.clone().unwrap_or_else(|| "-".into());
    let build = if known { format!("{} s", seconds(row.build_ms)) } else { "-".into() };
    let breaks: Vec<_> = row.breaks.iter().map(|guarantee| guarantee.as_str()).collect();
    [fate.into(), row.name.clone(), breaks.join(" "), story, runs, walks, explore, shrunk, build]
}

fn of_search(search: Option<&Search>, unit: &str) -> String {
    match search {
        None => "-".into(),
        Some(Search { caught: None, tried, missed, ms, .. }) => {
            format!("not caught by {tried} {unit} in {} s, {missed} failed otherwise", seconds(*ms))
        }
        Some(Search { caught: Some(catch), tried, ms, .. }) => {
            format!("{} after {tried} {unit}, {} s", by(catch), seconds(*ms))
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

    use super::{Fate, Report, Row};
    use crate::zoo::catch::{Catch, Finder};
    use crate::zoo::entry::{Change, Entry};
    use crate::zoo::hunt::Hunted;
    use crate::zoo::search::Search;

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

    fn found() -> Option<Search> {
        Some(Search { caught: Some(catch()), seed: Some(3), tried: 4, ..Search::default() })
    }

    fn not_found() -> Option<Search> {
        Some(Search { tried: 9, ..Search::default() })
    }

    fn by_story() -> Hunted {
        Hunted { by_story: Some(catch()), ..Hunted::default() }
    }

    fn by_all() -> Hunted {
        Hunted { runs: found(), walks: found(), explore: found(), ..by_story() }
    }

    fn report(rows: Vec<Row>, stories_only: bool) -> Report {
        Report { rows, stories_only, without_oracle: None }
    }

    fn fate(entry: &Entry, hunted: Hunted) -> (Fate, u8) {
        let row = Row::hunted(entry, hunted, Duration::ZERO);
        (row.fate, report(vec![row], false).code())
    }

    #[test]
    fn a_bug_is_caught_by_its_story_and_by_all_that_was_tried() {
        let bug = entry(false);
        assert_eq!(fate(&bug, by_all()), (Fate::Caught, 0));
        assert_eq!(fate(&bug, by_story()), (Fate::Caught, 0));
        assert_eq!(fate(&bug, Hunted { by_story: None, ..by_all() }), (Fate::Missed, 1));
        assert_eq!(fate(&bug, Hunted { runs: not_found(), ..by_all() }), (Fate::Missed, 1));
        assert_eq!(fate(&bug, Hunted { walks: not_found(), ..by_all() }), (Fate::Missed, 1));
        assert_eq!(fate(&bug, Hunted { explore: not_found(), ..by_all() }), (Fate::Missed, 1));
        let otherwise = Hunted { story_missed: Some(catch()), ..Hunted::default() };
        assert_eq!(fate(&bug, otherwise), (Fate::Missed, 1));
    }

    #[test]
    fn what_must_survive_is_never_caught_by_anything() {
        let canary = entry(true);
        let (runs, walks, explore) = (not_found(), not_found(), not_found());
        let by_none = Hunted { runs, walks, explore, ..Hunted::default() };
        assert_eq!(fate(&canary, by_none.clone()), (Fate::Survived, 0));
        assert_eq!(fate(&canary, Hunted { runs: found(), ..by_none.clone() }), (Fate::CaughtWrongly, 1));
        assert_eq!(fate(&canary, Hunted { walks: found(), ..by_none.clone() }), (Fate::CaughtWrongly, 1));
        assert_eq!(fate(&canary, Hunted { explore: found(), ..by_none }), (Fate::CaughtWrongly, 1));
        let otherwise = Hunted { story_missed: Some(catch()), ..Hunted::default() };
        assert_eq!(fate(&canary, otherwise), (Fate::CaughtWrongly, 1));
    }

    #[test]
    fn an_error_of_the_harness_outweighs_what_was_missed_and_what_was_not_reached_is_listed() {
        let missed = Row::hunted(&entry(false), Hunted::default(), Duration::ZERO);
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
