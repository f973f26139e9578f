//! Time as the machines see it: passed in, never read from a clock.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on the process's monotonic clock, in microseconds since an arbitrary start.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

impl Time {
    /// The first moment of a clock.
    pub const START: Self = Self(0);

    /// The moment so many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(before.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A moment on the database's wall clock, in milliseconds of Unix time. Displays as RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Milliseconds from `earlier` to this moment, 0 if it is not earlier.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The moment so many milliseconds later.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (s, ms) = (ms / 1000, ms % 1000);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

/// The proleptic Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin in March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn wall_time_is_written_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (1_772_685_428_009, "2026-03-05T04:37:08.009Z"),
        ] {
            assert_eq!(WallTime(ms).to_string(), text);
        }
    }

    /// By the calendar's own rule, a day at a time: 400 years are all there is of it.
    #[test]
    fn every_day_is_the_one_after_the_day_before() {
        const DAY_MS: i64 = 86_400_000;
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in -135_140..=157_753 {
            assert_eq!(civil_from_days(days), (year, month, day), "day {days}");
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                (_, day) => (year, month, day + 1),
            };
        }
        assert_eq!(WallTime(157_753 * DAY_MS).to_string(), "2401-11-30T00:00:00.000Z");
    }

    #[test]
    fn a_moment_moves_by_what_is_added_and_ends_at_both_ends_of_the_clock() {
        let second = Duration::from_secs(1);
        let moment = Time::from_micros(3_000_000);
        assert_eq!(
            (moment + second, moment - second),
            (Time::from_micros(4_000_000), Time::from_micros(2_000_000))
        );
        assert_eq!(
            ((moment + second).since(moment), moment.since(moment + second)),
            (second, Duration::ZERO)
        );
        assert_eq!(
            (Time::START - second, moment + Duration::MAX),
            (Time::START, Time::from_micros(u64::MAX))
        );
        assert_eq!((moment.as_micros(), WallTime(5).after_ms(7)), (3_000_000, WallTime(12)));
        assert_eq!((WallTime(12).ms_since(WallTime(5)), WallTime(5).ms_since(WallTime(12))), (7, 0));
    }
}
