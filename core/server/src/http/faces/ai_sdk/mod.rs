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
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::stream::unfold;
use http::request::Parts;
use http::{StatusCode, Uri, Version};
use mainstem_machine::{ChatId, ChatState, MessageId};
use mainstem_runtime::ports::Env;
use serde_json::json;

use self::asked::Asker;
use self::dialect::Options;
use self::history::Rendering;
use self::request::{ChatRequest, StopBody};
use super::super::asked::Asked;
use super::super::auth::{Caller, StreamCaller};
use super::super::request::parse_object;
use super::super::{App, Problem, json as json_answer};
use super::names;
use super::stop::stop;
use super::turn::From;
use super::words::tells_a_cut;
use crate::limits::edge::PAGE_MAX;

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
    let (app, by) = (Arc::clone(&asked.app), Arc::clone(&asked.by));
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
    by: &Arc<str>,
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

async fn existing<E: Env>(app: &App<E>, by: &Arc<str>, name: &str) -> Result<Arc<ChatState>, Problem> {
    names::chat(app, by, name).await?.ok_or_else(Problem::no_such_chat)
}

/// All messages as an array, for a first render; none of a chat that is yet to be. It is read and written page by page.
async fn messages<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatName(name): ChatName,
) -> Result<Response, Problem> {
    let Some(state) = names::chat(&app, &by, &name).await? else {
        return Ok(json_answer(StatusCode::OK, "[]"));
    };
    let mut pages = Pages {
        rendering: Rendering::new(state.id, &state.tools),
        app,
        by,
        chat: state.id,
        after: MessageId(0),
        reset_version: None,
        first: true,
        over: false,
    };
    // What cannot be read at all is an error, and not a body that breaks off.
    let begin = pages.next().await?.unwrap_or_default();
    let body = unfold((Some(begin), Some(pages)), async |(begin, pages)| {
        if let Some(begin) = begin {
            return Some((Ok(begin), (None, pages)));
        }
        let mut pages = pages?;
        match pages.next().await {
            Ok(Some(page)) => Some((Ok(page), (None, Some(pages)))),
            Ok(None) => None,
            Err(problem) => Some((Err(std::io::Error::other(problem.title)), (None, None))),
        }
    });
    Ok(json_answer(StatusCode::OK, Body::from_stream(body)))
}

struct Pages<E: Env> {
    rendering: Rendering,
    app: Arc<App<E>>,
    by: Arc<str>,
    chat: ChatId,
    after: MessageId,
    reset_version: Option<mainstem_machine::Version>,
    first: bool,
    over: bool,
}

impl<E: Env> Pages<E> {
    /// The next piece of the array. One of two histories is none.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.over {
            return Ok(None);
        }
        let page = self.app.node.messages(&self.by, self.chat, self.after, PAGE_MAX).await?;
        if self.reset_version.replace(page.reset_version).is_some_and(|before| before != page.reset_version) {
            return Err(Problem::internal());
        }
        let mut rendered = vec![];
        for message in &page.messages {
            rendered.extend(self.rendering.add(message));
            self.after = message.id;
        }
        self.over = !page.more;
        if self.over {
            rendered.extend(self.rendering.end());
        }
        let mut out = String::new();
        for message in rendered {
            out.push(if std::mem::take(&mut self.first) { '[' } else { ',' });
            out.push_str(&serde_json::to_string(&message).expect("a message is written"));
        }
        if self.over {
            out.push_str(if self.first { "[]" } else { "]" });
        }
        Ok(Some(out.into()))
    }
}
