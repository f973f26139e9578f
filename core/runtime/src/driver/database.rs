//! Operations on the database: bounded in time, and their outcomes told as machines understand them. Apply,
//! commit, announce is one sequence, and it is here.

use std::sync::Arc;

use mainstem_machine::hub::OpOutcome;
use mainstem_machine::limits::OP_TIMEOUT;
use mainstem_machine::{ChatId, ChatState};

use super::Shared;
use crate::ports::{Applied, Env, Fault, Notice, Request, within};

/// A time-out says nothing about whether it happened.
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
            tracing::warn!(what, error, "the database did not answer");
            OpOutcome::Unknown
        }
    }
}

impl<E: Env> Shared<E> {
    /// Applies and commits; what was committed is announced, here at once and to the others by the bus.
    pub(crate) async fn apply(self: &Arc<Self>, request: &Request) -> Result<Applied, Fault> {
        let applied = bounded(&self.env, self.store.apply(request)).await?;
        tracing::debug!(chat = %request.chat, command = request.command.name(), changed = is_change(&applied), "applied");
        match &applied {
            Applied::Changed { state, deleted, .. } => {
                if !deleted {
                    self.registry.committed(&self.env, state);
                }
                self.announce(notice(state, *deleted));
            }
            Applied::Replayed(Ok(_)) => self.announce_again(request.chat),
            _ => {}
        }
        Ok(applied)
    }

    /// The answer to the first asking was lost, and whoever asked then could not announce what he did not know.
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

fn is_change(applied: &Applied) -> bool {
    matches!(applied, Applied::Changed { .. })
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
