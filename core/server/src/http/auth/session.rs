//! Sessions of browsers: a token that is kept as a cookie, which pages cannot read (RFC 6265bis). A cookie authenticates like
//! its token, and is sent by the browser whichever page asks: so what changes anything, and every WebSocket, has to come from a page of
//! this server, or of an origin that `--allowed-origin` names.
//!
//! `__Host-` and `Secure` keep a cookie to this host and to TLS. A server on one's own machine is called by a loopback name, without
//! TLS, and not all browsers keep such a cookie there: it has a plain name then, which no other host's server looks at.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use mainstem_runtime::ports::Env;
use tokio::time::Instant;

use super::super::hosts::{Called, Hosts, is_foreign_fetch};
use super::super::request::wants_web_socket;
use super::super::{App, Origins, Problem};
use super::{Access, StreamCaller, bearer};
use crate::limits::access::COOKIE_BYTES_MAX;

const SECURE: &str = "__Host-mainstem_session";
const PLAIN: &str = "mainstem_session";

/// The token of the session, if the request has one.
pub(super) fn token<'a>(headers: &'a HeaderMap, called: &Called) -> Option<&'a str> {
    let named = |wanted: &str| {
        let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value).next()
    };
    named(SECURE).or_else(|| named(PLAIN).filter(|_| called.is_loopback()))
}

/// Whether a request that is authenticated by a cookie may do what it asks for.
pub(super) fn check_page(parts: &Parts, called: &Called, origins: &Origins) -> Result<(), Problem> {
    let headers = &parts.headers;
    let only_reads = matches!(parts.method, Method::GET | Method::HEAD) && !wants_web_socket(headers);
    if is_ours(headers, called, origins) || (only_reads && !is_foreign_fetch(headers)) {
        Ok(())
    } else {
        Err(Problem::foreign_page())
    }
}

/// Whether it says that it comes from a page of ours. What says nothing does not come from one.
fn is_ours(headers: &HeaderMap, called: &Called, origins: &Origins) -> bool {
    let mut given = headers.get_all(header::ORIGIN).iter().peekable();
    let has_origin = given.peek().is_some();
    let mut all = |is_fine: &dyn Fn(&HeaderValue) -> bool| has_origin && given.all(is_fine);
    // A browser knows best (Fetch Metadata), also where a proxy does not hand on by which name it was called.
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin") => true,
        Some(b"same-site" | b"cross-site") => all(&|origin| origins.names(origin)),
        _ => all(&|origin| origins.names(origin) || Hosts::default().is_own(origin, called)),
    }
}

/// Whether it came without TLS to this machine itself, as far as anybody says.
fn is_plain(headers: &HeaderMap, called: &Called) -> bool {
    let says = |name: &str, what: &str| {
        let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
        fields.into_iter().any(|field| field.to_ascii_lowercase().contains(what))
    };
    let has_tls =
        says("origin", "https://") || says("x-forwarded-proto", "https") || says("forwarded", "proto=https");
    called.is_loopback() && !has_tls
}

/// What the attributes of both names are.
fn cookie(name: &str, value: &str, seconds: Option<u64>) -> HeaderValue {
    let secure = if name == SECURE { "; Secure" } else { "" };
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    HeaderValue::try_from(text).expect("its octets were looked at")
}

/// RFC 6265, section 4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Keeps the bearer's token as a cookie, until it ends.
pub(in super::super) async fn open<E: Env>(
    State(app): State<Arc<App<E>>>,
    StreamCaller(_, grant): StreamCaller,
    parts: Parts,
) -> Result<Response, Problem> {
    let called = page_of_ours(&parts, &app.origins)?;
    if matches!(app.access, Access::Anybody(_)) {
        // Nobody is asked for a token, so there is none to keep.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let expected = || Problem::unauthorized("a session begins with a header `authorization: Bearer <token>`");
    let token = bearer(&parts.headers)?.ok_or_else(expected)?;
    if token.len() > COOKIE_BYTES_MAX {
        return Err(Problem::too_large("a token that a browser is to keep", COOKIE_BYTES_MAX));
    }
    if !token.bytes().all(is_cookie_octet) {
        return Err(Problem::malformed("the token has characters that no cookie takes"));
    }
    let name = if is_plain(&parts.headers, &called) { PLAIN } else { SECURE };
    let left = grant.ends.map(|ends| ends.saturating_duration_since(Instant::now()).as_secs());
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie(name, token, left));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Forgets the session, though its token is good no more.
pub(in super::super) async fn close<E: Env>(
    State(app): State<Arc<App<E>>>,
    parts: Parts,
) -> Result<Response, Problem> {
    page_of_ours(&parts, &app.origins)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    for name in [SECURE, PLAIN] {
        response.headers_mut().append(header::SET_COOKIE, cookie(name, "", Some(0)));
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Pages of others begin and end no session, whoever has the token. What is no browser says nothing of a page.
fn page_of_ours(parts: &Parts, origins: &Origins) -> Result<Called, Problem> {
    let called = Called::by(parts.version, &parts.uri, &parts.headers)?;
    let has_page = ["origin", "sec-fetch-site"].into_iter().any(|name| parts.headers.contains_key(name));
    if has_page && !is_ours(&parts.headers, &called, origins) {
        return Err(Problem::foreign_page());
    }
    Ok(called)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn asked(method: &str, fields: &[(&str, &str)], origins: &Origins) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/chats");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let called = Called::by(parts.version, &parts.uri, &parts.headers).expect("a host");
        check_page(&parts, &called, origins).map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    const HOST: (&str, &str) = ("host", "localhost:8080");
    const SOCKET: (&str, &str) = ("upgrade", "websocket");

    #[test]
    fn what_changes_anything_comes_from_a_page_of_ours_or_of_a_named_origin() {
        let named = Origins::new(&["https://page.example".to_owned()]).expect("an origin");
        let any = Origins::new(&["*".to_owned()]).expect("an origin");
        let own = ("origin", "http://localhost:8080");
        for (fields, status) in [
            (vec![own], 200),
            (vec![("sec-fetch-site", "same-origin")], 200),
            (vec![("sec-fetch-site", "same-origin"), ("origin", "https://behind.a.proxy")], 200),
            (vec![("origin", "https://page.example")], 200),
            (vec![("origin", "https://page.example"), ("sec-fetch-site", "cross-site")], 200),
            // A form of another site, with or without what newer browsers say.
            (vec![("origin", "https://evil.example")], 403),
            (vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 403),
            (vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 403),
            (vec![], 403),
            (vec![("sec-fetch-site", "none")], 403),
            (vec![("origin", "null")], 403),
            (vec![("origin", "http://localhost:3000")], 403),
            (vec![("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")], 403),
            (vec![("origin", "http://localhost")], 403),
            // Of the same name by its own words, and of another scheme by the browser's.
            (vec![own, ("sec-fetch-site", "cross-site")], 403),
            (vec![own, ("origin", "https://evil.example")], 403),
        ] {
            for method in ["POST", "PATCH", "DELETE", "PUT"] {
                let fields = [&[HOST], &fields[..]].concat();
                assert_eq!(asked(method, &fields, &named), status, "{method} {fields:?}");
            }
            let fields = [&[HOST, SOCKET], &fields[..]].concat();
            assert_eq!(asked("GET", &fields, &named), status, "a WebSocket: {fields:?}");
        }
        // Every origin may ask there, and none with what a browser adds by itself.
        assert_eq!(asked("POST", &[HOST, ("origin", "https://page.example")], &any), 403);
        assert_eq!(asked("POST", &[HOST, own], &any), 200);
    }

    #[test]
    fn reading_is_for_whoever_follows_a_link_and_not_for_code_of_others() {
        let none = Origins::default();
        assert_eq!(asked("GET", &[HOST], &none), 200);
        let site =
            |site, mode| asked("GET", &[HOST, ("sec-fetch-site", site), ("sec-fetch-mode", mode)], &none);
        assert_eq!((site("none", "navigate"), site("cross-site", "navigate")), (200, 200));
        assert_eq!((site("same-site", "cors"), site("cross-site", "no-cors")), (403, 403));
    }

    #[test]
    fn a_plain_cookie_is_for_loopback_without_tls_and_any_other_is_bound_to_its_host() {
        let read = |host: &str, cookies: &[&str]| {
            let mut request = Request::get("/").header("host", host);
            for cookie in cookies {
                request = request.header("cookie", *cookie);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let called = Called::by(parts.version, &parts.uri, &parts.headers).expect("a host");
            token(&parts.headers, &called).map(str::to_owned)
        };
        assert_eq!(read("chat.example", &["a=b; __Host-mainstem_session=x"]).as_deref(), Some("x"));
        assert_eq!(read("chat.example", &["a=b", "mainstem_session=x"]), None, "a neighbour may have set it");
        assert_eq!(read("localhost:80", &["mainstem_session=x; c=d"]).as_deref(), Some("x"));
        assert_eq!(read("localhost", &["xmainstem_session=x; mainstem_sessionx=y", "nonsense"]), None);
        let plain = |host: &str, field: (&'static str, &'static str)| {
            let request = Request::get("/").header("host", host).header(field.0, field.1);
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let called = Called::by(parts.version, &parts.uri, &parts.headers).expect("a host");
            is_plain(&parts.headers, &called)
        };
        assert!(plain("127.0.0.1:8080", ("x", "y")) && plain("localhost", ("origin", "http://localhost")));
        for tls in [
            ("origin", "https://a.example"),
            ("x-forwarded-proto", "HTTPS"),
            ("forwarded", "for=x;proto=https"),
        ] {
            assert!(!plain("127.0.0.1", tls), "{tls:?}");
        }
        assert!(!plain("chat.example", ("x", "y")));
        let text = cookie(SECURE, "t", Some(9));
        assert_eq!(text, "__Host-mainstem_session=t; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=9");
        assert_eq!(cookie(PLAIN, "t", None), "mainstem_session=t; Path=/; HttpOnly; SameSite=Strict");
    }
}
