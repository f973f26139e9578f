//! Faces: the protocols of other people's clients, each a codec and a few routes in a folder of its own. No face knows
//! another, and none keeps anything that another replica would lack: what it names is computed ([`names`]).
//!
//! What all of them stand on is here: which message a client means ([`names`]), what it says of its chat ([`settings`]),
//! the events of one turn as they are told to a viewer, joined first and then live ([`turn`]), and the history for a first
//! render ([`listed`]).

mod ag_ui;
mod ai_sdk;
mod listed;
mod names;
mod openai;
mod settings;
mod shown;
mod stop;
mod streamed;
mod turn;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use mainstem_runtime::ports::Env;

use super::{App, Problem};

/// The routes of all faces.
pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    ai_sdk::routes().merge(ag_ui::routes()).merge(openai::routes())
}

/// Around everything else: an error on a face's path is told in the words of its clients.
pub(super) async fn in_their_words(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_openais = openai::is_path(path);
    let is_anothers = ai_sdk::is_path(path) || ag_ui::is_path(path);
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if is_openais => openai::words::error(response, &problem),
        Some(problem) if is_anothers => words::error(response, &problem),
        _ => response,
    }
}
