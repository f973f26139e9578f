//! The cursor: what one viewer has been sent. It is all that a subscription remembers, and all that is needed
//! to resume it.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use fnv::FnvHasher;

use crate::{Episode, Lease, MessageId, Seq, Version};

/// The state of a stream. There is no queue: the next event is computed from the cursor and the state of the
/// hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cursor {
    /// The newest `snapshot_version` from which anything was sent. At that version, `message` was in the
    /// history.
    pub snapshot_version: Version,
    /// The last message sent; 0 if there was none.
    pub message: MessageId,
    /// The version of the queue told last.
    pub queue_version: Version,
    /// Of the status told last, with the episode that it named.
    pub status: Fingerprint,
    /// Of the error told last.
    pub error: Fingerprint,
    /// Of the retry phase told last.
    pub retry: Fingerprint,
    /// The preview, if parts were told.
    pub preview: Option<PreviewPosition>,
}

/// The episode whose parts the viewer sees as a preview, and how many of them it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreviewPosition {
    /// Which episode.
    pub episode: Episode,
    /// The lease under which it is generated.
    pub lease: Lease,
    /// How far.
    pub to: PreviewProgress,
}

/// How far an episode was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PreviewProgress {
    /// All parts up to this one were sent.
    Seq(Seq),
    /// A `preview_reset` withdrew the preview; no part of this episode may follow.
    Voided,
}

/// A small digest of a value that was sent, to see whether the current value differs. 0 means that nothing
/// was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fingerprint(pub u32);

impl Fingerprint {
    /// Nothing was told.
    pub const NOTHING: Self = Self(0);

    /// The digest of a value; never [`Self::NOTHING`].
    pub fn of(value: &impl Hash) -> Self {
        let mut digest = Fnv::default();
        value.hash(&mut digest);
        Self((digest.folded() as u32).max(1))
    }
}

/// FNV-1a, 64 bits: the same on every replica, which `core`'s own hasher does not promise. Numbers are fed
/// in little-endian order.
#[derive(Default)]
struct Fnv(FnvHasher);

impl Fnv {
    /// Both halves in one.
    fn folded(&self) -> u64 {
        self.finish() ^ (self.finish() >> 32)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_u64(&mut self, n: u64) {
        self.write(&n.to_le_bytes());
    }

    fn write_usize(&mut self, n: usize) {
        self.write(&(n as u64).to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// Not a valid cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this server")]
pub struct BadCursor;

const FORMAT: u8 = 1;

impl Cursor {
    /// A short binary form: a format byte, then LEB128 numbers, then a check byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(FORMAT);
        for n in [self.snapshot_version.0, self.message.0, self.queue_version.0] {
            write_number(&mut out, n);
        }
        for fingerprint in [self.status, self.error, self.retry] {
            write_number(&mut out, u64::from(fingerprint.0));
        }
        if let Some(preview) = self.preview {
            // Positions are stored as `seq + 1`, which leaves 0 for `Voided`.
            let to = match preview.to {
                PreviewProgress::Voided => 0,
                PreviewProgress::Seq(seq) => seq.0 + 1,
            };
            for n in [preview.episode.history_version.0, preview.episode.attempt, preview.lease.0, to] {
                write_number(&mut out, n);
            }
        }
        out.push(check(&out));
        out
    }

    /// Reads what [`Self::to_bytes`] wrote. Each cursor has exactly one form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadCursor> {
        let [FORMAT, fields @ .., _check] = bytes else { return Err(BadCursor) };
        let mut rest = fields;
        let mut next = || read_number(&mut rest);
        let small = |n: u64| u32::try_from(n).map(Fingerprint).map_err(|_| BadCursor);
        let mut cursor = Self {
            snapshot_version: Version(next()?),
            message: MessageId(next()?),
            queue_version: Version(next()?),
            status: small(next()?)?,
            error: small(next()?)?,
            retry: small(next()?)?,
            preview: None,
        };
        if !rest.is_empty() {
            let mut next = || read_number(&mut rest);
            let episode = Episode { history_version: Version(next()?), attempt: next()? };
            let lease = Lease(next()?);
            let to = match next()? {
                0 => PreviewProgress::Voided,
                n => PreviewProgress::Seq(Seq(n - 1)),
            };
            cursor.preview = Some(PreviewPosition { episode, lease, to });
        }
        // Each cursor has exactly one encoding, check byte and all, so that a damaged one is not read as another.
        (cursor.to_bytes() == bytes).then_some(cursor).ok_or(BadCursor)
    }
}

fn write_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn read_number(from: &mut &[u8]) -> Result<u64, BadCursor> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first().ok_or(BadCursor)?;
        *from = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(BadCursor)
}

fn check(body: &[u8]) -> u8 {
    let mut digest = Fnv::default();
    digest.write(body);
    digest.folded() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Computed independently, from the definition of FNV-1a.
    const PINNED: u32 = 3_796_190_472;

    proptest! {
        #[test]
        fn a_cursor_survives_its_bytes(
            v in any::<[u64; 3]>(), f in any::<[u32; 3]>(),
            preview in proptest::option::of((any::<[u64; 3]>(), proptest::option::of(0..u64::MAX))),
        ) {
            let cursor = Cursor {
                snapshot_version: Version(v[0]),
                message: MessageId(v[1]),
                queue_version: Version(v[2]),
                status: Fingerprint(f[0]),
                error: Fingerprint(f[1]),
                retry: Fingerprint(f[2]),
                preview: preview.map(|(e, to)| PreviewPosition {
                    episode: Episode { history_version: Version(e[0]), attempt: e[1] },
                    lease: Lease(e[2]),
                    to: to.map_or(PreviewProgress::Voided, |n| PreviewProgress::Seq(Seq(n))),
                }),
            };
            prop_assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Ok(cursor));
        }

        #[test]
        fn any_bytes_are_a_cursor_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(cursor) = Cursor::from_bytes(&bytes) {
                prop_assert_eq!(cursor.to_bytes(), bytes);
            }
        }
    }

    fn example() -> Cursor {
        Cursor {
            snapshot_version: Version(300),
            message: MessageId(7),
            queue_version: Version(2),
            status: Fingerprint(0xdead_beef),
            error: Fingerprint::NOTHING,
            retry: Fingerprint(1),
            preview: Some(PreviewPosition {
                episode: Episode { history_version: Version(299), attempt: 1 },
                lease: Lease(3),
                to: PreviewProgress::Seq(Seq(127)),
            }),
        }
    }

    /// Other releases have to read the cursors that this one issued: a change of the encoding needs a new
    /// `FORMAT`.
    #[test]
    fn the_bytes_of_a_cursor_are_the_same_in_every_release() {
        let bytes = [1, 0xac, 0x02, 7, 2, 0xef, 0xfd, 0xb6, 0xf5, 0x0d, 0, 1, 0xab, 0x02, 1, 3, 0x80, 0x01];
        let (sum, body) =
            { example().to_bytes().split_last().map(|(sum, body)| (*sum, body.to_vec())) }.unwrap();
        assert_eq!(body, bytes);
        assert_eq!(sum, 0x21, "computed independently, from the definition of FNV-1a");
        assert_eq!(Cursor::from_bytes(&example().to_bytes()), Ok(example()));
    }

    #[test]
    fn a_fingerprint_is_the_same_on_every_replica_and_never_nothing() {
        assert_eq!(Fingerprint::of(&("running", Some("a"), 7u64, 1u64)), Fingerprint(PINNED));
        assert_ne!(Fingerprint::of(&("running", Some("a"), 7u64, 2u64)), Fingerprint(PINNED));
        assert!((0..10_000u64).all(|n| Fingerprint::of(&n) != Fingerprint::NOTHING));
    }

    #[test]
    fn what_was_cut_short_or_prolonged_is_no_cursor() {
        let bytes = example().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Cursor::from_bytes(&bytes[..len]), Err(BadCursor), "{len} bytes");
        }
        let prolonged = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Cursor::from_bytes(&prolonged), Err(BadCursor));
        let mut other_format = bytes.clone();
        other_format[0] = FORMAT + 1;
        *other_format.last_mut().unwrap() = check(&other_format[..bytes.len() - 1]);
        assert_eq!(Cursor::from_bytes(&other_format), Err(BadCursor));
    }

    #[test]
    fn one_cursor_has_one_form() {
        // A number with a redundant byte, and one beyond 64 bits, each with a correct check byte.
        for number in [&[0x80, 0][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            let mut bytes = [&[FORMAT][..], number, &[0; 5]].concat();
            bytes.push(check(&bytes));
            assert_eq!(Cursor::from_bytes(&bytes), Err(BadCursor), "{number:?}");
        }
    }

    #[test]
    fn a_cursor_is_short() {
        let top = |n: u64| Version(n);
        let largest = Cursor {
            snapshot_version: top(u64::MAX),
            message: MessageId(u64::MAX),
            queue_version: top(u64::MAX),
            status: Fingerprint(u32::MAX),
            error: Fingerprint(u32::MAX),
            retry: Fingerprint(u32::MAX),
            preview: Some(PreviewPosition {
                episode: Episode { history_version: top(u64::MAX), attempt: u64::MAX },
                lease: Lease(u64::MAX),
                to: PreviewProgress::Seq(Seq(u64::MAX - 1)),
            }),
        };
        assert!(largest.to_bytes().len() <= 96, "B1: {} bytes", largest.to_bytes().len());
        assert!(example().to_bytes().len() <= 20);
        assert_eq!(Cursor::from_bytes(&largest.to_bytes()), Ok(largest));
        assert_eq!(Cursor::from_bytes(&Cursor::default().to_bytes()), Ok(Cursor::default()));
    }
}
