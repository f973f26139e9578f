//! The run nearest to one that fails: one choice is another one, as late as possible, and nothing is broken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mainstem_oracles::Judge;

use crate::choice::Choice;
use crate::recording::Recording;
use crate::walk::Verdict;
use crate::world::World;

/// A run that differs from another one in one choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which choice of the other run it is, from 0.
    pub at: usize,
    /// What is chosen instead; `None`: nothing.
    pub instead: Option<Choice>,
    /// The run.
    pub recording: Recording,
}

/// The nearest run that is clean by `judge`, if there is one.
pub fn nearest(failing: &Recording, judge: impl Fn(&Recording) -> Verdict) -> Option<Neighbour> {
    let possible = possible(failing);
    for (at, possible) in possible.iter().enumerate().rev() {
        let chosen = failing.choices[at];
        let (alike, others): (Vec<Choice>, Vec<Choice>) = possible
            .iter()
            .filter(|choice| **choice != chosen)
            .partition(|choice| are_alike(chosen, **choice));
        let alike = alike.into_iter().map(Some);
        for instead in alike.chain([None]).chain(others.into_iter().map(Some)) {
            let mut recording = failing.clone();
            recording.choices.splice(at..=at, instead);
            if judge(&recording) == Verdict::Clean {
                return Some(Neighbour { at, instead, recording });
            }
        }
    }
    None
}

/// What was possible at each choice, up to where something is broken.
fn possible(recording: &Recording) -> Vec<Vec<Choice>> {
    let mut all = vec![];
    // Where a machine panics, the run ends.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(recording.setup, Judge::new());
        for choice in &recording.choices {
            if world.verdict().is_some() {
                return;
            }
            let mut possible = vec![];
            world.choices(&mut possible);
            all.push(possible);
            world.step(*choice);
        }
    }));
    all
}

/// Whether two choices are about the same thing.
fn are_alike(one: Choice, other: Choice) -> bool {
    let about = |choice: Choice| match choice {
        Choice::Operation { node, chat, kind, .. } => Some((node, chat, kind)),
        _ => None,
    };
    about(one).is_some() && about(one) == about(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Setup;

    fn run(lines: &[&str]) -> Recording {
        let choices = lines.iter().map(|line| line.parse().expect("a choice")).collect();
        Recording { setup: Setup::default(), choices }
    }

    /// Broken if all of these are chosen.
    fn breaks<'a>(all: &'a [&'a str]) -> impl Fn(&Recording) -> Verdict + 'a {
        move |recording| {
            let chosen = |line: &&str| recording.choices.iter().any(|choice| choice.to_string() == **line);
            if all.iter().all(chosen) { Verdict::Panicked("S1".into()) } else { Verdict::Clean }
        }
    }

    const LINES: [&str; 4] = ["carry a bus", "lose-answer a chat1 request", "watch v1 b newest", "crash a"];

    #[test]
    fn the_last_choice_that_matters_is_another_one() {
        let found = nearest(&run(&LINES), breaks(&LINES[1..2])).expect("a run that passes");
        assert_eq!(found.at, 1);
        let instead = found.instead.expect("what was asked for may end otherwise").to_string();
        assert!(instead != LINES[1] && instead.ends_with("a chat1 request"), "{instead}");
        assert_eq!(found.recording.choices.len(), LINES.len());
        let found = nearest(&run(&LINES), breaks(&LINES[2..])).expect("a run that passes");
        assert_eq!((found.at, found.instead), (3, None), "nothing is like a crash");
        assert_eq!(found.recording, run(&LINES[..3]));
    }

    #[test]
    fn what_fails_whatever_is_chosen_has_no_neighbour() {
        assert_eq!(nearest(&run(&LINES), |_| Verdict::Panicked("S1".into())), None);
        assert_eq!(nearest(&run(&[]), breaks(&[])), None);
    }
}
