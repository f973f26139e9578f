//! The transitions of a chat: pure, and defined for every state. `docs/design.md` has the table that they follow
//! row by row.
//!
//! A store loads the row under its lock, calls [`Command::apply_to`] and writes the [`Change`](crate::Change) in the
//! same transaction; the caller announces it after the commit. Every command in every state has an
//! [`Answer`](crate::Answer), and one that is rejected leaves the state untouched.

use alloc::sync::Arc;

use crate::draft::{Draft, Origin, queue_bytes};
use crate::limits::{QUEUE_BYTES_MAX, SHARES_MAX};
use crate::marks::sometimes;
use crate::{
    Accepted, Access, Answer, Applied, CallResult, ChatState, Command, Completion, Content, Episode, Fence,
    Found, Known, Lease, LeaseTerm, MessageId, NewSettings, OpenCall, QueuedMessage, Rejection, ReplicaId,
    Retry, Role, RunError, SendMode, Settings, Standing, Status, StoreFacts, TurnStatus,
};

/// What comes of an accepted command, or why it is not.
type Transition = Result<Applied, Rejection>;

impl Command {
    /// Applies the command to the stored state, which is `None` if the chat does not exist. A user `by` who is
    /// neither the owner nor has a share is told the same (S10).
    pub fn apply_to(&self, state: Option<&ChatState>, by: Option<&str>, facts: &StoreFacts) -> Applied {
        let applied = match (state, self) {
            (Some(state), _) => {
                let leave = by.map_or(Ok(()), |by| state.check_leave(by, self));
                leave.and_then(|()| state.apply(self, facts)).map(|applied| applied.made_of(state))
            }
            (None, Self::Create { chat, owner, settings, messages }) => {
                let mut draft = Draft::create(*chat, owner, settings, facts);
                draft.tell(messages);
                Ok(draft.finish_with_chat())
            }
            (None, _) => Err(Rejection::NoSuchChat),
        };
        applied.unwrap_or_else(Applied::rejected)
    }
}

impl ChatState {
    fn apply(&self, command: &Command, facts: &StoreFacts) -> Transition {
        let draft = Draft::of(self, facts);
        match command {
            Command::Create { owner, settings, .. } => self.create_again(owner, settings),
            Command::Send { content, mode, queue_max, client_id } => match self.sent_before(command, facts) {
                Some(answer) => answer.map(Applied::unchanged),
                None => self.send(draft, content, client_id, *mode, *queue_max),
            },
            Command::Configure(settings) => Ok(Self::configure(draft, settings)),
            Command::ToolResults { results } => self.tool_results(draft, results),
            Command::Edit { message, content } => Self::edit(draft, *message, content, facts),
            Command::Regenerate { mode, .. } => self.regenerate(draft, *mode, facts),
            Command::Interrupt { episode } => self.interrupt(draft, *episode),
            Command::DeleteQueued { queued } => Self::delete_queued(draft, *queued),
            Command::Promote { queued } => self.promote(draft, *queued),
            Command::Delete => self.delete(draft),
            Command::Expire { idle_ms } => self.expire(draft, *idle_ms, facts),
            Command::Share { user, may } => self.share(draft, user, *may),
            Command::Unshare { user } => Ok(self.unshare(draft, user)),
            Command::Acquire { replica, interrupting_only } => {
                self.acquire(draft, replica, *interrupting_only, facts)
            }
            Command::Release { replica, lease } => self.release(draft, replica, *lease),
            Command::BeginAttempt { fence } => self.begin_attempt(draft, fence),
            Command::RecordRetry { fence, delay_ms, error } => {
                self.record_retry(draft, fence, *delay_ms, error, facts)
            }
            Command::CommitStep { fence, answer, completion, calls } => {
                self.commit_step(draft, fence, answer, *completion, calls)
            }
            Command::CommitResults { fence, results } => self.commit_results(draft, fence, results),
            Command::FinishTurn { fence, answer, completion } => {
                self.finish_turn(draft, fence, answer, *completion)
            }
            Command::FinishInterruption { fence, partial } => self.finish_interruption(draft, fence, partial),
            Command::Fail { fence, partial, error } => self.fail(draft, fence, partial, error),
        }
    }

    /// Whoever creates a chat under a name of its own finds the one that has it.
    fn create_again(&self, owner: &Arc<str>, settings: &Settings) -> Transition {
        let is_named = settings.external_id.is_some() && settings.external_id == self.external_id;
        match is_named && self.owner == *owner {
            true => Ok(Applied::unchanged(Accepted::Found(self.clone().into()))),
            false => Err(Rejection::Exists),
        }
    }

    /// What was answered to whoever sent it first.
    fn sent_before(&self, command: &Command, facts: &StoreFacts) -> Option<Answer> {
        let Known { answer, content } = facts.known.clone()?;
        let is_it = |queued: &&QueuedMessage| queued.client_id.as_ref() == command.client_id();
        let queued = self.queue.iter().find(is_it).map(|queued| queued.content.clone());
        let mut first = command.clone();
        // What is gone says what it is said to say.
        if let (Command::Send { content, .. }, Some(said)) = (&mut first, queued.or(content)) {
            *content = said;
        }
        Some(answer.answer(&first, None))
    }

    fn configure(mut draft: Draft, settings: &NewSettings) -> Applied {
        let NewSettings { title, model, instructions, tools } = settings.clone();
        let state = &mut draft.state;
        state.title = title.unwrap_or_else(|| state.title.take());
        state.model = model.unwrap_or_else(|| state.model.take());
        state.instructions = instructions.unwrap_or_else(|| state.instructions.take());
        if let Some(tools) = tools {
            state.tools = tools.into();
        }
        draft.finish_with_chat()
    }

    fn send(
        &self,
        mut draft: Draft,
        content: &Content,
        client_id: &Option<Arc<str>>,
        mode: SendMode,
        max: usize,
    ) -> Transition {
        let client_id = client_id.clone();
        let busy = self.status.is_busy();
        match (busy, mode) {
            (true, SendMode::Reject) => Err(Rejection::Busy),
            // Nobody works on it, so there is nobody to wait for.
            (true, SendMode::Interrupt) if self.status == Status::RequiresAction => {
                draft.close_calls();
                draft.end_turn(TurnStatus::Interrupted, None);
                let message = draft.begin_turn(content.clone(), client_id, None);
                Ok(draft.finish_with_sent(Some(message), None))
            }
            (true, _) if self.queue.len() >= max || !fits(&self.queue, content) => Err(Rejection::QueueFull),
            (true, SendMode::Queue) => {
                let queued = draft.enqueue(content.clone(), client_id, self.queue.len());
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (true, SendMode::Interrupt) => {
                let queued = draft.enqueue(content.clone(), client_id, 0);
                draft.interrupt();
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (false, SendMode::Queue | SendMode::Reject) if !self.queue.is_empty() => {
                if !fits(&self.queue[1..], content) {
                    return Err(Rejection::QueueFull);
                }
                // What waited longest goes first; the queue is as long afterwards as it was.
                let queued = draft.enqueue(content.clone(), client_id, self.queue.len());
                draft.next_turn();
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (false, _) => {
                let message = draft.begin_turn(content.clone(), client_id, None);
                Ok(draft.finish_with_sent(Some(message), None))
            }
        }
    }

    fn edit(mut draft: Draft, message: MessageId, content: &Content, facts: &StoreFacts) -> Transition {
        found_of_user(facts)?;
        draft.cut(message);
        draft.clear_queue();
        let message = draft.begin_turn(content.clone(), None, None);
        Ok(draft.finish_with_sent(Some(message), None))
    }

    fn regenerate(&self, mut draft: Draft, mode: SendMode, facts: &StoreFacts) -> Transition {
        let message = found_of_user(facts)?;
        if self.status.is_busy() && mode != SendMode::Interrupt {
            return Err(Rejection::Busy);
        }
        draft.begin_again(message);
        Ok(draft.finish_with_chat())
    }

    fn interrupt(&self, mut draft: Draft, episode: Option<Episode>) -> Transition {
        let named = episode.is_none_or(|named| named == self.present_episode());
        match self.status {
            Status::Running | Status::RequiresAction if !named => Err(Rejection::NotRunning),
            Status::Running if self.worker.is_some() => {
                draft.interrupt();
                Ok(draft.finish_with_chat())
            }
            Status::Running | Status::RequiresAction => {
                draft.close_calls();
                draft.end_run();
                draft.end_turn(TurnStatus::Interrupted, None);
                draft.next_turn();
                Ok(draft.finish_with_chat())
            }
            Status::Interrupting if named => Ok(Applied::unchanged(Accepted::Chat(self.clone().into()))),
            _ => Err(Rejection::NotRunning),
        }
    }

    fn delete_queued(mut draft: Draft, queued: MessageId) -> Transition {
        draft.take_queued(queued)?;
        Ok(draft.finish(|_| Accepted::Gone))
    }

    fn promote(&self, mut draft: Draft, queued: MessageId) -> Transition {
        if self.status == Status::RequiresAction {
            // While it waits, so that it keeps its id.
            draft.close_calls();
        }
        let promoted = draft.take_queued(queued)?;
        match self.status {
            Status::Running | Status::Interrupting => {
                draft.state.queue.insert(0, promoted);
                draft.interrupt();
            }
            Status::RequiresAction => {
                draft.end_turn(TurnStatus::Interrupted, None);
                draft.begin_turn(promoted.content, promoted.client_id, Some(promoted.id));
            }
            Status::Waiting | Status::Error => {
                draft.begin_turn(promoted.content, promoted.client_id, Some(promoted.id));
            }
        }
        Ok(draft.finish_with_chat())
    }

    fn delete(&self, draft: Draft) -> Transition {
        match self.status {
            Status::Waiting | Status::Error => Ok(draft.finish_deleted()),
            Status::Running | Status::Interrupting | Status::RequiresAction => Err(Rejection::Busy),
        }
    }

    /// What changed meanwhile stays, also if it is idle again.
    fn expire(&self, draft: Draft, idle_ms: u64, facts: &StoreFacts) -> Transition {
        if facts.now.ms_since(self.updated_at) < idle_ms {
            return Err(Rejection::Busy);
        }
        self.delete(draft)
    }

    fn share(&self, mut draft: Draft, user: &Arc<str>, may: Access) -> Transition {
        if self.owner == *user {
            return Err(Rejection::OwnChat);
        }
        if self.shares.iter().any(|share| share.user == *user && share.may == may) {
            return Ok(Applied::unchanged(Accepted::Chat(self.clone().into())));
        }
        if self.standing(user) == Standing::Stranger && self.shares.len() >= SHARES_MAX {
            return Err(Rejection::TooManyShares);
        }
        draft.share(user, may);
        Ok(draft.finish_with_chat())
    }

    fn unshare(&self, mut draft: Draft, user: &Arc<str>) -> Applied {
        if !draft.unshare(user) {
            return Applied::unchanged(Accepted::Gone);
        }
        draft.finish(|_| Accepted::Gone)
    }

    fn acquire(
        &self,
        mut draft: Draft,
        replica: &ReplicaId,
        interrupting_only: bool,
        facts: &StoreFacts,
    ) -> Transition {
        // A replica asks only for chats for which it has no runner. So a lease that it holds itself comes from an
        // acquisition whose answer was lost; the new lease fences the old one.
        let free = self.worker.as_ref().is_none_or(|worker| worker == replica) || facts.lease_expired;
        let wanted =
            if interrupting_only { self.status == Status::Interrupting } else { self.status.is_runnable() };
        if !free || !wanted {
            return Err(Rejection::NotFree);
        }
        self.mark_reacquired(replica, facts);
        draft.state.worker = Some(replica.clone());
        draft.state.lease = self.lease.next();
        draft.lease = LeaseTerm::Start;
        draft.takes_over = self.attempt_lease.is_some();
        draft.lose_calls();
        // Who takes up a turn begins, unless the turn waits: for what was called, or for the time to try again.
        if self.status == Status::Running && self.calls.is_empty() && self.retry.is_none() {
            draft.begin_attempt(draft.state.lease);
        }
        Ok(draft.finish_with_chat())
    }

    fn mark_reacquired(&self, replica: &ReplicaId, facts: &StoreFacts) {
        if self.worker.as_ref() == Some(replica) && !facts.lease_expired {
            sometimes!("a held chat is acquired again");
        }
    }

    fn release(&self, mut draft: Draft, replica: &ReplicaId, lease: Lease) -> Transition {
        if !self.is_held_by(replica, lease) {
            return Err(Rejection::Fenced);
        }
        draft.release();
        Ok(draft.finish_with_chat())
    }

    fn begin_attempt(&self, mut draft: Draft, fence: &Fence) -> Transition {
        self.check(fence, Status::Running)?;
        draft.begin_attempt(fence.lease);
        Ok(draft.finish_with_chat())
    }

    fn record_retry(
        &self,
        mut draft: Draft,
        fence: &Fence,
        delay_ms: u64,
        error: &RunError,
        facts: &StoreFacts,
    ) -> Transition {
        self.check(fence, Status::Running)?;
        // What was announced stands: the same record may come again, late, when nobody waits for it (S9).
        if self.retry.is_some() {
            return Err(Rejection::Fenced);
        }
        draft.state.attempt_lease = None;
        draft.state.retry = Some(Retry {
            attempt: self.attempt,
            delay_ms,
            error: error.clone(),
            at: facts.now.after_ms(delay_ms),
        });
        Ok(draft.finish_with_chat())
    }

    fn commit_step(
        &self,
        mut draft: Draft,
        fence: &Fence,
        answer: &Content,
        completion: Completion,
        calls: &[OpenCall],
    ) -> Transition {
        self.check(fence, Status::Running)?;
        draft.count(completion);
        draft.save_answer(&Some(answer.clone()), Origin { completion, ..Origin::of(fence.episode) });
        draft.end_run();
        draft.open_calls(calls.to_vec());
        Ok(draft.finish_with_chat())
    }

    fn commit_results(
        &self,
        mut draft: Draft,
        fence: &Fence,
        results: &[(Arc<str>, CallResult)],
    ) -> Transition {
        self.check_held(fence, Status::Running)?;
        if self.calls.is_empty() {
            return Err(Rejection::Fenced);
        }
        draft.answer_calls(results, OpenCall::waits_for_server)?;
        // With the last result the worker goes on: one commit for both.
        if draft.state.calls.is_empty() {
            draft.begin_attempt(fence.lease);
        }
        Ok(draft.finish_with_chat())
    }

    fn tool_results(&self, mut draft: Draft, results: &[(Arc<str>, CallResult)]) -> Transition {
        if results.is_empty() {
            return Err(Rejection::NotPending);
        }
        draft.answer_calls(results, OpenCall::waits_for_client)?;
        Ok(draft.finish_with_chat())
    }

    fn finish_turn(
        &self,
        mut draft: Draft,
        fence: &Fence,
        answer: &Option<Content>,
        completion: Completion,
    ) -> Transition {
        self.check(fence, Status::Running)?;
        draft.count(completion);
        draft.save_answer(answer, Origin { completion, ..Origin::of(fence.episode) });
        draft.end_run();
        draft.end_turn(TurnStatus::Completed, None);
        draft.next_turn();
        Ok(draft.finish_with_chat())
    }

    fn finish_interruption(&self, mut draft: Draft, fence: &Fence, partial: &Option<Content>) -> Transition {
        self.check_held(fence, Status::Interrupting)?;
        // Whoever asked for it may have known no calls, and left some open.
        draft.close_calls();
        draft.save_answer(partial, Origin { interrupted: true, ..Origin::of(fence.episode) });
        draft.end_run();
        draft.end_turn(TurnStatus::Interrupted, None);
        draft.next_turn();
        Ok(draft.finish_with_chat())
    }

    fn fail(
        &self,
        mut draft: Draft,
        fence: &Fence,
        partial: &Option<Content>,
        error: &RunError,
    ) -> Transition {
        self.check(fence, Status::Running)?;
        draft.save_answer(partial, Origin { interrupted: true, ..Origin::of(fence.episode) });
        draft.end_run();
        draft.end_turn(TurnStatus::Failed, Some(error.clone()));
        draft.state.status = Status::Error;
        draft.state.error = Some(error.clone());
        draft.release();
        Ok(draft.finish_with_chat())
    }

    /// Whether the write is of the present run, which is none while calls are open.
    fn check(&self, fence: &Fence, status: Status) -> Result<(), Rejection> {
        self.check_held(fence, status)?;
        if self.calls.is_empty() { Ok(()) } else { Err(Rejection::Fenced) }
    }

    fn check_held(&self, fence: &Fence, status: Status) -> Result<(), Rejection> {
        let held = self.is_held_by(&fence.replica, fence.lease) && self.present_episode() == fence.episode;
        if held && self.status == status { Ok(()) } else { Err(Rejection::Fenced) }
    }
}

/// The message that was asked for, which has to be a user's.
fn found_of_user(facts: &StoreFacts) -> Result<Found, Rejection> {
    let found = facts.found.ok_or(Rejection::NoSuchMessage)?;
    if found.role == Role::User { Ok(found) } else { Err(Rejection::NotEditable) }
}

/// Whether the content may wait behind these (B1).
fn fits(queue: &[QueuedMessage], content: &Content) -> bool {
    queue.is_empty() || queue_bytes(queue) + content.as_json().len() <= QUEUE_BYTES_MAX
}
