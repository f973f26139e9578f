//! The file of a planted bug: its title, the guarantees it breaks, and its changes of the source.
//!
//! Errors name the file and the key. [`plant`](super::plant) checks whether the changes fit the source.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use mainstem_oracles::Guarantee;
use serde::Deserialize;

/// The default number of seeds for random runs.
const SEEDS: u64 = 400;
/// The default number of seeds for walks of the pure world.
const WALK_SEEDS: u64 = 20_000;

/// One file of `scenarios/bugs`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The name of the file, without its extension.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) title: String,
    /// A catch counts only if it names one of these.
    pub(super) breaks: Vec<Guarantee>,
    /// The story that fails with the bug and passes without it. Only an entry that must survive may have
    /// none.
    pub(super) story: Option<PathBuf>,
    /// It shows only by different traces of one seed in two processes (D1).
    pub(super) by_determinism: bool,
    /// The number of seeds for random runs.
    pub(super) seeds: u64,
    /// It takes so many random runs that they are tried only on request.
    pub(super) rare: bool,
    /// The number of seeds for walks of the pure world; `None` if it cannot be found there.
    pub(super) walk: Option<u64>,
    /// It breaks no guarantee, so it must not be caught.
    pub(super) must_survive: bool,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The path from the root of the tree.
    pub(super) file: String,
    /// The function that is changed, if the text stands in others too.
    pub(super) within: Option<String>,
    /// Text that occurs exactly once there, whatever its white space.
    pub(super) find: String,
    pub(super) replace: String,
}

/// Why an entry is invalid, or does not fit the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) path: PathBuf,
    pub(super) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for Problem {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default)]
    breaks: Vec<Guarantee>,
    story: Option<String>,
    /// For human readers only.
    #[serde(default, rename = "note")]
    _note: String,
    caught: Option<Caught>,
    #[serde(default)]
    random: Random,
    #[serde(default)]
    walk: Walk,
    #[serde(default)]
    must_survive: bool,
    change: Vec<Change>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Walk {
    seeds: Option<u64>,
    /// Why walks of the pure world cannot find it.
    not: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Caught {
    Determinism,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {
    seeds: u64,
    #[serde(default)]
    rare: bool,
}

impl Default for Random {
    fn default() -> Self {
        Self { seeds: SEEDS, rare: false }
    }
}

/// Reads an entry. Its story is looked up beside it first, then in `stories`.
pub(super) fn read(path: &Path, stories: &[PathBuf]) -> Result<Entry, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problem { path: path.to_owned(), what: format!("cannot be read: {error}") })?;
    parse(path, &text, |name| {
        let beside = path.parent().map(Path::to_owned);
        let files = beside.iter().chain(stories).map(|directory| directory.join(format!("{name}.story")));
        files.into_iter().find(|file| file.is_file())
    })
}

fn parse(path: &Path, text: &str, find_story: impl Fn(&str) -> Option<PathBuf>) -> Result<Entry, Problem> {
    let problem = |what: String| Problem { path: path.to_owned(), what };
    let file: File = toml::from_str(text).map_err(|error| problem(error.to_string()))?;
    if file.must_survive && !file.breaks.is_empty() {
        return Err(problem("breaks: what must survive breaks nothing".into()));
    }
    if !file.must_survive && file.breaks.is_empty() {
        return Err(problem("breaks: names no guarantee".into()));
    }
    if file.caught.is_some() && file.breaks != [Guarantee::D1] {
        return Err(problem("caught: what two processes show breaks D1, and nothing else".into()));
    }
    let story = match &file.story {
        None if file.must_survive => None,
        None => return Err(problem("story: is missing".into())),
        Some(name) => Some(find_story(name).ok_or_else(|| {
            problem(format!("story: there is no {name}.story, neither beside the entry nor in scenarios/"))
        })?),
    };
    if file.random.seeds == 0 {
        return Err(problem("random.seeds: at least one".into()));
    }
    let walk = match file.walk {
        Walk { seeds: Some(0), .. } => return Err(problem("walk.seeds: at least one".into())),
        Walk { seeds: Some(_), not: Some(_) } => {
            return Err(problem("walk: either a number of seeds, or why not".into()));
        }
        Walk { not: Some(why), .. } if why.trim().is_empty() => {
            return Err(problem("walk.not: why can walks of the pure world not find it?".into()));
        }
        Walk { not: Some(_), .. } => None,
        Walk { seeds, not: None } => Some(seeds.unwrap_or(WALK_SEEDS)),
    };
    if file.caught.is_some() && walk.is_some() {
        return Err(problem("walk.not: a walk is one process, and only two show it".into()));
    }
    for (at, change) in file.change.iter().enumerate() {
        let inside = Path::new(&change.file).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || change.file.is_empty() {
            return Err(problem(format!("change[{at}].file: {:?} is no path from the root", change.file)));
        }
        if change.find.is_empty() || change.find == change.replace {
            return Err(problem(format!("change[{at}]: changes nothing")));
        }
    }
    if file.change.is_empty() {
        return Err(problem("change: there is none".into()));
    }
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Ok(Entry {
        name,
        path: path.to_owned(),
        title: file.title,
        breaks: file.breaks,
        story,
        by_determinism: file.caught.is_some_and(|Caught::Determinism| true),
        seeds: file.random.seeds,
        rare: file.random.rare,
        walk,
        must_survive: file.must_survive,
        changes: file.change,
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Entry, Problem, parse};

    const CHANGE: &str = "[[change]]\nfile = 'a.rs'\nfind = 'x'\nreplace = 'y'\n";

    fn read(head: &str) -> Result<Entry, Problem> {
        let story = |name: &str| (name == "R01").then(|| PathBuf::from("R01.story"));
        parse(Path::new("bugs/R01.toml"), &format!("{head}\n{CHANGE}"), story)
    }

    fn problem(head: &str) -> String {
        read(head).expect_err(head).to_string()
    }

    #[test]
    fn an_entry_says_what_it_breaks_and_where() {
        let entry = read("title = 'a'\nbreaks = ['S3', 'B2']\nstory = 'R01'\nnote = 'b'").unwrap();
        assert_eq!((entry.name.as_str(), entry.seeds, entry.must_survive), ("R01", 400, false));
        assert_eq!(entry.changes[0].file, "a.rs");
        let rare = read("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nrandom = { seeds = 9 }").unwrap();
        assert_eq!(rare.seeds, 9);
        assert_eq!((rare.walk, entry.walk), (Some(20_000), Some(20_000)));
        let pure = |walk: &str| read(&format!("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nwalk = {walk}"));
        assert_eq!(pure("{ seeds = 7 }").unwrap().walk, Some(7));
        assert_eq!(pure("{ not = 'it lies in the driver' }").unwrap().walk, None);
        assert!(read("title = 'a'\nmust_survive = true").unwrap().story.is_none());
        let twice =
            "title = 'a'\nbreaks = ['D1']\nstory = 'R01'\ncaught = 'determinism'\nwalk = { not = 'b' }";
        let twice = read(twice).unwrap();
        assert!(twice.by_determinism);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file_and_the_key() {
        for (head, key) in [
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nbraeks = 1", "unknown field `braeks`"),
            ("title = 'a'\nbreaks = ['S99']\nstory = 'R01'", "at line 2, column 11"),
            ("title = 'a'\nbreaks = []\nstory = 'R01'", "breaks: names no guarantee"),
            ("title = 'a'\nbreaks = ['S3']", "story: is missing"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R99'", "story: there is no R99.story"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nrandom = { seeds = 0 }", "random.seeds"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nwalk = { seeds = 0 }", "walk.seeds"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nwalk = { not = ' ' }", "walk.not"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\nwalk = { seeds = 1, not = 'b' }", "walk:"),
            ("title = 'a'\nbreaks = ['D1']\nstory = 'R01'\ncaught = 'determinism'", "walk.not"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\ncaught = 'luck'", "unknown variant `luck`"),
            ("title = 'a'\nbreaks = ['S3']\nstory = 'R01'\ncaught = 'determinism'", "caught:"),
            ("title = 'a'\nbreaks = ['S3']\nmust_survive = true", "breaks: what must survive"),
            ("breaks = ['S3']\nstory = 'R01'", "missing field `title`"),
        ] {
            let output = problem(head);
            assert!(output.starts_with("bugs/R01.toml: ") && output.contains(key), "{output}");
        }
    }

    #[test]
    fn a_change_stays_in_the_tree_and_changes_something() {
        let head = "title = 'a'\nbreaks = ['S3']\nstory = 'R01'\n[[change]]\nreplace = 'y'\n";
        assert!(problem(&format!("{head}file = '../a.rs'\nfind = 'x'")).contains("change[0].file"));
        assert!(problem(&format!("{head}file = '/a.rs'\nfind = 'x'")).contains("change[0].file"));
        assert!(problem(&format!("{head}file = 'a.rs'\nfind = 'y'")).contains("change[0]: changes nothing"));
    }
}
