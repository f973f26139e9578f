//! Errors as OpenAI's clients read them: our problem documents, with the member `error` in them.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::super::super::Problem;

/// A client asks again by itself what was refused with these, unless it is told not to: time does not mend them.
const ASKED_AGAIN: [StatusCode; 2] = [StatusCode::CONFLICT, StatusCode::BAD_GATEWAY];

pub(in super::super) fn error(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    if ASKED_AGAIN.contains(&parts.status) {
        parts.headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut document = problem.document();
    document["error"] = error_object(problem);
    Response::from_parts(parts, Body::from(document.to_string()))
}

pub(super) fn error_object(problem: &Problem) -> Value {
    let kind = match problem.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let message = if problem.detail.is_empty() { problem.title } else { &problem.detail };
    json!({"message": message, "type": kind, "code": problem.code, "param": null})
}
