//! How long a model is waited for. It may think before it begins, and later between two words: each time as long as
//! the first byte may take, whatever comes meanwhile. Providers send comments or empty events while a model thinks,
//! some for minutes, so these count as signs of life, and only without them is the wait between parts shorter. But
//! they are no answer: neither they nor hidden reasoning keep a run for ever (B1).

use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;

#[derive(Debug)]
pub(super) struct Patience {
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    /// When the model has thought for too long.
    thinks_until: Instant,
    /// When it has been silent for too long; `None` before it begins.
    silent_until: Option<Instant>,
    /// Something has come since it last said, reasoned or asked for anything.
    is_alive: bool,
    /// How much may come until the next word.
    bytes_left: usize,
    bytes_max: usize,
}

impl Patience {
    /// For a request that is about to be sent.
    pub(super) fn new(
        now: Instant,
        first_byte_timeout: Duration,
        idle_timeout: Duration,
        bytes_max: usize,
    ) -> Self {
        Self {
            first_byte_timeout,
            idle_timeout,
            thinks_until: now + first_byte_timeout,
            silent_until: None,
            is_alive: false,
            bytes_left: bytes_max,
            bytes_max,
        }
    }

    /// When it is over.
    pub(super) fn deadline(&self) -> Instant {
        self.silent_until.map_or(self.thinks_until, |silent| silent.min(self.thinks_until))
    }

    /// What is wrong when it is over.
    pub(super) fn fault(&self) -> Fault {
        if self.is_alive && self.silent_until.is_none_or(|silent| silent > self.thinks_until) {
            Fault::Wordless
        } else {
            Fault::Silent
        }
    }

    /// So many bytes came, whatever is in them. Once the answer is whole, there is nothing to think about.
    pub(super) fn came(&mut self, now: Instant, bytes: usize, is_whole: bool) -> Result<(), Fault> {
        self.is_alive = true;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        // A stream that is never empty is never waited for.
        let until = if is_whole { self.deadline() } else { self.thinks_until };
        if self.bytes_left == 0 || now >= until {
            return Err(Fault::Wordless);
        }
        if let Some(silent_until) = self.silent_until.as_mut().filter(|_| !is_whole) {
            *silent_until = now + self.idle_timeout;
        }
        Ok(())
    }

    /// The model said something, or reasoned, or asked for a tool.
    pub(super) fn progressed(&mut self, now: Instant, has_text: bool) {
        self.is_alive = false;
        self.thinks_until = now + self.first_byte_timeout.max(self.idle_timeout);
        self.silent_until = Some(now + self.idle_timeout);
        if has_text {
            self.bytes_left = self.bytes_max;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn begun(now: Instant) -> Patience {
        let mut patience = Patience::new(now, 5 * SECOND, 2 * SECOND, 100);
        patience.progressed(now, true);
        patience
    }

    #[test]
    fn silence_ends_it_soon_and_signs_of_life_late() {
        let now = Instant::now();
        let mut patience = Patience::new(now, 5 * SECOND, 2 * SECOND, 100);
        assert_eq!((patience.deadline(), patience.fault()), (now + 5 * SECOND, Fault::Silent));
        assert_eq!(patience.came(now + SECOND, 1, false), Ok(()));
        assert_eq!((patience.deadline(), patience.fault()), (now + 5 * SECOND, Fault::Wordless));

        let mut patience = begun(now);
        assert_eq!((patience.deadline(), patience.fault()), (now + 2 * SECOND, Fault::Silent));
        assert_eq!(patience.came(now + SECOND, 1, false), Ok(()));
        assert_eq!((patience.deadline(), patience.fault()), (now + 3 * SECOND, Fault::Silent));
        assert_eq!(patience.came(now + 4 * SECOND, 1, false), Ok(()));
        assert_eq!((patience.deadline(), patience.fault()), (now + 5 * SECOND, Fault::Wordless));
        assert_eq!(patience.came(now + 5 * SECOND, 1, false), Err(Fault::Wordless));
    }

    #[test]
    fn signs_of_life_after_the_end_count_for_nothing() {
        let now = Instant::now();
        let mut patience = begun(now);
        assert_eq!(patience.came(now + SECOND, 1, true), Ok(()));
        assert_eq!(patience.deadline(), now + 2 * SECOND);
        assert_eq!(patience.came(now + 2 * SECOND, 1, true), Err(Fault::Wordless));
    }

    #[test]
    fn reasoning_is_progress_in_time_and_not_in_bytes() {
        let now = Instant::now();
        let mut patience = begun(now);
        for second in 1..9 {
            assert_eq!(patience.came(now + second * SECOND, 11, false), Ok(()));
            patience.progressed(now + second * SECOND, false);
        }
        assert_eq!(patience.came(now + 9 * SECOND, 12, false), Err(Fault::Wordless), "B1");
        patience.progressed(now + 9 * SECOND, true);
        assert_eq!(patience.came(now + 9 * SECOND, 99, false), Ok(()));
    }
}
