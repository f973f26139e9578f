//! Tapes: of all machines of a run, in memory; and those of real servers, told again.

mod told;

pub use told::{Told, tell};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstem_runtime::ports::{NewTape, TapeFull, TapeWriter, Tapes};

/// Cheap to clone: all clones have the same tapes.
#[derive(Clone, Debug, Default)]
pub struct MemoryTapes(Arc<Mutex<Vec<Tape>>>);

/// The tape of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tape {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl MemoryTapes {
    /// What there is by now, in the order in which the machines began.
    pub fn tapes(&self) -> Vec<Tape> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tape>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tapes for MemoryTapes {
    fn begin(&self, tape: NewTape) -> Box<dyn TapeWriter> {
        let mut tapes = self.lock();
        tapes.push(Tape { name: tape.name, bytes: tape.first });
        Box::new(Writer { tapes: self.clone(), at: tapes.len() - 1 })
    }
}

struct Writer {
    tapes: MemoryTapes,
    at: usize,
}

impl TapeWriter for Writer {
    fn append(&mut self, frame: Vec<u8>) -> Result<(), TapeFull> {
        self.tapes.lock()[self.at].bytes.extend(frame);
        Ok(())
    }

    fn end(self: Box<Self>, last: Vec<u8>) {
        self.tapes.lock()[self.at].bytes.extend(last);
    }
}
