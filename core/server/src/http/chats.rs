//! Chats, messages, the queue: each request is one command or one read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, Uri, header};
use mainstem_machine::{Accepted, ChatId, Command, MessageId, Rejection, SendMode};
use mainstem_runtime::ports::{Env, Listed, Listing};
use uuid::Uuid;

use super::asked::{Asked, accepted_as};
use super::auth::Caller;
use super::history::HistoryBody;
use super::request::{
    ChatPath, InterruptBody, ItemPath, Parameters, RegenerateBody, SendBody, parse_content, parse_name,
    parse_object, required,
};
use super::results::ResultsBody;
use super::settings::{NewSettingsBody, SettingsBody};
use super::{App, Problem, Requester, encode, json};

type Answer = Result<Response, Problem>;

pub(super) async fn create<E: Env>(asked: Asked<E, ()>) -> Answer {
    let messages = parse_object::<HistoryBody>(&asked.body)?.parse(asked.app.message_bytes_max)?;
    let settings = parse_object::<SettingsBody>(&asked.body)?.parse()?;
    let chat = ChatId(Uuid::now_v7());
    let command = Command::Create { chat, owner: Arc::clone(asked.by.user()), settings, messages };
    let accepted = asked.execute(chat, command).await?;
    let mut response = accepted_as(StatusCode::CREATED, &accepted);
    if let Accepted::Chat(chat) | Accepted::Found(chat) = &accepted {
        let location = HeaderValue::try_from(format!("/v1/chats/{}", chat.id)).expect("a UUID is ASCII");
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn list<E: Env>(State(app): State<Arc<App<E>>>, Caller(by): Caller, uri: Uri) -> Answer {
    let query = Parameters::of(&uri)?;
    let limit = query.limit()?;
    let before = query.before()?;
    let listing = query.listing()?;
    let Listed { chats, more } = match query.external_id()? {
        // A name is the owner's own.
        Some(_) if listing == Listing::Shared => Listed::default(),
        Some(external_id) => app.node.named_chats(&by, &external_id).await?,
        None => app.node.chats(&by, listing, before, limit).await?,
    };
    let next = chats.last().filter(|_| more).map(|chat| chat.id);
    let mut out = Vec::new();
    encode::write_chats(&mut out, &chats, next);
    Ok(json(StatusCode::OK, out))
}

pub(super) async fn read<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatPath(chat): ChatPath,
) -> Answer {
    let chat = app.node.chat(&by, chat).await?;
    let mut out = Vec::new();
    encode::write_chat(&mut out, &chat);
    Ok(json(StatusCode::OK, out))
}

pub(super) async fn configure<E: Env>(asked: Asked<E>) -> Answer {
    let command = Command::Configure(parse_object::<NewSettingsBody>(&asked.body)?.parse()?);
    asked.answer(StatusCode::OK, command).await
}

pub(super) async fn delete<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatPath(chat): ChatPath,
) -> Answer {
    app.execute(&by, chat, Command::Delete, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn messages<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    ChatPath(chat): ChatPath,
    uri: Uri,
) -> Answer {
    let query = Parameters::of(&uri)?;
    let (after, limit) = (query.after_id()?.unwrap_or_default(), query.limit()?);
    let page = app.node.messages(&by, chat, after, limit).await?;
    let next = page.messages.last().filter(|_| page.more).map(|message| message.id.0);
    let chunks = encode::messages_page(&page.messages, next, page.reset_version.0).into_chunks();
    let chunks = chunks.into_iter().map(Ok::<Bytes, std::convert::Infallible>);
    Ok(json(StatusCode::OK, Body::from_stream(stream::iter(chunks))))
}

pub(super) async fn turn<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    path: ItemPath,
) -> Answer {
    let id = existing(&app, &by, path, Rejection::NoSuchTurn).await?;
    let (turn, messages) = app.node.turn(&by, path.chat, id).await?;
    let mut out = Vec::new();
    encode::write_turn(&mut out, &turn, &messages);
    Ok(json(StatusCode::OK, out))
}

pub(super) async fn send<E: Env>(asked: Asked<E>) -> Answer {
    let SendBody { content, busy, client_id } = parse_object(&asked.body)?;
    let command = Command::Send {
        content: parse_content(&required(content, "content")?, asked.app.message_bytes_max)?,
        mode: busy.unwrap_or(SendMode::Queue),
        queue_max: asked.app.queue_max,
        client_id: parse_name(client_id, "client_id")?,
    };
    asked.answer(StatusCode::ACCEPTED, command).await
}

pub(super) async fn tool_results<E: Env>(asked: Asked<E>) -> Answer {
    let results = parse_object::<ResultsBody>(&asked.body)?.parse(asked.app.message_bytes_max)?;
    asked.answer(StatusCode::ACCEPTED, Command::ToolResults { results }).await
}

pub(super) async fn edit<E: Env>(asked: Asked<E, ItemPath>) -> Answer {
    let SendBody { content, .. } = parse_object(&asked.body)?;
    let content = parse_content(&required(content, "content")?, asked.app.message_bytes_max)?;
    let message = existing(&asked.app, &asked.by, asked.path, Rejection::NoSuchMessage).await?;
    asked.answer(Command::Edit { message, content }).await
}

pub(super) async fn regenerate<E: Env>(asked: Asked<E>) -> Answer {
    let body: RegenerateBody = parse_object(&asked.body)?;
    let mode = body.busy.unwrap_or(SendMode::Queue);
    let command = Command::Regenerate { message: body.message(), mode };
    asked.answer(StatusCode::ACCEPTED, command).await
}

pub(super) async fn withdraw<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    path: ItemPath,
) -> Answer {
    let queued = existing(&app, &by, path, Rejection::NoSuchQueued).await?;
    app.execute(&by, path.chat, Command::DeleteQueued { queued }, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn promote<E: Env>(asked: Asked<E, ItemPath>) -> Answer {
    let queued = existing(&asked.app, &asked.by, asked.path, Rejection::NoSuchQueued).await?;
    asked.answer(Command::Promote { queued }).await
}

pub(super) async fn interrupt<E: Env>(asked: Asked<E>) -> Answer {
    let episode = parse_object::<InterruptBody>(&asked.body)?.episode();
    asked.answer(StatusCode::ACCEPTED, Command::Interrupt { episode }).await
}

/// The id in a path. An impossible id is reported only to callers who may see the chat (S10).
async fn existing<E: Env>(
    app: &App<E>,
    by: &Requester,
    path: ItemPath,
    otherwise: Rejection,
) -> Result<MessageId, Problem> {
    match path.id_or(otherwise) {
        Ok(id) => Ok(id),
        Err(problem) => {
            app.node.chat(by, path.chat).await?;
            Err(problem)
        }
    }
}
