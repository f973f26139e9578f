//! Small worlds of which everything is seen.

use mainstem_world::{Bounds, Budget, Seen, Setup, explore};

const BOUNDS: Bounds = Bounds { states: 100_000, depth: 300 };

fn seen(budget: Budget, bounds: Bounds) -> Seen {
    let setup = Setup { budget, ..Setup::default() };
    let seen = explore(setup, bounds, &[], |_| {});
    let broken = seen.broken.as_ref().map(|run| format!("{}\n{}", run.verdict, run.recording));
    assert_eq!(broken, None);
    seen
}

const CALM: Budget = Budget { faults: 0, delays: 0, requests: 0, moves: 1, parts: 1, passes: 1 };

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
fn the_same_world_has_the_same_states() {
    let (one, other) = (seen(CALM, BOUNDS), seen(CALM, BOUNDS));
    assert_eq!(
        (one.states, one.steps, one.ends, one.depth),
        (other.states, other.steps, other.ends, other.depth)
    );
}
