//! L4: without input nothing turns: a replica turns to the world outside a bounded number of times per second,
//! and time goes on.

use std::collections::BTreeMap;

use mainstem_machine::Time;

use crate::{Evidence, Life, Name, Oracle, Ruling, RunEnd, Seen};

/// What a replica does of itself in a second: a look each 50 ms at the most, heartbeats, and what it retries
/// after failures, from 50 ms on, doubled each time.
const OF_ITSELF: u64 = 60;
/// And for each chat it may have a hub of: reads, pages and writes that failed, each tried again after 50 ms
/// and more.
const PER_CHAT: u64 = 20;
/// What one piece of input may cause at one replica: a handful of commits, each read there once or twice, and
/// looks for work.
const PER_INPUT: u64 = 40;
/// Evidence of one moment. More than that, and time stands still.
const AT_ONE_MOMENT_MAX: u64 = 200_000;
const SECOND: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct Spin {
    second: u64,
    operations: BTreeMap<Name, u64>,
    /// In this second, and in the one before.
    input: u64,
    input_before: u64,
    moment: Time,
    at_once: u64,
}

impl Oracle for Spin {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        if self.moment != seen.at {
            (self.moment, self.at_once) = (seen.at, 0);
        }
        self.at_once += 1;
        if self.at_once == AT_ONE_MOMENT_MAX {
            return Err(format!("time stands still: {AT_ONE_MOMENT_MAX} things have happened at once"));
        }
        let second = seen.at.as_micros() / SECOND;
        if second != self.second {
            self.input_before = if second == self.second + 1 { self.input } else { 0 };
            (self.second, self.input) = (second, 0);
            self.operations.clear();
        }
        let who = match seen.evidence {
            Evidence::Operated { replica, .. } => replica,
            Evidence::Dialed { from, .. } if seen.index.lives.replica(from).is_some() => from,
            Evidence::Asked { .. }
            | Evidence::Watches { .. }
            | Evidence::StreamEnded { .. }
            | Evidence::RunEnded { how: RunEnd::Done(_) | RunEnd::Failed, .. }
            | Evidence::Fault { .. }
            | Evidence::MayWork { .. }
            | Evidence::FaultsCleared
            | Evidence::Lived { life: Life::Up | Life::Resumed | Life::Draining, .. } => {
                self.input += 1;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let count = self.operations.entry(who.clone()).or_default();
        *count += 1;
        let chats = seen.index.chats().count() as u64;
        let input = self.input + self.input_before;
        if *count == OF_ITSELF + PER_CHAT * chats + PER_INPUT * input + 1 {
            return Err(format!("{who} did {count} things within a second, on {input} pieces of input"));
        }
        Ok(())
    }
}
