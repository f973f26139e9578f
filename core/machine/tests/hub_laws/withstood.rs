//! What no correct driver or peer does, and a hub withstands: nonsense from a peer, frames and answers of a relay that
//! was closed, cursors of any past and of a future that nobody knows. In the pure world none of it can happen, because a
//! driver drops what a hub has closed, peers are hubs, and viewers go on from where they are.

use crate::claims::{holds, viewer};
use crate::step::{From, Garbage, Rival, Step};

/// Asserts that all holds, and that this has happened on the way.
fn holds_and_meets(steps: &[Step], what: &str) {
    let times = holds(steps).seen.get(what).copied().unwrap_or_default();
    assert!(times > 0, "D2: {what} never happened");
}

/// The worker says more after that.
const FOLLOWED: [Step; 4] = [viewer(0), Step::Flow, part(1), Step::Rival(Rival::Part)];

const fn part(node: usize) -> Step {
    Step::Part { node, size: 3 }
}

/// Workers that the first hub may follow: another hub, and a replica that only relays.
fn workers() -> [Vec<Step>; 2] {
    let rival = [Rival::Acquire, Rival::Begin, Rival::Part, Rival::Part].map(Step::Rival);
    [vec![Step::Work { node: 1 }, part(1)], rival.to_vec()]
}

#[test]
fn whatever_nonsense_a_peer_relays_viewers_get_what_was_said_and_then_all_the_rest() {
    use Garbage::{ClosesAnything, EmptyPart, Gap, NeverOpened, NoText, SeqZero, Stale};
    let all = [Gap, SeqZero, NoText, EmptyPart, NeverOpened, Stale(0), Stale(1), ClosesAnything(0)];
    for worker in workers() {
        for garbage in all {
            let nonsense = Step::Garbage { node: 0, which: 0, garbage };
            let more = [part(1), Step::Rival(Rival::Part), Step::Flow];
            holds_and_meets(&[&worker[..], &FOLLOWED, &[nonsense], &more].concat(), "garbage");
            holds_and_meets(&[&worker[..], &FOLLOWED, &[Step::Flow, nonsense], &more].concat(), "garbage");
            // Of an attempt before this one too.
            let fails = Step::Fail { node: 1, retryable: true, after_ms: None, entropy: 0 };
            let again = [Step::Flow, fails, Step::Flow, Step::Deadline { node: 1 }, Step::Flow, nonsense];
            holds_and_meets(&[&worker[..], &FOLLOWED, &again, &more].concat(), "garbage");
        }
    }
}

#[test]
fn what_comes_by_a_relay_that_was_closed_moves_nothing() {
    for worker in workers() {
        let carried = [
            Step::Carry { node: 0, which: 0, frames: 3 },
            Step::Leave(0),
            Step::Deliver { node: 0, which: 0, frames: 3 },
            viewer(0),
            Step::Flow,
            Step::Carry { node: 0, which: 0, frames: 5 },
        ];
        holds_and_meets(&[&worker[..], &FOLLOWED, &carried].concat(), "frame on a closed link");
        let dialed_late = [
            viewer(0),
            Step::Settle { node: 0 },
            Step::Leave(0),
            Step::DialAnswer { node: 0, which: 0, ok: true },
        ];
        holds_and_meets(&[&worker[..], &dialed_late].concat(), "late dial");
    }
}

#[test]
fn every_cursor_that_was_ever_sent_is_gone_on_from_and_every_other_begins_anew() {
    let told = [
        viewer(0),
        Step::Flow,
        Step::Talk { turns: 2 },
        Step::Flow,
        Step::Work { node: 1 },
        part(1),
        Step::Flow,
    ];
    let froms = (0..16).map(From::At).chain((0..16).map(From::After));
    for from in froms.chain([From::Fresh, From::Newest, From::AfterNothing, From::Future]) {
        for node in [0, 1] {
            let comes = [Step::Subscribe { node, from }, Step::Flow];
            holds(&[&told[..], &comes].concat());
            holds(&[&told[..], &[Step::Edit(0)], &comes].concat());
        }
    }
}

#[test]
fn whatever_another_replica_makes_of_its_turn_viewers_see_it() {
    use Rival::{Acquire, Begin, Fail, Finish, Interruption, Part, Release, Retry};
    for end in [Finish, Retry, Fail, Interruption, Release] {
        let turn = [Acquire, Begin, Part, Part].map(Step::Rival);
        let watched = [viewer(0), Step::Flow, viewer(1), Step::Flow];
        let ended = [Step::Rival(end), Step::Flow, Step::Rival(Begin), Step::Rival(Part), Step::Flow];
        holds(&[&turn[..], &watched, &ended].concat());
        holds(&[&turn[..], &watched, &[Step::Interrupt { named: true }], &ended].concat());
    }
}
