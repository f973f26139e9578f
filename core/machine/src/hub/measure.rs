//! The sizes of what a hub holds, each with its bound (B1).

use super::Hub;
use crate::limits::{EPISODES_BYTES_MAX, EPISODES_MAX, FOLLOWERS_MAX, PAGE_READS_MAX, SUBSCRIPTIONS_MAX};

/// Something that has a stated maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What was measured.
    pub what: &'static str,
    /// How large it is.
    pub value: usize,
    /// How large it may be.
    pub max: usize,
}

impl Hub {
    /// Everything in the hub that is bounded. A full scan, for tests and simulations.
    pub fn measures(&self) -> [Measure; 5] {
        let measure = |what, value, max| Measure { what, value, max };
        let bytes_max = EPISODES_BYTES_MAX.max(self.config.episode_bytes_max);
        [
            measure("viewers of a hub", self.subscriptions.len(), SUBSCRIPTIONS_MAX),
            measure("followers of a hub", self.followers.len(), FOLLOWERS_MAX),
            measure("episodes of a hub", self.episodes.len(), EPISODES_MAX),
            measure("bytes of a hub's episodes", self.episodes.bytes(), bytes_max),
            measure("reads of pages in flight", self.pages.reading.len(), PAGE_READS_MAX),
        ]
    }
}
