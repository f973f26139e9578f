//! Commands, and the answers that are kept of them.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::store::Request;
use mainstem_machine::{
    AnswerRecord, Applied, Change, ChatId, ChatState, Known, KnownRow, Rejection, StoreFacts, Time, WallTime,
    Write,
};

use crate::{Row, Rows};

/// How long an answer is kept.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who asks, and the key.
pub(crate) type Caller = (Arc<str>, Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdempotencyRecord {
    body: [u8; 32],
    answer: Result<AnswerRecord, Rejection>,
    until: Time,
}

impl Rows {
    /// Applies a command and commits it. `wall` is the same moment as `now`, as it is written down.
    pub fn apply(&mut self, now: Time, wall: WallTime, request: &Request) -> Applied {
        let Some(idempotency_key) = &request.idempotency_key else { return self.commit(now, wall, request) };
        let caller = (idempotency_key.caller.clone(), idempotency_key.key.clone());
        if let Some(kept) = self.idempotency_records.get(&caller).filter(|kept| kept.until > now) {
            if kept.body != idempotency_key.body {
                return Applied::rejected(Rejection::KeyReused);
            }
            // Whoever may not see the chat any more is not told how it is now (S10).
            let sees = |state: &&Arc<ChatState>| request.by.as_ref().is_none_or(|by| state.is_there_for(by));
            let state = self.state(request.chat).filter(sees).cloned();
            let record = kept.answer.clone();
            return Applied::replayed(record.and_then(|record| record.answer(&request.command, state)));
        }
        let applied = self.commit(now, wall, request);
        let answer = applied.answer.as_ref().map_err(|rejection| *rejection);
        let answer =
            answer.map(|accepted| AnswerRecord::of(accepted, &request.command, idempotency_key.keep));
        let record = IdempotencyRecord { body: idempotency_key.body, answer, until: now + DAY };
        Arc::make_mut(&mut self.idempotency_records).insert(caller, record);
        applied
    }

    /// The row of a chat as it is.
    pub fn known_row(&self, now: Time, wall: WallTime, chat: ChatId) -> KnownRow {
        let row = self.row(chat);
        let until = row.and_then(|row| row.lease_until);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = until.map(|until| match until > now {
            true => wall.after_ms(millis(until.since(now))),
            false => WallTime(wall.0.saturating_sub_unsigned(millis(now.since(until)))),
        });
        KnownRow { state: row.map(|row| row.state.clone()), lease: Some(until), now: wall }
    }

    /// Writes a change if its chat is still what it was made of, and nothing is kept under its key. Returns whether it did.
    pub fn write_compared(&mut self, now: Time, wall: WallTime, write: &Write) -> bool {
        let Write { request, of, lease, change, kept, .. } = write;
        let here = self.known_row(now, wall, request.chat);
        let is_same = here.state.map(|state| state.snapshot_version) == *of;
        let caller = request.idempotency_key.as_ref().map(|key| (key.caller.clone(), key.key.clone()));
        let is_kept = |caller| self.idempotency_records.get(caller).is_some_and(|kept| kept.until > now);
        if !is_same
            || lease.is_some_and(|lease| here.lease != Some(lease))
            || caller.as_ref().is_some_and(is_kept)
        {
            return false;
        }
        self.write(now, request.chat, change);
        if let (Some(caller), Some(key), Some(kept)) = (caller, &request.idempotency_key, kept) {
            let record = IdempotencyRecord { body: key.body, answer: Ok(kept.clone()), until: now + DAY };
            Arc::make_mut(&mut self.idempotency_records).insert(caller, record);
        }
        true
    }

    fn commit(&mut self, now: Time, wall: WallTime, request: &Request) -> Applied {
        let named = request.command.external_id().and_then(|(owner, name)| self.named(owner, name));
        let row = self.row(named.unwrap_or(request.chat));
        let known = |name: &Arc<str>| {
            let row = row?;
            let mut history = row.history.iter();
            let message = history.find(|message| message.client_id.as_ref() == Some(name));
            let content = message.map(|message| message.content.clone());
            Some(Known { answer: row.sends.get(name)?.clone(), content })
        };
        let facts = StoreFacts {
            now: wall,
            lease_expired: row.is_some_and(|row| row.lease_expired(now)),
            found: request.command.sought().and_then(|sought| row?.find(sought)),
            known: request.command.client_id().and_then(known),
        };
        let state = row.map(|row| &*row.state);
        let applied = request.command.apply_to(state, request.by.as_deref(), &facts);
        if let Some(change) = applied.change() {
            self.write(now, request.chat, change);
        }
        applied
    }

    /// The chat of an owner that has this name of its own.
    pub fn named(&self, owner: &str, external_id: &str) -> Option<ChatId> {
        let has =
            |state: &ChatState| *state.owner == *owner && state.external_id.as_deref() == Some(external_id);
        self.rows().find(|(_, row)| has(&row.state)).map(|(chat, _)| chat)
    }

    fn write(&mut self, now: Time, chat: ChatId, change: &Change) {
        if change.deleted {
            self.chats.remove(&chat);
            return;
        }
        let row = self.chats.entry(chat).or_insert_with(|| Arc::new(Row::new(now, &change.state)));
        Arc::make_mut(row).write(now, self.lease_ttl, change);
    }
}
