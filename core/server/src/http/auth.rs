//! Authentication of clients by bearer tokens, each of which belongs to a user.
//!
//! Tokens are stored and looked up by their digest, so that the time of a look-up reveals nothing about them.
//! What a user may see is decided where chats are read.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use mainstem_runtime::ports::Env;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::hosts::{Called, Hosts};
use super::{App, Origins, Problem, health};

/// The user of all requests if there is no authentication.
pub const ANONYMOUS: &str = "anonymous";

/// The users of this server, by their tokens.
#[derive(Clone, Default)]
pub struct Tokens(Arc<HashMap<[u8; 32], Arc<str>>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthFile {
    tokens: HashMap<String, String>,
}

impl Tokens {
    /// Reads `[tokens]` with `"<token>" = "<user>"`. Errors never contain anything from the file.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let expected = "expected a table [tokens] with lines of \"<token>\" = \"<user>\"";
        let file: AuthFile = toml::from_str(text).map_err(|_| expected.to_owned())?;
        let visible = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        let mut tokens = HashMap::new();
        for (token, user) in file.tokens {
            if !visible(&token) {
                return Err(format!("the token of {user:?} is not one or more visible ASCII characters"));
            }
            if user.is_empty() || user.contains('\0') {
                return Err("a token names no user".to_owned());
            }
            tokens.insert(digest(&token), user.into());
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn user(&self, token: &str) -> Option<Arc<str>> {
        self.0.get(&digest(token)).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Who may use a server.
#[derive(Clone, Debug)]
pub enum Access {
    /// Who has a token that is known now.
    Tokens(watch::Receiver<Tokens>),
    /// Anybody who reaches it by one of its names.
    Anybody(Hosts),
}

impl Access {
    /// Whether a request may go on to its handler, whoever it is from. Where tokens are asked for, a page has
    /// nothing to misuse: browsers send none by themselves; of other origins those count that `--allowed-origin` gives, if it
    /// does. Health checks come by address, are nobody's, and
    /// change nothing.
    pub fn check(&self, request: &Request, origins: &Origins) -> Result<(), Problem> {
        let (called, headers) = (Called::of(request)?, request.headers());
        match self {
            Self::Anybody(_) if health::is_check(request.uri().path()) => Ok(()),
            Self::Anybody(hosts) => hosts.check(&called, headers, origins),
            // For a WebSocket browsers ask nobody, whatever other origins may do.
            Self::Tokens(_) if !origins.is_none() && headers.contains_key(header::UPGRADE) => {
                Hosts::default().check_page(&called, headers, origins)
            }
            Self::Tokens(_) => Ok(()),
        }
    }

    /// The user that a request is from. `query_token` is what a stream's address may carry.
    pub fn caller(&self, headers: &HeaderMap, query_token: Option<&str>) -> Result<Arc<str>, Problem> {
        match self {
            Self::Anybody(_) => Ok(ANONYMOUS.into()),
            Self::Tokens(tokens) => {
                let token = bearer(headers)?.or(query_token).ok_or_else(|| {
                    Problem::unauthorized("a header `authorization: Bearer <token>` was expected")
                })?;
                tokens
                    .borrow()
                    .user(token)
                    .ok_or_else(|| Problem::unauthorized("the token is not known here"))
            }
        }
    }
}

/// By which token a stream's caller was let in. It lasts for as long as that token is that user's (S10).
#[derive(Clone, Debug)]
pub(super) struct Grant(Option<TokenGrant>);

#[derive(Clone, Debug)]
struct TokenGrant {
    token: [u8; 32],
    user: Arc<str>,
    tokens: watch::Receiver<Tokens>,
}

impl TokenGrant {
    fn is_revoked_in(&self, tokens: &Tokens) -> bool {
        tokens.0.get(&self.token) != Some(&self.user)
    }
}

impl Grant {
    fn of(access: &Access, user: &Arc<str>, headers: &HeaderMap, query_token: Option<&str>) -> Self {
        let Access::Tokens(tokens) = access else { return Self(None) };
        let token = bearer(headers).ok().flatten().or(query_token).map(digest);
        Self(token.map(|token| TokenGrant { token, user: user.clone(), tokens: tokens.clone() }))
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.0.as_ref().is_some_and(|grant| grant.is_revoked_in(&grant.tokens.borrow()))
    }

    /// Waits until it is revoked. Cancel-safe.
    pub(super) async fn revoked(&self) {
        let Some(grant) = &self.0 else { return std::future::pending().await };
        let mut tokens = grant.tokens.clone();
        if tokens.wait_for(|tokens| grant.is_revoked_in(tokens)).await.is_err() {
            // Nobody is left who could revoke it.
            std::future::pending::<()>().await;
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let expected = || Problem::unauthorized("`authorization` was expected to be `Bearer <token>`");
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(expected)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(expected()) }
}

/// The user that a request is from.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<str>);

impl<E: Env> FromRequestParts<Arc<App<E>>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<E>>) -> Result<Self, Problem> {
        app.access.caller(&parts.headers, None).map(Self)
    }
}

/// As [`Caller`], for streams: a browser cannot give its requests for them a header.
#[derive(Clone, Debug)]
pub(super) struct StreamCaller(pub(super) Arc<str>, pub(super) Grant);

impl<E: Env> FromRequestParts<Arc<App<E>>> for StreamCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<E>>) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::malformed(error.to_string()))?;
        let token = query.iter().find(|(name, _)| name == "access_token").map(|(_, token)| token.as_str());
        let by = app.access.caller(&parts.headers, token)?;
        let grant = Grant::of(&app.access, &by, &parts.headers, token);
        Ok(Self(by, grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn a_token_is_its_user_and_anything_else_is_nobody() {
        let tokens =
            Tokens::from_toml("[tokens]\n\"s3cret\" = \"ann\"\n\"other\" = \"bob\"\n").expect("a file");
        let access = Access::Tokens(watch::Sender::new(tokens).subscribe());
        let caller = |value: &str| access.caller(&headers(&[("authorization", value)]), None);
        assert_eq!(caller("Bearer s3cret").as_deref(), Ok("ann"));
        assert_eq!(caller("bearer other").as_deref(), Ok("bob"));
        for wrong in ["Bearer", "Bearer ", "Bearer S3cret", "Basic s3cret", "s3cret", "Bearer s3cret x", "é"]
        {
            assert_eq!(caller(wrong).map_err(|p| p.code), Err("unauthorized"), "{wrong}");
        }
        let none = HeaderMap::new();
        assert_eq!(access.caller(&none, Some("s3cret")).as_deref(), Ok("ann"));
        assert_eq!(access.caller(&none, Some("x")).map_err(|p| p.status.as_u16()), Err(401));
        assert_eq!(access.caller(&none, None).map_err(|p| p.status.as_u16()), Err(401));
    }

    #[tokio::test]
    async fn a_grant_ends_with_its_token_and_when_the_token_becomes_anothers() {
        let tokens = |text: &str| Tokens::from_toml(&format!("[tokens]\n{text}")).expect("a file");
        for (then, is_revoked) in
            [("s = \"ann\"\nt = \"bob\"", false), ("s = \"bob\"", true), ("t = \"ann\"", true)]
        {
            let sender = watch::Sender::new(tokens("s = \"ann\""));
            let access = Access::Tokens(sender.subscribe());
            let grant = Grant::of(&access, &"ann".into(), &HeaderMap::new(), Some("s"));
            assert!(!grant.is_revoked());
            sender.send_replace(tokens(then));
            assert_eq!(grant.is_revoked(), is_revoked, "S10: {then}");
            let told = futures::FutureExt::now_or_never(grant.revoked()).is_some();
            assert_eq!(told, is_revoked, "S10: {then}");
        }
    }

    #[test]
    fn a_bad_auth_file_is_refused_without_repeating_it() {
        for bad in [
            "",
            "tokens = 3",
            "[tokens]\n\"hush\" = 3",
            "[tokens]\nhush = \"\"",
            "[tokens]\n\"\" = \"u\"",
            "[tokens]\n\"a hush\" = \"u\"",
            "[tokens]\nhush = \"u\"\n[more]",
        ] {
            let error = Tokens::from_toml(bad).expect_err(bad);
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn names_count_where_nobody_has_a_token_and_health_checks_have_none() {
        let tokens = Tokens::from_toml("[tokens]\n\"t\" = \"ann\"\n").expect("a file");
        let tokens = Access::Tokens(watch::Sender::new(tokens).subscribe());
        let anybody = Access::Anybody(Hosts::default());
        let checked = |access: &Access, path: &str, host: &str| {
            let request = Request::get(path).header("host", host).header("origin", "http://evil.example");
            let request = request.body(axum::body::Body::empty()).expect("a request");
            access.check(&request, &Origins::default()).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(checked(&anybody, "/v1/chats", "evil.example"), Err(421));
        assert_eq!(checked(&anybody, "/v1/chats", "localhost"), Err(403));
        assert_eq!(checked(&anybody, "/nothing", "evil.example"), Err(421));
        assert_eq!(checked(&anybody, "/healthz", "10.0.0.7:8080"), Ok(()));
        assert_eq!(checked(&anybody, "/healthz/x", "10.0.0.7:8080"), Err(421));
        assert_eq!(checked(&tokens, "/v1/chats", "evil.example"), Ok(()));
        assert_eq!(checked(&tokens, "/v1/chats", "a b"), Err(400));
        assert_eq!(anybody.caller(&HeaderMap::new(), None).as_deref(), Ok(ANONYMOUS));
    }
}
