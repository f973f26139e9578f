//! The numbers of a response's events: computed from what an answer says, so that each event has the same one at every replica,
//! while the answer is made and after it is kept.
//!
//! ```text
//!    52                27 26                                    0
//!    ┌──────────────────┬───────────────────────────────────────┐
//!    │ which generation │ 8 + how far into its answer           │   below 53 bits: a number of JavaScript
//!    └──────────────────┴───────────────────────────────────────┘
//! ```
//!
//! A generation is `history_version + attempt`. Each attempt, and each commit behind it, is a change of its chat, so no two
//! generations have the same sum, and a later one has a larger. Within an answer, a block takes two numbers for its begin and one for
//! each byte: who was told up to some byte is told on from there, however the rest is cut into pieces. Behind its blocks, which
//! end with it, each item has [`ENDS`] numbers for its end, and each result two.

use mainstem_machine::{Episode, Version};

const PLACES: u32 = 27;
/// Before the first block: what is said of the response, and not of its items.
const FIRST: u64 = 8;
/// How many numbers the end of an item takes.
pub(super) const ENDS: u64 = 4;
/// How many a block takes before its text.
pub(super) const BEGINS: u64 = 2;

pub(super) const CREATED: u64 = 0;
pub(super) const QUEUED: u64 = 1;
pub(super) const IN_PROGRESS: u64 = 2;
/// The last event, whatever came before it.
pub(super) const END: u64 = (1 << 53) - 1;

/// Where a generation's numbers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

impl Generation {
    /// Before any answer.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(episode: Episode) -> Self {
        let Episode { history_version: Version(version), attempt } = episode;
        // No chat has so many changes; and none of them gets the number of the end.
        let which = version.saturating_add(attempt).min((END >> PLACES) - 1);
        Self(which << PLACES)
    }

    /// The one that an event's number is of; `None` of what is no generation's.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        let which = number >> PLACES << PLACES;
        (which > 0 && number != END).then_some(Self(which))
    }

    /// What was told before is void, and this one takes its place.
    pub(super) fn begin(self) -> u64 {
        self.0 | IN_PROGRESS
    }

    pub(super) fn at(self, offset: u64) -> u64 {
        self.0 + (FIRST + offset).min((1 << PLACES) - 1)
    }

    /// How far into this answer the number is, if it is of it.
    pub(super) fn offset(self, number: u64) -> Option<u64> {
        let is_it = Self::of_number(number) == Some(self);
        (number & ((1 << PLACES) - 1)).checked_sub(FIRST).filter(|_| is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: u64, attempt: u64) -> Generation {
        Generation::of(Episode { history_version: Version(version), attempt })
    }

    #[test]
    fn a_later_generation_has_larger_numbers_than_all_of_an_earlier_one() {
        // An attempt raises the version of the chat, and so does the commit behind it.
        let (mut version, mut before) = (5, 0);
        for attempts in [1, 3, 1] {
            for attempt in 1..=attempts {
                let generation = of(version, attempt);
                assert!(generation.begin() > before && generation.at(0) > generation.begin());
                before = generation.at(u64::MAX >> 1);
                assert!(before < END);
            }
            version += attempts + 1;
        }
    }

    #[test]
    fn a_number_says_how_far_into_which_answer_it_is() {
        let generation = of(9, 2);
        assert_eq!(generation.offset(generation.at(77)), Some(77));
        assert_eq!(generation.offset(generation.begin()), None);
        assert_eq!(generation.offset(of(9, 3).at(77)), None);
        assert_eq!(Generation::of_number(generation.at(1)), Some(generation));
        for number in [CREATED, QUEUED, IN_PROGRESS, END] {
            assert_eq!(Generation::of_number(number), None, "{number}");
        }
        assert!(of(u64::MAX, 1).at(0) < END);
    }
}
