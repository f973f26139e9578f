//! L4: nothing spins without input: a replica starts a bounded number of operations per second, and time
//! advances.

use std::collections::BTreeMap;

use mainstem_machine::Time;

use crate::shared::Shared;
use crate::{Evidence, Life, Name, Oracle, Ruling, RunEnd, Seen};

/// Operations of a replica per second without input: at most one sync per 50 ms, heartbeats, and retries with
/// backoff from 50 ms.
const OF_ITSELF: u64 = 60;
/// In addition, for each chat with a hub: retries of reads, page reads and writes, with backoff from 50 ms.
const PER_CHAT: u64 = 20;
/// Operations that one piece of input may cause at one replica: a few commits, each read once or twice, and
/// syncs.
const PER_INPUT: u64 = 40;
/// Pieces of evidence at one moment. If there are more, time stands still.
const AT_ONE_MOMENT_MAX: u64 = 200_000;
const SECOND: u64 = 1_000_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Spin {
    second: u64,
    operations: Shared<BTreeMap<Name, u64>>,
    /// Counts in this second, and in the previous one.
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
            return Err(format!("time stands still: {AT_ONE_MOMENT_MAX} pieces of evidence at one moment"));
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
            | Evidence::FaultOver { .. }
            | Evidence::MayWork { .. }
            | Evidence::FaultsCleared
            | Evidence::Lived { life: Life::Up | Life::Resumed | Life::Draining, .. } => {
                self.input += 1;
                return Ok(());
            }
            _ => return Ok(()),
        };
        seen.ask();
        let count = self.operations.entry(who.clone()).or_default();
        *count += 1;
        if *count <= OF_ITSELF {
            return Ok(());
        }
        let chats = seen.index.chats().count() as u64;
        let input = self.input + self.input_before;
        if *count == OF_ITSELF + PER_CHAT * chats + PER_INPUT * input + 1 {
            return Err(format!(
                "{who} started {count} operations within a second, on {input} pieces of input"
            ));
        }
        Ok(())
    }
}
