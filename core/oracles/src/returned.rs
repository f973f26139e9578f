//! S11, of what is known: a result that came back to a worker is written soon, and before that worker lets the chat go. That
//! another worker takes over then is no reason for another result.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{Command, Time};

use crate::shared::Shared;
use crate::tools::Called;
use crate::{Committed, Name, Past, Ruling, Seen};

/// How long it may take until what came back is written.
const SLACK: Duration = Duration::from_secs(2);
/// What comes back within this time of the decision to let a chat go may have come too late for it.
const TICK: Duration = Duration::from_millis(1);

/// What came back to its worker, and is not written yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returned(Shared<BTreeMap<Called, Known>>);

#[derive(Clone, Debug)]
struct Known {
    worker: Name,
    at: Time,
    /// Since when the worker could have written it.
    unhindered: Time,
}

impl Returned {
    /// A call came to its end at a replica. Who does not hold the chat has nothing to write.
    pub(crate) fn come(&mut self, seen: &Seen<'_>, replica: &Name, called: &Called) {
        let (chat, of, call) = called;
        let present = seen.index.past(*chat).and_then(|past| past.present());
        let Some(state) = present.filter(|moment| !moment.deleted).map(|moment| &moment.state) else {
            return;
        };
        let holds = state.worker.as_ref().is_some_and(|worker| worker.as_str() == &**replica);
        let waits = state.calls.iter().any(|open| open.id == *call && open.waits_for_server());
        if holds && waits && state.history_version == *of {
            let (worker, at) = (replica.clone(), seen.at);
            self.0.entry(called.clone()).or_insert(Known { worker, at, unhindered: at });
        }
    }

    /// Of what came back, something may have been written, or nobody waits for it any more.
    pub(crate) fn judge(&mut self, change: &Committed) -> Ruling {
        let is_its = |called: &Called| called.0 == change.chat;
        if !self.0.keys().any(is_its) {
            return Ok(());
        }
        let is_let_go = matches!(change.command, Command::Release { .. });
        let forgets = |known: &Known| known.worker == change.by && known.at + TICK < change.asked;
        let forgotten = self.0.iter().find(|(called, known)| is_let_go && is_its(called) && forgets(known));
        let ruling = forgotten.map_or(Ok(()), |((_, _, call), Known { worker, at, .. })| {
            Err(format!("{worker} lets the chat go without the result of {call}, which came back at {at:?}"))
        });
        let goes_on = !change.deleted && !is_let_go && !matches!(change.command, Command::Acquire { .. });
        let state = &change.state;
        let waits = |(_, of, id): &Called| {
            let open = state.calls.iter().find(|call| call.id == *id);
            state.history_version == *of && open.is_some_and(|call| call.waits_for_server())
        };
        self.0.retain(|called, _| !is_its(called) || goes_on && waits(called));
        ruling
    }

    /// A process that died, or begins anew, knows nothing any more.
    pub(crate) fn forget(&mut self, replica: &Name) {
        if self.0.values().any(|known| known.worker == *replica) {
            self.0.retain(|_, known| known.worker != *replica);
        }
    }

    /// Something that a worker could have written long since.
    pub(crate) fn overdue(&mut self, seen: &Seen<'_>) -> Ruling {
        let lives = &seen.index.lives;
        let late = |known: &Known| known.unhindered + SLACK < seen.at;
        let late: Vec<_> = self.0.iter().filter(|(_, known)| late(known)).collect();
        let late: Vec<(Called, Known)> =
            late.into_iter().map(|(called, known)| (called.clone(), known.clone())).collect();
        for (called, Known { worker, at, unhindered }) in late {
            let is_there = lives.replica(&worker).is_some_and(|replica| replica.up && !replica.paused);
            let hampered = lives.hampered(&worker, called.0, unhindered);
            let hampered = hampered.or_else(|| seen.index.past(called.0).and_then(Past::unaware));
            if is_there && !seen.is_excused(hampered) {
                self.0.remove(&called);
                let (chat, _, call) = called;
                return Err(format!(
                    "{worker} has the result of {call} of {chat} since {at:?}, and keeps it"
                ));
            }
            if let Some(known) = self.0.get_mut(&called) {
                known.unhindered = seen.at;
            }
        }
        Ok(())
    }
}
