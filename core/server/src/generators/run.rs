//! A run that goes in steps, each of which may say many things or none.

use std::collections::VecDeque;

use futures::{StreamExt, stream};
use mainstem_machine::{ChatId, Episode};
use mainstem_runtime::ports::{Generated, Generation};

use super::fault::{Fault, Peer};

/// Where a run is. Whatever it holds of the connection goes when it is dropped.
pub(super) trait Phase: Sized + Send + 'static {
    /// Who was asked.
    const PEER: Peer;

    /// Goes one phase or one event further: what that says, and where the run is then, unless it has ended.
    fn step(self) -> impl Future<Output = Result<(Vec<Generated>, Option<Self>), Fault>> + Send;
}

struct Run<P> {
    chat: ChatId,
    episode: Episode,
    /// What is to be told next.
    ready: VecDeque<Generated>,
    phase: Option<P>,
}

/// A run that begins in this phase.
pub(super) fn start(chat: ChatId, episode: Episode, phase: impl Phase) -> Generation {
    let run = Run { chat, episode, ready: VecDeque::new(), phase: Some(phase) };
    stream::unfold(run, |mut run| async move { run.next().await.map(|generated| (generated, run)) })
        .fuse()
        .boxed()
}

impl<P: Phase> Run<P> {
    async fn next(&mut self) -> Option<Generated> {
        loop {
            if let Some(generated) = self.ready.pop_front() {
                return Some(generated);
            }
            match self.phase.take()?.step().await {
                Ok((parts, phase)) => {
                    self.ready.extend(parts);
                    self.phase = phase;
                }
                Err(fault) => return Some(self.fail(fault)),
            }
        }
    }

    fn fail(&self, fault: Fault) -> Generated {
        let attempt = self.episode.attempt;
        tracing::warn!(
            chat = %self.chat,
            attempt,
            code = fault.code(),
            reason = fault.message(&P::PEER),
            cause = fault.cause(),
            is_retryable = fault.is_retryable(attempt),
            "the model's run failed"
        );
        fault.into_generated(attempt, &P::PEER)
    }
}
