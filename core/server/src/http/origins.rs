//! Which pages of other origins may use the server from a browser, and read what they are answered (Fetch standard, "CORS
//! protocol"): those that `--allowed-origin` gives.

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::limits::edge::PREFLIGHT_KEPT;

/// Our headers that a page's own code may read, beyond what browsers always let it.
const EXPOSED: [HeaderName; 4] = [
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-vercel-ai-ui-message-stream"),
];

/// `https://chat.example`, or `https://*.example` for every name below it. In lower case, without the port that is the
/// scheme's own, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Below { scheme: String, suffix: String },
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
            None => (authority, None),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_address = name.starts_with('[') && name.ends_with(']');
        let is_host = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'-' | b'.' | b'_')
                || (is_address && b"[]:".contains(&b))
        };
        let is_origin = scheme.bytes().all(is_scheme)
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && !name.is_empty()
            && name.bytes().all(is_host);
        let own = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = port.filter(|port| Some(*port) != own).map(|port| format!(":{port}")).unwrap_or_default();
        is_origin.then(|| match host.strip_prefix("*.") {
            Some(name) => Self::Below { scheme: format!("{scheme}://"), suffix: format!(".{name}{port}") },
            None => Self::Exact(format!("{scheme}://{host}{port}")),
        })
    }

    fn is(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Below { scheme, suffix } => {
                let name = origin.strip_prefix(&**scheme).and_then(|rest| rest.strip_suffix(&**suffix));
                name.is_some_and(|name| !name.is_empty() && !name.contains([':', '/', '@']))
            }
        }
    }
}

/// The origins that may ask.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    any: bool,
    allowed: Vec<Pattern>,
}

impl Origins {
    /// Those of the flag. `*`: every one.
    pub fn new(allowed: &[String]) -> Result<Self, String> {
        let parse = |text: &String| {
            Pattern::parse(text).ok_or_else(|| {
                format!(
                    "--allowed-origin {text:?}: expected *, or SCHEME://HOST with a port if it is another than the \
                     scheme's, as in https://chat.example or https://*.example, and nothing behind it"
                )
            })
        };
        let (any, named): (Vec<_>, Vec<_>) = allowed.iter().partition(|text| *text == "*");
        let allowed: Vec<Pattern> = named.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { any: !any.is_empty(), allowed })
    }

    pub(super) fn is_none(&self) -> bool {
        !self.any && self.allowed.is_empty()
    }

    /// Whether every origin may ask.
    pub fn is_any(&self) -> bool {
        self.any
    }

    pub(super) fn allows(&self, origin: &HeaderValue) -> bool {
        self.any || self.names(origin)
    }

    /// Whether this one was meant, and not just any.
    pub(super) fn names(&self, origin: &HeaderValue) -> bool {
        let is_named = |origin: &str| self.allowed.iter().any(|pattern| pattern.is(origin));
        origin.to_str().is_ok_and(is_named)
    }

    /// Answers browsers that ask before a request, and lets pages read answers. Headers are what a page asks for: those of
    /// its own code mean nothing here, and are no reason to refuse it. With `*` nothing goes with a browser's own credentials.
    pub(super) fn layer(&self) -> CorsLayer {
        let layer = CorsLayer::new()
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(PREFLIGHT_KEPT);
        if self.any {
            return layer.allow_origin(Any);
        }
        let origins = self.clone();
        let allows = move |origin: &HeaderValue, _: &http::request::Parts| origins.allows(origin);
        layer.allow_origin(AllowOrigin::predicate(allows)).allow_credentials(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::post;
    use axum::{Router, response::Response};
    use http::Request;
    use tower::ServiceExt;

    fn origins(allowed: &[&str]) -> Origins {
        Origins::new(&allowed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).expect("origins")
    }

    #[test]
    fn an_origin_is_named_or_below_a_name() {
        let origins =
            origins(&["https://Chat.example:443", "https://*.wide.example", "http://[::1]:8080", "app://x"]);
        for (origin, is_allowed) in [
            ("https://chat.example", true),
            ("https://chat.example:444", false),
            ("http://chat.example", false),
            ("https://chat.example.evil", false),
            ("https://a.wide.example", true),
            ("https://a.b.wide.example", true),
            ("https://wide.example", false),
            ("https://.wide.example", false),
            ("https://evil.example/.wide.example", false),
            ("https://a.wide.example:1", false),
            ("https://evilwide.example", false),
            ("http://[::1]:8080", true),
            ("app://x", true),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(
                origins.allows(&HeaderValue::from_str(origin).expect("a value")),
                is_allowed,
                "{origin}"
            );
        }
        for wrong in [
            "chat.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*",
            "https://a:x",
            "://a",
            "https://a*.b",
        ] {
            let why = Origins::new(&[wrong.to_owned()]).expect_err(wrong);
            assert!(why.contains("--allowed-origin") && why.contains(wrong), "{why}");
        }
    }

    async fn asked(origins: &Origins, method: Method, origin: &str) -> Response {
        let router = Router::new().route("/", post(async || "x")).layer(origins.layer());
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-run-id,x-stainless-lang");
        router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_page_that_may_ask_may_read_and_no_other() {
        let (named, any) = (origins(&["https://a.example"]), origins(&["*"]));
        for (origins, origin, allowed, credentials) in [
            (&named, "https://a.example", Some("https://a.example"), Some("true")),
            (&named, "https://b.example", None, Some("true")),
            (&any, "https://b.example", Some("*"), None),
        ] {
            for method in [Method::OPTIONS, Method::POST] {
                let answer = asked(origins, method.clone(), origin).await;
                let said = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text"));
                assert_eq!(answer.status(), 200);
                assert_eq!(said("access-control-allow-origin"), allowed, "{method} of {origin}");
                assert_eq!(said("access-control-allow-credentials"), credentials, "{method} of {origin}");
                if method == Method::OPTIONS {
                    let wanted = "authorization,x-run-id,x-stainless-lang";
                    assert_eq!(said("access-control-allow-headers"), Some(wanted));
                } else {
                    assert!(
                        said("access-control-expose-headers").is_some_and(|said| said.contains("location"))
                    );
                }
                let varies = answer.headers().get_all("vary").iter();
                let said = varies.map(|value| value.to_str().expect("text").to_owned()).collect::<String>();
                assert!(said.contains("origin"), "a cache keeps none for another page");
            }
        }
    }
}
