//! Parses durations, sizes and rates such as `15s`, `500ms`, `1MiB`, `10/s`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::limits::rates::RATE_MAX;

/// A positive duration, up to [`Span::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

/// How often something may happen: so often within each span of time, and so often at once by who did not for a while. Each
/// number is up to [`RATE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
    pub burst: NonZeroU32,
}

impl Span {
    /// Bounded, so that no sum of deadlines exceeds the range of the clock.
    pub const MAX: Duration = Duration::from_secs(366 * 24 * 3600);
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text).map_err(|error| {
            format!(
                "{text:?} is no duration ({error}): expected a number with us, ms, s, m or h, as in 500ms"
            )
        })?;
        match span {
            span if !span.is_zero() && span <= Self::MAX => Ok(Self(span)),
            _ => Err(format!("{text:?} is out of range: more than nothing and up to a year was expected")),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no size: expected bytes, or a number with KiB, MiB or GiB");
        let (n, unit) = split(text).ok_or_else(expected)?;
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(expected()),
        };
        match n.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!("{text:?} is out of range: at least one byte was expected")),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no rate: expected N/s, N/m or N/h, or as 10/s:50 with how many may come at once; each number \
                 is 1 to {RATE_MAX}"
            )
        };
        let number = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<NonZeroU32>().ok().filter(|number| digits && number.get() <= RATE_MAX)
        };
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(number(burst).ok_or_else(expected)?)),
            None => (text, None),
        };
        let (count, unit) = rate.split_once('/').ok_or_else(expected)?;
        let count = number(count).ok_or_else(expected)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(expected()),
        };
        Ok(Self { count, per: Duration::from_secs(seconds), burst: burst.unwrap_or(count) })
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text as \"1MiB\"")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Size, E> {
                n.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_or_refused() {
        for (text, count, seconds, burst) in [
            ("10/s", 10, 1, 10),
            ("30/m", 30, 60, 30),
            ("1/h", 1, 3600, 1),
            ("10/s:50", 10, 1, 50),
            ("100/m:1", 100, 60, 1),
            ("1000000/s", 1_000_000, 1, 1_000_000),
        ] {
            let Rate { count: n, per, burst: at_once } = text.parse().expect("a rate");
            assert_eq!((n.get(), per.as_secs(), at_once.get()), (count, seconds, burst), "{text}");
        }
        for bad in [
            "",
            "10",
            "/s",
            "0/s",
            "10/s:0",
            "10/s:",
            "10/d",
            "1.5/s",
            "-1/s",
            "+1/s",
            "10/ss",
            "1000001/s",
            "10 /s",
            ":5",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_and_sizes_are_read_or_refused() {
        for (text, ms) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1 h", 3_600_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for bad in ["", "15", "s", "-1s", "0s", "99999999h", "99999999999999999999s", "367d", "1S"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for (text, bytes) in [("1", 1), ("10B", 10), ("1KiB", 1024), ("8MiB", 8 << 20), ("1 GiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "0", "MiB", "1MB", "-1", "99999999999999999999", "99999999999999999GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
