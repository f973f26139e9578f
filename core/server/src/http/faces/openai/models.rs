//! Models: the one that answers where a chat names none. Others may be named; whether there is one of that name, its provider knows.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use mainstem_runtime::ports::Env;
use serde_json::{Value, json};

use super::super::super::auth::Caller;
use super::super::super::{App, Problem};
use super::{Named, object};

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new().route("/v1/models", get(list::<E>)).route("/v1/models/{*id}", get(read::<E>))
}

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "mainstem"})
}

async fn list<E: Env>(State(app): State<Arc<App<E>>>, _: Caller) -> Response {
    object(&json!({"object": "list", "data": [model(&app.default_model)]}))
}

async fn read<E: Env>(
    State(app): State<Arc<App<E>>>,
    _: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    if *name != *app.default_model {
        return Err(Problem {
            detail: format!("there is no model {name:.120?}").into(),
            ..Problem::not_found()
        });
    }
    Ok(object(&model(&name)))
}
