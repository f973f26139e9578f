//! Errors of requests as problem documents (RFC 9457), each with a stable `code`.
//!
//! The codes stand in docs/protocol.md: none may change its name.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mainstem_machine::Rejection;
use mainstem_machine::limits::{QUEUE_BYTES_MAX, RESULTS_BYTES_MAX, SHARES_MAX};
use mainstem_runtime::{EdgeError, Right, Unable};
use serde_json::{Value, json};

use crate::insight::Limit;
use crate::limits::access::TICKETS_MAX;
use crate::limits::edge::{CONNECTION_BUFFER_BYTES, HEADERS_MAX};
use crate::rates::Limited;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub title: &'static str,
    pub detail: Cow<'static, str>,
    /// What `www-authenticate` says beside the scheme (RFC 6750, section 3).
    pub(super) challenge: &'static str,
    /// After how many seconds it may be otherwise, if it is for now.
    pub(super) retry_after: u64,
}

/// Who asks without any token is only told that one is needed.
const CHALLENGE: &str = "Bearer realm=\"mainstem\"";

impl Problem {
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: Cow::Borrowed(""), challenge: CHALLENGE, retry_after: 1 }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request is malformed").detail(detail)
    }

    pub fn bad_cursor() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_cursor", "Not a valid cursor")
            .detail("give the cursor of an event as it came, or none to begin from the start")
    }

    pub fn unauthorized(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The caller is not authenticated").detail(detail)
    }

    /// What came as a token is none, or is none any more.
    pub fn invalid_token(detail: &'static str) -> Self {
        let challenge = "Bearer realm=\"mainstem\", error=\"invalid_token\"";
        Self { challenge, ..Self::unauthorized(detail) }
    }

    /// The caller is known, and needs a token that gives leave to more.
    pub fn insufficient_scope(needed: Right) -> Self {
        let (challenge, detail) = match needed {
            Right::Nothing | Right::Read => (
                "Bearer realm=\"mainstem\", error=\"insufficient_scope\", scope=\"mainstem:read\"",
                "a token of the scope `mainstem:read` is needed",
            ),
            Right::Write | Right::Admin => (
                "Bearer realm=\"mainstem\", error=\"insufficient_scope\", scope=\"mainstem:write\"",
                "a token of the scope `mainstem:write` is needed",
            ),
        };
        let problem =
            Self::new(StatusCode::FORBIDDEN, "insufficient_scope", "The token gives no leave to this");
        Self { challenge, ..problem.detail(detail) }
    }

    /// The caller's token is for chats that there are.
    pub fn only_given_chats() -> Self {
        let problem =
            Self::new(StatusCode::FORBIDDEN, "insufficient_scope", "The token gives no leave to this");
        problem
            .detail("the token is for the chats that it names: \"*\" among them is needed to create others")
    }

    pub fn cross_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross_origin", "Pages of other origins may not use this server")
            .detail("without --auth-file only pages of this server and of an --allowed-host are answered")
    }

    /// A browser sent what it keeps, and the page was another's.
    pub fn foreign_page() -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross_origin", "Pages of other origins may not use this session")
            .detail("by a cookie only pages of this server and of a named --allowed-origin change anything, or open a WebSocket")
    }

    pub fn host_not_allowed() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "This server is not called by this host name",
        )
        .detail("without --auth-file only loopback hosts are answered, and those given by --allowed-host")
    }

    /// What a client shows is not the end of the chat.
    pub fn gone_on() -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The chat has gone on elsewhere")
            .detail("load its messages again before its last answer is replaced")
    }

    /// The client would show the begin of the answer twice.
    pub fn not_resumable() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "The connection was lost, and the answer goes on without this page",
        )
        .detail("this version of the SDK cannot take it up: load the chat's messages")
    }

    /// Without chunked encoding nobody can tell an answer that broke off from a whole one.
    pub fn old_version() -> Self {
        Self::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version", "HTTP/1.1 is needed here")
            .detail("a proxy in between is to speak it to this server: nginx with `proxy_http_version 1.1`")
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path")
    }

    pub fn no_such_chat() -> Self {
        Rejection::NoSuchChat.into()
    }

    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The path does not take this method")
            .detail("the header `allow` names the methods it takes")
    }

    pub fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body did not arrive in time")
    }

    pub fn head_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The request's head did not arrive in time")
    }

    pub fn bad_head() -> Self {
        Self::malformed("it does not begin with a whole head of HTTP/1.1")
    }

    /// `status` says whether its target or its fields are too large.
    pub fn large_head(status: StatusCode) -> Self {
        Self::new(status, "too_large", "The request's head is too large")
            .detail(format!("a head may have up to {CONNECTION_BUFFER_BYTES} bytes and {HEADERS_MAX} fields"))
    }

    pub fn large_length() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large")
            .detail("its `content-length` is beyond every bound")
    }

    pub fn too_large(what: &'static str, bytes_max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large")
            .detail(format!("{what} may have up to {bytes_max} bytes"))
    }

    /// What a chat was to be created with cannot be its history.
    pub fn not_a_history(detail: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_a_history", "These messages are not a history")
            .detail(detail)
    }

    /// Nobody knows whether it happened.
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The database does not answer")
            .detail("it may have happened or not; ask again under the same idempotency key")
    }

    pub fn not_ready() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "This replica is not ready for traffic")
            .detail("it starts, drains, or cannot reach the database")
    }

    /// Who asks for tickets is to use them.
    pub fn too_many_tickets() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tickets", "There are too many tickets").detail(
            format!("up to {TICKETS_MAX} of a user's wait to be used: the oldest run out within a minute"),
        )
    }

    /// What was asked too often, or is there too often.
    pub fn rate_limited(limited: Limited) -> Self {
        let what = match limited.limit {
            Limit::Streams => "all streams are open that one user may have",
            Limit::Sends => "models are asked to begin work too often",
            _ => "requests come too often",
        };
        // A rounder number, and never too soon.
        let seconds = limited.wait.as_secs() + u64::from(limited.wait.subsec_nanos() > 0);
        let retry_after = seconds.max(1);
        let problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "That is too much for one user or address",
        );
        Self { retry_after, ..problem.detail(format!("{what}: ask again in {retry_after} s")) }
    }

    /// Whether the token is good cannot be told now.
    pub fn keys_unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable", "The token cannot be checked now")
            .detail("the keys that it may be signed with cannot be fetched: ask again")
    }

    /// What was to be answered whole came to nothing.
    pub fn answer_failed(detail: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "answer_failed", "The model gave no answer").detail(detail)
    }

    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed")
            .detail("this is a defect of the server, and it was logged")
    }
}

impl Problem {
    /// Whether somebody else might have been answered.
    pub(super) fn is_about_who_asks(&self) -> bool {
        matches!(
            self.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST
        )
    }

    /// Whether the same request may be answered a moment later.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// How long the client is asked to wait, beyond the moment that all are.
    pub(super) fn wait(&self) -> Duration {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Duration::from_secs(self.retry_after),
            _ => Duration::ZERO,
        }
    }

    /// The members of the problem document.
    pub(super) fn document(&self) -> Value {
        json!({
            "type": format!("urn:mainstem:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": if self.detail.is_empty() { self.title } else { &self.detail },
            "code": self.code,
        })
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let (status, code, title) = match rejection {
            Rejection::NoSuchChat => (StatusCode::NOT_FOUND, "no_such_chat", "There is no such chat"),
            Rejection::NoSuchMessage => {
                (StatusCode::NOT_FOUND, "no_such_message", "The history has no such message")
            }
            Rejection::NoSuchQueued => {
                (StatusCode::NOT_FOUND, "no_such_queued", "The queue has no such message")
            }
            Rejection::NotPending => {
                (StatusCode::CONFLICT, "not_pending", "No such call waits for a result of the client's")
            }
            Rejection::ResultsTooLarge => {
                return Self::too_large(
                    "what the calls of one answer result in, all together",
                    RESULTS_BYTES_MAX,
                );
            }
            Rejection::NoSuchTurn => (StatusCode::NOT_FOUND, "no_such_turn", "The chat has no such turn"),
            Rejection::Exists => (StatusCode::CONFLICT, "exists", "A chat of this id exists"),
            Rejection::NotEditable => (
                StatusCode::CONFLICT,
                "not_editable",
                "Only a user's message can be edited or answered again",
            ),
            Rejection::Busy => (StatusCode::CONFLICT, "busy", "The chat is busy"),
            Rejection::QueueFull => (StatusCode::CONFLICT, "queue_full", "The queue is full"),
            Rejection::ReadOnly => {
                (StatusCode::FORBIDDEN, "read_only", "The chat is shared with the caller to read only")
            }
            Rejection::NotOwner => {
                (StatusCode::FORBIDDEN, "not_owner", "Only the owner of the chat may do this")
            }
            Rejection::OwnChat => (StatusCode::CONFLICT, "own_chat", "The chat is this user's own"),
            Rejection::TooManyShares => (
                StatusCode::CONFLICT,
                "too_many_shares",
                "The chat is shared with as many users as it may be",
            ),
            Rejection::NotRunning => {
                (StatusCode::CONFLICT, "not_running", "Nothing is running, or not what was named")
            }
            Rejection::NotFree | Rejection::Fenced => {
                (StatusCode::CONFLICT, "conflict", "The chat's state does not allow this now")
            }
            Rejection::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "This idempotency key was used for another request",
            ),
        };
        let problem = Self::new(status, code, title);
        match rejection {
            Rejection::QueueFull => problem.detail(format!(
                "no more messages, or no more than {QUEUE_BYTES_MAX} bytes of them, may wait: send again when \
                 some have had their turn, or take some back"
            )),
            Rejection::TooManyShares => problem.detail(format!(
                "a chat is shared with up to {SHARES_MAX} users: take it from one before it is given to another"
            )),
            Rejection::KeyReused => {
                problem.detail("use a fresh key for each request, and the same one only to repeat it")
            }
            _ => problem,
        }
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        Self::rate_limited(limited)
    }
}

impl From<EdgeError> for Problem {
    fn from(error: EdgeError) -> Self {
        match error {
            EdgeError::Rejected(rejection) => rejection.into(),
            EdgeError::Unavailable(detail) => {
                tracing::warn!(detail, "answered a request with 503: the database does not answer");
                Self::unavailable()
            }
            EdgeError::Overloaded(detail) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "This replica takes no more")
                    .detail(detail)
            }
            EdgeError::Forbidden(Unable::OnlyGivenChats) => Self::only_given_chats(),
            EdgeError::Forbidden(Unable::OnlyRead) => Self::insufficient_scope(Right::Write),
            EdgeError::Forbidden(Unable::NoSuchChat) => Self::no_such_chat(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.document().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
            }
            StatusCode::FORBIDDEN if self.code == "insufficient_scope" => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after));
            }
            _ => {}
        }
        // A face tells it in its clients' words.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn read_back(problem: Problem) -> (Response<()>, Value) {
        let (head, body) = problem.into_response().into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        (Response::from_parts(head, ()), serde_json::from_slice(&bytes).expect("JSON"))
    }

    #[tokio::test]
    async fn every_problem_is_a_document_with_a_code() {
        let problems = [
            Problem::malformed("line 1"),
            Problem::bad_cursor(),
            Problem::unauthorized("no token"),
            Problem::not_found(),
            Problem::host_not_allowed(),
            Problem::too_large("a message", 3),
            Problem::internal(),
            Rejection::QueueFull.into(),
            Rejection::ResultsTooLarge.into(),
            Rejection::TooManyShares.into(),
            Rejection::KeyReused.into(),
            EdgeError::Unavailable("gone".into()).into(),
            EdgeError::Overloaded("draining").into(),
        ];
        for problem in problems {
            let (head, document) = read_back(problem.clone()).await;
            assert_eq!(head.headers()["content-type"], "application/problem+json");
            assert_eq!((head.status(), &document["code"]), (problem.status, &problem.code.into()));
            assert_eq!(document["status"], problem.status.as_u16());
            assert_eq!(document["type"], format!("urn:mainstem:problem:{}", problem.code));
            assert!(document["title"].is_string() && document["detail"] != "", "{document}");
            assert_eq!(head.headers().contains_key("retry-after"), problem.status == 503);
            assert_eq!(head.headers().contains_key("www-authenticate"), problem.status == 401);
        }
    }

    #[tokio::test]
    async fn what_the_database_said_is_not_told_to_callers() {
        let (_, document) = read_back(EdgeError::Unavailable("password of root".into()).into()).await;
        assert!(!document.to_string().contains("root"), "{document}");
    }
}
