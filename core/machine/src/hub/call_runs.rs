//! The server's calls that a runner carries out: each is begun once under its lease, and what came of it is kept until
//! the row has it. Nothing is begun before the row names it (S11).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::action::HubAction;
use super::outbox::Outbox;
use crate::limits::CALLS_MAX;
use crate::{CallResult, Carrier, ChatState, OpId, OpenCall, Status, Version};

/// What was begun of one step's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CallRuns {
    /// The history that ends with them.
    of: Version,
    runs: Vec<CallRun>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallRun {
    call: Arc<str>,
    op: OpId,
    /// `None`: it runs.
    result: Option<CallResult>,
}

impl CallRuns {
    /// Gives up what the row does not wait for any more.
    pub(super) fn keep_to(&mut self, row: &ChatState, out: &mut Outbox) {
        if row.status != Status::Running || row.history_version != self.of {
            self.give_up(out);
        }
    }

    pub(super) fn give_up(&mut self, out: &mut Outbox) {
        for run in self.runs.drain(..).filter(|run| run.result.is_none()) {
            out.push(HubAction::GiveUpCall { op: run.op });
        }
    }

    /// Begins the calls of the row that were not begun yet under this lease.
    pub(super) fn begin(&mut self, row: &ChatState, out: &mut Outbox) {
        // What a release that knew no turns left has none: the answer is named then.
        let turn = row.turn_id().unwrap_or(row.last_message);
        self.of = row.history_version;
        for call in row.calls.iter().filter(|call| call.waits_for_server()) {
            if self.runs.iter().all(|run| run.call != call.id) {
                let OpenCall { id, name, input, carrier, .. } = call.clone();
                let (of, is_repeatable) = (self.of, carrier == Carrier::ServerAgain);
                let op = out.ask(|op| {
                    let id = id.clone();
                    HubAction::Call { op, turn, of, id, name, input, is_repeatable }
                });
                self.runs.push(CallRun { call: id, op, result: None });
            }
        }
    }

    /// Whether all that the row waits for was begun.
    pub(super) fn has_begun_all(&self, row: &ChatState) -> bool {
        let is_begun = |call: &OpenCall| self.runs.iter().any(|run| run.call == call.id);
        row.calls.iter().filter(|call| call.waits_for_server()).all(is_begun)
    }

    /// A call has come to its end.
    pub(super) fn on_returned(&mut self, op: OpId, result: CallResult) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.op == op) {
            run.result.get_or_insert(result);
        }
    }

    /// What is known and not in the row yet.
    pub(super) fn results(&self, row: &ChatState) -> Vec<(Arc<str>, CallResult)> {
        let waits =
            |run: &CallRun| row.calls.iter().any(|call| call.id == run.call && call.waits_for_server());
        let known = self.runs.iter().filter(|run| waits(run));
        known.filter_map(|run| Some((run.call.clone(), run.result.clone()?))).collect()
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.runs.len() <= CALLS_MAX, "B1: calls that are carried out at the same time are bounded");
    }
}
