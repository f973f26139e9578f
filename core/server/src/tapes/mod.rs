//! Tapes on disk. Whoever records never waits and never fails: frames go through a bounded queue to a thread
//! that writes them, and a tape that cannot be kept ends there.

mod directory;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mainstem_runtime::ports::{NewTape, TapeFull, TapeWriter, Tapes};

use self::directory::{Directory, Piece};
use crate::limits::tapes::{FRAME_OVERHEAD_BYTES, TAPE_SHARE, WAITING_BYTES_MAX};

/// The tapes of this process, in one directory.
pub(crate) struct DiskTapes {
    queue: Arc<Queue>,
    tape_bytes_max: u64,
}

impl DiskTapes {
    /// Takes the directory, which may have tapes of earlier processes, and begins to write.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> anyhow::Result<Self> {
        let directory = Directory::open(path, bytes_max)?;
        let queue = Arc::new(Queue::default());
        let writing = queue.clone();
        thread::Builder::new().name("tapes".into()).spawn(move || writing.write(directory))?;
        Ok(Self { queue, tape_bytes_max: bytes_max / TAPE_SHARE as u64 })
    }

    /// Waits until all is written, up to `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let waiting = |waiting: &mut Waiting| waiting.bytes > 0;
        drop(self.queue.changed.wait_timeout_while(self.queue.lock(), limit, waiting));
    }
}

impl fmt::Debug for DiskTapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskTapes").field("tape_bytes_max", &self.tape_bytes_max).finish_non_exhaustive()
    }
}

impl Drop for DiskTapes {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
    }
}

impl Tapes for DiskTapes {
    fn begin(&self, tape: NewTape) -> Box<dyn TapeWriter> {
        let mut waiting = self.queue.lock();
        waiting.last_id += 1;
        let id = waiting.last_id;
        drop(waiting);
        let bytes = tape.first.len() as u64;
        let is_lost = Arc::new(AtomicBool::new(false));
        let piece = Piece::First { tape, is_lost: is_lost.clone() };
        let is_begun = self.queue.push(id, piece).is_ok();
        Box::new(Writer {
            queue: self.queue.clone(),
            id,
            bytes_left: self.tape_bytes_max.saturating_sub(bytes),
            is_begun,
            is_lost,
        })
    }
}

struct Writer {
    queue: Arc<Queue>,
    id: u64,
    bytes_left: u64,
    /// There was room for its first bytes.
    is_begun: bool,
    is_lost: Arc<AtomicBool>,
}

impl TapeWriter for Writer {
    fn append(&mut self, frame: Vec<u8>) -> Result<(), TapeFull> {
        if !self.is_begun {
            return Err(TapeFull::Behind);
        }
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(TapeFull::Lost);
        }
        self.bytes_left = self.bytes_left.checked_sub(frame.len() as u64).ok_or(TapeFull::Tape)?;
        self.queue.push(self.id, Piece::Frame(frame))
    }

    fn end(self: Box<Self>, last: Vec<u8>) {
        if self.is_begun {
            self.queue.push_always(self.id, Piece::Last(last));
        }
    }
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<(u64, Piece)>,
    /// Of these pieces and of those that are being written.
    bytes: usize,
    last_id: u64,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, id: u64, piece: Piece) -> Result<(), TapeFull> {
        let mut waiting = self.lock();
        let cost = piece.len() + FRAME_OVERHEAD_BYTES;
        if waiting.bytes > 0 && waiting.bytes + cost > WAITING_BYTES_MAX {
            return Err(TapeFull::Behind);
        }
        waiting.bytes += cost;
        waiting.pieces.push_back((id, piece));
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// For last frames, of which there is one to a tape.
    fn push_always(&self, id: u64, piece: Piece) {
        let mut waiting = self.lock();
        waiting.bytes += piece.len() + FRAME_OVERHEAD_BYTES;
        waiting.pieces.push_back((id, piece));
        drop(waiting);
        self.changed.notify_all();
    }

    /// Writes what comes until nothing more can.
    fn write(&self, mut directory: Directory) {
        while let Some(pieces) = self.take() {
            let cost = pieces.iter().map(|(_, piece)| piece.len() + FRAME_OVERHEAD_BYTES).sum::<usize>();
            // All pieces of one tape at once: no file is kept open, for there may be more tapes than files.
            let mut of_tapes: BTreeMap<u64, Vec<Piece>> = BTreeMap::new();
            for (id, piece) in pieces {
                of_tapes.entry(id).or_default().push(piece);
            }
            for (id, pieces) in of_tapes {
                directory.write(id, pieces);
            }
            self.lock().bytes -= cost;
            self.changed.notify_all();
        }
    }

    fn take(&self) -> Option<VecDeque<(u64, Piece)>> {
        let waits = |waiting: &mut Waiting| waiting.pieces.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_while(self.lock(), waits);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let pieces = std::mem::take(&mut waiting.pieces);
        (!pieces.is_empty()).then_some(pieces)
    }
}

#[cfg(test)]
mod tests;
