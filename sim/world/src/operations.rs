//! What becomes of operations on the database and the bus: they happen, are refused, get lost, or take their time.

use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_oracles::FaultKind;

use crate::choice::{ChatAt, How, Kind, NodeAt};
use crate::node::{Operation, Stage};
use crate::world::World;

impl World {
    /// Something becomes of the first operation of its kind.
    pub(crate) fn operation(&mut self, node: NodeAt, chat: Option<ChatAt>, kind: Kind, how: How) {
        let Some(here) = self.peek(node).filter(|node| node.is_there()) else { return };
        let Some(at) = here.find(chat, kind, how == How::Late) else { return };
        let up = here.is_up();
        match how {
            How::Carry | How::Late if up => {
                let Operation { chat, op, task, asked, stage, .. } = self.node(node).operations.remove(at);
                let reply = match stage {
                    Stage::Asked => self.effect(node, chat, &task, asked),
                    Stage::Happened(reply) => *reply,
                };
                self.answer(node, (chat, op), task, asked, reply);
            }
            How::Happen if self.take_delay(node, kind) => {
                let Operation { chat, task, asked, .. } = self.node(node).operations[at].clone();
                let reply = Box::new(self.effect(node, chat, &task, asked));
                let operation = &mut self.node(node).operations[at];
                (operation.stage, operation.held) = (Stage::Happened(reply), true);
            }
            How::Hold if self.take_delay(node, kind) => self.node(node).operations[at].held = true,
            How::Refuse if up && self.take_fault() => {
                self.strike(node, kind);
                let operation = self.node(node).operations.remove(at);
                self.fail_operation(node, &operation, false);
            }
            How::LoseRequest if up && self.take_fault() => {
                self.strike(node, kind);
                let operation = self.node(node).operations.remove(at);
                self.fail_operation(node, &operation, true);
                self.go_astray(node, operation);
            }
            How::LoseAnswer if up && self.take_fault() => {
                self.strike(node, kind);
                let operation = self.node(node).operations.remove(at);
                self.effect(node, operation.chat, &operation.task, operation.asked);
                self.fail_operation(node, &operation, true);
            }
            _ => {}
        }
    }

    fn strike(&mut self, node: NodeAt, kind: Kind) {
        let who = self.name(node);
        let fault = if matches!(kind, Kind::Bus | Kind::Publish) {
            FaultKind::BusRefused
        } else {
            FaultKind::DatabaseRefused
        };
        self.fault(fault, who, None);
    }

    fn take_delay(&mut self, node: NodeAt, kind: Kind) -> bool {
        if self.state.budget.delays == 0 {
            return false;
        }
        self.state.budget.delays -= 1;
        let who = self.name(node);
        let fault = if matches!(kind, Kind::Bus | Kind::Publish) {
            FaultKind::NoticeLate
        } else {
            FaultKind::DatabaseSlow
        };
        self.fault(fault, who, None);
        true
    }

    pub(crate) fn take_fault(&mut self) -> bool {
        let left = self.state.budget.faults > 0;
        self.state.budget.faults = self.state.budget.faults.saturating_sub(1);
        left
    }

    /// Nobody waits for it any more, and it may happen yet.
    pub(crate) fn go_astray(&mut self, node: NodeAt, operation: Operation) {
        if operation.task.writes() && operation.stage == Stage::Asked && self.state.strays.len() < 4 {
            self.state.strays.push_back((node, operation));
        }
    }

    /// The first operation that nobody waits for any more happens.
    pub(crate) fn stray(&mut self) {
        if let Some((node, operation)) = self.state.strays.pop_front() {
            // What it changes is announced by nobody.
            let who = self.name(node);
            self.fault(FaultKind::AnswerLost, who, None);
            self.effect(node, operation.chat, &operation.task, operation.asked);
        }
    }

    /// Operations that were not answered in time have an unknown outcome.
    pub(crate) fn time_out(&mut self, node: NodeAt) {
        let now = self.state.now;
        let late = |operation: &Operation| operation.asked + OP_TIMEOUT <= now;
        while let Some(at) = self.peek(node).and_then(|node| node.operations.iter().position(late)) {
            let operation = self.node(node).operations.remove(at);
            self.fail_operation(node, &operation, true);
            self.go_astray(node, operation);
        }
    }
}
