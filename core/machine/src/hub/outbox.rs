//! The actions that the parts of a hub ask for. The parts can only push to it.

use alloc::vec::Vec;

use super::action::HubAction;
use crate::OpId;
use crate::limits::ACTIONS_MAX;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    actions: Vec<HubAction>,
    last_op: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, action: HubAction) {
        assert!(self.actions.len() < ACTIONS_MAX, "L4: one event asks for a bounded number of actions");
        self.actions.push(action);
    }

    /// Requests a new operation, by the action that `action` makes from its id.
    pub(super) fn ask(&mut self, action: impl FnOnce(OpId) -> HubAction) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.push(action(op));
        op
    }

    #[inline]
    pub(super) fn take(&mut self) -> Vec<HubAction> {
        core::mem::take(&mut self.actions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
