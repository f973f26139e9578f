//! What a replica is told and what it says, as values. Nothing else changes it.

use alloc::vec::Vec;

use super::{Replica, ReplicaAction, ReplicaEvent};
use crate::Time;

/// One thing that a replica is told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Input {
    /// The time on the clock that [`Replica::new`] was given.
    pub at: Time,
    /// What has happened.
    pub event: ReplicaEvent,
}

/// All that a replica says to one input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// What it asks for, in this order.
    pub actions: Vec<ReplicaAction>,
}

impl Replica {
    /// Takes one input. A replica that is driven by this alone needs no other call.
    pub fn take(&mut self, input: Input) -> Output {
        self.handle(input.at, input.event);
        Output { actions: core::mem::take(&mut self.out) }
    }
}
