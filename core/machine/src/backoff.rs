//! How long to wait before the next try: doubled each time, between two bounds.
//!
//! Operations on the database are told apart by nothing but their number of failures. Attempts of the model
//! have jitter too, because a provider that fails fails everybody at once.

use core::time::Duration;

use crate::limits::{
    OP_RETRY_DELAY_MAX, OP_RETRY_DELAY_MIN, RETRY_AFTER_MAX, RETRY_DELAY_MAX, RETRY_DELAY_MIN,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = OP_RETRY_DELAY_MIN.saturating_mul(1 << self.failures.min(16)).min(OP_RETRY_DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// How long to wait after the failure of this attempt of the model: as long as its provider asked, if it did.
pub(crate) fn retry_delay(attempt: u64, asked: Option<Duration>, entropy: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(16).min(16);
    let whole = RETRY_DELAY_MIN.saturating_mul(1 << doublings).min(RETRY_DELAY_MAX);
    let half = whole / 2;
    let millis = half.as_millis() as u64;
    let jitter = Duration::from_millis(entropy % (millis + 1));
    let delay = match asked {
        // Nobody comes earlier than asked.
        Some(asked) => asked.min(RETRY_AFTER_MAX).max(half) + jitter,
        None => half + jitter,
    };
    assert!(delay >= RETRY_DELAY_MIN / 2, "L4: a failed attempt is not tried again at once");
    assert!(delay <= RETRY_AFTER_MAX + RETRY_DELAY_MAX, "B1: a delay has a maximum");
    delay
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTROPIES: [u64; 5] = [0, 1, 12_345, u64::MAX / 3, u64::MAX];

    #[test]
    fn delays_are_doubled_between_their_bounds_and_spread() {
        for (attempt, whole) in [(1, 500), (2, 1000), (3, 2000), (4, 4000), (9, 30_000), (u64::MAX, 30_000)] {
            let delays = ENTROPIES.map(|entropy| retry_delay(attempt, None, entropy).as_millis());
            assert!(delays.iter().all(|delay| (whole / 2..=whole).contains(delay)), "{attempt}: {delays:?}");
            assert_eq!(delays[0], whole / 2);
            assert!(delays.iter().any(|delay| *delay != delays[0]), "a herd does not come back at once");
            let longest = retry_delay(attempt, None, whole as u64 / 2).as_millis();
            assert_eq!(longest, whole, "the jitter is up to half of it");
        }
    }

    #[test]
    fn nobody_comes_earlier_than_asked_nor_waits_for_ever() {
        for entropy in ENTROPIES {
            let delay = |seconds| retry_delay(1, Some(Duration::from_secs(seconds)), entropy);
            assert!(delay(0) >= RETRY_DELAY_MIN / 2, "L4");
            assert!((20_000..=20_250).contains(&delay(20).as_millis()));
            let longest = delay(u64::MAX);
            assert!(
                (RETRY_AFTER_MAX..=RETRY_AFTER_MAX + RETRY_DELAY_MIN).contains(&longest),
                "B1: {longest:?}"
            );
        }
    }
}
