//! L4: a replica wakes a bounded number of times per second. Whatever wakes it reads its clock first, so this
//! counts the readings.

use std::sync::atomic::{AtomicU64, Ordering};

use mainstem_machine::Time;

/// Readings of the clock per replica and second. A loop that never waits does millions.
const TICKS_MAX: u64 = 50_000;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    second: AtomicU64,
    ticks: AtomicU64,
}

impl Pulse {
    pub(crate) fn tick(&self, replica: &str, now: Time) {
        let second = now.as_micros() / 1_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.ticks.store(0, Ordering::Relaxed);
        }
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
        // Only once, because unwinding reads the clock too.
        assert!(ticks != TICKS_MAX, "L4: {replica} moved more than {TICKS_MAX} times in one second");
    }
}

#[cfg(test)]
mod tests {
    use mainstem_machine::Time;

    use super::{Pulse, TICKS_MAX};

    #[test]
    fn a_second_has_its_bound_and_the_next_one_has_it_anew() {
        let pulse = Pulse::default();
        for second in 0..2 {
            (0..TICKS_MAX).for_each(|_| pulse.tick("A", Time::from_micros(second * 1_000_000)));
        }
        let spin = || pulse.tick("A", Time::from_micros(1_999_999));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(spin)).is_err());
    }
}
