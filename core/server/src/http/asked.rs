//! A request that changes something: who asks, what its path names, its body, and its idempotency key. They are looked
//! at in this order, and the first that is wrong is the answer.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use mainstem_machine::{Accepted, ChatId, Command};
use mainstem_runtime::ports::{Env, IdempotencyKey};

use super::auth::Caller;
use super::bodies::Collected;
use super::request::{ChatPath, ItemPath, idempotency_key, waits_to_send};
use super::{App, Problem, Requester, encode, json};

/// Such a request, whose path is a `P`.
pub(super) struct Asked<E: Env, P = ChatPath> {
    pub(super) app: Arc<App<E>>,
    pub(super) by: Requester,
    pub(super) path: P,
    /// It takes its share of what all bodies may take until the request is answered.
    pub(super) body: Collected,
    idempotency_key: Option<IdempotencyKey>,
}

impl<E: Env, P> FromRequest<Arc<App<E>>> for Asked<E, P>
where
    P: FromRequestParts<Arc<App<E>>, Rejection: Into<Problem>> + Send,
{
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App<E>>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(by) = Caller::from_request_parts(&mut parts, app).await?;
        let path = P::from_request_parts(&mut parts, app).await.map_err(Into::into)?;
        let waits = waits_to_send(parts.version, &parts.headers);
        let body = app.bodies.read(body, waits).await?;
        let idempotency_key = idempotency_key(&parts.headers, by.user(), &parts.method, &parts.uri, &body)?;
        Ok(Self { app: Arc::clone(app), by, path, body, idempotency_key })
    }
}

impl<E: Env, P> Asked<E, P> {
    /// The key under which it is asked, for a command of another shape than the request's.
    pub(super) fn into_key(self) -> Option<IdempotencyKey> {
        self.idempotency_key
    }

    /// Carries out the command, or tells again what came of it under the request's key.
    pub(super) async fn execute(self, chat: ChatId, command: Command) -> Result<Accepted, Problem> {
        self.app.execute(&self.by, chat, command, self.idempotency_key).await
    }
}

impl<E: Env> Asked<E> {
    /// As [`execute`](Self::execute), for the path's chat. The answer has this status.
    pub(super) async fn answer(self, status: StatusCode, command: Command) -> Result<Response, Problem> {
        let ChatPath(chat) = self.path;
        Ok(accepted_as(status, &self.execute(chat, command).await?))
    }
}

impl<E: Env> Asked<E, ItemPath> {
    /// As [`execute`](Self::execute), for the path's chat.
    pub(super) async fn answer(self, command: Command) -> Result<Response, Problem> {
        let chat = self.path.chat;
        Ok(accepted_as(StatusCode::ACCEPTED, &self.execute(chat, command).await?))
    }
}

/// What was accepted, under this status unless it was there before, or is gone.
pub(super) fn accepted_as(status: StatusCode, accepted: &Accepted) -> Response {
    let mut out = Vec::new();
    match accepted {
        Accepted::Chat(chat) => encode::write_chat(&mut out, chat),
        Accepted::Found(chat) => {
            encode::write_chat(&mut out, chat);
            return json(StatusCode::OK, out);
        }
        Accepted::Sent { message, queued, snapshot_version } => {
            encode::write_sent(&mut out, message.clone(), queued.as_ref(), snapshot_version.0);
        }
        Accepted::Gone => return StatusCode::NO_CONTENT.into_response(),
    }
    json(status, out)
}
