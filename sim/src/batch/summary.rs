//! The summary of a batch: seeds, simulated time, faults that took effect and in which phase, marks that were
//! reached.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use mainstem_machine::marks::MARKS;
use mainstem_oracles::{Guarantee, ORACLES};

use super::result::{Kind, SeedResult};
use super::{SEEDS_FOR_FAULTS, SEEDS_FOR_MARKS};
use crate::tally::Counts;

/// Sums over all seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    /// Seeds that are not clean.
    pub failed: Vec<SeedResult>,
    pub took: Duration,
    counts: Counts,
    asked: BTreeSet<String>,
    slowest: Option<(u64, u64)>,
    /// A guarantee whose oracle is switched off.
    pub(super) without_oracle: Option<Guarantee>,
}

impl Summary {
    pub(super) fn add(&mut self, result: SeedResult) {
        self.seeds += 1;
        self.counts.add(&result.counts);
        self.asked.extend(result.asked.iter().cloned());
        if self.slowest.is_none_or(|(_, wall_ms)| wall_ms < result.wall_ms) {
            self.slowest = Some((result.seed, result.wall_ms));
        }
        if result.verdict != Kind::Clean {
            self.failed.push(result);
        }
    }

    /// Planned kinds of faults that never took effect (D2).
    pub fn never_landed(&self) -> Vec<&str> {
        let landed = |fault: &&String| self.counts.faults.contains_key(*fault);
        self.asked.iter().filter(|fault| !landed(fault)).map(String::as_str).collect()
    }

    /// Marks that were never reached. Meaningful only for a large batch.
    pub fn never_hit(&self) -> Vec<&'static str> {
        if self.seeds < SEEDS_FOR_MARKS {
            return vec![];
        }
        MARKS.into_iter().filter(|mark| !self.counts.marks.contains_key(*mark)).collect()
    }

    /// Judges that had something to judge, and excused all of it: they held nothing.
    pub fn excused_everything(&self) -> Vec<Guarantee> {
        self.counts.dockets.excused_everything()
    }

    /// Judges that never had anything to judge. Meaningful only for a large batch.
    pub fn never_asked(&self) -> Vec<Guarantee> {
        if self.seeds < SEEDS_FOR_MARKS {
            return vec![];
        }
        let judges = ORACLES.iter().map(|entry| entry.id).filter(|id| Some(*id) != self.without_oracle);
        judges.filter(|guarantee| !self.counts.dockets.judged.contains_key(guarantee)).collect()
    }

    /// The exit code of a program for this batch.
    pub fn code(&self) -> u8 {
        let worst = self.failed.iter().map(|result| result.verdict);
        // A broken guarantee takes precedence over a run without progress.
        if let Some(code) = worst.map(Kind::code).min() {
            return code;
        }
        // In a small batch, a fault may find nothing to affect, and a judge little to judge. It is reported, but is
        // no failure.
        let never_landed = self.seeds >= SEEDS_FOR_FAULTS && !self.never_landed().is_empty();
        let held_nothing = self.seeds >= SEEDS_FOR_FAULTS && !self.excused_everything().is_empty();
        u8::from(
            never_landed || held_nothing || !self.never_hit().is_empty() || !self.never_asked().is_empty(),
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { faults, phases, marks, parts, simulated_ms, .. } = &self.counts;
        let seconds = simulated_ms / 1000;
        let per = |n: u64| n as f64 / self.seeds.max(1) as f64;
        let landed: u64 = faults.values().sum();
        writeln!(f, "seeds       {}, of them {} not clean", self.seeds, self.failed.len())?;
        writeln!(
            f,
            "time        {seconds} s simulated in {:.1} s: {:.1} runs/s of {:.1} s each",
            self.took.as_secs_f64(),
            self.seeds as f64 / self.took.as_secs_f64().max(0.001),
            per(seconds)
        )?;
        writeln!(f, "delivered   {parts} parts, {:.0} a run", per(*parts))?;
        writeln!(f, "faults      {landed} landed, {:.1} a run", per(landed))?;
        for (fault, count) in faults {
            writeln!(f, "  {fault:<28} {count:>9}")?;
        }
        writeln!(f, "phases      in which they landed")?;
        for (phase, faults) in phases {
            let mut most: Vec<_> = faults.iter().collect();
            most.sort_by_key(|(fault, count)| (std::cmp::Reverse(**count), *fault));
            let most: Vec<_> = most.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
            writeln!(f, "  {phase:<22} {}", most.join(", "))?;
        }
        writeln!(
            f,
            "marks       {} of {} hit",
            MARKS.iter().filter(|m| marks.contains_key(**m)).count(),
            MARKS.len()
        )?;
        for mark in MARKS {
            writeln!(f, "  {mark:<46} {:>9}", marks.get(mark).copied().unwrap_or_default())?;
        }
        write!(f, "{}", self.counts.dockets)?;
        if let Some((seed, wall_ms)) = self.slowest {
            writeln!(f, "slowest     seed {seed}, {wall_ms} ms")?;
        }
        for fault in self.never_landed() {
            writeln!(f, "D2: {fault} was asked for and never landed")?;
        }
        for guarantee in self.excused_everything() {
            writeln!(f, "{guarantee}: whatever was judged was excused, so that nothing was held")?;
        }
        for guarantee in self.never_asked() {
            writeln!(f, "{guarantee}: nothing was judged in {} seeds", self.seeds)?;
        }
        for mark in self.never_hit() {
            writeln!(f, "the mark {mark:?} was never hit in {} seeds", self.seeds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_was_never_taken_fails_a_large_batch() {
        let batch = |seeds: u64, left_out: Option<&str>| {
            let mut summary = Summary::default();
            for seed in 0..seeds {
                let mut counts = Counts::default();
                let marks = MARKS.into_iter().filter(|mark| seed == 7 && Some(*mark) != left_out);
                counts.marks.extend(marks.map(|mark| (mark.to_owned(), 1)));
                counts.dockets.judged.extend(ORACLES.iter().map(|oracle| (oracle.id, 1)));
                summary.add(SeedResult { seed, asked: vec![], ..result(counts) });
            }
            summary
        };
        let last = MARKS[MARKS.len() - 1];
        assert_eq!(batch(SEEDS_FOR_MARKS, None).code(), 0);
        let never = batch(SEEDS_FOR_MARKS, Some(last));
        assert_eq!((never.code(), never.never_hit()), (1, vec![last]));
        assert!(never.to_string().contains(&format!("the mark {last:?} was never hit")), "{never}");
        assert_eq!(batch(SEEDS_FOR_MARKS - 1, Some(last)).code(), 0, "fewer seeds say nothing");
    }

    fn result(counts: Counts) -> SeedResult {
        SeedResult {
            seed: 0,
            verdict: Kind::Clean,
            guarantee: None,
            why: String::new(),
            digest: String::new(),
            wall_ms: 1,
            asked: vec!["reset".to_owned()],
            counts,
        }
    }

    fn batch(landed: bool) -> Summary {
        let mut summary = Summary::default();
        for seed in 0..SEEDS_FOR_FAULTS {
            let mut counts = Counts::default();
            if landed && seed == 7 {
                counts.faults.insert("reset".to_owned(), 1);
            }
            summary.add(SeedResult { seed, ..result(counts) });
        }
        summary
    }

    #[test]
    fn a_judge_that_excused_everything_fails_the_batch() {
        let batch = |excused: u64| {
            let mut summary = batch(true);
            let mut counts = Counts::default();
            counts.dockets.judged.insert(Guarantee::S7, 5);
            counts
                .dockets
                .excused
                .insert(Guarantee::S7, [(mainstem_oracles::FaultKind::Drain, excused)].into());
            summary.add(result(counts));
            summary
        };
        assert_eq!((batch(4).code(), batch(4).excused_everything()), (0, vec![]));
        let nothing = batch(5);
        assert_eq!((nothing.code(), nothing.excused_everything()), (1, vec![Guarantee::S7]));
        assert!(nothing.to_string().contains("S7: whatever was judged was excused"), "{nothing}");
        assert!(nothing.to_string().contains("drain 5"), "{nothing}");
    }

    #[test]
    fn a_fault_that_was_asked_for_and_never_landed_fails_the_batch() {
        let (landed, never) = (batch(true), batch(false));
        assert_eq!((landed.code(), landed.never_landed().len()), (0, 0));
        assert_eq!((never.code(), never.never_landed()), (1, vec!["reset"]), "D2");
        assert!(never.to_string().contains("D2: reset was asked for and never landed"), "{never}");
    }
}
