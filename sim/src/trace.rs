//! What happened in a run, one line each, with a rolling digest: two runs of one seed have the same trace,
//! byte for byte (D1).

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use mainstem_machine::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Time,
    /// Who did or suffered it: a replica, a viewer, `database`, `network`, `story`.
    pub who: String,
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "{:>4}.{:06} {:<10} {}", micros / 1_000_000, micros % 1_000_000, self.who, self.what)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    lines: Vec<Line>,
    lines_max: usize,
    errors: Vec<Line>,
    dropped: usize,
    digest: u64,
    text: String,
}

/// Lines that a run keeps. Those beyond it only go into the digest (B1).
const LINES_MAX: usize = 1_000_000;
/// Errors that a run keeps, beside its lines.
const ERRORS_MAX: usize = 1000;

impl Default for Lines {
    fn default() -> Self {
        Self {
            lines: vec![],
            lines_max: LINES_MAX,
            errors: vec![],
            dropped: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            text: String::new(),
        }
    }
}

impl Trace {
    /// Keeps no lines, and comes to the same digest.
    pub fn for_digest() -> Self {
        Self(Arc::new(Mutex::new(Lines { lines_max: 0, ..Lines::default() })))
    }

    pub fn write(&self, at: Time, who: &str, what: fmt::Arguments<'_>) {
        let mut all = self.0.lock().expect("the trace is whole");
        let Lines { lines, lines_max, errors, dropped, digest, text } = &mut *all;
        text.clear();
        let micros = at.as_micros();
        writeln!(text, "{:>4}.{:06} {who:<10} {what}", micros / 1_000_000, micros % 1_000_000)
            .expect("a string takes what is written");
        *digest =
            text.bytes().fold(*digest, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let line = || Line { at, who: who.into(), what: what.to_string() };
        if errors.len() < ERRORS_MAX && text.get(23..).is_some_and(|what| what.starts_with("ERROR:")) {
            errors.push(line());
        }
        if lines.len() < *lines_max {
            lines.push(line());
        } else {
            *dropped += 1;
        }
    }

    /// The lines that say that the product logged an error.
    pub fn errors(&self) -> Vec<Line> {
        self.0.lock().expect("the trace is whole").errors.clone()
    }

    pub fn digest(&self) -> u64 {
        self.0.lock().expect("the trace is whole").digest
    }

    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().expect("the trace is whole").lines.clone()
    }
}
