//! The trace of a run: what happened, one line each, with a rolling digest. Two runs of one seed have the
//! same trace, byte for byte (D1). A replay keeps the lines and arrows; a batch keeps only the digest, which
//! is the same.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use mainstem_machine::Time;

use crate::arrows::{Arrow, ArrowId, Arrows, Change, Fate, Standing, Way};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A participant did something, or something happened to it.
    Done,
    /// A sentence of the story.
    Story,
    /// A fault took effect.
    Fault,
    /// A log line of the product.
    Logged,
    /// An error logged by the product.
    Error,
    /// A guarantee was found broken.
    Broken,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Time,
    /// The participant: a replica, a viewer, `database`, `network`, `story`.
    pub who: String,
    pub kind: Kind,
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "{:>4}.{:06} {:<10} {}", micros / 1_000_000, micros % 1_000_000, self.who, self.what)
    }
}

#[derive(Clone, Debug)]
pub struct Trace {
    keeps: bool,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    arrows: Arrows,
    errors: Vec<Line>,
    dropped: usize,
    last: Time,
    digest: Digest,
    text: String,
}

/// Lines that a run keeps. Further ones only go into the digest (B1).
const LINES_MAX: usize = 1_000_000;
/// Errors that a run keeps, in addition to its lines.
const ERRORS_MAX: usize = 1000;

impl Default for Trace {
    fn default() -> Self {
        Self { keeps: true, lines: Arc::default() }
    }
}

impl Trace {
    /// A trace that keeps no lines and no arrows. Its digest is the same.
    pub fn for_digest() -> Self {
        Self { keeps: false, lines: Arc::default() }
    }

    /// Whether lines and arrows are kept. If not, work that only serves them can be skipped.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    pub fn write(&self, at: Time, who: &str, kind: Kind, what: fmt::Arguments<'_>) {
        let mut all = self.lock();
        let Lines { lines, errors, dropped, last, digest, text, .. } = &mut *all;
        text.clear();
        text.write_fmt(what).expect("a string takes what is written");
        digest.word(at.as_micros());
        digest.bytes(who.as_bytes());
        digest.bytes(text.as_bytes());
        *last = at;
        let line = || Line { at, who: who.into(), kind, what: text.clone() };
        if errors.len() < ERRORS_MAX && kind == Kind::Error {
            errors.push(line());
        }
        if self.keeps && lines.len() < LINES_MAX {
            lines.push(line());
        } else {
            *dropped += 1;
        }
    }

    /// Records that something was sent.
    pub fn sent(&self, at: Time, from: &str, to: &str, way: Way, label: fmt::Arguments<'_>) -> ArrowId {
        if !self.keeps {
            return ArrowId::UNRECORDED;
        }
        let (from, to, label) = (from.to_owned(), to.to_owned(), label.to_string());
        self.lock().arrows.send(Arrow { from, to, way, label, sent: at, fate: Fate::UnderWay })
    }

    /// Records the fate of an arrow. Only the first one counts.
    pub fn settle(&self, id: ArrowId, fate: Fate) {
        if self.keeps {
            self.lock().arrows.settle(id, fate);
        }
    }

    pub fn stands(&self, at: Time, who: &str, standing: Standing) {
        if self.keeps {
            self.lock().arrows.change(Change { at, who: who.to_owned(), standing });
        }
    }

    /// The lines that say that the product logged an error.
    pub fn errors(&self) -> Vec<Line> {
        self.lock().errors.clone()
    }

    /// When the last line was written.
    pub fn last(&self) -> Time {
        self.lock().last
    }

    pub fn digest(&self) -> u64 {
        self.lock().digest.0
    }

    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    pub fn arrows(&self) -> Arrows {
        self.lock().arrows.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("the trace is whole")
    }
}

/// A digest that tells traces apart; it need not be secure. It folds in eight bytes per step by a wide
/// product.
#[derive(Debug)]
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        // Both halves, because each depends on all bytes so far.
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ 0x2545_f491_4f6c_dd1d;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Trace};
    use crate::arrows::{Fate, Way};
    use mainstem_machine::Time;

    fn write(trace: &Trace, lines: &[(u64, &str, &str)]) -> u64 {
        for (at, who, what) in lines {
            trace.write(Time::from_micros(*at), who, Kind::Done, format_args!("{what}"));
        }
        trace.digest()
    }

    #[test]
    fn a_trace_that_keeps_nothing_comes_to_the_same_digest() {
        let lines = [(1, "A", "dials B:7400, dial 7"), (2, "B", "takes it"), (2, "B", "")];
        let (kept, digest) = (Trace::default(), Trace::for_digest());
        let id = kept.sent(Time::from_micros(1), "A", "B", Way::Relay, format_args!("dial 7"));
        kept.settle(id, Fate::Arrived(Time::from_micros(2)));
        assert_eq!(write(&kept, &lines), write(&digest, &lines));
        assert_eq!((kept.lines().len(), digest.lines().len()), (3, 0));
        assert_eq!((kept.arrows().arrows.len(), digest.arrows().arrows.len()), (1, 0));
    }

    #[test]
    fn traces_that_differ_in_anything_differ_in_their_digests() {
        let base = [(1, "A", "says part 1"), (2, "B", "sees it")];
        let of = |lines: &[_]| write(&Trace::for_digest(), lines);
        let others: [&[(u64, &str, &str)]; 6] = [
            &[(1, "A", "says part 2"), (2, "B", "sees it")],
            &[(1, "A", "says part 1"), (3, "B", "sees it")],
            &[(1, "A", "says part 1"), (2, "C", "sees it")],
            &[(2, "B", "sees it"), (1, "A", "says part 1")],
            &[(1, "As", "ays part 1"), (2, "B", "sees it")],
            &[(1, "A", "says part 1"), (2, "B", "sees it\0")],
        ];
        for other in others {
            assert_ne!(of(&base), of(other), "{other:?}");
        }
    }

    #[test]
    fn what_became_of_an_arrow_first_stays() {
        let trace = Trace::default();
        let id = trace.sent(Time::from_micros(1), "A", "B", Way::Bus, format_args!("version 3"));
        trace.settle(id, Fate::Lost(Time::from_micros(2)));
        trace.settle(id, Fate::Arrived(Time::from_micros(3)));
        assert_eq!(trace.arrows().arrows[0].fate, Fate::Lost(Time::from_micros(2)));
    }
}
