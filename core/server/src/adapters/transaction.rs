//! A command's transaction, the same for both databases: insert the idempotency record, lock the row, apply
//! the command, write the change. The adapters have the statements.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    AnswerRecord, Applied, Change, ChatId, ChatState, Found, Known, LeaseTerm, Rejection, Sought, StoreFacts,
    WallTime,
};
use mainstem_runtime::ports::{IdempotencyKey, Request};

use super::rows::{IdempotencyRecord, Locked, json};

/// Everything a transaction writes.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) change: Option<&'a Change>,
    /// The chat is new.
    pub(super) created: bool,
    /// The lease's new expiry; `None` keeps the present one.
    pub(super) lease_expires_at: Option<Option<WallTime>>,
    /// The idempotency key, and the answer to record.
    pub(super) answer: Option<(&'a IdempotencyKey, String)>,
}

/// The statements of one open transaction.
pub(super) trait Statements: Send {
    /// Inserts an idempotency record without an answer, and waits for a transaction in flight that has
    /// inserted the same. False if there is one already.
    fn claim(&mut self, idempotency_key: &IdempotencyKey) -> impl Future<Output = sqlx::Result<bool>> + Send;

    fn kept(
        &mut self,
        idempotency_key: &IdempotencyKey,
    ) -> impl Future<Output = sqlx::Result<Option<IdempotencyRecord>>> + Send;

    fn lock(&mut self, chat: ChatId) -> impl Future<Output = sqlx::Result<Locked>> + Send;

    /// The chat of an owner that has this name of its own.
    fn named_chat(
        &mut self,
        owner: &str,
        external_id: &str,
    ) -> impl Future<Output = sqlx::Result<Option<ChatId>>> + Send;

    /// What was sent to a chat under this name of its sender's.
    fn named_message(
        &mut self,
        chat: ChatId,
        client_id: &str,
    ) -> impl Future<Output = sqlx::Result<Option<Known>>> + Send;

    fn find(
        &mut self,
        chat: ChatId,
        sought: Sought,
    ) -> impl Future<Output = sqlx::Result<Option<Found>>> + Send;

    fn write(&mut self, write: Write<'_>) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// How a transaction ends.
#[derive(Debug)]
pub(super) enum End {
    Commit(Applied),
    /// Nothing was written.
    RollBack(Applied),
    /// The record was deleted in between: retry.
    Again,
}

pub(super) async fn apply(
    statements: &mut impl Statements,
    request: &Request,
    lease_ttl: Duration,
) -> sqlx::Result<End> {
    if let Some(idempotency_key) = &request.idempotency_key
        && !statements.claim(idempotency_key).await?
    {
        let Some(kept) = statements.kept(idempotency_key).await? else { return Ok(End::Again) };
        if kept.body != idempotency_key.body {
            return Ok(End::RollBack(Applied::rejected(Rejection::KeyReused)));
        }
        let answer = match kept.answer {
            Ok(record) => {
                let now = match record.needs_chat() {
                    true => statements.lock(request.chat).await?.state,
                    false => None,
                };
                // Whoever may not see the chat any more is not told how it is now (S10).
                let sees = |state: &ChatState| request.by.as_ref().is_none_or(|by| state.is_there_for(by));
                record.answer(&request.command, now.filter(sees).map(Arc::new))
            }
            Err(rejection) => Err(rejection),
        };
        return Ok(End::RollBack(Applied::replayed(answer)));
    }

    let named = match request.command.external_id() {
        Some((owner, external_id)) => statements.named_chat(owner, external_id).await?,
        None => None,
    };
    let Locked { state, lease_expires_at, now } = statements.lock(named.unwrap_or(request.chat)).await?;
    let found = match request.command.sought() {
        Some(sought) if state.is_some() => statements.find(request.chat, sought).await?,
        _ => None,
    };
    let known = match request.command.client_id() {
        Some(client_id) if state.is_some() => statements.named_message(request.chat, client_id).await?,
        _ => None,
    };
    let lease_expired = lease_expires_at.is_none_or(|at| at <= now);
    let facts = StoreFacts { now, lease_expired, found, known };
    let applied = request.command.apply_to(state.as_ref(), request.by.as_deref(), &facts);

    let change = applied.change();
    if let Some(change) = change {
        assert_eq!(change.state.id, request.chat, "a command changes the chat it was sent to");
    }
    let kept = request.idempotency_key.as_ref().map(|idempotency_key| {
        let record = applied
            .answer
            .as_ref()
            .map(|accepted| AnswerRecord::of(accepted, &request.command, idempotency_key.keep));
        (idempotency_key, json(&record))
    });
    let writes = change.is_some() || kept.is_some();
    if writes {
        let lease_expires_at = match change.map_or(LeaseTerm::Keep, |change| change.lease) {
            LeaseTerm::Keep => None,
            LeaseTerm::Start => Some(Some(now.after_ms(millis(lease_ttl)))),
            LeaseTerm::End => Some(None),
        };
        let write = Write { change, created: state.is_none(), lease_expires_at, answer: kept };
        statements.write(write).await?;
    }
    Ok(if writes { End::Commit(applied) } else { End::RollBack(applied) })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
