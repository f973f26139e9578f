//! By which host names a server without tokens may be called, and from which pages.
//!
//! A browser lets any page send requests to any address, and with DNS rebinding a page of `evil.example`
//! makes that name resolve to 127.0.0.1 and is then of the same origin as the server. What such a page cannot
//! do is to call the server `localhost`, nor to name an origin other than its own. So the names count that
//! the operator gave, and the loopback ones; never a name that merely agrees with another one in the same
//! request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use http::{HeaderMap, HeaderValue, Uri, Version, header};

use super::{Origins, Problem};
use crate::limits::edge::NAME_BYTES_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without a dot at the end.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// As it stands in a URL (RFC 3986, section 3.2.2): an IPv6 address is in brackets.
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().ok()?;
            return Some(Self::Address(IpAddr::from(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    host: Host,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end..].find(':') {
            Some(colon) => (&text[..end + colon], &text[end + colon + 1..]),
            None => (text, ""),
        };
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|_| digits)?) };
        Some(Self { host: Host::parse(host)?, port })
    }
}

/// What a request calls the server: the name in its target, if it has one, and that in `host`.
#[derive(Debug)]
pub(super) struct Called(Vec<Authority>);

impl Called {
    /// One `host` and no more, as RFC 9112 has it (section 3.2). HTTP/1.0 may have none: no browser speaks
    /// it, and health checks do.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        Self::by(request.version(), request.uri(), request.headers())
    }

    pub(super) fn by(version: Version, target: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut fields = headers.get_all(header::HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Problem::malformed("`host` was given more than once: one was expected"));
        }
        // In HTTP/2 `:authority` is in its place (RFC 9113, section 8.3.1).
        let target = target.authority().map(|authority| authority.as_str());
        let is_named = match version {
            Version::HTTP_10 => true,
            Version::HTTP_2 => field.is_some() || target.is_some(),
            _ => field.is_some(),
        };
        if !is_named {
            return Err(Problem::malformed("`host` is missing"));
        }
        let unreadable = || Problem::malformed("`host` was expected to be HOST or HOST:PORT");
        let field = field.map(|field| field.to_str().map_err(|_| unreadable())).transpose()?;
        let named = field.into_iter().chain(target);
        named.map(|text| Authority::parse(text).ok_or_else(unreadable)).collect::<Result<_, _>>().map(Self)
    }
}

impl Called {
    /// Whether it is called by names of this machine alone.
    pub(super) fn is_loopback(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|called| called.host.is_loopback())
    }
}

/// The names of a server without tokens.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    any: bool,
    allowed: Vec<Host>,
}

impl Hosts {
    /// Loopback ones and `allowed`. If `insecure` and none is given, all: the server listens where it is
    /// called by names that it cannot know.
    pub fn new(allowed: &[String], insecure: bool) -> Result<Self, String> {
        let parse = |text: &String| {
            Host::parse(text).or_else(|| Host::parse(&format!("[{text}]"))).ok_or_else(|| {
                format!(
                    "--allowed-host {text:?}: expected a host name or an address as browsers send it, \
                     without a port"
                )
            })
        };
        let allowed: Vec<Host> = allowed.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { any: insecure && allowed.is_empty(), allowed })
    }

    /// Whether a request may go on: every name it calls is ours, and so is every page it comes from, or it is one of the
    /// `others`.
    pub(super) fn check(
        &self,
        called: &Called,
        headers: &HeaderMap,
        others: &Origins,
    ) -> Result<(), Problem> {
        if self.any {
            return Ok(());
        }
        if !called.0.iter().all(|called| called.host.is_loopback() || self.allowed.contains(&called.host)) {
            return Err(Problem::host_not_allowed());
        }
        self.check_page(called, headers, others)
    }

    /// Whether the page that it comes from, if it does, is ours or one of the `others`.
    pub(super) fn check_page(
        &self,
        called: &Called,
        headers: &HeaderMap,
        others: &Origins,
    ) -> Result<(), Problem> {
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        let is_ours = if origins.peek().is_some() {
            origins.all(|origin| self.is_own(origin, called) || others.allows(origin))
        } else {
            !is_foreign_fetch(headers)
        };
        if is_ours { Ok(()) } else { Err(Problem::cross_origin()) }
    }

    /// Whether a page of this origin is one of this very server.
    pub(super) fn is_own(&self, origin: &HeaderValue, called: &Called) -> bool {
        origin.to_str().is_ok_and(|text| self.is_ours(text, called))
    }

    /// Whether a page of this origin may ask: one of a name that the operator gave, or one of this very
    /// server. Other servers on the loopback are strangers.
    fn is_ours(&self, origin: &str, called: &Called) -> bool {
        let (port, rest) = match origin.split_once("://") {
            Some(("http", rest)) => (80, rest),
            Some(("https", rest)) => (443, rest),
            _ => return false,
        };
        let Some(origin) = Authority::parse(rest) else { return false };
        let is_same = |called: &Authority| {
            called.host == origin.host && called.port.unwrap_or(port) == origin.port.unwrap_or(port)
        };
        self.allowed.contains(&origin.host) || (!called.0.is_empty() && called.0.iter().all(is_same))
    }
}

/// A browser that names no origin says at least whether the page is another's (Fetch Metadata). Following a
/// link is not refused.
pub(super) fn is_foreign_fetch(headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
    matches!(said("sec-fetch-site"), Some(b"cross-site" | b"same-site"))
        && said("sec-fetch-mode") != Some(b"navigate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    /// The status that a request of this target and these fields gets, 200 if it may go on.
    fn asked(hosts: &Hosts, target: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let checked = Called::of(&request)
            .and_then(|called| hosts.check(&called, request.headers(), &Origins::default()));
        checked.map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    fn hosts(allowed: &[&str], insecure: bool) -> Hosts {
        let allowed: Vec<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        Hosts::new(&allowed, insecure).expect("host names")
    }

    #[test]
    fn only_loopback_names_and_those_given_are_answered() {
        let hosts = hosts(&["chat.example", "fd00::7", "192.0.2.7"], false);
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:1",
            "127.0.0.1:8080",
            "127.9.8.7",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "Chat.Example",
            "chat.example:444",
            "[fd00::7]:80",
            "192.0.2.7:80",
        ] {
            assert_eq!(asked(&hosts, "/", &[("host", ours)]), 200, "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "x.chat.example",
            "0.0.0.0:8080",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "127.1",
            "2130706433",
            "localhost..",
        ] {
            assert_eq!(asked(&hosts, "/", &[("host", other)]), 421, "{other}");
        }
        for malformed in [
            "",
            ":80",
            "a b",
            "localhost:x",
            "localhost:+1",
            "localhost:80:80",
            "u@localhost",
            "::1",
            "[::1",
            "a/b",
        ] {
            assert_eq!(asked(&hosts, "/", &[("host", malformed)]), 400, "{malformed:?}");
        }
    }

    #[test]
    fn a_request_has_one_host_and_all_its_names_are_ours() {
        let hosts = hosts(&[], false);
        assert_eq!(asked(&hosts, "/", &[]), 400);
        assert_eq!(asked(&hosts, "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(asked(&hosts, "http://localhost/", &[("host", "localhost")]), 200);
        assert_eq!(asked(&hosts, "http://evil.example/", &[("host", "localhost")]), 421);
        assert_eq!(asked(&hosts, "http://localhost/", &[("host", "evil.example")]), 421);
        let mut old = Request::get("/").body(Body::empty()).expect("a request");
        *old.version_mut() = Version::HTTP_10;
        let called = Called::of(&old).expect("HTTP/1.0 need not name a host");
        assert_eq!(hosts.check(&called, old.headers(), &Origins::default()), Ok(()));
        // Without a name there is nothing that an origin could be the same as.
        old.headers_mut().insert("origin", "http://localhost".parse().expect("a value"));
        assert!(hosts.check(&called, old.headers(), &Origins::default()).is_err());
    }

    #[test]
    fn only_pages_of_this_server_or_of_a_given_name_are_answered() {
        let hosts = hosts(&["chat.example"], false);
        let from = |host: &str, origin: &str| asked(&hosts, "/", &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost", "http://localhost"),
            ("localhost:80", "http://localhost"),
            ("localhost", "https://localhost:443"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("chat.example", "https://chat.example"),
            // A proxy that does not hand on the name.
            ("127.0.0.1:8080", "https://chat.example:8443"),
        ] {
            assert_eq!(from(host, origin), 200, "{origin} to {host}");
        }
        for origin in [
            "http://evil.example:8080",
            "http://127.0.0.1:3000",
            "http://localhost:8080",
            "http://127.0.0.1",
            "null",
            "",
            "127.0.0.1:8080",
            "file://127.0.0.1:8080",
            "http://127.0.0.1:8080 http://evil.example",
            "http://127.0.0.1:8080/",
            "http://u@127.0.0.1:8080",
        ] {
            assert_eq!(from("127.0.0.1:8080", origin), 403, "{origin}");
        }
        let ours = ("origin", "http://localhost");
        let two = |second| asked(&hosts, "/", &[("host", "localhost"), ours, ("origin", second)]);
        assert_eq!((two("http://localhost"), two("http://evil.example"), two("null")), (200, 403, 403));
        let fetch = |site, mode| {
            asked(&hosts, "/", &[("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)])
        };
        assert_eq!((fetch("cross-site", "no-cors"), fetch("same-site", "no-cors")), (403, 403));
        assert_eq!((fetch("same-origin", "cors"), fetch("none", "navigate")), (200, 200));
        assert_eq!(fetch("cross-site", "navigate"), 200, "a link may be followed");
    }

    #[test]
    fn an_insecure_server_is_called_as_you_like_unless_names_are_given() {
        let evil = [("host", "evil.example"), ("origin", "http://other.example")];
        assert_eq!(asked(&hosts(&[], true), "/", &evil), 200);
        assert_eq!(asked(&hosts(&[], true), "/", &[]), 400, "a host is always named");
        let named = hosts(&["evil.example"], true);
        assert_eq!(asked(&named, "/", &evil), 403);
        assert_eq!(asked(&named, "/", &[("host", "other.example")]), 421);
    }

    #[test]
    fn what_is_no_host_name_is_refused_as_a_setting() {
        for bad in ["", "*", "chat.example:80", "http://chat.example", "bücher.example", "a b"] {
            let why = Hosts::new(&[bad.to_owned()], false).expect_err(bad);
            assert!(why.contains("--allowed-host") && why.contains("without a port"), "{why}");
        }
    }
}
