//! Stopping a turn: that turn, and never another one.

use mainstem_machine::{ChatId, Command, MessageId, Rejection, Status};
use mainstem_runtime::ports::Env;
use mainstem_runtime::{EdgeError, Node, Principal};

use super::super::Requester;
use crate::limits::edge::STOP_TRIES;

/// Stops the turn if it runs, and takes its message back if it waits. Between two steps of a turn it is tried again.
pub(super) async fn stop<E: Env>(
    node: &Node<E>,
    by: &Principal,
    chat: ChatId,
    turn: MessageId,
) -> Result<(), EdgeError> {
    for _ in 0..STOP_TRIES {
        let state = node.chat(by, chat).await?;
        let command = if state.queue.iter().any(|queued| queued.id == turn) {
            Command::DeleteQueued { queued: turn }
        } else if state.turn_id() == Some(turn)
            && state.status.is_busy()
            && state.status != Status::Interrupting
        {
            Command::Interrupt { episode: Some(state.present_episode()) }
        } else {
            return Ok(());
        };
        match node.execute(by, chat, command, None).await {
            // It went on meanwhile.
            Err(EdgeError::Rejected(Rejection::NotRunning | Rejection::NoSuchQueued)) => {}
            done => return done.map(drop),
        }
    }
    Err(Rejection::NotRunning.into())
}

/// Stops the turn when it is dropped, unless it was disarmed.
pub(super) struct StopOnClose<E: Env>(Option<(Node<E>, Requester, ChatId, MessageId)>);

impl<E: Env> StopOnClose<E> {
    pub(super) fn new(turn: Option<(Node<E>, Requester, ChatId, MessageId)>) -> Self {
        Self(turn)
    }

    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl<E: Env> Drop for StopOnClose<E> {
    fn drop(&mut self) {
        let Some((node, by, chat, turn)) = self.0.take() else { return };
        tokio::spawn(async move {
            if let Err(error) = stop(&node, &by, chat, turn).await {
                tracing::debug!(%error, "a turn whose client left was not stopped");
            }
        });
    }
}
