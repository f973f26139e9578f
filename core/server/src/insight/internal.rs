//! The internal listener: what only those see who operate a replica. It is off unless it is given, and on loopback unless
//! another address is. Nothing here changes anything, and nothing tells what users or models said.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use mainstem_machine::ReplicaId;
use mainstem_runtime::ports::Env;
use mainstem_runtime::{Census, Node};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Insight;
use super::census::OfNode;
use super::exposition::{CONTENT_TYPE, Exposition};
use crate::http::Problem;
use crate::limits::insight::OPEN_CHATS_MAX;

/// What its handlers share.
#[derive(Debug)]
struct Internal<E: Env> {
    node: Node<E>,
    replica: ReplicaId,
    exposition: Exposition,
}

/// Its routes.
pub fn router<E: Env>(node: Node<E>, replica: ReplicaId, insight: &Insight) -> Router {
    let exposition = Exposition::new(insight, Box::new(OfNode(node.clone())));
    Router::new()
        .route("/healthz", get(alive::<E>))
        .route("/readyz", get(ready::<E>))
        .route("/metrics", get(metrics::<E>))
        .route("/debug/replica", get(of_replica::<E>))
        .route("/debug/chats", get(chats::<E>))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .with_state(Arc::new(Internal { node, replica, exposition }))
}

/// Fails slowly: only when a restart is what helps. A database that is away is no reason.
async fn alive<E: Env>(State(internal): State<Arc<Internal<E>>>) -> Result<Response, Problem> {
    if internal.node.has_failed() {
        return Err(Problem::not_ready());
    }
    let version = env!("CARGO_PKG_VERSION");
    Ok(answer(&json!({"status": "ok", "replica": internal.replica, "version": version})))
}

/// Fails fast: as soon as another replica would serve better.
async fn ready<E: Env>(State(internal): State<Arc<Internal<E>>>) -> Result<Response, Problem> {
    if !internal.node.is_ready() {
        return Err(Problem::not_ready());
    }
    Ok(answer(&json!({"status": "ready", "replica": internal.replica})))
}

async fn metrics<E: Env>(State(internal): State<Arc<Internal<E>>>) -> Response {
    typed(internal.exposition.encode().expect("a text takes what is written to it"), CONTENT_TYPE)
}

async fn of_replica<E: Env>(State(internal): State<Arc<Internal<E>>>) -> Response {
    let Census { hubs, held, slots_free, relay } = internal.node.census();
    answer(&json!({
        "replica": internal.replica,
        "version": env!("CARGO_PKG_VERSION"),
        "ready": internal.node.is_ready(),
        "hubs": hubs,
        "chats_held": held,
        "workers_free": slots_free,
        "relays": {
            "open": relay.open,
            "accepted": relay.accepted,
            "given_up": relay.given_up,
            "gone": relay.gone,
            "not_worker": relay.not_worker,
            "denied": relay.denied,
            "nonsense": relay.nonsense,
        },
    }))
}

#[derive(Deserialize)]
struct Chats {
    limit: Option<usize>,
}

/// The chats that are open here, with the version that is known of each.
async fn chats<E: Env>(
    State(internal): State<Arc<Internal<E>>>,
    Query(Chats { limit }): Query<Chats>,
) -> Response {
    let open = internal.node.open_chats();
    let limit = limit.unwrap_or(OPEN_CHATS_MAX).min(OPEN_CHATS_MAX);
    let chats: Vec<Value> = open
        .iter()
        .take(limit)
        .map(|(chat, version)| json!({"id": chat.to_string(), "snapshot_version": version.0}))
        .collect();
    answer(&json!({"open": open.len(), "chats": chats}))
}

fn answer(body: &Value) -> Response {
    typed(body.to_string(), "application/json")
}

fn typed(body: String, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
