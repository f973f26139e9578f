//! OpenAI: the clients of its API talk to `/v1` by a change of their base URL. A conversation is a chat, a response a turn, or what
//! of it one request brought about. Numbers and names are computed, so any replica goes on behind any event.

mod asked;
mod completions;
mod conversations;
mod event;
mod ids;
mod input;
mod item;
mod models;
mod number;
mod part;
mod request;
mod response;
mod stream;
mod told;
pub(super) mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri, Version};
use mainstem_machine::Rejection;
use mainstem_runtime::EdgeError;
use mainstem_runtime::ports::Env;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use self::asked::{Asker, located};
use self::ids::ResponseId;
use self::request::{ResponseRequest, no_such};
use self::response::{Frame, Standing, asked_with, read};
use self::stream::Order;
use self::told::{Telling, Then};
use super::super::asked::Asked;
use super::super::auth::{Caller, StreamCaller};
use super::super::request::Parameters;
use super::super::{App, Problem, Requester, json as json_answer};
use super::stop::{StopOnClose, stop};
use super::streamed;
use super::turn::{From, TurnStream};
use super::words::tells_a_cut;
use crate::insight::{Face, Transport};
use crate::limits::edge::{CANCEL_TIMEOUT, SETTLE_INTERVAL, SETTLE_TIMEOUT};

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new()
        .route("/v1/responses", post(create::<E>))
        .route("/v1/responses/{id}", get(retrieve::<E>).delete(async || refused(NO_DELETE)))
        .route("/v1/responses/{id}/cancel", post(cancel::<E>))
        .route("/v1/responses/{id}/input_items", get(input_items::<E>))
        .merge(conversations::routes())
        .merge(completions::routes())
        .merge(models::routes())
}

const NO_DELETE: &str = "a response is not deleted by itself: delete its conversation";

pub(super) fn is_path(path: &str) -> bool {
    let is_below =
        |of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["/v1/responses", "/v1/conversations", "/v1/chat", "/v1/models"].into_iter().any(is_below)
}

/// What other servers of this API do, and this one does not.
fn refused(why: &'static str) -> Problem {
    Problem::malformed(why)
}

/// A name in a path.
struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::not_found())?;
        let name = params.iter().find(|(name, _)| *name == "id").map(|(_, text)| text.to_owned());
        name.map(Self).ok_or_else(Problem::not_found)
    }
}

impl Named {
    fn response(&self) -> Result<ResponseId, Problem> {
        ResponseId::parse(&self.0).ok_or_else(|| no_such("response", &self.0))
    }
}

/// In a chat that is not the caller's, or not there, there is no such response.
fn unknown(id: ResponseId) -> impl Fn(Problem) -> Problem {
    move |problem| match problem.code {
        "no_such_chat" | "no_such_turn" => no_such("response", &id.to_string()),
        _ => problem,
    }
}

/// Whether the client's library sends the request again, by itself.
fn is_again(headers: &HeaderMap) -> bool {
    headers.get("x-stainless-retry-count").is_some_and(|count| count != "0")
}

fn flag(query: &Parameters, name: &str) -> Result<bool, Problem> {
    match query.text(name)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::malformed(format!("`{name}` is true or false"))),
    }
}

async fn create<E: Env>(
    StreamCaller(_, grant): StreamCaller,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    asked: Asked<E, ()>,
) -> Result<Response, Problem> {
    let stops_on_close = streamed::stops_on_close(&Parameters::of(&uri)?)?;
    let request = ResponseRequest::parse(&asked.body, asked.app.message_bytes_max)?;
    if request.streams {
        tells_a_cut(version)?;
    }
    let (app, by) = (Arc::clone(&asked.app), asked.by.clone());
    let asker = Asker { app: &app, by: &by, key: asked.into_key(), is_again: is_again(&headers) };
    let (id, from) = asker.carry_out(&request).await?;
    if request.streams {
        let order = Order { id, from, after: None, stops_on_close };
        return stream::answer(&app, &by, grant, order).await;
    }
    if !request.is_background {
        settle(&app, &by, id, from, stops_on_close).await?;
    }
    standing(&app, &by, id).await
}

/// Waits until the response has ended. If this replica goes away meanwhile, the answer is how it stands then: a client that was
/// not answered would ask anew, and get another one.
async fn settle<E: Env>(
    app: &App<E>,
    by: &Requester,
    id: ResponseId,
    from: From,
    stops_on_close: bool,
) -> Result<(), Problem> {
    let place = app.place(by, Face::OpenAi, Transport::Whole)?;
    let stop = stops_on_close.then(|| (app.node.clone(), by.clone(), from.chat, from.turn));
    let mut stop = StopOnClose::new(stop);
    let (_, tools) = Frame::read(app, by, id, &from).await?;
    // Nothing of it is told.
    let mut telling = Telling::new(id, tools, Some(number::END));
    let mut turn = TurnStream::open(&app.node, place, by, from).await?;
    let mut then = Then::GoOn;
    while then == Then::GoOn {
        let Some(marked) = turn.next_marked().await else { break };
        then = telling.tell(marked).1;
    }
    if then != Then::Finish {
        let ends = async {
            while read(app, by, id, None).await.is_ok_and(|(_, standing)| standing.end().is_none()) {
                tokio::time::sleep(SETTLE_INTERVAL).await;
            }
        };
        // Whoever asks later is told.
        tokio::time::timeout(SETTLE_TIMEOUT, ends).await.ok();
    }
    stop.disarm();
    Ok(())
}

/// The response as it stands.
async fn standing<E: Env>(app: &App<E>, by: &Requester, id: ResponseId) -> Result<Response, Problem> {
    let (frame, standing) = read(app, by, id, None).await.map_err(unknown(id))?;
    Ok(json_answer(StatusCode::OK, frame.object(&standing).get().to_owned()))
}

async fn retrieve<E: Env>(
    State(app): State<Arc<App<E>>>,
    StreamCaller(by, grant): StreamCaller,
    named: Named,
    uri: Uri,
    version: Version,
) -> Result<Response, Problem> {
    let id = named.response()?;
    let query = Parameters::of(&uri)?;
    if !flag(&query, "stream")? {
        return standing(&app, &by, id).await;
    }
    let after = match query.text("starting_after")? {
        None => None,
        Some(number) => Some(
            number
                .parse()
                .map_err(|_| Problem::malformed("`starting_after` is the `sequence_number` of an event"))?,
        ),
    };
    tells_a_cut(version)?;
    let from = located(&app, &by, id).await.map_err(unknown(id))?;
    let order = Order { id, from, after, stops_on_close: streamed::stops_on_close(&query)? };
    stream::answer(&app, &by, grant, order).await.map_err(unknown(id))
}

async fn cancel<E: Env>(named: Named, asked: Asked<E, ()>) -> Result<Response, Problem> {
    let id = named.response()?;
    let (app, by) = (&asked.app, &asked.by);
    let (frame, before) = read(app, by, id, None).await.map_err(unknown(id))?;
    if before.end().is_some() {
        return standing(app, by, id).await;
    }
    match stop(&app.node, by, id.chat, id.turn).await {
        // It ended by itself.
        Ok(()) | Err(EdgeError::Rejected(Rejection::NotRunning)) => {}
        Err(error) => return Err(error.into()),
    }
    let from = match located(app, by, id).await {
        Ok(from) => from,
        // It waited, and was taken back.
        Err(problem) if problem.code == "no_such_turn" => {
            let cancelled = frame.object(&Standing::of("cancelled"));
            return Ok(json_answer(StatusCode::OK, cancelled.get().to_owned()));
        }
        Err(problem) => return Err(problem),
    };
    tokio::time::timeout(CANCEL_TIMEOUT, settle(app, by, id, from, false)).await.unwrap_or(Ok(()))?;
    standing(app, by, id).await
}

async fn input_items<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    named: Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = named.response()?;
    let listing = conversations::Listing::of(&uri)?;
    let items = asked_with(&app, &by, id).await.map_err(unknown(id))?;
    Ok(listing.page(items))
}

fn object(value: &Value) -> Response {
    json_answer(StatusCode::OK, to_raw_value(value).expect("JSON is written").get().to_owned())
}

fn deleted(id: &str, kind: &str) -> Response {
    object(&json!({"id": id, "object": kind, "deleted": true}))
}
