//! HTTP: routes and their handlers. They map requests to commands, reads and streams of a [`Node`], and
//! errors to problem documents. They decide nothing about chats.

mod asked;
mod auth;
mod bodies;
mod chats;
mod chunks;
mod encode;
mod faces;
mod health;
mod history;
mod hosts;
mod openapi;
mod origins;
mod page;
mod problem;
mod request;
mod results;
mod routes;
mod sends;
mod settings;
mod shares;
mod sse;
mod stream;
mod viewing;
mod web_socket;
mod whole;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderValue, StatusCode, header};
use mainstem_machine::ReplicaId;
use mainstem_runtime::Node;
use mainstem_runtime::ports::Env;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::insight::{Edge, Insight};
use crate::rates::Rates;

use auth::Requester;
pub use auth::{ANONYMOUS, Access, Bearers, Jwks, JwksTask, Jwts, Keys, Tokens, jwks};
pub use bodies::Bodies;
pub use hosts::Hosts;
pub use origins::Origins;
pub use problem::Problem;
pub use sse::{Streamed, come_back};
pub use stream::is_for_event_stream;

/// The state that all handlers share.
#[derive(Debug)]
pub struct App<E: Env> {
    pub node: Node<E>,
    pub replica: ReplicaId,
    pub access: Access,
    pub origins: Origins,
    /// The model that answers where a chat names none.
    pub default_model: Arc<str>,
    pub queue_max: usize,
    pub message_bytes_max: usize,
    pub bodies: Bodies,
    pub rates: Rates,
    pub client_timeout: Duration,
    /// The streams that there may be more of.
    pub streams: Arc<Semaphore>,
    /// The sockets on which requests come that there may be more of.
    pub request_sockets: Arc<Semaphore>,
    pub insight: Insight,
}

pub fn router<E: Env>(app: Arc<App<E>>) -> Router {
    let origins = app.origins.clone();
    let router = all_routes::<E>()
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), check_access::<E>))
        .layer(middleware::from_fn_with_state(app.insight.edge.clone(), count))
        .layer(middleware::from_fn(faces::in_their_words))
        .with_state(app);
    if origins.is_none() { router } else { router.layer(origins.layer()) }
}

fn all_routes<E: Env>() -> Router<Arc<App<E>>> {
    routes::native::<E>(true).into_router().merge(faces::routes()).merge(page::routes())
}

/// What comes before every handler, also before those that say that there is nothing.
async fn check_access<E: Env>(State(app): State<Arc<App<E>>>, request: Request, next: Next) -> Response {
    if let Err(problem) = request::check_framing(request.headers()) {
        // Where its body ends is not agreed on, so nothing else can follow on this connection.
        return ([(header::CONNECTION, "close")], problem).into_response();
    }
    match app.access.check(&request, &app.origins) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Counts what is answered.
async fn count(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    // A path of a stranger's is no label (B1).
    let route = request.extensions().get::<MatchedPath>();
    let route: Arc<str> = route.map_or("none", MatchedPath::as_str).into();
    let begun = Instant::now();
    let response = next.run(request).await;
    edge.answered(route, response.status().as_u16(), begun.elapsed());
    if let Some(problem) = response.extensions().get::<Problem>()
        && problem.is_about_who_asks()
    {
        edge.refused(problem.code);
    }
    response
}

/// Answers one request. A panic in a handler is logged and answered with an error.
pub async fn answer(router: Router, request: Request) -> Result<Response, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let waits = request::waits_to_send(request.version(), request.headers());
    let answered = AssertUnwindSafe(router.oneshot(request)).catch_unwind().await;
    let mut answered = answered.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let cause = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        tracing::error!(%method, path, cause, "a handler panicked");
        Ok(Problem::internal().into_response())
    });
    // The body may or may not follow a refusal (RFC 9110, section 10.1.1), so nothing else can on this
    // connection.
    if let Ok(response) = &mut answered
        && waits
        && (response.status().is_client_error() || response.status().is_server_error())
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answered
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn panics() -> Response {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_document() {
        let router = Router::new()
            .route("/panics", get(panics))
            .method_not_allowed_fallback(async || Problem::method_not_allowed());
        let request = Request::builder().uri("/panics").body(Body::empty()).expect("a request");
        let response = answer(router.clone(), request).await.expect("an answer");
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let request = Request::post("/panics").body(Body::empty()).expect("a request");
        let response = answer(router, request).await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"GET,HEAD".parse().expect("a value"))
        );
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
