//! The AI SDK (npm `ai` 5, 6 and 7): its clients talk to `/ai/chat` as to a route of their own. Chats go by the client's
//! names, our history counts, and what a client cannot be told in its words it is not told: the connection is cut, and it
//! comes back to the truth.

mod asked;
mod chunk;
mod dialect;
mod history;
mod message;
mod part;
mod request;
mod socket;
mod stream;
mod told;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::request::Parts;
use http::{StatusCode, Uri, Version};
use mainstem_machine::{ChatState, MessageId};
use mainstem_runtime::ports::Env;
use serde_json::json;

use self::asked::Asker;
use self::dialect::Options;
use self::history::UiHistory;
use self::request::{ChatRequest, StopBody};
use super::super::asked::Asked;
use super::super::auth::{Caller, StreamCaller};
use super::super::request::parse_object;
use super::super::{App, Problem, Requester, json as json_answer};
use super::listed::{self, Listing};
use super::names;
use super::stop::stop;
use super::turn::From;
use super::words::tells_a_cut;

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new()
        .route("/ai/chat", post(chat::<E>))
        .route("/ai/chat/socket", get(socket::open::<E>))
        .route("/ai/chat/{id}/stream", get(resume::<E>))
        .route("/ai/chat/{id}/stop", post(stop_chat::<E>))
        .route("/ai/chat/{id}/messages", get(messages::<E>))
}

pub(super) fn is_path(path: &str) -> bool {
    path == "/ai/chat" || path.starts_with("/ai/chat/")
}

/// The client's name of a chat, in a path.
struct ChatName(String);

impl<S: Send + Sync> FromRequestParts<S> for ChatName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::no_such_chat())?;
        let name = params.iter().find(|(name, _)| *name == "id").map(|(_, text)| text.to_owned());
        name.map(Self).ok_or_else(Problem::no_such_chat)
    }
}

async fn chat<E: Env>(
    StreamCaller(_, grant): StreamCaller,
    uri: Uri,
    version: Version,
    asked: Asked<E, ()>,
) -> Result<Response, Problem> {
    let options = Options::of(&uri)?;
    tells_a_cut(version)?;
    let request = ChatRequest::parse(&asked.body)?;
    let (app, by) = (Arc::clone(&asked.app), asked.by.clone());
    let asker = Asker { app: &app, by: &by, key: asked.into_key() };
    let from = asker.carry_out(&request).await?;
    stream::answer(&app, &by, grant, from, options, options.stops_on_close).await
}

/// What runs, from the beginning of its answer.
async fn resume<E: Env>(
    State(app): State<Arc<App<E>>>,
    StreamCaller(by, grant): StreamCaller,
    ChatName(name): ChatName,
    uri: Uri,
    version: Version,
) -> Result<Response, Problem> {
    let options = Options::of(&uri)?;
    tells_a_cut(version)?;
    match resumed(&app, &by, &name, options).await? {
        Some(from) => stream::answer(&app, &by, grant, from, options, false).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// The turn that a client of this chat resumes.
async fn resumed<E: Env>(
    app: &App<E>,
    by: &Requester,
    name: &str,
    options: Options,
) -> Result<Option<From>, Problem> {
    let Some(state) = names::chat(app, by, name).await? else { return Ok(None) };
    let Some(turn) = state.present_turn() else { return Ok(None) };
    if !options.dialect.replaces() {
        return Err(Problem::not_resumable());
    }
    let is_told = state.status.is_runnable() || (options.tells_last && turn.status.is_over());
    Ok(From::present(&state).filter(|_| is_told))
}

async fn stop_chat<E: Env>(ChatName(name): ChatName, asked: Asked<E, ()>) -> Result<Response, Problem> {
    let StopBody { active_stream_id, .. } = parse_object(&asked.body)?;
    let state = existing(&asked.app, &asked.by, &name).await?;
    if let Some(turn) = state.turn_id() {
        let is_meant = active_stream_id.is_none_or(|id| id == names::of_answer(state.id, turn));
        if is_meant {
            stop(&asked.app.node, &asked.by, state.id, turn).await?;
        }
    }
    Ok(json_answer(StatusCode::OK, json!({"success": true}).to_string()))
}

async fn existing<E: Env>(app: &App<E>, by: &Requester, name: &str) -> Result<Arc<ChatState>, Problem> {
    names::chat(app, by, name).await?.ok_or_else(Problem::no_such_chat)
}

/// All messages as an array, for a first render; none of a chat that is yet to be.
async fn messages<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatName(name): ChatName,
) -> Result<Response, Problem> {
    let Some(state) = names::chat(&app, &by, &name).await? else {
        return Ok(json_answer(StatusCode::OK, "[]"));
    };
    let rendering = UiHistory::new(state.id, &state.tools);
    let (up_to, begin) = (MessageId(u64::MAX), "[".to_owned());
    listed::answer(app, by, Listing { chat: state.id, up_to, begin, end: "]" }, rendering).await
}
