//! Where tapes are kept.

use std::fmt;

/// A place for tapes. Whoever records never waits for it, and never fails because of it.
pub trait Tapes: fmt::Debug + Send + Sync {
    fn begin(&self, tape: NewTape) -> Box<dyn TapeWriter>;
}

/// A tape that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTape {
    /// Which machine it is of, in letters, digits and hyphens. Several tapes may have the same.
    pub name: String,
    /// Its first bytes.
    pub first: Vec<u8>,
    /// Its last ones if frames that were taken cannot be kept: what comes behind them is of no use.
    pub if_lost: Vec<u8>,
}

/// One tape that is being written. Dropped without an end, it just breaks off.
pub trait TapeWriter: Send {
    /// Adds a frame behind the others, whole. After one that was not taken only the last may come.
    fn append(&mut self, frame: Vec<u8>) -> Result<(), TapeFull>;

    /// Adds the last frame, which has at most [`LAST_FRAME_BYTES_MAX`](crate::limits::tape::LAST_FRAME_BYTES_MAX)
    /// and is always taken.
    fn end(self: Box<Self>, last: Vec<u8>);
}

/// Why a tape takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapeFull {
    #[error("this tape has its maximum")]
    Tape,
    #[error("frames come faster than they are written")]
    Behind,
    #[error("what was taken could not be kept")]
    Lost,
}
