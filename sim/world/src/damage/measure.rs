//! Damages a run in every way there is, and counts who objects to what.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mainstem_oracles::{Evidence, Guarantee, Judge};

use crate::damage::altered::alterations;
use crate::damage::edit::{Edit, on};
use crate::damage::subject::subject;
use crate::damage::testimony::Heard;

/// Later than any bound on what is under way.
const LATE: Duration = Duration::from_secs(4);

/// A kind of damage: what is damaged, and how.
pub type Kind = (&'static str, &'static str);

/// What became of the damages of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// How often something was damaged so.
    pub places: u64,
    /// How often nobody objected.
    pub unnoticed: u64,
    /// How often each judge was the first who objected, alone or with others.
    pub objected: BTreeMap<Guarantee, u64>,
}

/// Who objects to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// By kind of damage.
    pub rows: BTreeMap<Kind, Row>,
}

impl Measured {
    /// Damages what was told in a clean run, each kind in up to `places_max` places.
    pub fn add(&mut self, told: &[Heard], places_max: usize) {
        let mut places: BTreeMap<Kind, Vec<(usize, Edit)>> = BTreeMap::new();
        for place in 0..told.len() {
            for (how, edit) in edits(told, place) {
                places.entry((subject(&told[place]), how)).or_default().push((place, edit));
            }
        }
        let mut chosen: BTreeMap<usize, Vec<(Kind, Edit)>> = BTreeMap::new();
        for (kind, all) in places {
            let step = all.len().div_ceil(places_max.max(1)).max(1);
            for (place, edit) in all.into_iter().step_by(step) {
                chosen.entry(place).or_default().push((kind, edit));
            }
        }
        let mut judge = Judge::new();
        for (place, heard) in told.iter().enumerate() {
            for (kind, edit) in chosen.remove(&place).unwrap_or_default() {
                let objections = edit.objections(judge.clone(), told, place);
                let row = self.rows.entry(kind).or_default();
                row.places += 1;
                row.unnoticed += u64::from(objections.is_empty());
                for guarantee in objections {
                    *row.objected.entry(guarantee).or_default() += 1;
                }
            }
            assert_eq!(heard.tell(&mut judge), [], "what is told in a clean run is clean: {heard:?}");
        }
    }
}

/// What can be done to the piece at this place.
fn edits(told: &[Heard], place: usize) -> Vec<(&'static str, Edit)> {
    let mut found = alterations(told, place);
    let Heard::Evidence(_, evidence) = &told[place] else { return found };
    if matches!(
        evidence,
        Evidence::Settings(_) | Evidence::Fault { .. } | Evidence::FaultOver { .. } | Evidence::FaultsCleared
    ) {
        return found;
    }
    found.push(("dropped", Edit::Dropped));
    found.push(("doubled", Edit::Repeated(1)));
    if let Some(next) = next_of_its_kind(told, place) {
        found.push(("swapped with the next", Edit::Swapped(next)));
    }
    found.push(("late", Edit::Late(LATE)));
    found
}

/// The next piece that comes on the same way: on the stream, in the chat, from the run.
fn next_of_its_kind(told: &[Heard], place: usize) -> Option<usize> {
    let same = |heard: &Heard| match (&told[place], heard) {
        (Heard::Evidence(_, Evidence::Committed(one)), Heard::Evidence(_, Evidence::Committed(other))) => {
            one.chat == other.chat
        }
        (
            Heard::Evidence(_, Evidence::RunSaid { run, text, .. }),
            Heard::Evidence(_, Evidence::RunSaid { run: same, text: other, .. }),
        ) => run == same && text != other,
        (one, other) => on(one).is_some_and(|one| on(other) == Some(one)),
    };
    let found = told[place + 1..].iter().position(same)?;
    Some(place + 1 + found)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((what, how), row) in &self.rows {
            let Row { places, unnoticed, objected } = row;
            write!(f, "{:<58} {places:>6} {unnoticed:>6} ", format!("{what}, {how}"))?;
            for (guarantee, count) in objected {
                write!(f, " {guarantee} {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
