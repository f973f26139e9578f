//! Who asks: callers are authenticated by bearer tokens, which are those of a file, or JWTs. What each may do is decided once,
//! here, by the method of the request: who may only read only reads.
//!
//! Which chats a caller may see and change is decided where chats are read, by the [`Principal`].

mod claims;
mod grant;
mod jwks;
mod jwt;
mod keys;
pub(super) mod session;
pub(super) mod tickets;
mod tokens;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, Request};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use mainstem_runtime::ports::Env;
use mainstem_runtime::{Principal, Right};
use tokio::sync::watch;

use self::grant::Basis;
pub(super) use self::grant::Grant;
pub use self::jwks::{Jwks, JwksTask, jwks};
pub use self::jwt::Jwts;
pub use self::keys::Keys;
pub use self::tokens::Tokens;
use self::tokens::digest;
use super::hosts::{Called, Hosts};
use super::{App, Origins, Problem, health};
use crate::config::QueryTokens;
use crate::rates::Payer;

/// The user of all requests if there is no authentication.
pub const ANONYMOUS: &str = "anonymous";

/// Who may use a server.
#[derive(Clone, Debug)]
pub enum Access {
    /// Who has a token that is good now.
    Tokens(Arc<Bearers>),
    /// Anybody who reaches it by one of its names.
    Anybody(Hosts),
}

/// Whose tokens are good.
#[derive(Clone, Debug)]
pub struct Bearers {
    /// Those of a file, which are looked at first.
    pub file: Option<watch::Receiver<Tokens>>,
    pub jwts: Option<Jwts>,
    /// Which of them may stand in the address of a stream.
    pub in_query: QueryTokens,
    /// How long a stream may outlast its JWT.
    pub grace: Duration,
}

/// A caller, and how long a stream of the caller's may last.
#[derive(Clone, Debug)]
struct Authenticated {
    principal: Principal,
    grant: Grant,
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

    /// Whom a request is from: of what it carries, its header counts alone, then what a stream's address may carry, then its
    /// cookie.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        query_token: Option<&str>,
        cookie: Option<&str>,
    ) -> Result<Authenticated, Problem> {
        match self {
            Self::Anybody(_) => Ok(Authenticated { principal: ANONYMOUS.into(), grant: Grant::of_anybody() }),
            Self::Tokens(bearers) => match (bearer(headers)?, query_token) {
                (Some(token), _) => bearers.authenticate(token, true).await,
                (None, Some(_)) if bearers.in_query == QueryTokens::None => {
                    Err(Problem::invalid_token("no token is taken in an address here: ask for a ticket"))
                }
                (None, Some(token)) => {
                    bearers.authenticate(token, bearers.in_query == QueryTokens::Any).await
                }
                (None, None) => match cookie {
                    Some(token) => bearers.authenticate(token, true).await,
                    None => {
                        Err(Problem::unauthorized("a header `authorization: Bearer <token>` was expected"))
                    }
                },
            },
        }
    }
}

impl Bearers {
    /// Whose the token of the file of this digest is, and what it stands on.
    fn basis_of(&self, digest: &[u8; 32]) -> Option<(Arc<str>, Basis)> {
        let tokens = self.file.as_ref()?;
        let user = tokens.borrow().user(digest).cloned()?;
        let basis = Basis::Token { digest: *digest, user: user.clone(), tokens: tokens.clone() };
        Some((user, basis))
    }

    async fn authenticate(&self, token: &str, takes_jwts: bool) -> Result<Authenticated, Problem> {
        if let Some((user, basis)) = self.basis_of(&digest(token)) {
            return Ok(Authenticated { principal: user.into(), grant: Grant::new(basis, None, self.grace) });
        }
        match &self.jwts {
            Some(jwts) if takes_jwts && Jwts::is_like(token) => {
                let verified = jwts.verify(token).await?;
                let basis = Basis::Key { id: verified.key, keys: verified.keys };
                let grant = Grant::new(basis, Some(verified.ends), self.grace);
                Ok(Authenticated { principal: verified.principal, grant })
            }
            _ => Err(Problem::invalid_token("the token is not known here")),
        }
    }
}

/// Where there are two, a proxy may have looked at the other one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed("`authorization` was given more than once: one was expected"));
    }
    let expected = || Problem::invalid_token("`authorization` was expected to be `Bearer <token>`");
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(expected)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(expected()) }
}

/// Requests that change no chat, though they are no `GET`.
const CHANGE_NO_CHAT: [&str; 2] = ["/v1/tickets", "/v1/session"];

/// What a request needs: who changes nothing need only read.
fn needed(parts: &Parts) -> Right {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if reads || CHANGE_NO_CHAT.contains(&parts.uri.path()) { Right::Read } else { Right::Write }
}

/// Who asks, and on whose account: a user's, or an address's where users have no names.
#[derive(Clone, Debug)]
pub(in crate::http) struct Requester {
    principal: Principal,
    pub(super) payer: Payer,
}

impl Deref for Requester {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

/// Finds out who asks, and counts the request. Whoever has a good token pays as its user, so that nobody who asks from the same
/// address can use up what is the user's; others pay as their address.
async fn caller<E: Env>(
    parts: &mut Parts,
    app: &App<E>,
    query_token: Option<&str>,
) -> Result<(Requester, Grant), Problem> {
    // A handler may ask for more than one of the extractors.
    if let Some(caller) = parts.extensions.get::<(Requester, Grant)>() {
        return Ok(caller.clone());
    }
    let authenticated = authenticated(parts, app, query_token).await;
    let payer = match (&app.access, &authenticated) {
        (Access::Tokens(_), Ok(caller)) => Payer::User(caller.principal.user().clone()),
        _ => app.rates.address(&parts.extensions, &parts.headers),
    };
    app.rates.request(&payer)?;
    let Authenticated { principal, grant } = authenticated?;
    let needed = needed(parts);
    if principal.right() < needed {
        return Err(Problem::insufficient_scope(needed));
    }
    let caller = (Requester { principal, payer }, grant);
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

async fn authenticated<E: Env>(
    parts: &Parts,
    app: &App<E>,
    query_token: Option<&str>,
) -> Result<Authenticated, Problem> {
    let is_alone = !parts.headers.contains_key(header::AUTHORIZATION);
    match (&app.access, query_token) {
        (Access::Tokens(bearers), Some(ticket)) if is_alone && tickets::is_like(ticket) => {
            tickets::redeem(app, bearers, ticket).await
        }
        (Access::Tokens(_), None) if is_alone => {
            let called = Called::by(parts.version, &parts.uri, &parts.headers)?;
            let cookie = session::token(&parts.headers, &called);
            if cookie.is_some() {
                session::check_page(parts, &called, &app.origins)?;
            }
            app.access.authenticate(&parts.headers, None, cookie).await
        }
        _ => app.access.authenticate(&parts.headers, query_token, None).await,
    }
}

/// Whom a request is from.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Requester);

impl<E: Env> FromRequestParts<Arc<App<E>>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<E>>) -> Result<Self, Problem> {
        caller(parts, app, None).await.map(|(by, _)| Self(by))
    }
}

/// As [`Caller`], for streams: a browser cannot give its requests for them a header.
#[derive(Clone, Debug)]
pub(super) struct StreamCaller(pub(super) Requester, pub(super) Grant);

impl<E: Env> FromRequestParts<Arc<App<E>>> for StreamCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<E>>) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::malformed(error.to_string()))?;
        // What begins with a body does not come from where no header can be given.
        let is_stream = parts.method == Method::GET;
        let mut tokens = query.into_iter().filter(|(name, _)| is_stream && name == "access_token");
        let token = tokens.next().map(|(_, token)| token);
        if tokens.next().is_some() {
            return Err(Problem::malformed("`access_token` was given more than once: one was expected"));
        }
        let (by, grant) = caller(parts, app, token.as_deref()).await?;
        Ok(Self(by, grant))
    }
}

#[cfg(test)]
mod tests;
