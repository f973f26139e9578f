//! A change in the making: the steps of which transitions consist. Each keeps the versions, the ids and what is
//! written in agreement with the state.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::limits::{IDS_AHEAD, QUEUE_BYTES_MAX, SHARES_MAX};
use crate::{
    Accepted, Access, AnswerRecord, Applied, CallResult, Carrier, Change, ChatId, ChatState, Completion,
    Content, Effect, Episode, FinishReason, Found, Lease, LeaseTerm, Message, MessageId, NewMessage,
    OpenCall, QueuedMessage, Rejection, Role, RunError, Settings, Share, Status, StoreFacts, Turn,
    TurnStatus, Version,
};

/// A change in the making.
pub(crate) struct Draft {
    pub(crate) state: ChatState,
    deleted: bool,
    cut_from: Option<MessageId>,
    reopened: Option<MessageId>,
    inserted: Vec<Message>,
    queue_changed: bool,
    ended: Vec<Turn>,
    named: Vec<(Arc<str>, AnswerRecord)>,
    shares_changed: bool,
    listed: Option<Arc<str>>,
    unlisted: Option<Arc<str>>,
    pub(crate) lease: LeaseTerm,
    pub(crate) takes_over: bool,
}

/// Where a generated message comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) episode: Episode,
    pub(crate) interrupted: bool,
    pub(crate) completion: Completion,
}

/// How a user's message was sent.
#[derive(Default)]
struct Sent {
    client_id: Option<Arc<str>>,
    queued_as: Option<MessageId>,
}

impl Origin {
    pub(crate) fn of(episode: Episode) -> Self {
        Self { episode, interrupted: false, completion: Completion::default() }
    }
}

impl Draft {
    pub(crate) fn create(id: ChatId, owner: &Arc<str>, settings: &Settings, facts: &StoreFacts) -> Self {
        let Settings { external_id, title, model, instructions, tools } = settings.clone();
        let nothing = ChatState {
            id,
            owner: owner.clone(),
            title,
            model,
            external_id,
            instructions,
            tools,
            status: Status::Waiting,
            worker: None,
            lease: Lease(0),
            attempt_lease: None,
            snapshot_version: Version(0),
            history_version: Version(0),
            queue_version: Version(0),
            reset_version: Version(0),
            attempt: 0,
            error: None,
            retry: None,
            queue: vec![],
            last_message: MessageId(0),
            last_id: MessageId(0),
            last_told: MessageId(0),
            turn: None,
            calls: [].into(),
            shares: [].into(),
            created_at: facts.now,
            updated_at: facts.now,
        };
        Self::of(&nothing, facts)
    }

    pub(crate) fn of(state: &ChatState, facts: &StoreFacts) -> Self {
        Self {
            state: state.succeeding(facts.now),
            deleted: false,
            cut_from: None,
            reopened: None,
            inserted: vec![],
            queue_changed: false,
            ended: vec![],
            named: vec![],
            shares_changed: false,
            listed: None,
            unlisted: None,
            lease: LeaseTerm::Keep,
            takes_over: false,
        }
    }

    /// The id of what a turn says: the next one of the history, if that is before what is queued, which keeps its id.
    /// Ids grow along the history, and none is given twice: whatever was given before the turn ends is
    /// [`IDS_AHEAD`] behind its message, or behind all.
    fn next_said_id(&self) -> MessageId {
        let next = self.state.last_told.max(self.state.last_message).next();
        let free = |turn: &Turn| next.0 - turn.message.0.min(next.0) < IDS_AHEAD;
        let is_before = self.state.queue.iter().all(|queued| next < queued.id);
        match !self.state.queue.is_empty() && is_before && self.state.turn.as_ref().is_some_and(free) {
            true => next,
            false => self.state.last_id.next(),
        }
    }

    /// A user's message joins the history, and its turn begins.
    pub(crate) fn begin_turn(
        &mut self,
        content: Content,
        client_id: Option<Arc<str>>,
        queued_as: Option<MessageId>,
    ) -> Message {
        let highest = self.state.last_told.max(self.state.last_message);
        // It keeps the id that it has, unless something overtook it.
        let id = queued_as.filter(|id| *id > highest).unwrap_or(self.state.last_id.next());
        let open = self.state.turn.as_ref().filter(|turn| !turn.status.is_over());
        let is_cut = |turn: &Turn| self.cut_from.is_some_and(|from| from <= turn.message);
        assert!(open.is_none_or(is_cut), "S12: a turn begins when the one before has ended, or is cut off");
        let turn = Turn::begun(queued_as.unwrap_or(id), id);
        self.start();
        self.state.turn = Some(turn);
        let sent = Sent { client_id, queued_as };
        self.push(id, Role::User, content, None, sent)
    }

    /// What was said before there was a chat. Each message of a user begins a turn, and all are over but the one whose
    /// message is the last.
    pub(crate) fn tell(&mut self, messages: &[NewMessage]) {
        assert_eq!(NewMessage::check(messages), Ok(()), "S11, S12: what a chat is created with is a history");
        for new in messages {
            let (content, client_id) = (new.content.clone(), new.client_id.clone());
            let mut message = if new.role == Role::User {
                self.end_turn(TurnStatus::Completed, None);
                self.begin_turn(content, client_id, None)
            } else {
                let sent = Sent { client_id, queued_as: None };
                self.push(self.state.last_id.next(), new.role, content, None, sent)
            };
            if let Some(told) = self.inserted.last_mut().filter(|_| new.has_calls()) {
                told.finish_reason = Some(FinishReason::ToolCalls);
                message = told.clone();
            }
            self.name(&message);
        }
        if messages.last().is_some_and(|last| last.role != Role::User) {
            self.end_turn(TurnStatus::Completed, None);
            self.state.status = Status::Waiting;
        }
    }

    /// What is sent under the name of this message later is answered with it.
    fn name(&mut self, message: &Message) {
        let Some(client_id) = message.client_id.clone() else { return };
        let (message, snapshot_version) = (Some(message.clone()), self.state.snapshot_version);
        let is_users = message.as_ref().is_some_and(|message| message.role == Role::User);
        let sent = Accepted::Sent { message: message.clone(), queued: None, snapshot_version };
        let short = AnswerRecord::short(&sent).filter(|_| is_users);
        // What no user says is not in what is sent again.
        let whole = AnswerRecord::Sent { message, queued: None, snapshot_version };
        self.named.push((client_id, short.unwrap_or(whole)));
    }

    /// What follows a user's message is cut off, and its turn begins again from nothing: what was kept of its end goes
    /// with its answers.
    pub(crate) fn begin_again(&mut self, message: Found) {
        let turn = Turn::begun(message.queued_as.unwrap_or(message.id), message.id);
        self.cut(message.id.next());
        self.start();
        self.state.last_message = message.id;
        self.reopened = Some(turn.id);
        self.state.turn = Some(turn);
    }

    /// A model's calls wait for their results, or go on if all are there. The inputs of those that have one are in the
    /// history alone (B1).
    pub(crate) fn open_calls(&mut self, mut calls: Vec<OpenCall>) {
        for call in calls.iter_mut().filter(|call| call.result.is_some()) {
            call.input = "null".into();
        }
        self.state.calls = calls.into();
        if let Some(turn) = &mut self.state.turn {
            turn.steps += 1;
        }
        self.settle_calls();
    }

    /// Results of calls are there. With the last one all join the history, and the turn goes on.
    pub(crate) fn answer_calls(
        &mut self,
        results: &[(Arc<str>, CallResult)],
        waits: impl Fn(&OpenCall) -> bool,
    ) -> Result<(), Rejection> {
        let mut calls = self.state.calls.to_vec();
        let there = |call: &OpenCall| call.result.as_ref().map_or(0, |result| result.content.len());
        let mut bytes: usize = calls.iter().map(there).sum();
        for (id, result) in results {
            let open = calls.iter_mut().find(|call| call.id == *id && waits(call));
            let open = open.ok_or(Rejection::NotPending)?;
            let fits = open.fitting(result, bytes + result.content.len());
            open.result = Some(fits.ok_or(Rejection::ResultsTooLarge)?);
            bytes += there(open);
        }
        self.state.calls = calls.into();
        self.settle_calls();
        Ok(())
    }

    /// While the worker carries out a call, the chat is its; then it waits for the client's results, if there are such.
    fn settle_calls(&mut self) {
        let calls = &self.state.calls;
        let (status, of_turn) = match calls.iter().any(OpenCall::waits_for_client) {
            true if !calls.iter().any(OpenCall::waits_for_server) => {
                (Status::RequiresAction, TurnStatus::RequiresAction)
            }
            _ => (Status::Running, TurnStatus::Running),
        };
        let is_open = calls.iter().any(|call| call.result.is_none());
        self.state.status = status;
        if let Some(turn) = &mut self.state.turn {
            turn.status = of_turn;
        }
        if status == Status::RequiresAction {
            self.release();
        }
        if !is_open {
            self.close_calls();
        }
    }

    /// The worker that carried calls out has gone: those that may not be begun again get the result that nobody knows.
    pub(crate) fn lose_calls(&mut self) {
        let is_lost = |call: &OpenCall| call.result.is_none() && call.carrier == Carrier::Server;
        if self.state.calls.iter().any(is_lost) {
            let mut calls = self.state.calls.to_vec();
            for call in calls.iter_mut().filter(|call| is_lost(call)) {
                call.result = Some(CallResult::unknown());
            }
            self.state.calls = calls.into();
        }
    }

    /// The worker is to stop what runs. Nobody waits for calls any more.
    pub(crate) fn interrupt(&mut self) {
        self.close_calls();
        self.state.status = Status::Interrupting;
    }

    /// Each call gets its one result, before anything else joins the history: what has none is cancelled (S11).
    pub(crate) fn close_calls(&mut self) {
        let calls = core::mem::take(&mut self.state.calls);
        if !calls.is_empty() {
            let id = self.next_said_id();
            self.push(id, Role::Tool, Content::of_results(&calls), None, Sent::default());
        }
    }

    /// What a turn said joins the history.
    pub(crate) fn save(&mut self, role: Role, content: Content, origin: Origin) {
        let id = self.next_said_id();
        self.push(id, role, content, Some(origin), Sent::default());
    }

    /// What the model said, if it said anything, joins the history.
    pub(crate) fn save_answer(&mut self, answer: &Option<Content>, origin: Origin) {
        if let Some(content) = answer {
            self.save(Role::Assistant, content.clone(), origin);
        }
    }

    /// The turn that runs ends, once (S12).
    pub(crate) fn end_turn(&mut self, status: TurnStatus, error: Option<RunError>) {
        if let Some(turn) = self.state.turn.as_mut().filter(|turn| !turn.status.is_over()) {
            turn.status = status;
            turn.error = error;
            self.ended.push(turn.clone());
        }
    }

    /// An answer of the turn that runs has come to its end.
    pub(crate) fn count(&mut self, completion: Completion) {
        if let Some(turn) = self.state.turn.as_mut().filter(|turn| !turn.status.is_over()) {
            turn.count(completion);
        }
    }

    fn push(
        &mut self,
        id: MessageId,
        role: Role,
        content: Content,
        origin: Option<Origin>,
        sent: Sent,
    ) -> Message {
        assert!(id > self.state.last_message, "S1: ids grow along the history");
        assert!(self.state.calls.is_empty(), "S11: calls have their results before anything else is said");
        let revision = self.state.snapshot_version;
        let created_at = self.state.updated_at;
        let Completion { finish_reason, usage } = origin.map(|origin| origin.completion).unwrap_or_default();
        let message = Message {
            id,
            revision,
            role,
            content,
            interrupted: origin.is_some_and(|origin| origin.interrupted),
            episode: origin.map(|origin| origin.episode),
            finish_reason,
            usage,
            queued_as: sent.queued_as,
            client_id: sent.client_id,
            turn: self.state.turn.as_ref().map(|turn| turn.id),
            created_at,
        };
        self.state.last_message = id;
        self.state.last_told = self.state.last_told.max(id);
        self.state.last_id = self.state.last_id.max(id);
        if let Some(turn) = &mut self.state.turn {
            turn.last = id;
        }
        self.history_moved();
        self.inserted.push(message.clone());
        message
    }

    /// The history has changed, and no attempt over the new one has begun.
    fn history_moved(&mut self) {
        self.state.history_version = self.state.snapshot_version;
        self.state.attempt = 0;
        self.state.attempt_lease = None;
    }

    pub(crate) fn cut(&mut self, from: MessageId) {
        self.cut_from = Some(from);
        self.state.calls = [].into();
        self.state.reset_version = self.state.snapshot_version;
        self.history_moved();
    }

    pub(crate) fn enqueue(
        &mut self,
        content: Content,
        client_id: Option<Arc<str>>,
        at: usize,
    ) -> QueuedMessage {
        self.state.last_id = MessageId(self.state.last_id.0.saturating_add(IDS_AHEAD));
        let id = self.state.last_id;
        let (revision, created_at) = (self.state.snapshot_version, self.state.updated_at);
        let queued = QueuedMessage { id, client_id, revision, content, created_at };
        self.state.queue.insert(at, queued.clone());
        // An interrupting send's place is the first, and one that resumes takes the first's.
        let alone = self.state.queue.len() <= 2;
        assert!(
            alone || queue_bytes(&self.state.queue[1..]) <= QUEUE_BYTES_MAX,
            "B1: what waits in a chat is bounded"
        );
        self.queue_moved();
        queued
    }

    pub(crate) fn take_queued(&mut self, id: MessageId) -> Result<QueuedMessage, Rejection> {
        let at = self.state.queue.iter().position(|queued| queued.id == id).ok_or(Rejection::NoSuchQueued)?;
        self.queue_moved();
        Ok(self.state.queue.remove(at))
    }

    pub(crate) fn clear_queue(&mut self) {
        if !self.state.queue.is_empty() {
            self.state.queue.clear();
            self.queue_moved();
        }
    }

    fn queue_moved(&mut self) {
        self.queue_changed = true;
        self.state.queue_version = self.state.snapshot_version;
    }

    /// The chat has a message to answer.
    fn start(&mut self) {
        self.end_run();
        self.state.status = Status::Running;
    }

    /// The worker begins an attempt over the history as it is now.
    pub(crate) fn begin_attempt(&mut self, lease: Lease) {
        // Whoever sent what is answered now, or went on with it, may have known no turns.
        let last = self.state.last_message;
        self.state.turn.get_or_insert(Turn::begun(last, last));
        self.state.attempt += 1;
        self.state.attempt_lease = Some(lease);
        self.state.retry = None;
    }

    /// Clears everything that belongs to the run that ends or restarts.
    pub(crate) fn end_run(&mut self) {
        self.state.attempt_lease = None;
        self.state.retry = None;
        self.state.error = None;
    }

    /// Begins the turn of the message at the head of the queue. If the queue is empty, the chat becomes idle
    /// and its lease is released.
    pub(crate) fn next_turn(&mut self) {
        if self.state.queue.is_empty() {
            self.state.status = Status::Waiting;
            self.release();
        } else {
            let head = self.state.queue.remove(0);
            self.queue_moved();
            self.begin_turn(head.content, head.client_id, Some(head.id));
        }
    }

    pub(crate) fn release(&mut self) {
        self.state.worker = None;
        self.state.attempt_lease = None;
        self.lease = LeaseTerm::End;
    }

    pub(crate) fn finish_with_chat(self) -> Applied {
        self.finish(|state| Accepted::Chat(state.clone()))
    }

    pub(crate) fn finish_with_sent(
        mut self,
        message: Option<Message>,
        queued: Option<QueuedMessage>,
    ) -> Applied {
        assert!(
            message.is_some() != queued.is_some(),
            "S6: what was sent is in the history or in the queue, and not in both"
        );
        let client_ids = message.iter().map(|message| &message.client_id);
        let client_id =
            client_ids.chain(queued.iter().map(|queued| &queued.client_id)).flatten().next().cloned();
        let sent = Accepted::Sent { message, queued, snapshot_version: self.state.snapshot_version };
        self.named.extend(client_id.zip(AnswerRecord::short(&sent)));
        self.finish(|_| sent)
    }

    /// The user may do this from now on.
    pub(crate) fn share(&mut self, user: &Arc<str>, may: Access) {
        let mut shares = self.state.shares.to_vec();
        let share = Share { user: user.clone(), may };
        match shares.binary_search_by(|share| share.user.cmp(user)) {
            Ok(at) => shares[at] = share,
            Err(at) => {
                shares.insert(at, share);
                self.listed = Some(user.clone());
            }
        }
        assert!(shares.len() <= SHARES_MAX, "B1: the users that a chat is shared with are bounded");
        self.state.shares = shares.into();
        self.shares_changed = true;
    }

    /// Returns false if nothing was shared with the user.
    pub(crate) fn unshare(&mut self, user: &Arc<str>) -> bool {
        let Ok(at) = self.state.shares.binary_search_by(|share| share.user.cmp(user)) else { return false };
        let mut shares = self.state.shares.to_vec();
        self.unlisted = Some(shares.remove(at).user);
        self.state.shares = shares.into();
        self.shares_changed = true;
        true
    }

    pub(crate) fn finish_deleted(mut self) -> Applied {
        self.deleted = true;
        self.finish(|_| Accepted::Gone)
    }

    pub(crate) fn finish(self, accepted: impl FnOnce(&Arc<ChatState>) -> Accepted) -> Applied {
        let state = Arc::new(self.state);
        let answer = Ok(accepted(&state));
        let change = Change {
            state,
            next_row: None,
            deleted: self.deleted,
            cut_from: self.cut_from,
            reopened: self.reopened,
            inserted: self.inserted,
            queue_changed: self.queue_changed,
            ended: self.ended,
            named: self.named,
            shares_changed: self.shares_changed,
            listed: self.listed,
            unlisted: self.unlisted,
            lease: self.lease,
            takes_over: self.takes_over,
        };
        Applied { answer, effect: Effect::Changed(change) }
    }
}

/// The bytes of what waits.
pub(crate) fn queue_bytes(queue: &[QueuedMessage]) -> usize {
    queue.iter().map(|queued| queued.content.as_json().len()).sum()
}
