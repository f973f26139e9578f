//! How long to wait before the next try: doubled each time, between two bounds.

use core::time::Duration;

use crate::limits::{OP_RETRY_DELAY_MAX, OP_RETRY_DELAY_MIN};

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
