//! Tickets: what a page asks for with its token, to give it in the address of a stream, where a token would end up in logs. Each
//! is good once, for a minute, at any replica, and for no more than the token that it was asked for with.
//!
//! The database has a digest of a ticket, and what the caller's grant stands on only in a form that takes the ticket to be read.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use mainstem_machine::{ChatId, WallTime};
use mainstem_runtime::ports::{Env, Ticket};
use mainstem_runtime::{Principal, Right};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::asked::Asked;
use super::super::request::parse_object;
use super::super::{App, Problem, json as json_answer};
use super::grant::{Basis, Grant, instant, since_epoch};
use super::{Authenticated, Bearers, StreamCaller};
use crate::limits::access::{TICKET_BYTES, TICKET_LIFETIME, TICKETS_MAX};

const PREFIX: &str = "mst_";

/// What is kept with a ticket.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    user: String,
    writes: bool,
    sees_all: bool,
    chats: Option<Vec<Uuid>>,
    /// When the token ends, in milliseconds since 1970.
    ends: Option<u64>,
    basis: Kind,
    /// The digest of the basis, masked.
    masked: [u8; 32],
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Token,
    Key,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    chat: Option<String>,
}

/// Hides a digest from whoever does not have the ticket, and shows it again.
fn mask(ticket: &str, digest: &[u8; 32]) -> [u8; 32] {
    let mask: [u8; 32] = Sha256::digest(format!("basis of {ticket}")).into();
    std::array::from_fn(|at| mask[at] ^ digest[at])
}

/// Whether this is meant for a ticket.
pub(super) fn is_like(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX);
    rest.is_some_and(|rest| URL_SAFE_NO_PAD.decode(rest).is_ok_and(|bytes| bytes.len() == TICKET_BYTES))
}

pub(in super::super) async fn create<E: Env>(
    StreamCaller(by, grant): StreamCaller,
    asked: Asked<E, ()>,
) -> Result<Response, Problem> {
    let Wanted { chat } = parse_object(&asked.body)?;
    let by = match chat {
        None => Principal::clone(&by),
        Some(chat) => {
            let chat = Uuid::try_parse(&chat).ok().filter(|_| chat.len() == 36).map(ChatId);
            let chat = chat.ok_or_else(Problem::no_such_chat)?;
            asked.app.node.chat(&by, chat).await?;
            by.in_chat(chat).ok_or_else(Problem::no_such_chat)?
        }
    };
    let mut bytes = [0; TICKET_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| Problem::internal())?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    // No longer than the token itself.
    let left = grant.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
    let lifetime = left.map_or(TICKET_LIFETIME, |left| left.min(TICKET_LIFETIME));
    let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Where nobody is asked for a token there is nothing to keep.
    if let Some(body) = body(&text, &by, &grant) {
        let ticket = Ticket {
            digest: Sha256::digest(&text).into(),
            owner: by.user().clone(),
            body: serde_json::to_string(&body).expect("JSON is written").into(),
            lifetime,
            owned_max: TICKETS_MAX,
        };
        if !asked.app.node.keep_ticket(&ticket).await? {
            return Err(Problem::too_many_tickets());
        }
    }
    let expires_at = WallTime((begun + lifetime).as_millis() as i64);
    let answer = json!({"ticket": text, "expires_at": expires_at.to_string()});
    Ok(json_answer(StatusCode::CREATED, answer.to_string()))
}

fn body(ticket: &str, by: &Principal, grant: &Grant) -> Option<Body> {
    let (basis, digest) = match &grant.basis {
        Basis::Anybody => return None,
        Basis::Token { digest, .. } => (Kind::Token, digest),
        Basis::Key { id, .. } => (Kind::Key, id),
    };
    Some(Body {
        user: by.user().to_string(),
        writes: by.right() >= Right::Write,
        sees_all: by.right() >= Right::Admin,
        chats: by.chats().map(|chats| chats.iter().map(|chat| chat.0).collect()),
        ends: grant.ends.map(|ends| since_epoch(ends).as_millis() as u64),
        basis,
        masked: mask(ticket, digest),
    })
}

/// Takes a ticket, and lets its bearer in as the token would that it was asked for with, if that is still good.
pub(super) async fn redeem<E: Env>(
    app: &App<E>,
    bearers: &Bearers,
    ticket: &str,
) -> Result<Authenticated, Problem> {
    let used = || Problem::invalid_token("the ticket is not known here, was used, or has run out");
    let digest = Sha256::digest(ticket).into();
    let body = app.node.take_ticket(&digest).await?.ok_or_else(used)?;
    let body: Body = serde_json::from_str(&body).map_err(|_| Problem::internal())?;
    let digest = mask(ticket, &body.masked);
    let basis = match body.basis {
        Kind::Token => {
            bearers.basis_of(&digest).filter(|(user, _)| **user == *body.user).map(|(_, basis)| basis)
        }
        Kind::Key => match &bearers.jwts {
            Some(jwts) => jwts.basis_of(&digest).await?,
            None => None,
        },
    };
    let ends = body.ends.map(|ends| instant(Duration::from_millis(ends)));
    let grant = Grant::new(basis.ok_or_else(used)?, ends, bearers.grace);
    if grant.is_revoked() {
        return Err(used());
    }
    let right = match (body.sees_all, body.writes) {
        (true, _) => Right::Admin,
        (false, true) => Right::Write,
        (false, false) => Right::Read,
    };
    let chats = body.chats.map(|chats| chats.into_iter().map(ChatId).collect::<BTreeSet<_>>());
    Ok(Authenticated { principal: Principal::new(body.user.into(), right, chats), grant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_tells_nobody_without_the_ticket_what_the_token_is() {
        let digest = [7; 32];
        let masked = mask("mst_a", &digest);
        assert_ne!(masked, digest);
        assert_eq!(mask("mst_a", &masked), digest);
        assert_ne!(mask("mst_b", &masked), digest);
    }

    #[test]
    fn a_ticket_is_told_from_a_token_by_its_form() {
        let ticket = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([9; TICKET_BYTES]));
        assert!(is_like(&ticket));
        for other in ["", "mst_", "mst_AAAA", &ticket[1..], &format!("{ticket}A"), "a.b.c"] {
            assert!(!is_like(other), "{other}");
        }
    }
}
