//! How many of something each key may have at once. A key is there only while it has any, so the keys are bounded by what is
//! counted (B1): connections and streams have a maximum of their own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct AtOnce<K: Hash + Eq + Clone> {
    max: usize,
    counts: Mutex<HashMap<K, usize>>,
}

/// One of them, given back when dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq + Clone> {
    of: Arc<AtOnce<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> AtOnce<K> {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the key has all that it may have.
    pub(super) fn take(self: &Arc<Self>, key: &K) -> Option<Share<K>> {
        let mut counts = self.lock();
        match counts.get_mut(key) {
            Some(count) if *count >= self.max => return None,
            Some(count) => *count += 1,
            None => drop(counts.insert(key.clone(), 1)),
        }
        Some(Share { of: self.clone(), key: key.clone() })
    }
}

impl<K: Hash + Eq + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.of.lock();
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_as_many_as_it_may_and_is_forgotten_with_its_last() {
        let counts = AtOnce::new(2);
        let shares = [counts.take(&"a"), counts.take(&"a")].map(|share| share.expect("there is one"));
        assert!(counts.take(&"a").is_none());
        let others = counts.take(&"b").expect("another has its own");
        let [first, second] = shares;
        drop(first);
        let third = counts.take(&"a").expect("one was given back");
        assert!(counts.take(&"a").is_none());
        drop((second, third, others));
        assert!(counts.lock().is_empty(), "B2");
    }
}
