//! The commands that change a chat, as transitions of its durable state: pure, and defined for every state.
//!
//! A store loads the row under its lock, calls [`Command::apply_to`] and writes the [`Change`] in the same
//! transaction; the caller announces it after the commit. Every command in every state has an [`Answer`], and
//! one that is rejected leaves the state untouched.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::QUEUE_BYTES_MAX;
use crate::marks::sometimes;
use crate::{
    ChatId, ChatState, Completion, Content, Episode, Lease, Message, MessageId, QueuedMessage, ReplicaId,
    Retry, Role, RunError, Status, Version, WallTime,
};

/// A request to change a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Creates the chat; with content it starts running.
    Create {
        /// The id to give it.
        chat: ChatId,
        /// The user it will belong to.
        owner: Arc<str>,
        /// For people.
        title: Option<Arc<str>>,
        /// The model to ask, if not the server's own.
        model: Option<Arc<str>>,
        /// The first message.
        content: Option<Content>,
    },
    /// A user's message.
    Send {
        /// What it says.
        content: Content,
        /// What it does to a chat that is busy.
        mode: SendMode,
        /// Messages that may wait.
        queue_max: usize,
    },
    /// Cuts the history at a user's message and puts another in its place.
    Edit {
        /// Which one.
        message: MessageId,
        /// What the new one says.
        content: Content,
    },
    /// Stops what runs and keeps its partial answer.
    Interrupt {
        /// Only this episode, if it is the one that runs.
        episode: Option<Episode>,
    },
    /// Takes a message out of the queue.
    DeleteQueued {
        /// Which one.
        queued: MessageId,
    },
    /// Makes a queued message the next one, and interrupts what runs.
    Promote {
        /// Which one.
        queued: MessageId,
    },
    /// Deletes the chat and all that it has.
    Delete,
    /// `interrupting_only`: the replica has no slot for a run, and takes the chat only to finish an
    /// interruption.
    Acquire {
        /// Who wants to work on it.
        replica: ReplicaId,
        /// Only if there is an interruption to finish.
        interrupting_only: bool,
    },
    /// Gives the lease back.
    Release {
        /// Who holds it.
        replica: ReplicaId,
        /// Which lease it gives back.
        lease: Lease,
    },
    /// A generation starts.
    BeginAttempt {
        /// Under what it begins.
        fence: Fence,
    },
    /// A generation failed and is tried again later.
    RecordRetry {
        /// Of the attempt that failed.
        fence: Fence,
        /// When the next attempt begins, from now.
        delay_ms: u64,
        /// Why it failed.
        error: RunError,
    },
    /// Commits messages in the middle of a turn.
    CommitStep {
        /// Of the attempt that made them.
        fence: Fence,
        /// Who speaks, and what it says, in order.
        messages: Vec<(Role, Content)>,
    },
    /// Commits the answer; the queue's head has its turn.
    FinishTurn {
        /// Of the attempt that made it.
        fence: Fence,
        /// `None` if nothing was said.
        answer: Option<Content>,
        /// What the model says of its end.
        completion: Completion,
    },
    /// Commits the partial answer of what was interrupted; the queue's head has its turn.
    FinishInterruption {
        /// Of the attempt that was interrupted.
        fence: Fence,
        /// `None` if nothing was said.
        partial: Option<Content>,
    },
    /// Commits the partial answer of a run that failed for good.
    Fail {
        /// Of the attempt that failed.
        fence: Fence,
        /// `None` if nothing was said.
        partial: Option<Content>,
        /// Why it failed.
        error: RunError,
    },
}

/// What a send does if the chat is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendMode {
    /// The message waits for its turn.
    #[default]
    Queue,
    /// The message goes ahead of the queue, and what runs is interrupted.
    Interrupt,
    /// The send is rejected.
    Reject,
}

/// What a worker's write is fenced by: a write whose fence does not match changes nothing (S5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The worker.
    pub replica: ReplicaId,
    /// The lease it holds.
    pub lease: Lease,
    /// The history and the attempt that the write belongs to. For [`Command::BeginAttempt`], the attempt
    /// before the one to begin.
    pub episode: Episode,
}

/// What only the store knows, read in the command's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// The database's clock.
    pub now: WallTime,
    /// Whether the current lease has expired, by the database's clock.
    pub lease_expired: bool,
    /// The role of the message that [`Command::message`] names; `None` if the history has none of that id.
    pub message_role: Option<Role>,
}

/// The result of a command, as [`Command::apply_to`] decides it, and as a store returns it after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the caller is told.
    pub answer: Answer,
    /// What happens to the chat.
    pub effect: Effect,
}

/// What the caller of a command is told.
pub type Answer = Result<Accepted, Rejection>;

/// What a command does to its chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The command was accepted, and this is written with it.
    Changed(Change),
    /// It was rejected, or accepted with nothing to change.
    Unchanged,
    /// The command was applied before, and the answer is that of its idempotency record. Only a store says so.
    Replayed,
}

impl Applied {
    /// A rejection leaves the chat as it is.
    pub const fn rejected(rejection: Rejection) -> Self {
        Self { answer: Err(rejection), effect: Effect::Unchanged }
    }

    /// The answer of an idempotency record.
    pub const fn replayed(answer: Answer) -> Self {
        Self { answer, effect: Effect::Replayed }
    }

    /// What is written, if anything.
    pub const fn change(&self) -> Option<&Change> {
        match &self.effect {
            Effect::Changed(change) => Some(change),
            Effect::Unchanged | Effect::Replayed => None,
        }
    }
}

/// What a store writes, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state after the change; of a chat that is deleted, its last one.
    pub state: Arc<ChatState>,
    /// The chat is deleted, with all its messages.
    pub deleted: bool,
    /// The messages from this id on are removed, before any is inserted.
    pub cut_from: Option<MessageId>,
    /// Messages that join the history, in order.
    pub inserted: Vec<Message>,
    /// Whether the queue has to be written.
    pub queue_changed: bool,
    /// What becomes of the time at which the lease expires.
    pub lease: LeaseTerm,
}

/// What happens to the time at which the lease expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseTerm {
    /// It stays as it is.
    Keep,
    /// The lease expires one `lease-ttl` from now.
    Start,
    /// There is no lease any more.
    End,
}

/// The answer to an accepted command. It is stored in the idempotency record, so that a repeated request gets
/// the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accepted {
    /// The chat as it is now.
    Chat(Arc<ChatState>),
    /// Where the message is now: one of the first two.
    Sent {
        /// In the history.
        message: Option<Message>,
        /// In the queue.
        queued: Option<QueuedMessage>,
        /// Of the chat, after the send.
        snapshot_version: Version,
    },
    /// What was asked to be deleted is.
    Gone,
}

/// Why a command was not accepted. The state is untouched.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// No such chat, or it is another user's.
    #[error("there is no such chat")]
    NoSuchChat,
    /// Something was to be created that is there.
    #[error("a chat of this id exists")]
    Exists,
    /// Nothing to edit.
    #[error("the history has no such message")]
    NoSuchMessage,
    /// Nothing to promote, or to take out of the queue.
    #[error("the queue has no such message")]
    NoSuchQueued,
    /// An answer was to be edited.
    #[error("only a user's message can be edited")]
    NotEditable,
    /// The chat is running or interrupting.
    #[error("the chat is busy")]
    Busy,
    /// The queue has its maximum.
    #[error("the queue is full")]
    QueueFull,
    /// There is nothing to interrupt.
    #[error("nothing is running, or not what was named")]
    NotRunning,
    /// Another replica has it, or there is no work.
    #[error("there is nothing to acquire: not runnable, or held under a lease that has not run out")]
    NotFree,
    /// The worker has lost the chat, or the chat has moved on.
    #[error("the worker does not hold the chat under that lease, at that history and attempt")]
    Fenced,
    /// The idempotency key came with another body before. Only a store says so, and it cannot be recorded, because
    /// the key's record has the answer to its first body.
    #[error("this idempotency key was used for another request")]
    #[serde(skip)]
    KeyReused,
}

impl Command {
    /// The message whose role the store has to look up for [`StoreFacts::message_role`].
    pub fn message(&self) -> Option<MessageId> {
        match self {
            Self::Edit { message, .. } => Some(*message),
            _ => None,
        }
    }

    /// What is said with it, by a user.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::Send { content, .. } | Self::Edit { content, .. } => Some(content),
            Self::Create { content, .. } => content.as_ref(),
            _ => None,
        }
    }

    /// A constant name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Interrupt { .. } => "interrupt",
            Self::DeleteQueued { .. } => "delete_queued",
            Self::Promote { .. } => "promote",
            Self::Delete => "delete",
            Self::Acquire { .. } => "acquire",
            Self::Release { .. } => "release",
            Self::BeginAttempt { .. } => "begin_attempt",
            Self::RecordRetry { .. } => "record_retry",
            Self::CommitStep { .. } => "commit_step",
            Self::FinishTurn { .. } => "finish_turn",
            Self::FinishInterruption { .. } => "finish_interruption",
            Self::Fail { .. } => "fail",
        }
    }

    /// Applies the command to the stored state, which is `None` if the chat does not exist. For a user `by`
    /// who is not the owner, the chat does not exist either (S10).
    pub fn apply_to(&self, state: Option<&ChatState>, by: Option<&str>, facts: &StoreFacts) -> Applied {
        let applied = match (state, self) {
            (Some(state), _) if by.is_some_and(|by| by != &*state.owner) => Err(Rejection::NoSuchChat),
            (Some(state), _) => state.apply(self, facts),
            (None, Self::Create { chat, owner, title, model, content }) => {
                let mut draft = Draft::create(*chat, owner, title, model, facts);
                if let Some(content) = content {
                    draft.insert(Role::User, content.clone(), None);
                    draft.start();
                }
                Ok(draft.finish_with_chat())
            }
            (None, _) => Err(Rejection::NoSuchChat),
        };
        applied.unwrap_or_else(Applied::rejected)
    }
}

impl ChatState {
    fn mark_reacquired(&self, replica: &ReplicaId, facts: &StoreFacts) {
        if self.worker.as_ref() == Some(replica) && !facts.lease_expired {
            sometimes!("a held chat is acquired again");
        }
    }

    /// The transition. `docs/design.md` has the table that this follows row by row.
    fn apply(&self, command: &Command, facts: &StoreFacts) -> Result<Applied, Rejection> {
        let mut draft = Draft::of(self, facts);
        match command {
            Command::Create { .. } => Err(Rejection::Exists),
            Command::Send { content, mode, queue_max } => self.send(draft, content, *mode, *queue_max),
            Command::Edit { message, content } => {
                match facts.message_role {
                    None => return Err(Rejection::NoSuchMessage),
                    Some(Role::User) => {}
                    Some(_) => return Err(Rejection::NotEditable),
                }
                draft.cut(*message);
                let message = draft.insert(Role::User, content.clone(), None);
                draft.clear_queue();
                draft.start();
                Ok(draft.finish_with_sent(Some(message), None))
            }
            Command::Interrupt { episode } => {
                let named = episode.is_none_or(|named| named == self.present_episode());
                match self.status {
                    Status::Running if !named => Err(Rejection::NotRunning),
                    Status::Running if self.worker.is_some() => {
                        draft.state.status = Status::Interrupting;
                        Ok(draft.finish_with_chat())
                    }
                    Status::Running => {
                        draft.end_run();
                        draft.next_turn();
                        Ok(draft.finish_with_chat())
                    }
                    Status::Interrupting if named => {
                        let answer = Ok(Accepted::Chat(self.clone().into()));
                        Ok(Applied { answer, effect: Effect::Unchanged })
                    }
                    _ => Err(Rejection::NotRunning),
                }
            }
            Command::DeleteQueued { queued } => {
                draft.take_queued(*queued)?;
                Ok(draft.finish(|_| Accepted::Gone))
            }
            Command::Promote { queued } => {
                let promoted = draft.take_queued(*queued)?;
                match self.status {
                    Status::Running | Status::Interrupting => {
                        draft.state.queue.insert(0, promoted);
                        draft.state.status = Status::Interrupting;
                    }
                    Status::Waiting | Status::Error => {
                        draft.insert(Role::User, promoted.content, Some(promoted.id));
                        draft.start();
                    }
                }
                Ok(draft.finish_with_chat())
            }
            Command::Delete => match self.status {
                Status::Waiting | Status::Error => Ok(draft.finish_deleted()),
                Status::Running | Status::Interrupting => Err(Rejection::Busy),
            },
            Command::Acquire { replica, interrupting_only } => {
                // A replica asks only for chats for which it has no runner. So a lease that it holds itself
                // comes from an acquisition whose answer was lost; the new lease fences the old one.
                let free = self.worker.as_ref().is_none_or(|worker| worker == replica) || facts.lease_expired;
                let wanted = if *interrupting_only {
                    self.status == Status::Interrupting
                } else {
                    self.status.is_runnable()
                };
                if !free || !wanted {
                    return Err(Rejection::NotFree);
                }
                self.mark_reacquired(replica, facts);
                draft.state.worker = Some(replica.clone());
                draft.state.lease = self.lease.next();
                draft.lease = LeaseTerm::Start;
                Ok(draft.finish_with_chat())
            }
            Command::Release { replica, lease } => {
                if !self.is_held_by(replica, *lease) {
                    return Err(Rejection::Fenced);
                }
                draft.release();
                Ok(draft.finish_with_chat())
            }
            Command::BeginAttempt { fence } => {
                self.check(fence, Status::Running)?;
                draft.state.attempt += 1;
                draft.state.attempt_lease = Some(fence.lease);
                draft.state.retry = None;
                Ok(draft.finish_with_chat())
            }
            Command::RecordRetry { fence, delay_ms, error } => {
                self.check(fence, Status::Running)?;
                draft.state.attempt_lease = None;
                draft.state.retry = Some(Retry {
                    attempt: self.attempt,
                    delay_ms: *delay_ms,
                    error: error.clone(),
                    at: facts.now.after_ms(*delay_ms),
                });
                Ok(draft.finish_with_chat())
            }
            Command::CommitStep { fence, messages } => {
                self.check(fence, Status::Running)?;
                for (role, content) in messages {
                    let origin = Origin::of(fence.episode);
                    draft.push(*role, content.clone(), Some(origin), None);
                }
                draft.end_run();
                Ok(draft.finish_with_chat())
            }
            Command::FinishTurn { fence, answer, completion } => {
                self.check(fence, Status::Running)?;
                let origin = Origin { completion: *completion, ..Origin::of(fence.episode) };
                draft.save(answer, origin);
                draft.end_run();
                draft.next_turn();
                Ok(draft.finish_with_chat())
            }
            Command::FinishInterruption { fence, partial } => {
                self.check(fence, Status::Interrupting)?;
                draft.save(partial, Origin { interrupted: true, ..Origin::of(fence.episode) });
                draft.end_run();
                draft.next_turn();
                Ok(draft.finish_with_chat())
            }
            Command::Fail { fence, partial, error } => {
                self.check(fence, Status::Running)?;
                draft.save(partial, Origin { interrupted: true, ..Origin::of(fence.episode) });
                draft.end_run();
                draft.state.status = Status::Error;
                draft.state.error = Some(error.clone());
                draft.release();
                Ok(draft.finish_with_chat())
            }
        }
    }

    fn send(
        &self,
        mut draft: Draft,
        content: &Content,
        mode: SendMode,
        max: usize,
    ) -> Result<Applied, Rejection> {
        let busy = self.status.is_runnable();
        match (busy, mode) {
            (true, SendMode::Reject) => Err(Rejection::Busy),
            (true, _) if self.queue.len() >= max || !fits(&self.queue, content) => Err(Rejection::QueueFull),
            (true, SendMode::Queue) => {
                let queued = draft.enqueue(content.clone(), self.queue.len());
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (true, SendMode::Interrupt) => {
                let queued = draft.enqueue(content.clone(), 0);
                draft.state.status = Status::Interrupting;
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (false, SendMode::Queue | SendMode::Reject) if !self.queue.is_empty() => {
                if !fits(&self.queue[1..], content) {
                    return Err(Rejection::QueueFull);
                }
                // What waited longest goes first; the queue is as long afterwards as it was.
                let queued = draft.enqueue(content.clone(), self.queue.len());
                draft.next_turn();
                Ok(draft.finish_with_sent(None, Some(queued)))
            }
            (false, _) => {
                let message = draft.insert(Role::User, content.clone(), None);
                draft.start();
                Ok(draft.finish_with_sent(Some(message), None))
            }
        }
    }

    fn check(&self, fence: &Fence, status: Status) -> Result<(), Rejection> {
        let held = self.is_held_by(&fence.replica, fence.lease) && self.present_episode() == fence.episode;
        if held && self.status == status { Ok(()) } else { Err(Rejection::Fenced) }
    }
}

/// Whether the content may wait behind these (B1).
fn fits(queue: &[QueuedMessage], content: &Content) -> bool {
    queue.is_empty() || queue_bytes(queue) + content.as_json().len() <= QUEUE_BYTES_MAX
}

fn queue_bytes(queue: &[QueuedMessage]) -> usize {
    queue.iter().map(|queued| queued.content.as_json().len()).sum()
}

/// A change in the making.
struct Draft {
    state: ChatState,
    deleted: bool,
    cut_from: Option<MessageId>,
    inserted: Vec<Message>,
    queue_changed: bool,
    lease: LeaseTerm,
}

/// Where a generated message comes from.
#[derive(Clone, Copy)]
struct Origin {
    episode: Episode,
    interrupted: bool,
    completion: Completion,
}

impl Origin {
    fn of(episode: Episode) -> Self {
        Self { episode, interrupted: false, completion: Completion::default() }
    }
}

impl Draft {
    fn create(
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

    fn of(state: &ChatState, facts: &StoreFacts) -> Self {
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

    fn insert(&mut self, role: Role, content: Content, queued_as: Option<MessageId>) -> Message {
        self.push(role, content, None, queued_as)
    }

    fn push(
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

    fn save(&mut self, text: &Option<Content>, origin: Origin) {
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

    fn cut(&mut self, from: MessageId) {
        self.cut_from = Some(from);
        self.state.reset_version = self.state.snapshot_version;
        self.history_moved();
    }

    fn enqueue(&mut self, content: Content, at: usize) -> QueuedMessage {
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

    fn take_queued(&mut self, id: MessageId) -> Result<QueuedMessage, Rejection> {
        let at = self.state.queue.iter().position(|queued| queued.id == id).ok_or(Rejection::NoSuchQueued)?;
        self.queue_moved();
        Ok(self.state.queue.remove(at))
    }

    fn clear_queue(&mut self) {
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

    /// Clears everything that belongs to the run that ends or restarts.
    fn end_run(&mut self) {
        self.state.attempt_lease = None;
        self.state.retry = None;
        self.state.error = None;
    }

    /// Begins the turn of the message at the head of the queue. If the queue is empty, the chat becomes idle
    /// and its lease is released.
    fn next_turn(&mut self) {
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

    fn release(&mut self) {
        self.state.worker = None;
        self.state.attempt_lease = None;
        self.lease = LeaseTerm::End;
    }

    fn finish_with_chat(self) -> Applied {
        self.finish(|state| Accepted::Chat(state.clone()))
    }

    fn finish_with_sent(self, message: Option<Message>, queued: Option<QueuedMessage>) -> Applied {
        assert!(
            message.is_some() != queued.is_some(),
            "S6: what was sent is in the history or in the queue, and not in both"
        );
        self.finish(|state| Accepted::Sent { message, queued, snapshot_version: state.snapshot_version })
    }

    fn finish_deleted(mut self) -> Applied {
        self.deleted = true;
        self.finish(|_| Accepted::Gone)
    }

    fn finish(self, accepted: impl FnOnce(&Arc<ChatState>) -> Accepted) -> Applied {
        let Self { state, deleted, cut_from, inserted, queue_changed, lease } = self;
        let state = Arc::new(state);
        let answer = Ok(accepted(&state));
        let change = Change { state, deleted, cut_from, inserted, queue_changed, lease };
        Applied { answer, effect: Effect::Changed(change) }
    }
}
