//! What is done to one piece of what judges are told, and what they say to the rest.

use std::time::Duration;

use mainstem_machine::Time;
use mainstem_oracles::{Evidence, Guarantee, Judge, StreamId};

use crate::damage::testimony::Heard;

/// How one piece is damaged.
#[derive(Clone, Debug)]
pub enum Edit {
    /// It never comes.
    Dropped,
    /// It comes this many times more.
    Repeated(usize),
    /// It comes after this later piece, which comes in its place.
    Swapped(usize),
    /// Something else comes in its place.
    Altered(Box<Heard>),
    /// It comes this much later, and so does what would overtake it on its stream.
    Late(Duration),
    /// This comes right after it.
    Followed(Vec<Evidence>),
    /// This comes instead of it and of all that follows.
    Instead(Vec<Heard>),
    /// Nothing comes after it until all chats have to be at rest.
    Last,
}

impl Edit {
    /// Who objects first if the piece at this place is damaged so. `judge` was told what comes before it.
    pub fn objections(&self, mut judge: Judge, told: &[Heard], place: usize) -> Vec<Guarantee> {
        let mut teller = Teller { judge: &mut judge, found: vec![] };
        let piece = &told[place];
        match self {
            Self::Dropped => {}
            Self::Repeated(times) => (0..=*times).for_each(|_| teller.tell(piece)),
            Self::Altered(other) => teller.tell(other),
            Self::Followed(more) => {
                teller.tell(piece);
                more.iter().for_each(|more| teller.tell(&Heard::Evidence(piece.at(), more.clone())));
            }
            Self::Instead(others) => {
                others.iter().for_each(|other| teller.tell(other));
                return teller.found;
            }
            Self::Last => {
                teller.tell(piece);
                let rests = |heard: &&Heard| matches!(heard, Heard::Holds(asked, _) if asked.contains(&Guarantee::L2));
                told[place + 1..].iter().filter(rests).for_each(|heard| teller.tell(heard));
                return teller.found;
            }
            Self::Swapped(other) => {
                teller.tell(&put(&told[*other], piece.at()));
                told[place + 1..*other].iter().for_each(|heard| teller.tell(heard));
                teller.tell(&put(piece, told[*other].at()));
                told[*other + 1..].iter().for_each(|heard| teller.tell(heard));
                return teller.found;
            }
            Self::Late(by) => {
                teller.tell_late(told, place, *by);
                return teller.found;
            }
        }
        told[place + 1..].iter().for_each(|heard| teller.tell(heard));
        teller.found
    }
}

struct Teller<'a> {
    judge: &'a mut Judge,
    found: Vec<Guarantee>,
}

impl Teller<'_> {
    /// What follows the first objection follows from it.
    fn tell(&mut self, heard: &Heard) {
        if self.found.is_empty() {
            self.found = heard.tell(self.judge);
        }
    }

    fn tell_late(&mut self, told: &[Heard], place: usize, by: Duration) {
        let until = told[place].at() + by;
        let mut held = vec![&told[place]];
        for heard in &told[place + 1..] {
            if heard.at() >= until || matches!(heard, Heard::Finished(_)) {
                for late in held.drain(..) {
                    self.tell(&put(late, until.min(heard.at())));
                }
            }
            match held.is_empty() || !follows(&told[place], heard) {
                true => self.tell(heard),
                false => held.push(heard),
            }
        }
    }
}

fn put(heard: &Heard, at: Time) -> Heard {
    match heard {
        Heard::Evidence(_, evidence) => Heard::Evidence(at, evidence.clone()),
        other => other.clone(),
    }
}

/// Whether it comes on the same stream, in the same direction, and thus never before.
fn follows(first: &Heard, later: &Heard) -> bool {
    on(first).is_some_and(|first| on(later) == Some(first))
}

/// The stream on which it was sent, or on which it came.
pub(super) fn on(heard: &Heard) -> Option<(StreamId, bool)> {
    match heard {
        Heard::Evidence(_, Evidence::Sent { stream, .. }) => Some((*stream, true)),
        Heard::Evidence(_, Evidence::Saw { stream, .. } | Evidence::StreamEnded { stream, .. }) => {
            Some((*stream, false))
        }
        _ => None,
    }
}
