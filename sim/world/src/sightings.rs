//! How often situations were seen, and what that says of those that nobody has seen yet (Good and Turing): the more
//! of them were seen in one run only, the more there are that a next run would show.

use std::collections::HashMap;
use std::time::Duration;

/// Situations that are kept. If there are more, half of them are left out, whatever they are.
const KEPT_MAX: usize = if cfg!(test) { 1 << 14 } else { 1 << 21 };

/// Situations, and in how many runs each was seen.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// Whether it was seen in more than one run.
    seen: HashMap<u64, bool, fnv::FnvBuildHasher>,
    /// So many of the last bits of a situation that is kept are 0.
    zeros: u32,
    runs: u64,
    last_new: (u64, Duration),
}

impl Sightings {
    /// Adds the situations of a run, which ended so long after the first began. Returns how many of them are new.
    pub fn add(&mut self, situations: &mut Vec<u64>, at: Duration) -> usize {
        situations.sort_unstable();
        situations.dedup();
        self.runs += 1;
        let mut new = 0;
        for situation in situations.drain(..).filter(|situation| situation.trailing_zeros() >= self.zeros) {
            let known = self.seen.insert(situation, false);
            match known {
                Some(_) => drop(self.seen.insert(situation, true)),
                None => new += 1,
            }
        }
        if new > 0 {
            self.last_new = (self.runs, at);
        }
        while self.seen.len() > KEPT_MAX {
            self.zeros += 1;
            let zeros = self.zeros;
            self.seen.retain(|situation, _| situation.trailing_zeros() >= zeros);
        }
        new
    }

    /// The runs that were looked at.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How many situations were seen: exactly, as long as they were few enough.
    pub fn distinct(&self) -> u64 {
        (self.seen.len() as u64) << self.zeros
    }

    /// How many were seen in one run only.
    pub fn once(&self) -> u64 {
        (self.seen.values().filter(|more| !**more).count() as u64) << self.zeros
    }

    /// How many situations that were never seen a next run is expected to show.
    pub fn expected_new(&self) -> f64 {
        self.once() as f64 / self.runs.max(1) as f64
    }

    /// The chance that a next run shows a situation that was never seen.
    pub fn chance(&self) -> f64 {
        if self.runs == 0 { 1.0 } else { 1.0 - (-self.expected_new()).exp() }
    }

    /// How many runs, of those that were looked at, came after the last that showed anything new, and when that was.
    pub fn since_new(&self) -> (u64, Duration) {
        let (run, at) = self.last_new;
        (self.runs - run, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Runs that see 20 of so many situations each, some far more often than others.
    fn run(rng: &mut StdRng, of: u64) -> Vec<u64> {
        let rare = |u: f64| (u * u * u * of as f64) as u64;
        (0..20).map(|_| rare(rng.random()).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }

    #[test]
    fn the_estimate_is_what_further_runs_show() {
        for (of, runs) in [(1_000, 20), (20_000, 100), (20_000, 1_000)] {
            let mut rng = StdRng::seed_from_u64(of);
            let mut sightings = Sightings::default();
            for _ in 0..runs {
                sightings.add(&mut run(&mut rng, of), Duration::ZERO);
            }
            // The next run, drawn again and again: what of it was never seen?
            let next = 2_000;
            let mut shown = 0;
            for _ in 0..next {
                let mut one = run(&mut rng, of);
                one.sort_unstable();
                one.dedup();
                shown += one.iter().filter(|situation| !sightings.seen.contains_key(situation)).count();
            }
            let (shown, expected) = (shown as f64 / f64::from(next), sightings.expected_new());
            assert!((shown - expected).abs() < 0.2 * shown, "{expected} expected, {shown} shown");
        }
    }

    #[test]
    fn what_was_seen_often_promises_nothing_new() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.chance(), 1.0);
        for at in 0..5 {
            sightings.add(&mut vec![1, 2, 2, 3], Duration::from_secs(at));
        }
        assert_eq!((sightings.distinct(), sightings.once(), sightings.chance()), (3, 0, 0.0));
        assert_eq!(sightings.since_new(), (4, Duration::ZERO));
        sightings.add(&mut vec![4, 4], Duration::from_secs(9));
        assert_eq!((sightings.once(), sightings.since_new()), (1, (0, Duration::from_secs(9))));
    }

    #[test]
    fn many_situations_are_counted_by_a_part_of_them() {
        let mut sightings = Sightings::default();
        let all = 2 * KEPT_MAX as u64;
        let mut many: Vec<_> = (1..=all).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        sightings.add(&mut many, Duration::ZERO);
        assert!(sightings.seen.len() <= KEPT_MAX);
        assert!(sightings.distinct().abs_diff(all) < all / 20, "{} of {all}", sightings.distinct());
        assert_eq!(sightings.once(), sightings.distinct());
    }
}
