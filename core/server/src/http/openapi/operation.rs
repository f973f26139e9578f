//! The description of one request: what it brings, what it is answered, and the problems that it may have.
//!
//! A problem is described by the value that the handler answers, so its status, code and title cannot differ from it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use mainstem_machine::Rejection;
use mainstem_runtime::{EdgeError, Right};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Header, Ref, Required, Response, ResponseBuilder};

use super::objects::message_id;
use super::schema::{
    Members, Told, all_of, at_least, label, matching, named, number, number_from, object, one_of_texts,
    string, uuid,
};
use crate::http::Problem;
use crate::insight::Limit;
use crate::limits::access::USER_BYTES_MAX;
use crate::limits::edge::{CLIENT_NAME_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::rates::Limited;

/// The names of the ways in which a caller says who it is.
pub(super) const BEARER: &str = "bearer";
pub(super) const ACCESS_TOKEN: &str = "access_token";

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// A request in the making.
pub(in crate::http) struct Request {
    operation: OperationBuilder,
    problems: Vec<Problem>,
    /// Those of who is asked for a token.
    of_tokens: Vec<Problem>,
    security: Vec<SecurityRequirement>,
}

/// What is told of a request, and the answers that many have in common, by their names.
pub(super) struct Described {
    pub(super) operation: Operation,
    pub(super) responses: BTreeMap<String, Response>,
}

/// A request of those who look after the process, by whatever name they call it.
pub(in crate::http) fn check(id: &str, summary: &str) -> Request {
    let operation = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
    // What may be said to every request, whatever it asks for.
    let problems = vec![
        Problem::bad_head(),
        Problem::head_too_slow(),
        Problem::large_head(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Problem::internal(),
        EdgeError::Overloaded("").into(),
    ];
    Request { operation, problems, of_tokens: vec![], security: vec![] }
}

/// A request of anybody.
pub(in crate::http) fn public(id: &str, summary: &str) -> Request {
    check(id, summary).may_be(Problem::cross_origin()).may_be(Problem::host_not_allowed())
}

/// A request of a caller who may be asked for a token.
pub(in crate::http) fn request(id: &str, summary: &str) -> Request {
    let limited = Limited { limit: Limit::Requests, wait: Duration::ZERO };
    let request = public(id, summary).may_be(Problem::unavailable()).may_be(limited);
    let of_tokens = vec![
        Problem::unauthorized(""),
        Problem::insufficient_scope(Right::Read),
        Problem::keys_unavailable(),
    ];
    Request { of_tokens, security: vec![security(BEARER)], ..request }
}

fn security(name: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(name, [])
}

impl Request {
    pub(in crate::http) fn words(self, words: &str) -> Self {
        Self { operation: self.operation.description(Some(words)), ..self }
    }

    fn with(self, parameter: impl Into<Parameter>) -> Self {
        Self { operation: self.operation.parameter(parameter), ..self }
    }

    /// The token may be in the query, too.
    pub(in crate::http) fn by_query_token(mut self) -> Self {
        self.security.push(security(ACCESS_TOKEN));
        self
    }

    /// Its path has a `{chat}`.
    pub(in crate::http) fn of_chat(self) -> Self {
        self.with(path("chat", uuid(), "the chat's `id`")).may_be(Rejection::NoSuchChat)
    }

    /// Its path has an `{id}`, too.
    pub(in crate::http) fn of_item(self, words: &str, otherwise: Rejection) -> Self {
        self.of_chat().with(path("id", message_id(), words)).may_be(otherwise)
    }

    /// Its path has a `{user}`.
    pub(in crate::http) fn of_user(self) -> Self {
        let words = "the user's name, percent-encoded";
        self.with(path("user", label(1, USER_BYTES_MAX), words))
    }

    pub(in crate::http) fn query(self, name: &str, schema: impl Into<Told>, words: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
        self.with(parameter.required(Required::False).schema(Some(schema)).description(Some(words)))
    }

    /// How many items a page is to have.
    pub(in crate::http) fn limited(self) -> Self {
        let mut limit = number_from(1);
        limit.default = Some(PAGE_DEFAULT.into());
        let words = format!("items of the page; more than {PAGE_MAX} counts as {PAGE_MAX}");
        self.query("limit", limit, &words)
    }

    pub(in crate::http) fn by_external_id(self) -> Self {
        let name = label(1, CLIENT_NAME_BYTES_MAX);
        self.query("external_id", name, "the chat of this name alone, or none")
    }

    pub(in crate::http) fn header(self, name: &str, schema: impl Into<Told>, words: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        self.with(parameter.required(Required::False).schema(Some(schema)).description(Some(words)))
    }

    /// It changes something: it brings this object, and may have a key.
    pub(in crate::http) fn brings(self, schema: &str, required: Required) -> Self {
        self.takes(schema, required).has_key()
    }

    /// It brings this object.
    pub(in crate::http) fn takes(self, schema: &str, required: Required) -> Self {
        let body = RequestBodyBuilder::new().content(JSON, Content::new(Some(named(schema))));
        let words = match required {
            Required::True => "A JSON object; members that are not named here are ignored.",
            _ => "A JSON object; members that are not named here are ignored. None: an empty one.",
        };
        let body = body.required(Some(required)).description(Some(words)).build();
        let operation = self.operation.request_body(Some(body));
        Self { operation, ..self }.reads_body()
    }

    /// It changes something, and may have a key. A body is read, though it says nothing.
    pub(in crate::http) fn brings_nothing(self) -> Self {
        self.reads_body().has_key()
    }

    fn reads_body(self) -> Self {
        self.may_be(Problem::too_large("a request's body", 0)).may_be(Problem::body_too_slow())
    }

    fn has_key(self) -> Self {
        let key = matching(format!("^[!-~]{{1,{IDEMPOTENCY_KEY_BYTES_MAX}}}$"));
        let words = "for 24 hours, the same key with the same body is answered what was answered first, and changes nothing";
        self.header("Idempotency-Key", key, words).may_be(Rejection::KeyReused)
    }

    pub(in crate::http) fn answers(self, status: StatusCode, words: &str, schema: &str) -> Self {
        let content = Content::new(Some(named(schema)));
        self.answers_with(status, ResponseBuilder::new().description(words).content(JSON, content))
    }

    pub(in crate::http) fn answers_nothing(self, status: StatusCode, words: &str) -> Self {
        self.answers_with(status, ResponseBuilder::new().description(words))
    }

    pub(in crate::http) fn answers_with(self, status: StatusCode, response: ResponseBuilder) -> Self {
        Self { operation: self.operation.response(status.as_str(), response.build()), ..self }
    }

    /// A problem that it may be answered.
    pub(in crate::http) fn may_be(mut self, problem: impl Into<Problem>) -> Self {
        self.problems.push(problem.into());
        self
    }

    /// As it stands in the document.
    pub(super) fn describe(mut self, asks_for_tokens: bool) -> Described {
        if asks_for_tokens {
            self.problems.append(&mut self.of_tokens);
            for security in self.security {
                self.operation = self.operation.security(security);
            }
        }
        let mut by_status: BTreeMap<u16, BTreeMap<&'static str, &'static str>> = BTreeMap::new();
        for problem in &self.problems {
            by_status.entry(problem.status.as_u16()).or_default().insert(problem.code, problem.title);
        }
        let mut described = Described { operation: self.operation.build(), responses: BTreeMap::new() };
        for (status, codes) in by_status {
            let name = codes.keys().fold(status.to_string(), |name, code| format!("{name}.{code}"));
            let reference = Ref::new(format!("#/components/responses/{name}"));
            described.operation.responses.responses.insert(status.to_string(), reference.into());
            described.responses.insert(name, problem_response(status, &codes));
        }
        described
    }
}

fn path(name: &str, schema: impl Into<Told>, words: &str) -> ParameterBuilder {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
    parameter.required(Required::True).schema(Some(schema)).description(Some(words))
}

/// A header of an answer.
pub(in crate::http) fn answer_header(schema: impl Into<Told>, words: &str) -> Header {
    HeaderBuilder::new().schema(Some(schema)).description(Some(words)).build()
}

fn problem_response(status: u16, codes: &BTreeMap<&'static str, &'static str>) -> Response {
    let titles: Vec<String> = codes.iter().map(|(code, title)| format!("`{code}`: {title}.")).collect();
    let own = number(status.into(), status.into());
    let narrowed = object("").has("status", own, "").has("code", one_of_texts(codes.keys().copied()), "");
    let schema = all_of([named("Problem"), narrowed.into()]);
    let response = ResponseBuilder::new().description(titles.join(" "));
    let response = response.content(PROBLEM, Content::new(Some(schema)));
    match status {
        401 => {
            let words = "how to say who is asking";
            response.header("WWW-Authenticate", answer_header(at_least(1, string()), words))
        }
        429 | 503 => response.header("Retry-After", answer_header(matching("^[0-9]+$"), "in seconds")),
        _ => response,
    }
    .build()
}
