//! Small worlds of which everything is seen.

use mainstem_oracles::Judge;
use mainstem_world::{Bounds, Budget, Only, Seen, Setup, World, explore, walk};

const BOUNDS: Bounds<'_> = Bounds { states: 100_000, depth: 300, only: &[] };

fn seen(budget: Budget, bounds: Bounds<'_>) -> Seen {
    let setup = Setup { budget, ..Setup::default() };
    let seen = explore(setup, bounds, &[], |_| {});
    let broken = seen.broken.as_ref().map(|run| format!("{}\n{}", run.verdict, run.recording));
    assert_eq!(broken, None);
    seen
}

const CALM: Budget = Budget {
    faults: 0,
    delays: 0,
    requests: 0,
    moves: 1,
    parts: 1,
    passes: 1,
    claims: 0,
    strangers: 0,
    drifts: 0,
};

#[test]
fn everything_that_a_small_world_allows_is_seen() {
    let calm = seen(CALM, BOUNDS);
    assert!(calm.complete && calm.ends > 0, "{calm:?}");
    for more in [Budget { passes: 2, ..CALM }, Budget { parts: 2, ..CALM }] {
        let more = seen(more, BOUNDS);
        assert!(more.complete && more.states > calm.states, "what is allowed happens: {more:?}");
    }
}

#[test]
fn what_was_not_seen_is_said() {
    let few = seen(CALM, Bounds { states: 1_000, ..BOUNDS });
    assert!(!few.complete && few.states <= 1_000, "{few:?}");
    let shallow = seen(CALM, Bounds { depth: 10, ..BOUNDS });
    assert!(!shallow.complete && shallow.cut > 0 && shallow.depth <= 10, "{shallow:?}");
}

#[test]
fn a_search_is_held_to_what_was_named() {
    let none = seen(CALM, BOUNDS).states;
    let budget = Budget { faults: 1, requests: 1, passes: 0, parts: 0, ..CALM };
    let held_to = |words: &[&str]| {
        let only: Vec<Only> = words.iter().map(|word| word.parse().expect("a word")).collect();
        let seen = seen(budget, Bounds { only: &only, ..BOUNDS });
        assert!(seen.complete);
        seen.states
    };
    let (deaths, interrupts) = (held_to(&["crash"]), held_to(&["interrupt"]));
    let both = held_to(&["interrupt", "crash"]);
    assert!(both > deaths.max(interrupts) && deaths != interrupts, "{deaths} {interrupts} {both}, {none}");
    assert!("crashes".parse::<Only>().is_err());
}

#[test]
fn the_same_world_has_the_same_states() {
    let (one, other) = (seen(CALM, BOUNDS), seen(CALM, BOUNDS));
    assert_eq!(
        (one.states, one.steps, one.ends, one.depth),
        (other.states, other.steps, other.ends, other.depth)
    );
}

#[test]
fn what_a_copy_does_is_not_seen_by_its_original() {
    for seed in 0..30 {
        let run = walk(seed, 120, &[]);
        let (mut watched, mut alone) =
            (World::new(run.recording.setup, Judge::new()), World::new(run.recording.setup, Judge::new()));
        let (mut before, mut possible) = (watched.fingerprint(), vec![]);
        for choice in run.recording.choices {
            // Whatever else could happen here happens to a copy.
            watched.choices(&mut possible);
            for other in possible.drain(..).step_by(3) {
                let mut copy = watched.clone();
                copy.step(other);
            }
            assert_eq!(watched.fingerprint(), before, "seed {seed}: {choice} comes next");
            watched.step(choice);
            alone.step(choice);
            before = watched.fingerprint();
        }
        // Nobody has asked how this one stands, so nothing of that was kept.
        assert_eq!(alone.fingerprint(), before, "seed {seed}");
        assert_eq!(alone.judge().docket(), watched.judge().docket(), "seed {seed}");
    }
}
