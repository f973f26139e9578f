//! What each strategy takes to find each bug: the file `scenarios/zoo.toml`, written by `cargo sim zoo --measure`.
//!
//! The seeds of a try are always the same, so that the numbers change only with what is measured. The zoo demands
//! again whatever a strategy found here, within [`ALLOWANCE`] times what it took at most.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::hunt::{Hunter, millis};
use super::search::{Bounds, Search, States};

/// The name of the file, beside the stories.
pub(super) const FILE: &str = "zoo.toml";
/// How often a strategy that draws is tried.
const TRIES: u64 = 5;
/// How far the first seeds of two tries lie apart.
const APART: u64 = 1_000_000;
/// How many times as many seeds or states as at most a bug may take when it is found again. Where what is drawn changes
/// and finds the bug as well as before, ten times the most of five tries is passed once in 3003 times.
const ALLOWANCE: u64 = 10;

const HEADING: &str = "\
# What each strategy takes to find each planted bug, written by `cargo sim zoo --measure`.
#
# Of so many tries, each from another seed on, so many caught the bug. `median` and `most` are of those that did: seeds of
# random runs and of walks, states of explore. `seconds` is the median of all tries on two cores, and moves with the machine.
# A try gives up after as many seeds as the bug's file allows, or when explore ends: it is not found within so many. Where
# walks are missing, the bug's file says why. The zoo demands each bug again within ten times `most`.
";

/// A way to find bugs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strategy {
    Story,
    Runs,
    Walks,
    Explore,
}

impl Strategy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Story => "story",
            Self::Runs => "runs",
            Self::Walks => "walks",
            Self::Explore => "explore",
        }
    }
}

/// What came of the tries of one strategy.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tries {
    caught: u64,
    of: u64,
    /// Of those that caught it.
    median: Option<u64>,
    most: Option<u64>,
    /// Where those gave up that did not.
    not_within: Option<u64>,
    seconds: f64,
}

impl Tries {
    fn of(searches: &[Search]) -> Self {
        let given_up = searches.iter().filter(|search| search.caught.is_none()).map(|search| search.tried);
        let mut took: Vec<u64> =
            searches.iter().filter(|search| search.caught.is_some()).map(|search| search.tried).collect();
        took.sort_unstable();
        let mut ms: Vec<u64> = searches.iter().map(|search| search.ms).collect();
        ms.sort_unstable();
        Self {
            caught: took.len() as u64,
            of: searches.len() as u64,
            median: took.get(took.len() / 2).copied(),
            most: took.last().copied(),
            not_within: given_up.max(),
            seconds: ms.get(ms.len() / 2).map_or(0.0, |ms| *ms as f64 / 1000.0),
        }
    }
}

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ caught = {}, of = {}", self.caught, self.of)?;
        if let (Some(median), Some(most)) = (self.median, self.most) {
            write!(f, ", median = {median}, most = {most}")?;
        }
        if let Some(bound) = self.not_within {
            write!(f, ", not_within = {bound}")?;
        }
        write!(f, ", seconds = {:.1} }}", self.seconds)
    }
}

/// What was measured of one bug.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Measured(BTreeMap<Strategy, Tries>);

impl Measured {
    /// Tries everything that may find the bug.
    pub(super) fn of(entry: &Entry, hunter: &mut Hunter, program: &Path) -> anyhow::Result<Self> {
        let mut tries = BTreeMap::new();
        let start = Instant::now();
        let story = hunter.story(entry, program)?;
        let ms = millis(start.elapsed());
        let story = Search { caught: story.by_story, tried: 1, ms, ..Search::default() };
        tries.insert(Strategy::Story, Tries::of(&[story]));
        let tries_of = |seeds| (0..TRIES).map(move |number| number * APART..number * APART + seeds);
        let runs = tries_of(entry.seeds).map(|seeds| hunter.runs(entry, seeds, program));
        tries.insert(Strategy::Runs, Tries::of(&runs.collect::<anyhow::Result<Vec<_>>>()?));
        if let Some(walks) = entry.walk {
            let walks = tries_of(walks).map(|seeds| hunter.walks(entry, seeds, program));
            tries.insert(Strategy::Walks, Tries::of(&walks.collect::<anyhow::Result<Vec<_>>>()?));
        }
        tries.insert(Strategy::Explore, Tries::of(&[hunter.explore(entry, States::ByItself, program)?]));
        Ok(Self(tries))
    }

    fn finds(&self, strategy: Strategy) -> bool {
        self.0.get(&strategy).is_some_and(|tries| tries.caught > 0)
    }
}

/// The whole file, by the names of bugs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Table(BTreeMap<String, Measured>);

impl Table {
    /// Reads the file. None is an empty one.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    /// Whether it has the bug.
    pub(super) fn has(&self, bug: &str) -> bool {
        self.0.contains_key(bug)
    }

    /// Within what the bug has to be found: what its file allows, or less if less was measured.
    pub(super) fn bounds(&self, entry: &Entry) -> Bounds {
        let measured = |strategy| {
            let tries = self.0.get(&entry.name)?.0.get(&strategy)?;
            Some(tries.most?.saturating_mul(ALLOWANCE))
        };
        let less = |seeds: u64, strategy| measured(strategy).map_or(seeds, |bound| seeds.min(bound));
        Bounds {
            runs: less(entry.seeds, Strategy::Runs),
            walks: entry.walk.map(|seeds| less(seeds, Strategy::Walks)),
            // What must survive has to survive everything.
            explore: match entry.must_survive {
                true => Some(States::ByItself),
                false => measured(Strategy::Explore).map(States::AtMost),
            },
        }
    }

    /// Takes what was measured of a bug, and tells it.
    pub(super) fn insert(&mut self, bug: &str, measured: Measured) -> String {
        let told = section(bug, &measured);
        self.0.insert(bug.to_owned(), measured);
        told
    }

    /// Fails if a bug was not measured, if one is gone, or if its story, random runs or walks do not
    /// find one, and its file does not say why.
    pub(super) fn check(&self, entries: &[Entry]) -> anyhow::Result<()> {
        if let Some(gone) = self.0.keys().find(|name| !entries.iter().any(|entry| entry.name == **name)) {
            bail!("{FILE} has {gone}, which is no bug any more: take it out");
        }
        for entry in entries.iter().filter(|entry| !entry.must_survive) {
            let name = &entry.name;
            let Some(measured) = self.0.get(name) else {
                bail!("{name} was never measured: cargo sim zoo --measure {name}");
            };
            ensure!(measured.finds(Strategy::Story), "D3: its story does not find {name}");
            ensure!(entry.rare || measured.finds(Strategy::Runs), "D3: random runs do not find {name}");
            ensure!(
                measured.finds(Strategy::Walks) == entry.walk.is_some(),
                "D3: walks do not find {name}, and its file does not say why"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADING)?;
        for (bug, measured) in &self.0 {
            write!(f, "\n{}", section(bug, measured))?;
        }
        Ok(())
    }
}

fn section(bug: &str, Measured(tries): &Measured) -> String {
    let mut text = format!("[{bug}]\n");
    for (strategy, tries) in tries {
        text.push_str(&format!("{} = {tries}\n", strategy.as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use mainstem_oracles::Guarantee;

    use super::{Bounds, Measured, States, Strategy, Table, Tries};
    use crate::zoo::catch::{Catch, Finder};
    use crate::zoo::entry::Entry;
    use crate::zoo::search::Search;

    fn search(caught: bool, tried: u64, ms: u64) -> Search {
        let catch = || Catch { guarantee: Some(Guarantee::S3), finder: Finder::Judge, why: String::new() };
        Search { caught: caught.then(catch), tried, ms, ..Search::default() }
    }

    fn measured(of: &[(Strategy, bool)]) -> Measured {
        Measured(
            of.iter().map(|(strategy, caught)| (*strategy, Tries::of(&[search(*caught, 7, 100)]))).collect(),
        )
    }

    #[test]
    fn a_bug_that_cannot_be_measured_keeps_what_there_is_and_the_others_go_on() {
        let file = std::env::temp_dir().join(format!("mainstem-measured-{}.toml", std::process::id()));
        let mut before = Table::default();
        before.insert("R01", measured(&[(Strategy::Runs, true)]));
        let (one, two) = (bug(None), Entry { name: "R02".into(), ..bug(None) });
        let told = crate::zoo::measure_all(&[&one, &two], None, before.clone(), &file, |entry| {
            anyhow::ensure!(entry.name != "R01", "it does not build");
            Ok(measured(&[(Strategy::Walks, true)]))
        });
        assert!(told.unwrap_err().to_string().ends_with("R01"), "which is told");
        let after = Table::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(after.0.get("R01"), before.0.get("R01"));
        assert!(after.has("R02") && !before.has("R02"));
    }

    fn bug(walk: Option<u64>) -> Entry {
        Entry {
            name: "R01".into(),
            path: "R01.toml".into(),
            title: String::new(),
            breaks: vec![Guarantee::S3],
            story: None,
            by_determinism: false,
            seeds: 9,
            rare: false,
            walk,
            must_survive: false,
            changes: vec![],
        }
    }

    #[test]
    fn numbers_are_of_the_tries_that_caught_it_and_seconds_of_all() {
        let searches =
            [(true, 9, 900), (false, 400, 8000), (true, 3, 300), (true, 40, 4000), (false, 400, 7000)];
        let tries = Tries::of(&searches.map(|(caught, tried, ms)| search(caught, tried, ms)));
        let (median, most, not_within) = (Some(9), Some(40), Some(400));
        assert_eq!(tries, Tries { caught: 3, of: 5, median, most, not_within, seconds: 4.0 });
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut table = Table::default();
        table.insert("R02", measured(&[(Strategy::Story, true), (Strategy::Explore, false)]));
        table.insert("R01", measured(&[(Strategy::Runs, true), (Strategy::Walks, true)]));
        let text = table.to_string();
        assert_eq!(toml::from_str::<Table>(&text).unwrap(), table, "{text}");
        assert!(text.find("[R01]") < text.find("[R02]"), "{text}");
    }

    #[test]
    fn a_bug_has_to_be_found_again_within_ten_times_what_it_took() {
        let entry = Entry { seeds: 400, ..bug(Some(60)) };
        let mut table = Table::default();
        let unknown = Bounds { runs: 400, walks: Some(60), explore: None };
        assert_eq!(table.bounds(&entry), unknown, "what its file allows");
        table.insert("R01", measured(&[(Strategy::Runs, false), (Strategy::Walks, false)]));
        assert_eq!(table.bounds(&entry), unknown, "what did not find it has no bound");
        let all = [Strategy::Runs, Strategy::Walks, Strategy::Explore].map(|strategy| (strategy, true));
        table.insert("R01", measured(&all));
        let (walks, explore) = (Some(60), Some(States::AtMost(70)));
        assert_eq!(table.bounds(&entry), Bounds { runs: 70, walks, explore }, "and never more than that");
        assert_eq!(table.bounds(&bug(None)).walks, None);
        let canary = Entry { must_survive: true, name: "canary".into(), ..bug(None) };
        assert_eq!(table.bounds(&canary).explore, Some(States::ByItself));
    }

    #[test]
    fn what_was_measured_is_found_by_all_that_its_file_allows() {
        use Strategy::{Explore, Runs, Story, Walks};
        let check = |of: &[(Strategy, bool)], walk| {
            let mut table = Table::default();
            table.insert("R01", measured(of));
            table.check(&[bug(walk)]).map_err(|error| error.to_string())
        };
        assert!(check(&[(Story, true), (Runs, true), (Walks, true)], Some(9)).is_ok());
        assert!(check(&[(Story, true), (Runs, true), (Explore, false)], None).is_ok());
        assert!(check(&[(Story, true), (Runs, true)], None).is_ok());
        for (of, walk) in [
            (vec![(Story, false), (Runs, true)], None),
            (vec![(Story, true), (Runs, false)], None),
            (vec![(Story, true), (Runs, true), (Walks, false)], Some(9)),
            (vec![(Story, true), (Runs, true), (Explore, true)], Some(9)),
        ] {
            assert!(check(&of, walk).unwrap_err().starts_with("D3: "), "{of:?}");
        }
        for rare in [false, true] {
            let unmeasured = Table::default().check(&[Entry { rare, ..bug(None) }]);
            assert!(unmeasured.unwrap_err().to_string().contains("never measured"));
        }
        let mut gone = Table::default();
        gone.insert("R99", measured(&[]));
        assert!(gone.check(&[]).unwrap_err().to_string().contains("R99"));
    }
}
