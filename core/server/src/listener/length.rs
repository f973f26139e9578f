//! A `content-length` beyond what hyper counts with. It refuses such a head as one that it does not
//! understand, and its sender would not learn that the body is what is too large.
//!
//! The head is gone when hyper refuses it, so what is read is looked at as it comes, in any pieces.

use crate::limits::edge::LENGTH_MAX;

/// What the field is called, after the line before it. In lower case.
const FIELD: &[u8] = b"\ncontent-length:";

/// Reads along.
#[derive(Debug, Default)]
pub(super) struct LengthWatch {
    /// How much of [`FIELD`] was read last.
    matched: u8,
    /// The number as far as it was read; `None` if it is no number.
    length: Option<u64>,
    has_digits: bool,
    too_large: bool,
}

impl LengthWatch {
    /// Whether a length was too large to be counted.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if usize::from(self.matched) == FIELD.len() {
                self.read_value(byte);
            } else if byte.to_ascii_lowercase() == FIELD[usize::from(self.matched)] {
                self.matched += 1;
                (self.length, self.has_digits) = (Some(0), false);
            } else {
                self.matched = u8::from(byte == b'\n');
            }
        }
    }

    fn read_value(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                self.length = self.length.map(|length| length.saturating_mul(10).saturating_add(digit));
                self.has_digits = true;
            }
            b'\n' => {
                self.too_large |= self.has_digits && self.length.is_some_and(|length| length > LENGTH_MAX);
                self.matched = 1;
            }
            b' ' | b'\t' | b'\r' => {}
            _ => self.length = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_large(head: &str, piece: usize) -> bool {
        let mut watch = LengthWatch::default();
        for piece in head.as_bytes().chunks(piece) {
            watch.read(piece);
        }
        watch.is_too_large()
    }

    #[test]
    fn a_length_beyond_64_bits_is_seen_in_any_pieces_and_nothing_else() {
        for (value, expected) in [
            ("18446744073709551615", true),
            ("18446744073709551614", true),
            ("18446744073709551613", false),
            ("99999999999999999999999999", true),
            ("  18446744073709551616\t", true),
            ("0000000000000000000000000000007", false),
            ("-1", false),
            ("-99999999999999999999", false),
            ("99999999999999999999x", false),
            ("7", false),
            ("", false),
        ] {
            for name in ["content-length", "Content-Length"] {
                let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{name}:{value}\r\n\r\n");
                for piece in 1..head.len() {
                    assert_eq!(is_too_large(&head, piece), expected, "{head:?} in pieces of {piece}");
                }
            }
        }
        for other in
            ["x-content-length: 99999999999999999999\r\n", "\n\ncontent-length :99999999999999999999\n"]
        {
            assert!(!is_too_large(other, 1), "{other:?}");
        }
    }
}
