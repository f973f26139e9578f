//! `GET …/stream`: checks the caller, the starting point and the transport. All errors are reported before
//! the stream begins.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use mainstem_machine::{ChatId, Resume};
use mainstem_runtime::ports::Env;

use super::auth::StreamCaller;
use super::request::{ChatPath, Parameters, wants_web_socket};
use super::viewing::{Place, Viewing};
use super::{App, Problem, Requester, encode, sse, web_socket};
use crate::insight::{Face, Transport};
use crate::listener::Progress;

pub(super) async fn open<E: Env>(
    State(app): State<Arc<App<E>>>,
    caller: Result<StreamCaller, Problem>,
    ChatPath(chat): ChatPath,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let query = Parameters::of(&parts.uri)?;
    let is_event_stream = !wants_web_socket(&parts.headers);
    let StreamCaller(by, grant) = match caller {
        Ok(caller) => caller,
        Err(problem) if is_event_stream => return come_back_for(problem),
        Err(problem) => return Err(problem),
    };
    if is_event_stream {
        let from = resume(&query, Some(&parts.headers))?;
        return match viewer(&app, &by, chat, from, Transport::Sse).await {
            Ok((viewer, place)) => Ok(sse::answer(viewer, grant, place)),
            Err(problem) => come_back_for(problem),
        };
    }
    let from = resume(&query, None)?;
    let upgrade = web_socket::Upgrade::of(&mut parts)?;
    let (viewer, place) = viewer(&app, &by, chat, from, Transport::WebSocket).await?;
    let progress = parts.extensions.get::<Arc<Progress>>().cloned().unwrap_or_default();
    Ok(web_socket::answer(upgrade, viewer, grant, place, progress, app.client_timeout))
}

/// A 429 or a 503 would make an `EventSource` give up for good what time mends, and nothing in a request tells an `EventSource` from
/// whoever else reads event streams.
fn come_back_for(problem: Problem) -> Result<Response, Problem> {
    if problem.passes() { Ok(sse::come_back_after(problem.wait())) } else { Err(problem) }
}

/// Whether a request asks for an event stream, as far as its head tells.
pub fn is_for_event_stream(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let chat = uri.path().strip_prefix("/v1/chats/").and_then(|path| path.strip_suffix("/stream"));
    *method == Method::GET && chat.is_some_and(|chat| !chat.contains('/')) && !wants_web_socket(headers)
}

/// A viewer, and its place among the streams.
async fn viewer<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    from: Resume,
    transport: Transport,
) -> Result<(Viewing<E>, Place), Problem> {
    let place = app.place(by, Face::Native, transport)?;
    Ok((place.watch(&app.node, by, chat, from).await?, place))
}

/// Where the stream begins. `after` takes precedence over `Last-Event-ID`, and a cursor over `after_id`.
fn resume(query: &Parameters, headers: Option<&HeaderMap>) -> Result<Resume, Problem> {
    let after_id = query.after_id()?;
    let header = headers.and_then(|headers| headers.get("last-event-id")).filter(|value| !value.is_empty());
    let cursor = match (query.text("after")?, header) {
        (Some(text), _) => Some(text),
        (None, Some(value)) => Some(value.to_str().map_err(|_| Problem::bad_cursor())?),
        (None, None) => None,
    };
    match (cursor, after_id) {
        (Some(text), _) => encode::cursor_from_text(text).map(Resume::At).map_err(|_| Problem::bad_cursor()),
        (None, Some(id)) => Ok(Resume::After(id)),
        (None, None) => Ok(Resume::Fresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::{Cursor, MessageId};

    #[test]
    fn a_stream_begins_where_it_is_told_or_not_at_all() {
        let one = Cursor { message: MessageId(1), ..Cursor::default() };
        let (one_text, two_text) = (encode::cursor_to_text(&one), encode::cursor_to_text(&Cursor::default()));
        let resumed = |query: &str, header: Option<&str>| {
            let query = Parameters::of(&format!("/s?{query}").parse().expect("a URI")).expect("a query");
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("last-event-id", header.parse().expect("a value"));
            }
            resume(&query, Some(&headers)).map_err(|problem| problem.code)
        };
        assert_eq!(resumed("", None), Ok(Resume::Fresh));
        assert_eq!(resumed("", Some("")), Ok(Resume::Fresh));
        assert_eq!(resumed("after_id=7", None), Ok(Resume::After(MessageId(7))));
        assert_eq!(resumed("", Some(&one_text)), Ok(Resume::At(one)));
        assert_eq!(resumed(&format!("after={one_text}&after_id=7"), Some(&two_text)), Ok(Resume::At(one)));
        assert_eq!(resumed(&format!("after={one_text}"), Some("nonsense")), Ok(Resume::At(one)));
        assert_eq!(resumed("", Some("nonsense")), Err("bad_cursor"));
        assert_eq!(resumed("", Some("é")), Err("bad_cursor"));
        assert_eq!(resumed("after=", Some(&one_text)), Err("bad_cursor"));
        assert_eq!(resumed("after=nonsense", None), Err("bad_cursor"));
        assert_eq!(resumed("after_id=x", None), Err("malformed"));
    }
}
