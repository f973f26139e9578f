//! Database operations: bounded in time, with outcomes in the machines' terms. A command is applied,
//! committed and announced in one sequence, which is here.

use std::sync::Arc;

use mainstem_machine::announce::AnnouncerEvent;
use mainstem_machine::hub::OpOutcome;
use mainstem_machine::limits::OP_TIMEOUT;

use super::Shared;
use crate::ports::{Applied, Env, Fault, Request, within};

/// Runs an operation within [`OP_TIMEOUT`]. After a time-out, its outcome is unknown.
pub(crate) async fn bounded<E: Env, T>(
    env: &E,
    operation: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    within(env, OP_TIMEOUT, operation)
        .await
        .unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".into())))
}

pub(super) fn outcome<T>(result: Result<T, Fault>, what: &'static str) -> OpOutcome<T> {
    match result {
        Ok(done) => OpOutcome::Done(done),
        Err(Fault::Refused(error) | Fault::Full(error)) => {
            tracing::warn!(what, error, "the database refused");
            OpOutcome::Refused
        }
        Err(Fault::Unknown(error)) => {
            tracing::warn!(what, error, "a database operation got no answer and will be retried");
            OpOutcome::Unknown
        }
    }
}

impl<E: Env> Shared<E> {
    /// Applies and commits a command, and announces the change: at once on this replica, and by the bus to
    /// the others.
    pub(crate) async fn apply(self: &Arc<Self>, request: &Request) -> Result<Applied, Fault> {
        let applied = match self.registry.find(request.chat).and_then(|cell| cell.row()) {
            Some(known) => bounded(&self.env, self.store.apply_knowing(request, known)).await?,
            None => bounded(&self.env, self.store.apply(request)).await?,
        };
        tracing::debug!(chat = %request.chat, command = request.command.name(), changed = applied.change().is_some(), "applied");
        if let Some(event) = AnnouncerEvent::of(request.chat, &applied) {
            self.announce(event);
        }
        Ok(applied)
    }
}
