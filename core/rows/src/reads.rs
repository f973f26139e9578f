//! Reads of one chat, and the lists of a user's chats, each within its bounds.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::store::{Listed, Listing, Stale};
use mainstem_machine::{
    CachedVersions, ChatId, ChatState, Message, MessageId, Page, Snapshot, Standing, Tail, Turn, WallTime,
    limits,
};

use crate::Rows;

/// How many of these fit: at least one, if there is any.
fn fitting<T>(
    all: impl Iterator<Item = T>,
    count_max: usize,
    bytes_max: usize,
    len: impl Fn(T) -> usize,
) -> usize {
    let mut bytes = 0;
    let fits = |(at, item)| {
        bytes += len(item);
        at == 0 || (at < count_max && bytes <= bytes_max)
    };
    all.enumerate().map(fits).take_while(|fits| *fits).count()
}

fn message_bytes(message: &Arc<Message>) -> usize {
    message.content.as_json().len()
}

/// What users, providers and tools wrote, beside messages.
fn text_bytes(state: &ChatState) -> usize {
    let labels =
        [&state.title, &state.model, &state.instructions].into_iter().flatten().map(|text| text.len());
    let errors = state.error.iter().chain(state.retry.as_ref().map(|retry| &retry.error));
    // As databases keep them.
    let tools = (!state.tools.is_empty()).then(|| serde_json::to_string(&state.tools));
    let calls = (!state.calls.is_empty()).then(|| serde_json::to_string(&state.calls));
    let shares = (!state.shares.is_empty()).then(|| serde_json::to_string(&state.shares));
    labels
        .chain(
            [tools, calls, shares].into_iter().flatten().map(|json| json.expect("texts are written").len()),
        )
        .chain(errors.map(|error| error.code.len() + error.message.len()))
        .sum()
}

impl Rows {
    /// Reads a chat, without what the reader has already.
    pub fn snapshot(&self, chat: ChatId, cached: Option<CachedVersions>) -> Option<Snapshot> {
        let row = self.row(chat)?;
        let newest = |messages: &[Arc<Message>]| {
            let newest_first = messages.iter().rev();
            fitting(newest_first, self.tail_messages_max, limits::TAIL_BYTES_MAX, message_bytes)
        };
        let continues = |cached: &CachedVersions| {
            cached.snapshot_version <= row.state.snapshot_version
                && cached.reset_version == row.state.reset_version
                && cached.last_message <= row.state.last_message
        };
        let lacking = cached.filter(continues).map(|cached| row.after(cached.last_message));
        let tail = match lacking.filter(|lacking| newest(lacking) == lacking.len()) {
            Some(lacking) => Tail::After(lacking.to_vec()),
            None => {
                let skipped = row.history.len() - newest(&row.history);
                Tail::Newest { messages: row.history[skipped..].to_vec(), from_start: skipped == 0 }
            }
        };
        Some(Snapshot { state: row.state.clone(), tail })
    }

    /// Reads a part of a chat's history.
    pub fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Option<Page> {
        let row = self.row(chat)?;
        let found = row.after(after);
        let end = until.map_or(found.len(), |until| found.partition_point(|message| message.id <= until));
        let limit = limit.min(limits::PAGE_MESSAGES_MAX);
        let count = fitting(found[..end].iter(), limit, limits::PAGE_BYTES_MAX, message_bytes);
        let ChatState { reset_version, history_version, .. } = *row.state;
        Some(Page {
            messages: found[..count].to_vec(),
            more: count < end,
            has_base: after == MessageId(0) || row.has(after),
            reset_version,
            history_version,
        })
    }

    /// A turn that has ended.
    pub fn turn(&self, chat: ChatId, turn: MessageId) -> Option<Turn> {
        self.row(chat)?.turns.get(&turn).cloned()
    }

    /// The ids of the messages from `first` to `last`.
    pub fn message_ids(&self, chat: ChatId, first: MessageId, last: MessageId) -> Vec<MessageId> {
        let ids = self.history(chat).iter().map(|message| message.id);
        ids.filter(|id| (first..=last).contains(id)).collect()
    }

    /// Of the chats behind `after`, up to `limit`, those that are idle and have not changed for so long.
    pub fn stale(&self, now: WallTime, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Stale {
        let idle_ms = u64::try_from(idle_for.as_millis()).unwrap_or(u64::MAX);
        let is_stale =
            |state: &ChatState| !state.status.is_busy() && now.ms_since(state.updated_at) >= idle_ms;
        let behind = || {
            self.chats
                .values()
                .map(|row| &row.state)
                .filter(|state| after.is_none_or(|after| state.id > after))
        };
        let seen = || behind().take(limit);
        let is_full = seen().count() == limit;
        Stale {
            chats: seen().filter(|state| is_stale(state)).map(|state| state.id).collect(),
            next: seen().last().filter(|_| is_full).map(|state| state.id),
        }
    }

    /// The chats of a user, or those that others share with the user, newest first, before `before`.
    pub fn list(&self, user: &str, listing: Listing, before: Option<ChatId>, limit: usize) -> Listed {
        let is_one = |state: &ChatState| match listing {
            Listing::Own => state.standing(user) == Standing::Owner,
            Listing::Shared => (Standing::Reader..=Standing::Writer).contains(&state.standing(user)),
        };
        let mine = || {
            let states = self.chats.values().rev().map(|row| &row.state);
            states.filter(|state| is_one(state) && before.is_none_or(|end| state.id < end))
        };
        let count = fitting(mine(), limit, limits::LIST_BYTES_MAX, |state| text_bytes(state));
        let without_queue = |state: &Arc<ChatState>| ChatState { queue: vec![], ..ChatState::clone(state) };
        Listed { chats: mine().take(count).map(without_queue).collect(), more: mine().nth(count).is_some() }
    }
}
