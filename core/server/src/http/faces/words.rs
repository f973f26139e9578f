//! What all faces say in the same way: errors as text, what is not taken, and that an answer breaks off.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Version, header};
use serde_json::Value;

use super::super::Problem;

/// Clients show their users the body of what is no success.
pub(super) fn error(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(error_text(problem)))
}

pub(super) fn error_text(problem: &Problem) -> String {
    match &*problem.detail {
        "" => problem.title.to_owned(),
        detail => format!("{}: {detail}", problem.title),
    }
}

/// Refuses by its name what means something to its sender and nothing here. What says nothing is no matter.
pub(super) fn refuse_others(rest: &serde_json::Map<String, Value>, of: &str) -> Result<(), Problem> {
    let other = rest.iter().find(|(_, value)| match value {
        Value::Null => false,
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
    match other {
        Some((name, _)) => Err(Problem::malformed(format!("`{name:.80}` {of} is not taken here"))),
        None => Ok(()),
    }
}

/// Whether a client can tell an answer that was cut from a whole one.
pub(super) fn tells_a_cut(version: Version) -> Result<(), Problem> {
    if version < Version::HTTP_11 { Err(Problem::old_version()) } else { Ok(()) }
}
