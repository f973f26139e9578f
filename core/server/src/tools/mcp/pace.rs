//! How soon an event stream is opened again. The library opens one that broke again at once, and one that ended when the
//! server says: either may be no time at all, for ever (L4).

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::mcp::{RESUME_DELAY_MAX, RESUME_DELAY_MIN};

/// When the next stream of a kind may be opened.
#[derive(Debug, Default)]
pub(super) struct Pace {
    delay: Duration,
    /// `None`: at any time.
    next: Option<Instant>,
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// In order, as servers do that want to be asked again later.
    Over,
    Broken,
}

impl Pace {
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A stream that was opened at `begun` ends. The delay doubles with each that broke before it lived for as long as
    /// the delay; of those that break at the same time, once.
    pub(super) fn ended(&mut self, begun: Instant, now: Instant, end: StreamEnd) {
        if now - begun >= self.delay.max(RESUME_DELAY_MIN) {
            *self = Self::default();
            return;
        }
        if self.next.is_none_or(|next| next <= now) {
            self.delay = match end {
                StreamEnd::Over => RESUME_DELAY_MIN,
                StreamEnd::Broken => (self.delay * 2).clamp(RESUME_DELAY_MIN, RESUME_DELAY_MAX),
            };
        }
        self.next = Some(now + self.delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn streams_that_break_at_once_come_ever_later() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.next(), None);
        let (mut now, mut waited) = (start, vec![]);
        for _ in 0..8 {
            pace.ended(now, now, StreamEnd::Broken);
            let next = pace.next().expect("a delay");
            waited.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 30, 30, 30], "L4");
        pace.ended(now, now + SECOND * 29, StreamEnd::Broken);
        assert!(pace.next() > Some(now + SECOND * 29), "that is no life");
        pace.ended(now, now + SECOND * 30, StreamEnd::Broken);
        assert_eq!(pace.next(), None, "one that lived is opened again at once");
    }

    #[test]
    fn those_that_break_at_the_same_time_count_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        (0..10).for_each(|_| pace.ended(now, now, StreamEnd::Broken));
        assert_eq!(pace.next(), Some(now + SECOND));
    }

    #[test]
    fn streams_that_are_over_are_opened_again_within_a_second_each() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..8 {
            pace.ended(now, now, StreamEnd::Over);
            assert_eq!(pace.next(), Some(now + SECOND), "L4");
            now += SECOND;
        }
    }
}
