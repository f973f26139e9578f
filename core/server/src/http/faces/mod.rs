//! Faces: the protocols of other people's clients, each a codec and a few routes in a folder of its own. No face knows
//! another, and none keeps anything that another replica would lack: what it names is computed ([`names`]).
//!
//! What all of them stand on is here: which message a client means ([`names`]), and the events of one turn as they are
//! told to a viewer, joined first and then live ([`turn`]).

mod ai_sdk;
mod cross_origin;
mod names;
mod shown;
mod stop;
mod turn;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use mainstem_runtime::ports::Env;

use self::cross_origin::CrossOrigin;
use super::{App, Problem};

/// The routes of all faces.
pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    ai_sdk::routes()
}

/// Around everything else: an error on a face's path is told in the words of its clients, and pages of other origins are
/// answered as their browsers ask.
pub(super) async fn in_their_words<E: Env>(
    State(app): State<Arc<App<E>>>,
    request: Request,
    next: Next,
) -> Response {
    if !ai_sdk::is_path(request.uri().path()) {
        return next.run(request).await;
    }
    let asked = CrossOrigin::of(&app.access, &request);
    let mut response = match asked.preflight() {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    let problem = response.extensions_mut().remove::<Problem>();
    asked.allow(match problem {
        Some(problem) => ai_sdk::error(response, &problem),
        None => response,
    })
}
