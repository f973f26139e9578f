//! The counters of a run: faults that took effect, and in which phase of the protocol; coverage marks;
//! delivered parts. They outlive the run, however it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mainstem_machine::{ChatId, ChatState, Status, Time};
use mainstem_oracles::{Docket, Dockets};
use serde::{Deserialize, Serialize};

/// The counters of one run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    phases: BTreeMap<ChatId, &'static str>,
}

/// Sums over one run, or over many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How often each kind of fault took effect (D2).
    pub faults: BTreeMap<String, u64>,
    /// The same, by the phase in which a chat was at that time.
    pub phases: BTreeMap<String, BTreeMap<String, u64>>,
    /// How often each mark was reached.
    pub marks: BTreeMap<String, u64>,
    /// What the judges were asked, and what they excused.
    #[serde(flatten)]
    pub dockets: Dockets,
    /// Parts that viewers received.
    pub parts: u64,
    /// Virtual time, in milliseconds.
    pub simulated_ms: u64,
}

impl Tally {
    pub(crate) fn landed(&self, fault: &'static str) {
        self.with(|state| {
            *entry(&mut state.counts.faults, fault) += 1;
            for phase in state.phases.values() {
                if !state.counts.phases.contains_key(*phase) {
                    state.counts.phases.insert((*phase).to_owned(), BTreeMap::new());
                }
                let faults = state.counts.phases.get_mut(*phase).expect("inserted above");
                *entry(faults, fault) += 1;
            }
        });
    }

    pub(crate) fn marked(&self, mark: &str) {
        self.with(|state| *entry(&mut state.counts.marks, mark) += 1);
    }

    pub(crate) fn delivered(&self, parts: u64) {
        self.with(|state| state.counts.parts += parts);
    }

    /// The judges' docket at the end of the run.
    pub(crate) fn judged(&self, docket: &Docket) {
        self.with(|state| {
            state.counts.dockets = Dockets::default();
            state.counts.dockets.enter(docket);
        });
    }

    pub(crate) fn simulated(&self, until: Time) {
        self.with(|state| state.counts.simulated_ms = until.as_micros() / 1000);
    }

    /// Updates the phase of a chat after a commit.
    pub(crate) fn committed(&self, chat: &ChatState, deleted: bool) {
        self.with(|state| match deleted {
            true => drop(state.phases.remove(&chat.id)),
            false => drop(state.phases.insert(chat.id, phase(chat))),
        });
    }

    pub fn counts(&self) -> Counts {
        self.with(|state| state.counts.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().expect("the counts are whole"))
    }
}

fn entry<'a>(counts: &'a mut BTreeMap<String, u64>, name: &str) -> &'a mut u64 {
    if !counts.contains_key(name) {
        counts.insert(name.to_owned(), 0);
    }
    counts.get_mut(name).expect("inserted above")
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *entry(&mut self.faults, fault) += count;
        }
        for (phase, faults) in &other.phases {
            let mine = self.phases.entry(phase.clone()).or_default();
            faults.iter().for_each(|(fault, count)| *entry(mine, fault) += count);
        }
        for (mark, count) in &other.marks {
            *entry(&mut self.marks, mark) += count;
        }
        self.dockets.add(&other.dockets);
        self.parts += other.parts;
        self.simulated_ms += other.simulated_ms;
    }
}

/// The phase of a chat in the protocol, computed from its row.
fn phase(chat: &ChatState) -> &'static str {
    match (chat.status, &chat.worker) {
        (Status::Waiting, _) => "idle",
        (Status::RequiresAction, _) => "asked the client",
        (Status::Error, _) => "failed",
        (Status::Interrupting, None) => "interrupting, nobody's",
        (Status::Interrupting, Some(_)) => "interrupting",
        (Status::Running, None) => "running, nobody's",
        (Status::Running, Some(_)) if chat.retry.is_some() => "waiting to retry",
        (Status::Running, Some(_)) if chat.live_episode().is_some() => "generating",
        (Status::Running, Some(_)) => "acquired",
    }
}
