//! Log lines about what strangers cause: at a bounded rate, with a count of what was not told.

use std::sync::{Mutex, PoisonError};

use mainstem_machine::Time;

use crate::limits::driver::LOG_INTERVAL;

/// One kind of line. There is one for each that a stranger can cause.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Time>,
    suppressed: u64,
}

impl LogRate {
    pub const fn new() -> Self {
        Self(Mutex::new(State { told_at: None, suppressed: 0 }))
    }

    /// Whether a line may be written now; then, how many were not since the last one.
    pub fn admit(&self, now: Time) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told_at.is_some_and(|at| now.since(at) < LOG_INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_line_an_interval_says_how_many_were_not_written() {
        let rate = LogRate::new();
        let at = |millis| Time::START + Duration::from_millis(millis);
        assert_eq!(rate.admit(at(0)), Some(0));
        assert_eq!((rate.admit(at(1)), rate.admit(at(999))), (None, None));
        assert_eq!(rate.admit(at(1000)), Some(2));
        assert_eq!(rate.admit(at(2500)), Some(0));
    }
}
