//! Parses the output of a failed run: the guarantee that it names, and what detected the failure.

use mainstem_oracles::Guarantee;
use serde::{Deserialize, Serialize};

/// What detected the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finder {
    /// An oracle.
    Judge,
    /// A failed sentence of the story.
    Story,
    /// A requirement of the recovery phase.
    Finale,
    /// An assertion in the product.
    Assertion,
    /// The product logged an error.
    Log,
    /// The wall-clock limit.
    Clock,
    /// Different traces of one run in two processes.
    Determinism,
    /// A random run, whose result does not say.
    Run,
}

impl Finder {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Story => "story",
            Self::Finale => "finale",
            Self::Assertion => "assertion",
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Determinism => "determinism",
            Self::Run => "run",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Catch {
    /// `None` if the output names no guarantee.
    pub(super) guarantee: Option<Guarantee>,
    pub(super) finder: Finder,
    pub(super) why: String,
}

impl Catch {
    /// Whether it names a guarantee that the bug breaks.
    pub(super) fn names(&self, breaks: &[Guarantee]) -> bool {
        self.guarantee.is_some_and(|named| breaks.contains(&named))
    }
}

/// Parses the output of `scenarios` for a failed story: the verdict, which comes before the lines about
/// replaying it.
pub(super) fn of_story(output: &str) -> Option<Catch> {
    let lines = output.lines().take_while(|line| !line.starts_with("scenario "));
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("FAILED ")).collect();
    let why = lines.join(" ");
    if let Some(at) = why.find("an assertion failed: ") {
        return Some(catch(first_id(&why[at..]), Finder::Assertion, why));
    }
    if why.contains("the product logged an error: ") {
        return Some(catch(None, Finder::Log, why));
    }
    if lines.iter().any(|line| line.starts_with("no end after ")) {
        // Time stands still if a machine spins without input.
        return Some(catch(Some(Guarantee::L4), Finder::Clock, why));
    }
    let (at, id, rest) = lines.iter().enumerate().find_map(|(at, line)| {
        let (id, rest) = line.split_once(": ")?;
        Some((at, id.parse().ok()?, rest))
    })?;
    let in_story = lines[..at].iter().any(|line| line.starts_with("line "));
    let finder = match in_story {
        true if rest.contains("; and the story: ") => Finder::Judge,
        true => Finder::Story,
        false if rest.starts_with("not within ") => Finder::Finale,
        false => Finder::Judge,
    };
    Some(catch(Some(id), finder, why))
}

fn catch(guarantee: Option<Guarantee>, finder: Finder, why: String) -> Catch {
    Catch { guarantee, finder, why }
}

/// One line of the results of random runs. Other members are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) seed: u64,
    pub(super) verdict: String,
    #[serde(default)]
    pub(super) guarantee: Option<Guarantee>,
    #[serde(default)]
    pub(super) why: String,
}

impl Seed {
    /// The catch, if the seed is not clean.
    pub(super) fn catch(&self) -> Option<Catch> {
        let (guarantee, finder) = match self.verdict.as_str() {
            "clean" => return None,
            "panicked" => (self.guarantee.or_else(|| first_id(&self.why)), Finder::Assertion),
            "hung" => (Some(Guarantee::L4), Finder::Clock),
            "logged" => (self.guarantee, Finder::Log),
            _ => (self.guarantee, Finder::Run),
        };
        Some(catch(guarantee, finder, self.why.clone()))
    }
}

/// The line of the results of `explore`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Explored {
    pub(super) states: u64,
    /// Its first state that is not clean, or that all are.
    #[serde(flatten)]
    pub(super) seed: Seed,
}

/// The first id of a guarantee in a text.
fn first_id(text: &str) -> Option<Guarantee> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use mainstem_oracles::Guarantee;

    use super::{Catch, Finder, Seed, of_story};

    fn output(text: &str) -> (Option<Guarantee>, Finder) {
        let Catch { guarantee, finder, .. } = of_story(text).expect(text);
        (guarantee, finder)
    }

    #[test]
    fn a_failed_story_says_which_guarantee_and_who_found_it() {
        let id = |id: &str| Some(id.parse().unwrap());
        let end = "scenario x, seed 0\nS9: no verdict\n";
        for (text, expected) in [
            (
                "line 9: within 1s V sees part 1\nS3: not within 1s: V saw nothing\n",
                (id("S3"), Finder::Story),
            ),
            ("line 9: wait 1s\nS2: parts 1..2; and the story: late\n", (id("S2"), Finder::Judge)),
            ("S3 at 1s: a part follows\n", (None, Finder::Judge)),
            ("S3: S3 at 1s: a part follows\n", (id("S3"), Finder::Judge)),
            ("B2: not within 40s after the last fault: A still has tasks\n", (id("B2"), Finder::Finale)),
            ("an assertion failed: S4: nothing is added\n", (id("S4"), Finder::Assertion)),
            ("an assertion failed: index out of bounds\n", (None, Finder::Assertion)),
            ("the product logged an error: 1.0 A ERROR: x\n", (None, Finder::Log)),
            ("no end after 60 s by the wall clock\n", (id("L4"), Finder::Clock)),
        ] {
            let found = of_story(&format!("{text}{end}")).map(|catch| (catch.guarantee, catch.finder));
            if expected == (None, Finder::Judge) {
                assert_eq!(found, None, "{text}");
            } else {
                assert_eq!(found, Some(expected), "{text}");
            }
        }
        assert_eq!(output("B2: not within 1s after the last fault: x\n").1, Finder::Finale);
    }

    #[test]
    fn a_seed_that_is_not_clean_is_a_catch_and_counts_only_by_name() {
        let read = |line: &str| serde_json::from_str::<Seed>(line).unwrap();
        let clean = read(r#"{"seed":7,"verdict":"clean","guarantee":null,"why":"","steps":9}"#);
        assert_eq!((clean.seed, clean.catch()), (7, None));
        let broken = read(r#"{"seed":8,"verdict":"broken","guarantee":"S3","why":"a"}"#).catch().unwrap();
        assert!(broken.names(&[Guarantee::B2, Guarantee::S3]) && !broken.names(&[Guarantee::S2]));
        let panicked = read(r#"{"seed":8,"verdict":"panicked","guarantee":null,"why":"S4: nothing"}"#);
        assert!(panicked.catch().unwrap().names(&[Guarantee::S4]));
        let hung = read(r#"{"seed":8,"verdict":"hung","guarantee":null,"why":""}"#).catch().unwrap();
        assert!(hung.names(&[Guarantee::L4]));
    }
}
