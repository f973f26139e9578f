//! Database operations: bounded in time, with outcomes in the machines' terms. A command is applied,
//! committed and announced in one sequence, which is here.

use std::sync::Arc;

use mainstem_machine::hub::OpOutcome;
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::{Change, ChatId, ChatState};

use super::Shared;
use crate::ports::{Applied, Effect, Env, Fault, Notice, Request, within};

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
        let applied = bounded(&self.env, self.store.apply(request)).await?;
        tracing::debug!(chat = %request.chat, command = request.command.name(), changed = applied.change().is_some(), "applied");
        match (&applied.effect, &applied.answer) {
            (Effect::Changed(Change { state, deleted, .. }), _) => {
                if !deleted {
                    self.registry.committed(&self.env, state);
                }
                self.announce(notice(state, *deleted));
            }
            (Effect::Replayed, Ok(_)) => self.announce_again(request.chat),
            _ => {}
        }
        Ok(applied)
    }

    /// Announces a change whose first answer was lost: it was committed, but could not be announced then.
    fn announce_again(self: &Arc<Self>, chat: ChatId) {
        let shared = self.clone();
        let announcing = async move {
            if let Ok(Some(state)) = bounded(&shared.env, shared.store.state(chat)).await {
                shared.announce(notice(&state, false));
            }
        };
        self.env.spawn(announcing).detach();
    }

    fn announce(self: &Arc<Self>, notice: Notice) {
        self.registry.hint(&self.env, notice.chat, notice.snapshot_version);
        if notice.free {
            self.replica.on_free(&self.env, notice.chat, notice.status);
        }
        self.announcer.announce(self, notice);
    }
}

fn notice(state: &ChatState, deleted: bool) -> Notice {
    Notice {
        chat: state.id,
        snapshot_version: state.snapshot_version,
        history_version: state.history_version,
        queue_version: state.queue_version,
        status: state.status,
        free: !deleted && state.status.is_runnable() && state.worker.is_none(),
        deleted,
    }
}
