//! Pages of other origins (Fetch standard, "CORS protocol"). Who may ask at all is decided elsewhere: where tokens are asked
//! for, a page of any origin that has one; else a page of this server or of an allowed host. Nothing goes by cookies.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::super::{Access, Problem};

/// How long a browser need not ask again, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
/// Beyond what browsers always let pages read.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-vercel-ai-ui-message-stream");

/// What a request says of its page.
pub(super) struct CrossOrigin {
    /// Of a page that may ask.
    origin: Option<HeaderValue>,
    /// Of a request that asks whether it may be made: the headers that it would have.
    asks: Option<HeaderMap>,
    refused: Option<Problem>,
}

impl CrossOrigin {
    pub(super) fn of(access: &Access, request: &Request) -> Self {
        let headers = request.headers();
        let refused = access.check(request).err();
        let origin = headers.get(header::ORIGIN).filter(|_| refused.is_none()).cloned();
        let is_preflight = *request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let asks = is_preflight.then(|| headers.clone());
        Self { origin, asks, refused }
    }

    /// The answer to a request that only asks.
    pub(super) fn preflight(&self) -> Option<Response> {
        let asks = self.asks.as_ref()?;
        if let Some(refused) = self.refused.clone() {
            return Some(refused.into_response());
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        // Whatever a page's own code adds means nothing here, and is no reason to refuse it.
        if let Some(wanted) = asks.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        Some(response)
    }

    /// Lets the page read the answer.
    pub(super) fn allow(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderName;
    use tokio::sync::watch;

    use super::*;
    use crate::http::{Hosts, Tokens};

    fn asked(access: &Access, method: Method, headers: &[(HeaderName, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri("/ai/chat").header("host", "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let asked = CrossOrigin::of(access, &request);
        let response = asked.preflight().unwrap_or_else(|| StatusCode::OK.into_response());
        asked.allow(response)
    }

    #[test]
    fn a_page_that_may_ask_may_read_and_no_other() {
        let tokens = Tokens::from_toml("[tokens]\ns = \"ann\"").expect("tokens");
        let with_tokens = Access::Tokens(watch::Sender::new(tokens).subscribe());
        let without = Access::Anybody(Hosts::new(&["app.example".to_owned()], false).expect("hosts"));
        let preflight = |access: &Access, origin: &str| {
            let headers = [
                (header::ORIGIN, origin),
                (header::ACCESS_CONTROL_REQUEST_METHOD, "POST"),
                (header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type"),
            ];
            asked(access, Method::OPTIONS, &headers)
        };
        for (access, origin, status) in [
            (&with_tokens, "https://any.example", 204),
            (&without, "https://app.example", 204),
            (&without, "https://any.example", 403),
        ] {
            let answer = preflight(access, origin);
            let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(answer.status(), status, "{origin}");
            assert_eq!(allowed.is_some_and(|allowed| allowed == origin), status == 204, "{origin}");
            let wanted = answer.headers().get(header::ACCESS_CONTROL_ALLOW_HEADERS);
            assert_eq!(wanted.is_some_and(|wanted| wanted == "authorization,content-type"), status == 204);
            let plain = asked(access, Method::POST, &[(header::ORIGIN, origin)]);
            let allowed = plain.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_some();
            assert_eq!(allowed, status == 204, "{origin}");
        }
        let own = asked(&without, Method::POST, &[]);
        assert!(own.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    }
}
