//! The judge: runs all oracles, on each piece of evidence and at the end of the run.

use mainstem_machine::Time;

use crate::{Docket, Evidence, EvidenceIndex, Guarantee, Oracle, Ruling, Seen, Violation, WorldFacts};
use crate::{
    convergence, death, history, intents, interrupt, interrupt_ends, isolation, kept, leaks, memory,
    one_writer, order, parts, phase, spin, stale, tools, tools_end, turns, who_may, work_starts,
};

/// One oracle, with the guarantee it judges.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub id: Guarantee,
    pub name: &'static str,
    make: fn() -> Box<dyn Oracle>,
}

macro_rules! oracles {
    ($($id:ident $name:literal $oracle:path),+ $(,)?) => {
        /// Every oracle, in the order in which they are asked. Each guarantee has one; D1 to D3 are the
        /// harness's.
        pub const ORACLES: &[Entry] = &[
            $(Entry { id: Guarantee::$id, name: $name, make: || Box::new(<$oracle>::default()) }),+
        ];
    };
}

oracles! {
    S1 "history" history::History,
    S2 "parts" parts::Parts,
    S3 "stale" stale::Stale,
    // Before S4, because a status that runs ahead breaks that too.
    S8 "order" order::Order,
    S4 "kept" kept::Kept,
    S5 "one writer" one_writer::OneWriter,
    S6 "intents" intents::Intents,
    S7 "interrupt" interrupt::Interrupt,
    S9 "visible phase" phase::Phase,
    S10 "who may" who_may::WhoMay,
    L1 "convergence" convergence::Convergence,
    L2 "interrupt ends" interrupt_ends::InterruptEnds,
    L3 "work starts" work_starts::WorkStarts,
    L4 "no spin" spin::Spin,
    L5 "death is told" death::Death,
    L6 "tools end" tools_end::ToolsEnd,
    B1 "memory" memory::Memory,
    B2 "nothing leaks" leaks::Leaks,
    B3 "isolation" isolation::Isolation,
    S11 "tools" tools::Tools,
    // Last: a state that another judge objects to often has no turn that fits.
    S12 "turns" turns::Turns,
}

/// Violations that are kept. Further ones usually follow from the first.
const FOUND_MAX: usize = 32;

#[derive(Clone)]
pub struct Judge {
    index: EvidenceIndex,
    oracles: Vec<(Guarantee, Box<dyn Oracle>)>,
    found: Vec<Violation>,
    docket: Docket,
    /// The run has ended: further evidence is ignored.
    closed: bool,
}

impl Default for Judge {
    fn default() -> Self {
        Self::without(&[])
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Judge {
    pub fn new() -> Self {
        Self::default()
    }

    /// A judge with the oracles of these guarantees switched off.
    pub fn without(ids: &[Guarantee]) -> Self {
        let on = ORACLES.iter().filter(|entry| !ids.contains(&entry.id));
        let oracles = on.map(|entry| (entry.id, (entry.make)())).collect();
        Self {
            index: EvidenceIndex::default(),
            oracles,
            found: vec![],
            docket: Docket::default(),
            closed: false,
        }
    }

    /// Adds a piece of evidence, and returns the violations that it shows.
    pub fn observe(&mut self, at: Time, evidence: Evidence) -> &[Violation] {
        let before = self.found.len();
        if self.closed {
            return &[];
        }
        self.index.enter(at, &evidence);
        let saw = match &evidence {
            Evidence::Saw { stream, .. } => Some(*stream),
            _ => None,
        };
        let tainted =
            saw.and_then(|stream| self.index.watcher(stream)).is_some_and(|watcher| watcher.tainted);
        if !tainted {
            let (evidence, index, docket) = (&evidence, &self.index, &self.docket);
            for (id, oracle) in &mut self.oracles {
                let seen = Seen { at, evidence, index, guarantee: *id, docket };
                note(&mut self.found, *id, at, oracle.observe(&seen));
            }
        }
        if let Some(stream) = saw.filter(|_| self.found.len() > before) {
            self.index.taint(stream);
        }
        self.index.leave(&evidence);
        &self.found[before..]
    }

    /// The run is over.
    pub fn finish(&mut self, at: Time) -> &[Violation] {
        let before = self.found.len();
        if !std::mem::replace(&mut self.closed, true) {
            for (id, oracle) in &mut self.oracles {
                note(&mut self.found, *id, at, oracle.finish(at, &self.index));
            }
        }
        &self.found[before..]
    }

    /// The first of these guarantees that does not hold yet, and why.
    pub fn missing(&self, ids: &[Guarantee], facts: &WorldFacts) -> Option<(Guarantee, String)> {
        let asked = self.oracles.iter().filter(|(id, _)| ids.contains(id));
        let mut missing = asked.filter_map(|(id, oracle)| {
            self.docket.ask(*id);
            Some((*id, oracle.missing(&self.index, facts)?))
        });
        missing.next()
    }

    /// Records that a guarantee does not hold at the end of its bound.
    pub fn overdue(&mut self, at: Time, id: Guarantee, why: String) {
        note(&mut self.found, id, at, Err(why));
    }

    /// The first violation.
    pub fn verdict(&self) -> Option<&Violation> {
        self.found.first()
    }

    pub fn found(&self) -> &[Violation] {
        &self.found
    }

    /// What was asked of the oracles so far, and what they excused.
    pub fn docket(&self) -> &Docket {
        &self.docket
    }

    pub fn index(&self) -> &EvidenceIndex {
        &self.index
    }
}

fn note(found: &mut Vec<Violation>, guarantee: Guarantee, at: Time, ruling: Ruling) {
    if let Err(why) = ruling
        && found.len() < FOUND_MAX
    {
        found.push(Violation { guarantee, at, why });
    }
}
