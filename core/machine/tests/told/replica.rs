//! A replica as these tests talk to it, one thing at a time. What it said is kept until it is asked for.

use std::collections::VecDeque;
use std::ops::Deref;

use mainstem_machine::Time;
use mainstem_machine::replica::{self, Input, ReplicaAction, ReplicaConfig, ReplicaEvent};

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    machine: replica::Replica,
    actions: VecDeque<ReplicaAction>,
}

impl Replica {
    pub(crate) fn new(now: Time, config: ReplicaConfig) -> Self {
        Self { machine: replica::Replica::new(now, config), actions: VecDeque::new() }
    }

    pub(crate) fn handle(&mut self, at: Time, event: ReplicaEvent) {
        self.actions.extend(self.machine.take(Input { at, event }).actions);
    }

    pub(crate) fn poll_action(&mut self) -> Option<ReplicaAction> {
        self.actions.pop_front()
    }
}

/// All questions.
impl Deref for Replica {
    type Target = replica::Replica;

    fn deref(&self) -> &replica::Replica {
        &self.machine
    }
}
