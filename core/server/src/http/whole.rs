//! Whole numbers of requests. JSON has one kind of numbers, and some writers give every one of them a fraction: `7.0` is 7.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A whole number, 0 or above, however it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, 0 or above")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                // The next one is beyond 64 bits.
                let fits = number.fract() == 0.0 && (0.0..u64::MAX as f64).contains(&number);
                if fits {
                    Ok(Whole(number as u64))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        let read = |json: &str| serde_json::from_str::<Whole>(json).ok().map(|Whole(number)| number);
        for (json, number) in [
            ("7", 7),
            ("7.0", 7),
            ("0", 0),
            ("-0.0", 0),
            ("1e3", 1000),
            ("18446744073709551615", u64::MAX),
            ("9223372036854775808.0", 1 << 63),
        ] {
            assert_eq!(read(json), Some(number), "{json}");
        }
        for json in
            ["-1", "-1.0", "7.5", "1e20", "18446744073709551616", "1e999", "\"7\"", "null", "true", "[7]"]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
