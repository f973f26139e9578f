//! Where tapes are kept.

use std::fmt;

/// A place for tapes. Whoever records never waits for it, and never fails because of it.
pub trait Tapes: fmt::Debug + Send + Sync {
    /// Begins the tape of a machine with these bytes. `name` says which machine it is, in letters, digits and
    /// hyphens; several may have the same.
    fn begin(&self, name: &str, first: Vec<u8>) -> Box<dyn TapeWriter>;
}

/// One tape that is being written. Dropped without an end, it may just break off.
pub trait TapeWriter: Send {
    /// Adds a frame behind the others, whole. What does not fit is not taken, and nothing may be added then but
    /// the last frame.
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
    #[error("the tapes of machines that live have all the room there is")]
    Room,
}
