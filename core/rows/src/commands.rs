//! Commands, and the answers that are kept of them.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::store::Request;
use mainstem_machine::{AnswerRecord, Applied, Change, ChatId, Rejection, StoreFacts, Time, WallTime};

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
            let state = self.state(request.chat).cloned();
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

    fn commit(&mut self, now: Time, wall: WallTime, request: &Request) -> Applied {
        let row = self.row(request.chat);
        let facts = StoreFacts {
            now: wall,
            lease_expired: row.is_some_and(|row| row.lease_expired(now)),
            message_role: request.command.message().and_then(|message| row?.role(message)),
        };
        let state = row.map(|row| &*row.state);
        let applied = request.command.apply_to(state, request.by.as_deref(), &facts);
        if let Some(change) = applied.change() {
            self.write(now, request.chat, change);
        }
        applied
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
