//! How long to wait before the next try: doubled each time, between two bounds.
//!
//! What many do at the same time has jitter too, because what fails fails everybody at once: attempts of the model,
//! and requests.

use core::time::Duration;

use crate::Time;
use crate::limits::{
    OP_RETRY_DELAY_MAX, OP_RETRY_DELAY_MIN, REQUEST_RETRIES_MAX, RETRY_AFTER_MAX, RETRY_DELAY_MAX,
    RETRY_DELAY_MIN,
};

/// The delays between tries. The default is for operations on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(OP_RETRY_DELAY_MIN, OP_RETRY_DELAY_MAX)
    }
}

impl Backoff {
    /// Delays from `min` to `max`.
    pub const fn between(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// A try has failed: how long to wait for the next one.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.min.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// The same, less up to half of it, by `entropy`.
    pub fn next_delay_spread(&mut self, entropy: u64) -> Duration {
        spread(self.next_delay(), entropy)
    }

    /// No try has failed since the last success.
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// So many have failed that delays do not grow any more.
    pub fn is_at_max(&self) -> bool {
        self.min.saturating_mul(1 << self.failures.min(16)) >= self.max
    }

    /// A try has succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A half to the whole of a delay.
fn spread(whole: Duration, entropy: u64) -> Duration {
    let half = whole / 2;
    half + Duration::from_millis(entropy % (half.as_millis() as u64 + 1))
}

/// How an operation that a request needs has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// There was no place for it in time.
    Full,
    /// It did not happen.
    Refused,
    /// It may have happened.
    Unknown,
}

/// What becomes of a request whose operation has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is tried again after this delay.
    Again(Duration),
    /// It is given up; its outcome may be unknown.
    Unavailable,
    /// It is given up, and has not happened.
    Overloaded,
}

/// The tries of one request: the database may come back soon, and a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retries {
    since: Time,
    backoff: Backoff,
    may_have_happened: bool,
}

impl Retries {
    /// The request has come.
    pub fn new(now: Time) -> Self {
        Self { since: now, backoff: Backoff::default(), may_have_happened: false }
    }

    /// A try has failed.
    pub fn on_failure(&mut self, now: Time, failure: Failure, entropy: u64) -> Verdict {
        if failure == Failure::Full {
            // It has waited for its turn already, and one that goes on waiting keeps others from theirs (B3).
            return if self.may_have_happened { Verdict::Unavailable } else { Verdict::Overloaded };
        }
        self.may_have_happened |= failure == Failure::Unknown;
        let delay = self.backoff.next_delay_spread(entropy);
        if now.since(self.since) + delay > REQUEST_RETRIES_MAX {
            return Verdict::Unavailable;
        }
        Verdict::Again(delay)
    }
}

/// How long to wait after the failure of this attempt of the model: as long as its provider asked, if it did.
pub(crate) fn retry_delay(attempt: u64, asked: Option<Duration>, entropy: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(16).min(16);
    let whole = RETRY_DELAY_MIN.saturating_mul(1 << doublings).min(RETRY_DELAY_MAX);
    let spread = spread(whole, entropy);
    let delay = match asked {
        // Nobody comes earlier than asked.
        Some(asked) => asked.min(RETRY_AFTER_MAX).max(whole / 2) + (spread - whole / 2),
        None => spread,
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
    fn delays_grow_to_their_bound_and_begin_anew_after_a_success() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::between(millis(50), millis(300));
        let delays = [(); 5].map(|()| (backoff.is_at_max(), backoff.next_delay()));
        let expected = [(false, 50), (false, 100), (false, 200), (true, 300), (true, 300)];
        assert_eq!(delays, expected.map(|(at_max, delay)| (at_max, millis(delay))));
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh() && backoff.next_delay() == millis(50));
        for entropy in ENTROPIES {
            let mut spread = Backoff::between(millis(50), millis(300));
            assert!((millis(25)..=millis(50)).contains(&spread.next_delay_spread(entropy)));
        }
    }

    #[test]
    fn a_request_is_tried_again_until_its_client_has_waited_long_enough() {
        for entropy in ENTROPIES {
            let (mut now, mut retries) = (Time::START, Retries::new(Time::START));
            let mut tries = 0;
            while let Verdict::Again(delay) = retries.on_failure(now, Failure::Refused, entropy) {
                assert!(delay >= OP_RETRY_DELAY_MIN / 2, "L4: not at once");
                now = now + delay;
                tries += 1;
            }
            let waited = now.since(Time::START);
            assert!(waited <= REQUEST_RETRIES_MAX, "B1");
            assert!(waited + OP_RETRY_DELAY_MAX > REQUEST_RETRIES_MAX, "it is not given up early");
            assert!(tries > 5, "{tries}");
        }
    }

    #[test]
    fn the_last_try_of_a_request_is_the_one_that_ends_with_its_time() {
        let first = OP_RETRY_DELAY_MIN / 2;
        let last = Time::START + (REQUEST_RETRIES_MAX - first);
        let tried = |now| Retries::new(Time::START).on_failure(now, Failure::Refused, 0);
        assert_eq!(tried(last), Verdict::Again(first));
        assert_eq!(tried(last + Duration::from_millis(1)), Verdict::Unavailable, "B1");
    }

    #[test]
    fn a_request_that_finds_no_place_is_not_tried_again_and_says_whether_it_may_have_happened() {
        let mut untried = Retries::new(Time::START);
        assert_eq!(untried.on_failure(Time::START, Failure::Full, 0), Verdict::Overloaded, "B3");
        let mut refused = Retries::new(Time::START);
        refused.on_failure(Time::START, Failure::Refused, 0);
        assert_eq!(refused.on_failure(Time::START, Failure::Full, 0), Verdict::Overloaded);
        let mut tried = Retries::new(Time::START);
        tried.on_failure(Time::START, Failure::Unknown, 0);
        tried.on_failure(Time::START, Failure::Refused, 0);
        assert_eq!(tried.on_failure(Time::START, Failure::Full, 0), Verdict::Unavailable, "S6");
    }

    #[test]
    fn nobody_comes_earlier_than_asked_nor_waits_for_ever() {
        for entropy in ENTROPIES {
            let delay = |seconds| retry_delay(1, Some(Duration::from_secs(seconds)), entropy);
            assert!(
                (RETRY_DELAY_MIN / 2..=RETRY_DELAY_MIN).contains(&delay(0)),
                "L4: as if nothing was asked"
            );
            assert!((20_000..=20_250).contains(&delay(20).as_millis()));
            let longest = delay(u64::MAX);
            assert!(
                (RETRY_AFTER_MAX..=RETRY_AFTER_MAX + RETRY_DELAY_MIN).contains(&longest),
                "B1: {longest:?}"
            );
        }
    }
}
