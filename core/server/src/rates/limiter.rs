//! How often something may happen for each key, as a token bucket (GCRA, by the library).
//!
//! The keys are bounded (B1). One that has not used anything of its budget lately is forgotten, which changes nothing for it. When
//! the maximum is there all the same, new keys share budgets, a few of them each one: those that are known keep theirs, and
//! nobody gets around the limit by having more keys than fit.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::limits::rates::{KEYS_MAX, SHARED_MAX, SWEEP_INTERVAL};
use crate::units::Rate;

type Inner<K, C> = RateLimiter<K, Budgets<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A limit on how often, for each `K` by itself.
pub(super) struct Limiter<K: Hash + Eq + Clone, C: Clock = MonotonicClock> {
    inner: Inner<K, C>,
    clock: C,
    swept: Mutex<C::Instant>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self::bounded(rate, MonotonicClock, KEYS_MAX)
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limiter<K, C> {
    fn bounded(rate: Rate, clock: C, keys_max: usize) -> Self {
        let quota = Quota::with_period(rate.per / rate.count.get());
        let quota = quota.expect("a rate is bounded, so its interval is no zero").allow_burst(rate.burst);
        let swept = Mutex::new(clock.now());
        Self { inner: RateLimiter::new(quota, Budgets::new(keys_max), clock.clone()), clock, swept }
    }

    /// Takes one of the key's budget. If there is none, says after how long there will be.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        self.sweep();
        self.inner.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Forgets, now and then, the keys whose budgets are full again.
    fn sweep(&self) {
        let now = self.clock.now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if Duration::from(now.duration_since(*swept)) >= SWEEP_INTERVAL {
            *swept = now;
            self.inner.retain_recent();
            self.inner.shrink_to_fit();
        }
    }
}

impl<K: Hash + Eq + Clone, C: Clock> fmt::Debug for Limiter<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("keys", &self.inner.len()).finish_non_exhaustive()
    }
}

/// What is left of each key's budget: when it will be full again, since the limiter began.
struct Budgets<K> {
    max: usize,
    hasher: RandomState,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    own: HashMap<K, Nanos>,
    shared: HashMap<u64, Nanos>,
}

impl<K> Budgets<K> {
    fn new(max: usize) -> Self {
        let table = Table { own: HashMap::new(), shared: HashMap::new() };
        Self { max, hasher: RandomState::new(), table: Mutex::new(table) }
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Budgets<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut table = self.lock();
        if let Some(budget) = table.own.get_mut(key) {
            let (decided, left) = decide(Some(*budget))?;
            *budget = left;
            return Ok(decided);
        }
        if table.own.len() < self.max {
            let (decided, left) = decide(None)?;
            table.own.insert(key.clone(), left);
            return Ok(decided);
        }
        // Who it shares with is not to be guessed from outside.
        let slot = self.hasher.hash_one(key) % SHARED_MAX;
        let (decided, left) = decide(table.shared.get(&slot).copied())?;
        table.shared.insert(slot, left);
        Ok(decided)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Budgets<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut table = self.lock();
        table.own.retain(|_, budget| *budget > drop_below);
        table.shared.retain(|_, budget| *budget > drop_below);
    }

    fn shrink_to_fit(&self) {
        let mut table = self.lock();
        // Not at each sweep: what is there soon needs the room again.
        if table.own.capacity() > 4 * table.own.len() {
            table.own.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        let table = self.lock();
        table.own.len() + table.shared.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(rate: &str, keys_max: usize) -> (Limiter<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::bounded(rate.parse().expect("a rate"), clock.clone(), keys_max), clock)
    }

    #[test]
    fn each_key_has_a_budget_of_its_own_that_fills_again() {
        let (limiter, clock) = limiter("2/s:3", 10);
        for _ in 0..3 {
            assert_eq!(limiter.take(&1), Ok(()));
        }
        assert_eq!(limiter.take(&1), Err(Duration::from_millis(500)));
        assert_eq!(limiter.take(&2), Ok(()), "another's flood is none of its matters");
        clock.advance(Duration::from_millis(499));
        assert_eq!(limiter.take(&1), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(limiter.take(&1), Ok(()), "it has to wait as long as it was told, and no longer");
        assert_eq!(limiter.take(&1), Err(Duration::from_millis(500)), "what is refused costs nothing");
    }

    #[test]
    fn keys_with_full_budgets_are_forgotten() {
        let (limiter, clock) = limiter("1/s", 10);
        for key in 0..5 {
            assert_eq!(limiter.take(&key), Ok(()));
        }
        assert_eq!(limiter.inner.len(), 5);
        clock.advance(SWEEP_INTERVAL + Duration::from_secs(1));
        assert_eq!(limiter.take(&9), Ok(()));
        assert_eq!(limiter.inner.len(), 1, "B2");
    }

    #[test]
    fn a_key_whose_budget_is_not_full_is_not_forgotten() {
        let (limiter, clock) = limiter("1/s:100", 10);
        for _ in 0..100 {
            assert_eq!(limiter.take(&1), Ok(()));
        }
        clock.advance(SWEEP_INTERVAL);
        assert!(limiter.take(&2).is_ok() && limiter.inner.len() == 2);
        let granted = (0..100).filter(|_| limiter.take(&1).is_ok()).count();
        assert_eq!(granted as u64, SWEEP_INTERVAL.as_secs(), "what has filled again meanwhile, and no more");
    }

    #[test]
    fn beyond_the_maximum_of_keys_new_ones_share_and_known_ones_do_not() {
        let (limiter, _clock) = limiter("1/s:2", 100);
        for key in 0..100 {
            assert_eq!(limiter.take(&key), Ok(()));
        }
        let granted = (1_000..1_001_000).filter(|key| limiter.take(key).is_ok()).count();
        assert_eq!(granted as u64, 2 * SHARED_MAX, "more keys are no more budgets");
        assert_eq!(limiter.inner.len() as u64, 100 + SHARED_MAX, "B1");
        for key in 0..100 {
            assert_eq!(limiter.take(&key), Ok(()), "a known key keeps its own");
            assert!(limiter.take(&key).is_err());
        }
    }
}
