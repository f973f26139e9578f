//! Counts the coverage marks that the machines pass.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;

use mainstem_machine::marks::{MARKS, TARGET};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Marks that no walk can pass, each with what it takes that the pure world has not got.
const NOT_HERE: [(&str, &str); 0] = [];
/// Walks of which some have to pass each of the other marks: the rarest are passed by one in two hundred.
const RUNS_FOR_MARKS: u64 = 5_000;
/// Marks that take more walks.
const RARE: [(&str, u64); 1] = [
    // A follower dials anew and asks for less than it has by then. One walk in ten thousand comes there.
    ("a relay repeats parts", 200_000),
];

/// How often each mark was passed.
pub type Marks = BTreeMap<&'static str, u64>;

/// Marks where a walk branches: each is passed by less than one walk in ten.
const BRANCHING: [&str; 11] = [
    "a relay repeats parts",
    "a viewer is ahead of the snapshot",
    "a lease is confirmed again after local expiry",
    "parts come before the message that ends them",
    "a lease expires locally",
    "a dial times out",
    "a preview becomes void",
    "a page is of another history",
    "an interruption is finished without a slot",
    "a retry is recorded",
    "a held chat is acquired again",
];

static LISTENING: LazyLock<tracing::Dispatch> = LazyLock::new(|| tracing::Dispatch::new(Counter));

thread_local! {
    /// Of the marks where a walk branches, those that were passed.
    static BRANCHING_PASSED: Cell<u32> = const { Cell::new(0) };
    static PASSED: RefCell<Option<Rc<RefCell<Marks>>>> = const { RefCell::new(None) };
}

/// Runs something, and counts the marks that it passes on this thread.
pub fn count_marks<T>(run: impl FnOnce() -> T) -> (T, Marks) {
    let passed = Rc::new(RefCell::new(MARKS.iter().map(|mark| (*mark, 0)).collect::<Marks>()));
    PASSED.set(Some(passed.clone()));
    let done = listening(run);
    PASSED.set(None);
    let marks = passed.borrow().clone();
    (done, marks)
}

/// Runs something, and takes notice of the marks that it passes on this thread.
pub(crate) fn listening<T>(run: impl FnOnce() -> T) -> T {
    tracing::dispatcher::with_default(&LISTENING, run)
}

/// Takes the set of those marks where a walk branches that were passed on this thread.
pub(crate) fn take_rare() -> u32 {
    BRANCHING_PASSED.take()
}

/// Adds the counts of another run.
pub(crate) fn add(marks: &mut Marks, more: &Marks) {
    for (mark, count) in more {
        *marks.entry(mark).or_default() += count;
    }
}

/// Marks that none of so many walks passed although some should have.
pub(crate) fn missed(marks: &Marks, walks: u64) -> Vec<&'static str> {
    let taken = |mark: &str| {
        let rare = RARE.iter().find(|(rare, _)| *rare == mark);
        let possible = !NOT_HERE.iter().any(|(not_here, _)| *not_here == mark);
        possible && walks >= rare.map_or(RUNS_FOR_MARKS, |(_, walks)| *walks)
    };
    marks.iter().filter(|(mark, count)| **count == 0 && taken(mark)).map(|(mark, _)| *mark).collect()
}

#[derive(Debug)]
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Passed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Passed;

impl Visit for Passed {
    fn record_str(&mut self, _: &Field, mark: &str) {
        if let Some(at) = BRANCHING.iter().position(|rare| *rare == mark) {
            BRANCHING_PASSED.set(BRANCHING_PASSED.get() | 1 << at);
        }
        PASSED.with_borrow(|passed| {
            let Some(passed) = passed else { return };
            if let Some(count) = passed.borrow_mut().get_mut(mark) {
                *count += 1;
            }
        });
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::walk;

    #[test]
    fn a_mark_that_enough_walks_never_passed_is_missed() {
        let mut marks: Marks = MARKS.iter().map(|mark| (*mark, 0)).collect();
        assert_eq!(missed(&marks, RUNS_FOR_MARKS - 1), [""; 0], "a small batch says nothing");
        let most: Vec<_> = missed(&marks, RUNS_FOR_MARKS);
        assert_eq!(most.len(), MARKS.len() - NOT_HERE.len() - RARE.len());
        let all = missed(&marks, u64::MAX);
        assert_eq!(all.len(), MARKS.len() - NOT_HERE.len());
        marks.insert(all[0], 1);
        assert_eq!(missed(&marks, u64::MAX), all[1..]);
    }

    #[test]
    fn what_is_said_of_single_marks_is_about_marks_and_has_reasons() {
        let named = NOT_HERE.iter().map(|(mark, _)| mark).chain(RARE.iter().map(|(mark, _)| mark));
        let named = named.chain(&BRANCHING);
        assert!(named.into_iter().all(|mark| MARKS.contains(mark)));
        assert!(NOT_HERE.iter().all(|(_, why)| !why.is_empty()));
        let ((), passed) = count_marks(|| (0..300).for_each(|seed| drop(walk(seed, 300, &[]))));
        for (mark, why) in NOT_HERE {
            assert_eq!(passed[mark], 0, "{mark:?} can be passed, whatever is said: {why}");
        }
        let often = passed.values().filter(|count| **count > 0).count();
        assert!(often > MARKS.len() / 2, "walks pass most marks: {passed:?}");
    }
}
