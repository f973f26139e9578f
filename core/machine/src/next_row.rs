//! What a change made of a chat's row, where it changed nothing but who works on the chat and how that stands. Who has the row of
//! the version before makes the row of this one from it, and reads nothing.
//!
//! It goes by the bus: it has nothing that a user, a model or a provider wrote, and no user's name (S10). Whether the row before is at
//! hand is left to whoever takes it.

use alloc::boxed::Box;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ChatState, Lease, ReplicaId, Status, WallTime};

/// The row of a version, by what it has other than the row of the version before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
// What a later release adds changes the row as well: who does not know it reads.
#[serde(deny_unknown_fields)]
pub struct NextRow {
    /// What the chat is doing.
    pub status: Status,
    /// The replica that holds the lease.
    pub worker: Option<ReplicaId>,
    /// The present lease, or the last one.
    pub lease: Lease,
    /// The lease under which the current attempt began.
    #[serde(rename = "begun")]
    pub attempt_lease: Option<Lease>,
    /// How many attempts have begun under the history.
    pub attempt: u64,
    /// A failed attempt that waited for the next one still does.
    pub retries: bool,
    /// When the change was accepted.
    pub updated_at: WallTime,
}

impl NextRow {
    /// What the change from the one row to the other is, if this is all that it is.
    pub(crate) fn between(before: &ChatState, after: &ChatState) -> Option<Box<Self>> {
        let is_of_row = before.history_version == after.history_version
            && before.queue_version == after.queue_version
            && before.snapshot_version.next() == after.snapshot_version;
        let next = is_of_row.then(|| Self {
            status: after.status,
            worker: after.worker.clone(),
            lease: after.lease,
            attempt_lease: after.attempt_lease,
            attempt: after.attempt,
            retries: after.retry.is_some(),
            updated_at: after.updated_at,
        });
        next.filter(|next| next.after(before) == *after).map(Box::new)
    }

    /// The row of which the other one was the version before.
    pub fn after(&self, before: &ChatState) -> ChatState {
        let mut row = before.succeeding(self.updated_at);
        row.status = self.status;
        row.worker.clone_from(&self.worker);
        row.lease = self.lease;
        row.attempt_lease = self.attempt_lease;
        row.attempt = self.attempt;
        row.retry.take_if(|_| !self.retries);
        row
    }

    /// Whether it can be what follows the row: under one history leases and attempts grow.
    pub(crate) fn fits(&self, before: &ChatState) -> bool {
        before.lease <= self.lease && before.attempt <= self.attempt
    }

    /// Reads it in the form that is known here. `None` is also of any other form.
    pub(crate) fn of_known_form<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Self>>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Known(Box<NextRow>),
            Other(IgnoredAny),
        }
        Ok(match Form::deserialize(from)? {
            Form::Known(row) => Some(row),
            Form::Other(_) => None,
        })
    }
}
