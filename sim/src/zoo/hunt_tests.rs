//! Tests of the hunter, with scripts that print what the real program would.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mainstem_oracles::Guarantee;

use super::{How, Hunted, Hunter};
use crate::zoo::catch::Finder;
use crate::zoo::entry::{Change, Entry};
use crate::zoo::search::{Bounds, States};

/// Accepts every command and finds nothing.
const CLEAN: &str = r#"
case "$*" in
*--help*) echo "--seeds --states --stop --results --without-oracle -o" ;;
run*) while [ "$1" != --results ]; do shift; done; echo '{"seed":0,"verdict":"clean"}' >"$2" ;;
explore*) while [ "$1" != --results ]; do shift; done; echo '{"seed":0,"states":99,"verdict":"clean"}' >"$2" ;;
esac
"#;

/// Breaks S3, which only the oracle of S3 sees; seed 0 breaks something else.
const BROKEN: &str = r#"
case "$*" in
*"--without-oracle S3"*run*|run*"--without-oracle S3"*)
    while [ "$1" != --results ]; do shift; done; echo '{"seed":3,"verdict":"clean"}' >"$2" ;;
explore*"--without-oracle S3"*)
    while [ "$1" != --results ]; do shift; done
    echo '{"seed":0,"states":99,"verdict":"clean"}' >"$2"; exit 6 ;;
*"--without-oracle S3"*) ;;
explore*"--states 70"*) while [ "$1" != --results ]; do shift; done
    echo '{"seed":0,"states":70,"verdict":"clean"}' >"$2"; exit 6 ;;
explore*) while [ "$1" != --results ]; do shift; done
    echo '{"seed":0,"states":77,"verdict":"broken","guarantee":"S3","why":"x"}' >"$2"; exit 1 ;;
run*0..4*) while [ "$1" != --results ]; do shift; done
    echo '{"seed":0,"verdict":"broken","guarantee":"S1","why":"x"}' >"$2"; exit 1 ;;
run*3..4*) while [ "$1" != --results ]; do shift; done; echo '{"seed":3,"verdict":"clean"}' >"$2" ;;
run*) while [ "$1" != --results ]; do shift; done
    echo '{"seed":1,"verdict":"clean"}' >"$2"
    echo '{"seed":2,"verdict":"broken","guarantee":"S3","why":"x"}' >>"$2"; exit 1 ;;
scenarios*) echo "FAILED x"; echo "S3: S3 at 1s: a part follows"; echo "scenario x, seed 0"; exit 1 ;;
walk*--seeds*0..4*) while [ "$1" != --results ]; do shift; done
    echo '{"seed":1,"verdict":"broken","guarantee":"S3","why":"x"}' >"$2"; exit 1 ;;
check-determinism*--seeds*2..3*) echo "D1: two runs differ at line 7 of their traces"; exit 3 ;;
check-determinism*--seeds*) ;;
check-determinism*) echo "D1: two runs differ at line 9 of their traces"; exit 3 ;;
shrink*) echo "S3: x"; echo "shrunk to 2 faults and 3 other lines in 9 runs and 1.5 s"; exit 1 ;;
esac
"#;

const BOUNDS: Bounds = Bounds { runs: 4, walks: Some(4), explore: Some(States::ByItself) };

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mainstem-hunt-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("x.story"), "").unwrap();
        Self(path)
    }

    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn hunter(&self, clean: &str, shrink: bool, without: Option<Guarantee>) -> anyhow::Result<Hunter> {
        let clean = self.program("clean", clean);
        let stories = vec![self.0.join("x.story")];
        let how = How { shrink, without_oracle: without, ..How::default() };
        Hunter::new(clean, self.0.join("out"), stories, how)
    }

    fn entry(&self, breaks: &[Guarantee]) -> Entry {
        Entry {
            name: "R01".into(),
            path: "R01.toml".into(),
            title: String::new(),
            breaks: breaks.to_vec(),
            story: Some(self.0.join("x.story")),
            by_determinism: breaks == [Guarantee::D1],
            seeds: 4,
            rare: false,
            walk: Some(4),
            must_survive: breaks.is_empty(),
            changes: vec![Change { file: "a".into(), within: None, find: "b".into(), replace: "c".into() }],
        }
    }

    fn hunt(&self, breaks: &[Guarantee], without: Option<Guarantee>) -> Hunted {
        let broken = self.program("broken", BROKEN);
        self.hunter(CLEAN, true, without).unwrap().hunt(&self.entry(breaks), &broken, BOUNDS).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_bug_is_caught_by_its_story_and_by_the_first_seed_that_names_what_it_breaks() {
    let hunted = Scratch::new("both").hunt(&[Guarantee::S3], None);
    assert_eq!(hunted.by_story.unwrap().finder, Finder::Judge);
    let (runs, walks, explore) = (hunted.runs.unwrap(), hunted.walks.unwrap(), hunted.explore.unwrap());
    assert_eq!((runs.seed, walks.seed), (Some(2), Some(1)));
    // Seed 0 failed by S1, which this bug does not break.
    assert_eq!((runs.tried, runs.missed, walks.tried), (3, 1, 2));
    assert_eq!((explore.caught.is_some(), explore.tried), (true, 77));
    assert_eq!(hunted.shrunk.unwrap(), "2 faults and 3 other lines in 9 runs and 1.5 s");
}

#[test]
fn without_the_oracle_that_alone_sees_it_a_bug_is_missed() {
    let hunted = Scratch::new("without").hunt(&[Guarantee::S3], Some(Guarantee::S3));
    assert!(hunted.by_story.is_none() && hunted.story_missed.is_none());
    let searches = [hunted.runs, hunted.walks, hunted.explore].map(Option::unwrap);
    assert!(searches.iter().all(|search| search.caught.is_none()), "{searches:?}");
}

#[test]
fn a_catch_under_another_name_is_none() {
    let hunted = Scratch::new("name").hunt(&[Guarantee::S2], None);
    let (runs, walks, explore) = (hunted.runs.unwrap(), hunted.walks.unwrap(), hunted.explore.unwrap());
    assert_eq!((runs.tried, runs.missed, walks.missed, explore.missed), (4, 2, 1, 1));
    assert!(hunted.by_story.is_none() && runs.caught.is_none() && explore.caught.is_none());
    assert_eq!(hunted.story_missed.unwrap().guarantee, Some(Guarantee::S3));
}

#[test]
fn what_takes_longer_than_its_bound_is_not_found() {
    let scratch = Scratch::new("bound");
    let broken = scratch.program("broken", BROKEN);
    let mut hunter = scratch.hunter(CLEAN, false, None).unwrap();
    let bounds = Bounds { runs: 0, walks: None, explore: Some(States::AtMost(70)) };
    let hunted = hunter.hunt(&scratch.entry(&[Guarantee::S3]), &broken, bounds).unwrap();
    let (runs, explore) = (hunted.runs.unwrap(), hunted.explore.unwrap());
    assert!(hunted.by_story.is_some() && hunted.walks.is_none());
    assert_eq!((runs.caught.is_none(), explore.caught.is_none(), explore.tried), (true, true, 70));
}

#[test]
fn two_processes_show_what_one_does_not() {
    let hunted = Scratch::new("twice").hunt(&[Guarantee::D1], None);
    assert_eq!(hunted.by_story.unwrap().finder, Finder::Determinism);
    let runs = hunted.runs.unwrap();
    assert_eq!((runs.seed, runs.caught.unwrap().finder), (Some(2), Finder::Determinism));
}

#[test]
fn what_must_survive_is_judged_by_the_first_seed_that_is_not_clean() {
    let hunted = Scratch::new("canary").hunt(&[], None);
    assert_eq!(hunted.runs.unwrap().seed, Some(0));
    assert!(hunted.story_missed.is_some());
}

#[test]
fn a_story_that_fails_without_the_bug_is_an_error() {
    let scratch = Scratch::new("clean");
    let broken = scratch.program("broken", BROKEN);
    let both = CLEAN.replace("run*)", "scenarios*) echo 'S3: x'; exit 1 ;;\nrun*)");
    let error =
        scratch.hunter(&both, false, None).unwrap().hunt(&scratch.entry(&[Guarantee::S3]), &broken, BOUNDS);
    assert!(error.unwrap_err().to_string().contains("fails without any bug"));
}

#[test]
fn a_program_that_cannot_do_what_is_asked_is_an_error_and_no_skip() {
    let scratch = Scratch::new("cannot");
    let error = scratch.hunter("exit 64", false, None).unwrap_err().to_string();
    assert!(error.contains("`run --seeds`") && error.contains("--stories-only"), "{error}");
}
