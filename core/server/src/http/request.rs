//! Parses requests. This is done by hand, so that every error has our own problem document.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version, header};
use mainstem_machine::{ChatId, Content, ContentError, Episode, MessageId, Rejection};
use mainstem_runtime::ports::{IdempotencyKey, Keep, Listing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Problem;
use super::whole::Whole;
use crate::limits::edge::{
    CLIENT_NAME_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, MESSAGE_ID_MAX, PAGE_DEFAULT, PAGE_MAX,
};

/// The `{chat}` of a path. If it is not a UUID, there is no such chat.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChatPath(pub(super) ChatId);

impl<S: Send + Sync> FromRequestParts<S> for ChatPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::no_such_chat())?;
        let chat = params.iter().find(|(name, _)| *name == "chat");
        chat.and_then(|(_, text)| parse_chat(text)).map(Self).ok_or_else(Problem::no_such_chat)
    }
}

/// The `{chat}` and the `{id}` of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemPath {
    pub(super) chat: ChatId,
    /// `None` if it cannot be the id of a message.
    id: Option<MessageId>,
}

impl ItemPath {
    /// The id, or the error `otherwise` if no message can have it.
    pub(super) fn id_or(self, otherwise: Rejection) -> Result<MessageId, Problem> {
        self.id.ok_or_else(|| otherwise.into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ChatPath(chat) = ChatPath::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::not_found())?;
        let text = params.iter().find(|(name, _)| *name == "id").map(|(_, text)| text);
        let id = text.and_then(parse_number).filter(|id| *id <= MESSAGE_ID_MAX);
        Ok(Self { chat, id: id.map(MessageId) })
    }
}

fn parse_chat(text: &str) -> Option<ChatId> {
    // `Uuid` also parses forms that our URLs do not have.
    if text.len() != 36 { None } else { Uuid::try_parse(text).ok().map(ChatId) }
}

/// Parses decimal digits and nothing else. Numbers beyond 64 bits become the maximum.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The query of a request.
#[derive(Clone, Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
        query.map(|Query(pairs)| Self(pairs)).map_err(|error| Problem::malformed(error.to_string()))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Problem::malformed(format!("`{name}` was given more than once")));
        }
        Ok(value)
    }

    /// `limit`. A larger value than the maximum means the maximum: `next` says whether more is left.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit")? else { return Ok(PAGE_DEFAULT) };
        match parse_number(text) {
            None | Some(0) => Err(Problem::malformed("`limit` is a number from 1 to 100")),
            Some(limit) => Ok(usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX)),
        }
    }

    pub(super) fn after_id(&self) -> Result<Option<MessageId>, Problem> {
        let Some(text) = self.text("after_id")? else { return Ok(None) };
        let number = parse_number(text)
            .ok_or_else(|| Problem::malformed("`after_id` is the id of a message: a number, 0 or above"))?;
        Ok(Some(MessageId(number.min(MESSAGE_ID_MAX))))
    }

    /// The caller's own name of a chat.
    pub(super) fn external_id(&self) -> Result<Option<String>, Problem> {
        let name = parse_name(self.text("external_id")?.map(Into::into), "external_id")?;
        Ok(name.map(|name| (*name).to_owned()))
    }

    /// Whether those chats are meant that others share with the caller.
    pub(super) fn listing(&self) -> Result<Listing, Problem> {
        match self.text("shared")? {
            None | Some("false") => Ok(Listing::Own),
            Some("true") => Ok(Listing::Shared),
            Some(_) => Err(Problem::malformed("`shared` is `true` or `false`")),
        }
    }

    pub(super) fn before(&self) -> Result<Option<ChatId>, Problem> {
        let Some(text) = self.text("before")? else { return Ok(None) };
        let chat = parse_chat(text).ok_or_else(|| Problem::malformed("`before` is the id of a chat"))?;
        Ok(Some(chat))
    }
}

/// How a body is framed, as no two readers understand it otherwise: in chunks, once, and in no other coding (RFC 9112, section 6.1).
pub(super) fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_none() && coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    Err(Problem::malformed("`transfer-encoding` was expected to be `chunked`, and to be given once"))
}

/// Whether the client sends its body only when it is told to go on, which hyper does when the body is first
/// read.
pub(super) fn waits_to_send(version: Version, headers: &HeaderMap) -> bool {
    let expects = headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue"));
    expects && version == Version::HTTP_11
}

/// A body's JSON object. An empty body is an empty object.
pub(super) fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::malformed("the body is a JSON object"));
    }
    // Members that are ignored have to be valid JSON as well.
    let body = std::str::from_utf8(body).map_err(|error| Problem::malformed(format!("the body: {error}")))?;
    serde_json::from_str(body).map_err(|error| Problem::malformed(format!("the body: {error}")))
}

/// A `content`, with a text within the bound.
pub(super) fn parse_content(json: &RawValue, bytes_max: usize) -> Result<Content, Problem> {
    Content::from_request(json.get(), bytes_max).map_err(content_problem)
}

/// Why a content is not taken.
pub(super) fn content_problem(error: ContentError) -> Problem {
    match error {
        ContentError::TextTooLarge { bytes_max } => Problem::too_large("the text of a message", bytes_max),
        ContentError::RestTooLarge { bytes_max } => {
            Problem::too_large("what a message has besides its text", bytes_max)
        }
        error => Problem::malformed(error.to_string()),
    }
}

/// A required member.
pub(super) fn required(value: Option<Box<RawValue>>, name: &str) -> Result<Box<RawValue>, Problem> {
    value.ok_or_else(|| Problem::malformed(format!("`{name}` is missing")))
}

/// A short text that databases can store.
pub(super) fn parse_label(
    text: Option<String>,
    name: &str,
    bytes_max: usize,
) -> Result<Option<Arc<str>>, Problem> {
    match text {
        Some(text) if text.len() > bytes_max => {
            Err(Problem::malformed(format!("`{name}` may have up to {bytes_max} bytes")))
        }
        Some(text) if text.contains('\0') => {
            Err(Problem::malformed(format!("`{name}` may not have a NUL character")))
        }
        text => Ok(text.map(Into::into)),
    }
}

/// A name that a client gives to what it makes.
pub(super) fn parse_name(name: Option<String>, member: &str) -> Result<Option<Arc<str>>, Problem> {
    match name {
        Some(name) if name.is_empty() => Err(Problem::malformed(format!("`{member}` is empty"))),
        name => parse_label(name, member, CLIENT_NAME_BYTES_MAX),
    }
}

/// The idempotency key of the request, from the `Idempotency-Key` header.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    caller: &Arc<str>,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(key) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed("`idempotency-key` was given more than once"));
    }
    let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
        && key.as_bytes().iter().all(u8::is_ascii_graphic);
    let key = key.to_str().ok().filter(|_| fits).ok_or_else(|| {
        Problem::malformed("`idempotency-key` is 1 to 255 visible ASCII characters without spaces")
    })?;
    Ok(Some(IdempotencyKey {
        caller: Arc::clone(caller),
        key: format!("{method} {} {key}", uri.path()).into(),
        body: Sha256::digest(body).into(),
        keep: Keep::Answer,
    }))
}

/// Whether the client requests an upgrade to a WebSocket.
pub(super) fn wants_web_socket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The body of a send or an edit.
#[derive(Debug, Deserialize)]
pub(super) struct SendBody {
    pub(super) content: Option<Box<RawValue>>,
    pub(super) busy: Option<mainstem_machine::SendMode>,
    pub(super) client_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RegenerateBody {
    /// The last one of a user, if none is named.
    message: Option<Whole>,
    pub(super) busy: Option<mainstem_machine::SendMode>,
}

impl RegenerateBody {
    pub(super) fn message(&self) -> Option<MessageId> {
        self.message.map(|Whole(id)| MessageId(id.min(MESSAGE_ID_MAX)))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct InterruptBody {
    episode: Option<EpisodeBody>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct EpisodeBody {
    history_version: Whole,
    attempt: Whole,
}

impl InterruptBody {
    pub(super) fn episode(&self) -> Option<Episode> {
        self.episode.map(|EpisodeBody { history_version: Whole(version), attempt: Whole(attempt) }| Episode {
            history_version: mainstem_machine::Version(version),
            attempt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Parameters {
        Parameters::of(&format!("/x?{text}").parse().expect("a URI")).expect("a query")
    }

    #[test]
    fn numbers_in_a_query_are_numbers_or_refused() {
        for (text, limit) in
            [("", 50), ("limit=1", 1), ("limit=100", 100), ("limit=99999999999999999999999", 100)]
        {
            assert_eq!(query(text).limit(), Ok(limit), "{text}");
        }
        for bad in ["limit=0", "limit=", "limit=-1", "limit=1.5", "limit=x", "limit=1&limit=2", "limit=%00"] {
            assert_eq!(query(bad).limit().map_err(|p| p.code), Err("malformed"), "{bad}");
        }
        assert_eq!(query("").after_id(), Ok(None));
        assert_eq!(query("after_id=007").after_id(), Ok(Some(MessageId(7))));
        let huge = query("after_id=99999999999999999999999").after_id();
        assert_eq!(huge, Ok(Some(MessageId(MESSAGE_ID_MAX))), "a number above 0, however large");
        for bad in
            ["after_id=-1", "after_id=", "after_id=1e3", "after_id=+1", "after_id=%ff", "after_id=null"]
        {
            assert_eq!(query(bad).after_id().map_err(|p| p.status.as_u16()), Err(400), "{bad}");
        }
        assert!(query("before=0190d6f1-0000-7000-8000-000000000001").before().is_ok_and(|id| id.is_some()));
        assert_eq!(query("before=x").before().map_err(|p| p.code), Err("malformed"));
    }

    #[test]
    fn a_body_is_an_object_of_the_right_shape_or_malformed() {
        assert!(parse_object::<SendBody>(b"").is_ok_and(|body| body.content.is_none()));
        assert!(parse_object::<SendBody>(br#" {"content": "x", "busy": null, "more": [1]}"#).is_ok());
        let deep = format!("{{\"content\":{}", "[".repeat(100_000));
        for bad in [
            "null",
            "[]",
            "\"x\"",
            "{",
            "{}{}",
            "{\"busy\":\"later\"}",
            "{\"busy\":3}",
            "{\"content\":1,\"content\":2}",
            "\u{feff}{}",
            &deep,
        ] {
            assert_eq!(
                parse_object::<SendBody>(bad.as_bytes()).map_err(|p| p.code).err(),
                Some("malformed"),
                "{bad:.40}"
            );
        }
        assert!(parse_object::<SendBody>(b"{\"content\":\"\xff\"}").is_err(), "not UTF-8");
        assert!(parse_object::<SendBody>(b"{\"unread\":\"\xff\"}").is_err(), "not UTF-8");
        for bad in
            ["{\"episode\":3}", "{\"episode\":{}}", "{\"episode\":{\"history_version\":-1,\"attempt\":0}}"]
        {
            assert!(parse_object::<InterruptBody>(bad.as_bytes()).is_err(), "{bad}");
        }
        let named: InterruptBody =
            parse_object(br#"{"episode":{"history_version":7.0,"attempt":2}}"#).expect("an object");
        let episode = Episode { history_version: mainstem_machine::Version(7), attempt: 2 };
        assert_eq!(named.episode(), Some(episode));
    }

    #[test]
    fn content_is_bounded_by_its_text() {
        let content = |json: &str| {
            let body: SendBody =
                parse_object(format!("{{\"content\":{json}}}").as_bytes()).expect("an object");
            parse_content(&body.content.expect("content"), 4).map_err(|p| p.code)
        };
        assert!(content(r#""four""#).is_ok() && content(r#""\"\"\"\"""#).is_ok());
        assert!(
            content(r#""\u0436\u0436""#).is_ok() && content(r#""\ud83e\udd80""#).is_ok(),
            "however it is escaped"
        );
        assert_eq!(content(r#""5five""#).err(), Some("too_large"));
        assert_eq!(content(r#""\u0436\u0436\u0436""#).err(), Some("too_large"));
        for bad in [r#""""#, r#""\ud800""#, "3", "[3]"] {
            assert_eq!(content(bad).err(), Some("malformed"), "{bad}");
        }
        assert_eq!(required(None, "content").map_err(|p| p.code).err(), Some("malformed"));
    }

    #[test]
    fn a_key_belongs_to_caller_method_path_and_body() {
        let key_of = |headers: &HeaderMap, path: &str, body: &str| {
            idempotency_key(
                headers,
                &"ann".into(),
                &Method::POST,
                &path.parse().expect("a path"),
                body.as_bytes(),
            )
        };
        let mut headers = HeaderMap::new();
        assert_eq!(key_of(&headers, "/v1/chats", ""), Ok(None));
        headers.insert("idempotency-key", "k-1".parse().expect("a value"));
        let one = key_of(&headers, "/v1/chats?x=1", "a").expect("a receipt").expect("a key");
        assert_eq!((&*one.caller, &*one.key), ("ann", "POST /v1/chats k-1"));
        let other = key_of(&headers, "/v1/chats", "b").expect("a receipt").expect("a key");
        assert_eq!(one.key, other.key);
        assert_ne!(one.body, other.body);
        headers.append("idempotency-key", "k-2".parse().expect("a value"));
        assert!(key_of(&headers, "/v1/chats", "").is_err(), "two keys");
        for bad in ["", "a b", &"x".repeat(256)] {
            headers.insert("idempotency-key", bad.parse().expect("a value"));
            assert_eq!(key_of(&headers, "/", "").map_err(|p| p.code), Err("malformed"), "{bad:.9}");
        }
    }

    #[test]
    fn only_http_1_1_waits_for_leave_to_send() {
        let mut headers = HeaderMap::new();
        assert!(!waits_to_send(Version::HTTP_11, &headers));
        headers.insert("expect", "100-Continue".parse().expect("a value"));
        assert!(waits_to_send(Version::HTTP_11, &headers) && !waits_to_send(Version::HTTP_10, &headers));
        headers.insert("expect", "200-ok".parse().expect("a value"));
        assert!(!waits_to_send(Version::HTTP_11, &headers));
    }
}
