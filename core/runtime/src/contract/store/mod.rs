//! What every [`Store`] must do. Each check creates its own chats. All checks together need an empty
//! database.

mod commands;
mod differential;
mod idempotency;
mod known;
mod leases;
mod reads;
mod reference;
mod retention;
mod shares;
mod tickets;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use mainstem_machine::{
    Accepted, Change, ChatId, ChatState, Command, Completion, Content, Fence, Lease, MessageId, NewMessage,
    ReplicaId, SendMode,
};
use uuid::Uuid;

pub use commands::*;
pub use differential::*;
pub use idempotency::*;
pub use known::*;
pub use leases::*;
pub use reads::*;
pub use retention::*;
pub use shares::*;
pub use tickets::*;

use crate::ports::{Applied, Effect, IdempotencyKey, Keep, Request, Store};

/// Lets time pass on the store's clock.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// An open store, with an empty database that nobody else uses.
#[derive(Clone)]
pub struct Subject {
    store: Arc<dyn Store>,
    /// The `lease_ttl` with which the store was opened.
    lease_ttl: Duration,
    sleep: Sleep,
    last: Arc<AtomicU64>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("lease_ttl", &self.lease_ttl).finish_non_exhaustive()
    }
}

/// Runs every check, one after the other, with `seeds` differential runs.
pub async fn all(subject: &Subject, seeds: u64) {
    every_command_keeps_every_field(subject).await;
    a_rejection_leaves_the_rows_untouched(subject).await;
    a_chat_is_created_once(subject).await;
    a_chat_is_created_with_what_was_said_elsewhere(subject).await;
    to_others_a_chat_does_not_exist(subject).await;
    commands_at_the_same_time_take_turns(subject).await;
    an_old_row_changes_nothing_wrongly(subject).await;
    many_chats_at_once_each_get_what_they_would_alone(subject).await;
    two_for_one_chat_at_once_take_turns_whatever_they_know(subject).await;
    a_key_is_claimed_once_whatever_is_known(subject).await;
    an_idempotency_key_is_answered_again(subject).await;
    a_receipt_of_our_own_settles_what_happened(subject).await;
    a_rejection_is_kept_in_its_idempotency_record(subject).await;
    an_idempotency_key_for_another_body_is_a_mismatch(subject).await;
    an_idempotency_key_belongs_to_its_caller(subject).await;
    an_idempotency_key_used_twice_at_once_happens_once(subject).await;
    an_idempotency_record_outlives_its_chat(subject).await;
    what_does_not_exist_is_nothing(subject).await;
    a_tail_is_bounded_by_count(subject).await;
    a_tail_is_bounded_by_bytes(subject).await;
    a_cached_snapshot_brings_what_came_after_it(subject).await;
    a_page_is_bounded_by_count(subject).await;
    a_page_is_bounded_by_bytes(subject).await;
    a_page_has_a_message_of_the_history_as_its_base(subject).await;
    chats_are_listed_newest_first(subject).await;
    a_list_is_bounded_by_bytes_and_carries_no_queue(subject).await;
    a_list_is_bounded_by_bytes_of_calls(subject).await;
    a_share_says_under_the_lock_who_may_do_what(subject).await;
    what_is_shared_with_a_user_is_listed_newest_first(subject).await;
    a_list_of_shared_chats_is_bounded_by_bytes(subject).await;
    whoever_lost_a_share_is_not_told_how_the_chat_is_now(subject).await;
    one_of_two_that_acquire_wins(subject).await;
    a_lease_runs_out_by_the_stores_clock(subject).await;
    a_heartbeat_renews_what_is_held_and_nothing_else(subject).await;
    replicas_are_peers_while_they_are_heard_of(subject).await;
    a_name_belongs_to_one_process_at_a_time(subject).await;
    a_sync_tells_versions_and_work(subject).await;
    a_secret_is_kept_once(subject).await;
    chats_that_nobody_touched_for_long_are_found_and_go(subject).await;
    a_ticket_is_taken_once(subject).await;
    a_ticket_runs_out_by_the_stores_clock(subject).await;
    a_user_has_only_so_many_tickets(subject).await;
    random_commands_agree_with_the_machine(subject, seeds).await;
}

impl Subject {
    pub fn new(store: Arc<dyn Store>, lease_ttl: Duration, sleep: Sleep) -> Self {
        Self { store, lease_ttl, sleep, last: Arc::default() }
    }

    /// A new chat id. Ids grow with each call, as those of real chats do.
    fn fresh_id(&self) -> ChatId {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        ChatId(Uuid::from_u128((0x7000_u128 << 64) | u128::from(number)))
    }

    async fn apply(&self, request: &Request) -> Applied {
        self.store.apply(request).await.expect("the store answers")
    }

    /// The same by somebody who knows a row.
    async fn apply_knowing(&self, request: &Request, known: Option<Arc<ChatState>>) -> Applied {
        let applied = match known {
            Some(known) => self.store.apply_knowing(request, known).await,
            None => self.store.apply(request).await,
        };
        applied.expect("the store answers")
    }

    /// What a request is answered and what it changes, as it has to.
    async fn changed(&self, request: &Request) -> (Accepted, Change) {
        match self.apply(request).await {
            Applied { answer: Ok(accepted), effect: Effect::Changed(change) } => (accepted, change),
            other => panic!(
                "{} is accepted and changes the chat, and what came is {other:?}",
                request.command.name()
            ),
        }
    }

    async fn change(&self, chat: ChatId, command: Command) -> Arc<ChatState> {
        let request = Request { chat, command, by: None, idempotency_key: None };
        self.changed(&request).await.1.state
    }

    /// Creates an idle, empty chat of `owner`.
    async fn chat_of(&self, owner: &str) -> ChatId {
        let chat = self.fresh_id();
        self.change(chat, create(chat, owner, None)).await;
        chat
    }

    /// Creates a running chat that nobody holds.
    async fn running_chat(&self) -> ChatId {
        let chat = self.fresh_id();
        self.change(chat, create(chat, "ada", Some(Content::text("hello")))).await;
        chat
    }

    /// Creates a chat with these messages as its history, the first one by a user.
    async fn chat_with(&self, texts: &[String]) -> Arc<ChatState> {
        let chat = self.fresh_id();
        let (first, rest) = texts.split_first().expect("a chat begins with a message");
        self.change(chat, create(chat, "ada", Some(Content::text(first)))).await;
        let mut state = self.change(chat, acquire("a")).await;
        for text in rest {
            state = self.say(&state, text).await;
        }
        state
    }

    /// The worker of a chat says this, and its turn goes on.
    async fn say(&self, state: &ChatState, text: &str) -> Arc<ChatState> {
        let (answer, completion, calls) = (Content::text(text), Completion::default(), vec![]);
        self.change(state.id, Command::CommitStep { fence: fence(state), answer, completion, calls }).await
    }
}

fn create(chat: ChatId, owner: &str, content: Option<Content>) -> Command {
    Command::Create {
        chat,
        owner: owner.into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    }
}

fn send(text: &str) -> Command {
    Command::Send { content: Content::text(text), mode: SendMode::Queue, queue_max: 1000, client_id: None }
}

fn acquire(name: &str) -> Command {
    Command::Acquire { replica: replica(name), interrupting_only: false }
}

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name).expect("the name fits")
}

/// The fence of the current holder.
fn fence(state: &ChatState) -> Fence {
    let replica = state.worker.clone().unwrap_or_else(|| replica("nobody"));
    Fence { replica, lease: state.lease, episode: state.present_episode() }
}

fn idempotency_key(caller: &str, key: &str, body: u8) -> IdempotencyKey {
    IdempotencyKey { caller: caller.into(), key: key.into(), body: [body; 32], keep: Keep::Answer }
}

fn stale(mut fence: Fence) -> Fence {
    fence.lease = Lease(fence.lease.0 + 1);
    fence
}

fn sent_id(answer: &Accepted) -> MessageId {
    match answer {
        Accepted::Sent { message: Some(message), .. } => message.id,
        Accepted::Sent { queued: Some(queued), .. } => queued.id,
        other => panic!("a send is answered with what it made, and what came is {other:?}"),
    }
}
