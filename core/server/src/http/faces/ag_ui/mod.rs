//! AG-UI: `@ag-ui/client` and TanStack's client talk to `/ag-ui`. A thread is a chat by the client's name, and a run is a turn.
//! The `id:` of each event is all that any replica needs to go on behind it.

mod asked;
mod event;
mod history;
mod ids;
mod message;
mod part;
mod position;
mod request;
mod snapshot;
mod stream;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, Uri, Version};
use mainstem_machine::{ChatState, MessageId, Rejection, Status};
use mainstem_runtime::ports::Env;
use serde_json::json;

use self::asked::Asker;
use self::event::interrupts;
use self::history::UiHistory;
use self::position::Position;
use self::request::{RunRequest, StopBody};
use self::stream::Order;
use self::told::Run;
use super::super::asked::Asked;
use super::super::auth::{Grant, StreamCaller};
use super::super::request::{Parameters, parse_object};
use super::super::{App, Problem, Requester, json as json_answer};
use super::listed::{self, Listing};
use super::names;
use super::stop::stop;
use super::streamed;
use super::turn::From;
use super::words::tells_a_cut;

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new().route("/ag-ui", get(look::<E>).post(run::<E>)).route("/ag-ui/stop", post(stop_thread::<E>))
}

pub(super) fn is_path(path: &str) -> bool {
    path == "/ag-ui" || path.starts_with("/ag-ui/")
}

/// The `id:` of the last event that the client has.
fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().map_err(|_| Problem::bad_cursor())?;
    Ok(Some(id).filter(|id| !id.is_empty()))
}

/// A run, or the rest of it: who says what it had last never begins a new one.
async fn run<E: Env>(
    StreamCaller(_, grant): StreamCaller,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    asked: Asked<E, ()>,
) -> Result<Response, Problem> {
    let query = Parameters::of(&uri)?;
    let stops_on_close = streamed::stops_on_close(&query)?;
    tells_a_cut(version)?;
    let mut request = RunRequest::parse(&asked.body)?;
    let last_event_id = last_event_id(&headers)?;
    // TanStack's client says the run here, too.
    request.run.resumes = last_event_id.is_some() || headers.contains_key("x-run-id");
    let (app, by) = (&asked.app, &asked.by);
    let (has, thoughts) = (request.has(), request.thoughts());
    let (from, position) = match last_event_id {
        Some(id) => {
            let state = existing(app, by, &request.run.thread).await?;
            let position = Position::parse(state.id, id)?;
            (From::locate(app, by, state.id, position.turn).await?, position)
        }
        None => {
            let from = Asker { app, by, request: &request }.carry_out().await?;
            let position = Position::begin(from.chat, from.turn, from.after);
            (from, position)
        }
    };
    let is_whole = position.mark.cursor.is_some() || !from.begun;
    let snapshot = !is_whole && differs(app, by, &request, &position).await?;
    let order = Order { run: request.run, from, position, has, thoughts, snapshot, stops_on_close };
    stream::answer(app, by, grant, order).await
}

/// Whether the client shows something else than what there is before the turn's answer.
async fn differs<E: Env>(
    app: &App<E>,
    by: &Requester,
    request: &RunRequest,
    position: &Position,
) -> Result<bool, Problem> {
    let Some(ours) = snapshot::read(app, by, position.chat, position.after).await? else { return Ok(false) };
    let theirs = request.messages.iter().map(|message| (&*message.role, &*message.id, message.text()));
    let lacks_result = snapshot::results_of(&ours).any(|call| !request.run.brought.contains(call));
    Ok(lacks_result || snapshot::essence_of(&ours) != snapshot::essence(theirs))
}

async fn existing<E: Env>(app: &App<E>, by: &Requester, thread: &str) -> Result<Arc<ChatState>, Problem> {
    names::chat(app, by, thread).await?.ok_or_else(Problem::no_such_chat)
}

async fn stop_thread<E: Env>(asked: Asked<E, ()>) -> Result<Response, Problem> {
    let body: StopBody = parse_object(&asked.body)?;
    let thread = ids::given(body.thread_id, "threadId")?;
    let state = existing(&asked.app, &asked.by, &thread).await?;
    if let Some(turn) = state.turn_id() {
        stop(&asked.app.node, &asked.by, state.id, turn).await?;
    }
    Ok(json_answer(StatusCode::OK, json!({"success": true}).to_string()))
}

/// `?threadId=`: what there is. `?runId=`: a run, from its begin or from where the client is.
async fn look<E: Env>(
    State(app): State<Arc<App<E>>>,
    StreamCaller(by, grant): StreamCaller,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Parameters::of(&uri)?;
    match (query.text("runId")?, query.text("threadId")?) {
        (Some(run), _) => {
            tells_a_cut(version)?;
            join(&app, &by, grant, run, &query, &headers).await
        }
        (None, Some(thread)) => hydrate(app, by, thread).await,
        (None, None) => Err(Problem::malformed("`threadId` or `runId` is missing")),
    }
}

async fn join<E: Env>(
    app: &Arc<App<E>>,
    by: &Requester,
    grant: Grant,
    run: &str,
    query: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if query.text("offset")?.is_some_and(|offset| offset != "-1") {
        return Err(Problem::malformed(
            "`offset` is -1: a run is told from its begin, or behind `Last-Event-ID`",
        ));
    }
    let unknown = || {
        let problem = Problem::from(Rejection::NoSuchTurn);
        problem.detail("`runId` is the one that `GET ?threadId=` calls `activeRun`")
    };
    let (chat, turn) = ids::parse_run(run).ok_or_else(unknown)?;
    let state = app.node.chat(by, chat).await?;
    let from = From::locate(app, by, chat, turn).await?;
    let position = match last_event_id(headers)? {
        Some(id) => Position::parse(chat, id)?,
        None => Position::begin(chat, turn, from.after),
    };
    if position.turn != turn {
        return Err(Problem::bad_cursor());
    }
    let thread = state.external_id.as_deref().map_or_else(|| chat.0.to_string(), str::to_owned);
    let (id, brought) = (run.to_owned(), BTreeSet::new());
    let run = Run { thread, id, parent: None, is_one: false, resumes: true, brought };
    let (has, thoughts) = (vec![], vec![]);
    // What the client rendered first it drops with the first words of the run, and not with its first thought.
    let snapshot = from.begun;
    let order = Order { run, from, position, has, thoughts, snapshot, stops_on_close: false };
    stream::answer(app, by, grant, order).await
}

/// All messages for a first render, but for what a run that goes on tells from its begin.
async fn hydrate<E: Env>(app: Arc<App<E>>, by: Requester, thread: &str) -> Result<Response, Problem> {
    let Some(state) = names::chat(&app, &by, thread).await? else {
        return Ok(json_answer(StatusCode::OK, r#"{"activeRun":null,"messages":[]}"#));
    };
    let turn = state.present_turn();
    let active = turn.filter(|_| state.status.is_runnable());
    let mut head = json!({"activeRun": active.map(|turn| json!({"runId": ids::run(state.id, turn.id)}))});
    if let (Status::RequiresAction, Some(turn)) = (state.status, turn) {
        let pending = interrupts(&state.calls);
        head["interrupts"] = json!({"runId": ids::run(state.id, turn.id), "pending": pending});
    }
    let mut begin = head.to_string();
    begin.truncate(begin.len() - 1);
    begin.push_str(r#","messages":["#);
    let up_to = active.map_or(MessageId(u64::MAX), |turn| turn.message);
    let listing = Listing { chat: state.id, up_to, begin, end: "]}" };
    listed::answer(app, by, listing, UiHistory::new(state.id)).await
}
