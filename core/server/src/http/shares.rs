//! With whom a chat is shared: the owner sees it, gives and takes; whoever was given something may give it back. Whether
//! the caller may is for the chat to say, under its lock (S10).

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use mainstem_machine::{Access, ChatId, Command, Share};
use mainstem_runtime::ports::Env;
use serde::Deserialize;

use super::asked::Asked;
use super::auth::Caller;
use super::request::{ChatPath, parse_label, parse_object};
use super::{App, Problem, encode, json};
use crate::limits::access::USER_BYTES_MAX;

/// The `{chat}` and the `{user}` of a path.
#[derive(Clone, Debug)]
pub(super) struct SharePath {
    chat: ChatId,
    user: Arc<str>,
}

impl<S: Send + Sync> FromRequestParts<S> for SharePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        let ChatPath(chat) = ChatPath::from_request_parts(parts, state).await?;
        let user = params.iter().find(|(name, _)| *name == "user").map(|(_, user)| user.to_owned());
        let user = parse_label(user, "user", USER_BYTES_MAX)?;
        let user = user.filter(|user| !user.is_empty());
        Ok(Self { chat, user: user.ok_or_else(|| Problem::malformed("`user` is empty"))? })
    }
}

/// The body of a share.
#[derive(Debug, Deserialize)]
struct ShareBody {
    may: Option<Access>,
}

pub(super) async fn list<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatPath(chat): ChatPath,
) -> Result<Response, Problem> {
    let shares = app.node.shares(&by, chat).await?;
    let mut out = Vec::new();
    encode::write_shares(&mut out, &shares);
    Ok(json(StatusCode::OK, out))
}

pub(super) async fn give<E: Env>(asked: Asked<E, SharePath>) -> Result<Response, Problem> {
    let ShareBody { may } = parse_object(&asked.body)?;
    let may = may.ok_or_else(|| Problem::malformed("`may` is missing: `read` or `write`"))?;
    let SharePath { chat, user } = asked.path.clone();
    asked.execute(chat, Command::Share { user: user.clone(), may }).await?;
    let mut out = Vec::new();
    encode::write_share(&mut out, &Share { user, may });
    Ok(json(StatusCode::OK, out))
}

pub(super) async fn take<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    SharePath { chat, user }: SharePath,
) -> Result<Response, Problem> {
    app.node.execute(&by, chat, Command::Unshare { user }, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
