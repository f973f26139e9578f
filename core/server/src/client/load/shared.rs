//! What all tasks of a load run have in common: whether it is being measured, and which guarantees were broken.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::limits::load::TOLD_MAX;

/// What all tasks of a run have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    counts: AtomicBool,
    /// How often each guarantee was broken.
    found: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    /// Whether what comes now is counted.
    pub(super) fn counts(&self) -> bool {
        self.counts.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, counts: bool) {
        self.counts.store(counts, Ordering::Relaxed);
    }

    /// How often each guarantee was broken so far.
    pub(super) fn violations(&self) -> BTreeMap<&'static str, u64> {
        self.found.lock().expect("nobody panics with it").clone()
    }

    pub(super) fn found(&self, chat: &str, guarantee: &'static str, why: String) {
        let mut found = self.found.lock().expect("nobody panics with it");
        *found.entry(guarantee).or_default() += 1;
        if found.values().sum::<u64>() <= TOLD_MAX {
            eprintln!("violation {guarantee} chat {chat}: {why}");
        }
    }
}
