//! Liveness and readiness of this replica.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use mainstem_runtime::ports::Env;
use serde_json::json;

use super::{App, Problem, json};

/// Whether this path is asked by those who look after the process.
pub(super) fn is_check(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

pub(super) async fn alive<E: Env>(State(app): State<Arc<App<E>>>) -> Response {
    let body = json!({"status": "ok", "replica": app.replica, "version": env!("CARGO_PKG_VERSION")});
    json(StatusCode::OK, body.to_string())
}

pub(super) async fn ready<E: Env>(State(app): State<Arc<App<E>>>) -> Result<Response, Problem> {
    if !app.node.is_ready() {
        return Err(Problem::not_ready());
    }
    Ok(json(StatusCode::OK, json!({"status": "ready", "replica": app.replica}).to_string()))
}
