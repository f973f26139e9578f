//! The bytes of a tape: a line of text that says what it is and who wrote it, then frames. A frame has its
//! length, a check value and its payload, so a tape that breaks off is good up to its last whole frame.
//!
//! ```text
//! mainstem tape 3 0.1.0\n   length:u32 check:u32 payload   length:u32 check:u32 payload   …
//! ```
//!
//! The first payload is the [`Head`]; each further one is an input with what it led to, or the [`End`].

use mainstem_machine::hub::HubConfig;
use mainstem_machine::replica::ReplicaConfig;
use mainstem_machine::{ChatId, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::tape::{FRAME_BYTES_MAX, LAST_FRAME_BYTES_MAX};

const MAGIC: &str = "mainstem tape ";
/// Of these bytes. Tapes of other builds may have other inputs in the same format.
const FORMAT: &str = "3";

/// The first state of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub machine: Machine,
    /// The machine's time at its beginning.
    pub begun_at: Time,
    /// Whether texts of users and models are as they were.
    pub has_content: bool,
}

/// Which machine, with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Machine {
    Hub { chat: ChatId, config: HubConfig },
    Replica { config: ReplicaConfig },
}

/// What an input led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LedTo {
    /// Outputs with this digest.
    Outputs(u64),
    /// The machine panicked.
    Panic,
}

/// Why a tape ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum End {
    #[error("the machine has ended")]
    Finished,
    #[error("the process let go of the machine")]
    LetGo,
    #[error("the machine panicked at the last input")]
    Panicked,
    #[error("the tape had its maximum; the machine went on")]
    TapeFull,
    #[error("inputs came faster than they could be written; the machine went on")]
    Behind,
    #[error("there was no room for more, or it could not be written; the machine went on")]
    Lost,
    #[error("the next input has no form on a tape; the machine went on")]
    Formless,
}

/// What is no tape, or not a good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    #[error("expected a tape, which begins with {MAGIC:?}, came something else")]
    NoTape,
    #[error("expected a tape of format {FORMAT}, came {0:?}: replay it with the build that wrote it")]
    Format(String),
    #[error("the tape has no whole head: the process ended while it was begun")]
    NoHead,
    #[error("the tape is damaged at byte {at}: {why}; it was written by build {build}")]
    Damaged { at: usize, why: &'static str, build: String },
}

/// Whether this is how a tape begins.
pub fn is_tape(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC.as_bytes())
}

/// The first bytes of a tape.
pub(super) fn first_bytes(build: &str, head: &Head) -> Option<Vec<u8>> {
    let mut bytes = format!("{MAGIC}{FORMAT} {build}\n").into_bytes();
    bytes.extend(frame(head, Kind::Head)?);
    Some(bytes)
}

/// What a payload is, as its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Head = 0,
    Outputs = 1,
    Panic = 2,
    End = 3,
}

const LENGTH: std::ops::Range<usize> = 0..4;
const CHECK: std::ops::Range<usize> = 4..8;
const KIND: usize = 8;
const DIGEST: std::ops::Range<usize> = 9..17;

/// An input, with the place for what it leads to.
pub(super) struct InputFrame(Vec<u8>);

impl InputFrame {
    pub(super) fn of(input: &impl Serialize) -> Option<Self> {
        let frame = postcard::to_extend(input, vec![0; DIGEST.end]).ok()?;
        (frame.len() <= FRAME_BYTES_MAX).then_some(Self(frame))
    }

    pub(super) fn led_to(mut self, what: LedTo) -> Vec<u8> {
        let (kind, digest) = match what {
            LedTo::Outputs(digest) => (Kind::Outputs, digest),
            LedTo::Panic => (Kind::Panic, 0),
        };
        self.0[DIGEST].copy_from_slice(&digest.to_le_bytes());
        sealed(self.0, kind)
    }
}

pub(super) fn last_frame(end: End) -> Vec<u8> {
    let last = frame(&end, Kind::End).unwrap_or_default();
    assert!(last.len() <= LAST_FRAME_BYTES_MAX, "B1: there is room for the last frame");
    last
}

fn frame(value: &impl Serialize, kind: Kind) -> Option<Vec<u8>> {
    Some(sealed(postcard::to_extend(value, vec![0; KIND + 1]).ok()?, kind))
}

fn sealed(mut frame: Vec<u8>, kind: Kind) -> Vec<u8> {
    frame[KIND] = kind as u8;
    let length = u32::try_from(frame.len() - KIND).unwrap_or(u32::MAX);
    let check = xxh3_64(&frame[KIND..]) as u32;
    frame[LENGTH].copy_from_slice(&length.to_le_bytes());
    frame[CHECK].copy_from_slice(&check.to_le_bytes());
    frame
}

/// The pieces of a tape: its beginning with the head, and each whole frame behind it.
pub fn frames(tape: &[u8]) -> Result<Vec<&[u8]>, TapeError> {
    let (mut reader, _) = Reader::open(tape)?;
    let mut pieces = vec![&tape[..reader.at]];
    let mut from = reader.at;
    while reader.payload()?.is_some() {
        pieces.push(&tape[from..reader.at]);
        from = reader.at;
    }
    Ok(pieces)
}

/// Reads a tape, frame by frame.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) build: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// What comes next on a tape.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<I> {
    Input(I, LedTo),
    End(End),
    /// Nothing, or so many bytes of a frame that is not whole.
    Cut(usize),
}

impl<'a> Reader<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<(Self, Head), TapeError> {
        let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or(TapeError::NoTape)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(TapeError::NoHead)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| TapeError::NoTape)?;
        let (format, build) = line.split_once(' ').ok_or(TapeError::NoTape)?;
        if format != FORMAT {
            return Err(TapeError::Format(format.into()));
        }
        let mut reader = Self { build, bytes, at: MAGIC.len() + end + 1 };
        match reader.payload()? {
            Some([kind, head @ ..]) if *kind == Kind::Head as u8 => {
                let head = reader.read(head)?;
                Ok((reader, head))
            }
            Some(_) => Err(reader.damaged("the first frame is no head")),
            None => Err(TapeError::NoHead),
        }
    }

    pub(super) fn next<I: DeserializeOwned>(&mut self) -> Result<Next<I>, TapeError> {
        let Some(payload) = self.payload()? else { return Ok(Next::Cut(self.bytes.len() - self.at)) };
        let [kind, rest @ ..] = payload else { return Err(self.damaged("a frame is empty")) };
        if *kind == Kind::End as u8 {
            return Ok(Next::End(self.read(rest)?));
        }
        let Some((digest, input)) = rest.split_first_chunk() else {
            return Err(self.damaged("a frame is too short"));
        };
        let led_to = match *kind {
            kind if kind == Kind::Outputs as u8 => LedTo::Outputs(u64::from_le_bytes(*digest)),
            kind if kind == Kind::Panic as u8 => LedTo::Panic,
            _ => return Err(self.damaged("a frame is of no known kind")),
        };
        Ok(Next::Input(self.read(input)?, led_to))
    }

    /// The payload of the next frame; `None` if it is not whole.
    fn payload(&mut self) -> Result<Option<&'a [u8]>, TapeError> {
        let Some((head, rest)) = self.bytes[self.at..].split_at_checked(KIND) else { return Ok(None) };
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte))
        };
        let (length, check) = (number(LENGTH) as usize, number(CHECK));
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged("a frame is longer than any may be"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        if xxh3_64(payload) as u32 != check {
            return Err(self.damaged("a frame is not what was written"));
        }
        self.at += KIND + length;
        Ok(Some(payload))
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, TapeError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            _ => Err(self.damaged("a frame has nothing that this build knows")),
        }
    }

    fn damaged(&self, why: &'static str) -> TapeError {
        TapeError::Damaged { at: self.at, why, build: self.build.into() }
    }
}
