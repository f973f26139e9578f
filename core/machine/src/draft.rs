//! A change in the making: the steps of which transitions consist. Each keeps the versions, the ids and what is
//! written in agreement with the state.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::limits::QUEUE_BYTES_MAX;
use crate::{
    Accepted, Applied, Change, ChatId, ChatState, Completion, Content, Effect, Episode, Lease, LeaseTerm,
    Message, MessageId, QueuedMessage, Rejection, Role, Status, StoreFacts, Version,
};

/// A change in the making.
pub(crate) struct Draft {
    pub(crate) state: ChatState,
    deleted: bool,
    cut_from: Option<MessageId>,
    inserted: Vec<Message>,
    queue_changed: bool,
    pub(crate) lease: LeaseTerm,
}

/// Where a generated message comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) episode: Episode,
    pub(crate) interrupted: bool,
    pub(crate) completion: Completion,
}

impl Origin {
    pub(crate) fn of(episode: Episode) -> Self {
        Self { episode, interrupted: false, completion: Completion::default() }
    }
}

impl Draft {
    pub(crate) fn create(
        id: ChatId,
        owner: &Arc<str>,
        title: &Option<Arc<str>>,
        model: &Option<Arc<str>>,
        facts: &StoreFacts,
    ) -> Self {
        let nothing = ChatState {
            id,
            owner: owner.clone(),
            title: title.clone(),
            model: model.clone(),
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
            created_at: facts.now,
            updated_at: facts.now,
        };
        Self::of(&nothing, facts)
    }

    pub(crate) fn of(state: &ChatState, facts: &StoreFacts) -> Self {
        let mut state = state.clone();
        state.snapshot_version = state.snapshot_version.next();
        state.updated_at = facts.now;
        Self {
            state,
            deleted: false,
            cut_from: None,
            inserted: vec![],
            queue_changed: false,
            lease: LeaseTerm::Keep,
        }
    }

    fn next_id(&mut self) -> MessageId {
        self.state.last_id = self.state.last_id.next();
        self.state.last_id
    }

    pub(crate) fn insert(&mut self, role: Role, content: Content, queued_as: Option<MessageId>) -> Message {
        self.push(role, content, None, queued_as)
    }

    pub(crate) fn push(
        &mut self,
        role: Role,
        content: Content,
        origin: Option<Origin>,
        queued_as: Option<MessageId>,
    ) -> Message {
        let id = self.next_id();
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
            queued_as,
            created_at,
        };
        self.state.last_message = id;
        self.history_moved();
        self.inserted.push(message.clone());
        message
    }

    pub(crate) fn save(&mut self, text: &Option<Content>, origin: Origin) {
        if let Some(content) = text {
            self.push(Role::Assistant, content.clone(), Some(origin), None);
        }
    }

    /// The history has changed, and no attempt over the new one has begun.
    fn history_moved(&mut self) {
        self.state.history_version = self.state.snapshot_version;
        self.state.attempt = 0;
        self.state.attempt_lease = None;
    }

    pub(crate) fn cut(&mut self, from: MessageId) {
        self.cut_from = Some(from);
        self.state.reset_version = self.state.snapshot_version;
        self.history_moved();
    }

    pub(crate) fn enqueue(&mut self, content: Content, at: usize) -> QueuedMessage {
        let queued = QueuedMessage { id: self.next_id(), content, created_at: self.state.updated_at };
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
    pub(crate) fn start(&mut self) {
        self.end_run();
        self.state.status = Status::Running;
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
            self.insert(Role::User, head.content, Some(head.id));
            self.start();
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

    pub(crate) fn finish_with_sent(self, message: Option<Message>, queued: Option<QueuedMessage>) -> Applied {
        assert!(
            message.is_some() != queued.is_some(),
            "S6: what was sent is in the history or in the queue, and not in both"
        );
        self.finish(|state| Accepted::Sent { message, queued, snapshot_version: state.snapshot_version })
    }

    pub(crate) fn finish_deleted(mut self) -> Applied {
        self.deleted = true;
        self.finish(|_| Accepted::Gone)
    }

    pub(crate) fn finish(self, accepted: impl FnOnce(&Arc<ChatState>) -> Accepted) -> Applied {
        let Self { state, deleted, cut_from, inserted, queue_changed, lease } = self;
        let state = Arc::new(state);
        let answer = Ok(accepted(&state));
        let change = Change { state, deleted, cut_from, inserted, queue_changed, lease };
        Applied { answer, effect: Effect::Changed(change) }
    }
}

/// The bytes of what waits.
pub(crate) fn queue_bytes(queue: &[QueuedMessage]) -> usize {
    queue.iter().map(|queued| queued.content.as_json().len()).sum()
}
