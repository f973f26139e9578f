//! The database's clock, as it was read last. What is made of it is behind by the way of an answer, and never ahead.

use mainstem_machine::{Time, WallTime};

use crate::driver::lock;
use crate::limits::batching::CLOCK_AGE_MAX;
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// What it showed, and when the answer was here.
    read: Mutex<Option<(WallTime, Time)>>,
}

impl Clock {
    pub(super) fn is_read(&self, shows: WallTime, now: Time) {
        *lock(&self.read) = Some((shows, now));
    }

    /// `None` if it was not read for long: clocks do not go at the same pace.
    pub(super) fn shows(&self, now: Time) -> Option<WallTime> {
        let (shows, at) = (*lock(&self.read))?;
        let passed = now.since(at);
        (passed <= CLOCK_AGE_MAX).then(|| shows.after_ms(passed.as_millis() as u64))
    }
}
