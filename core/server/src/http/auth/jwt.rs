//! JWTs (RFC 7519): whether a token was signed by who may, for here, and is still good. How it may be signed is a setting, and
//! never the token's to say (RFC 8725).
//!
//! What it gives leave to is in [`Claims`].

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use mainstem_runtime::Principal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::Problem;
use super::claims::Claims;
use super::grant::{Basis, instant};
use super::jwks::Jwks;
use super::keys::{Key, Keys};
use crate::config::{JwtAlgorithm, JwtConfig};
use crate::limits::access::{CLOCK_LEEWAY, TOKEN_BYTES_MAX};

/// Checks JWTs.
#[derive(Clone, Debug)]
pub struct Jwts {
    algorithms: Vec<JwtAlgorithm>,
    validation: Validation,
    file: Option<watch::Receiver<Keys>>,
    set: Option<Jwks>,
}

/// Whose token it was, and for how long it is one.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) principal: Principal,
    /// When it ends, without any leeway.
    pub(super) ends: Instant,
    /// The key that signed it, and those that are known from where it came.
    pub(super) key: [u8; 32],
    pub(super) keys: watch::Receiver<Keys>,
}

/// Why a token is not taken. None repeats anything of it.
fn refused(kind: &ErrorKind) -> Problem {
    Problem::invalid_token(match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not good yet",
        ErrorKind::InvalidAudience => "the token is for others: its `aud` is none of this server's",
        ErrorKind::InvalidIssuer => "the token is from others: its `iss` is none that is trusted here",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            "the token's claims are not whole: `sub` and `exp` are needed, and `aud` and `iss` as this server is set up"
        }
        _ => "the token is not known here",
    })
}

impl Jwts {
    /// `file` has the key of the file, and `set` those behind the URL, if there are any.
    pub fn new(config: &JwtConfig, file: Option<watch::Receiver<Keys>>, set: Option<Jwks>) -> Self {
        let leeway = CLOCK_LEEWAY.as_secs();
        let mut validation = Validation { leeway, validate_nbf: true, ..Validation::default() };
        let mut required = vec!["exp", "sub"];
        validation.validate_aud = !config.audiences.is_empty();
        if !config.audiences.is_empty() {
            validation.set_audience(&config.audiences);
            required.push("aud");
        }
        if !config.issuers.is_empty() {
            validation.set_issuer(&config.issuers);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Self { algorithms: config.algorithms.clone(), validation, file, set }
    }

    /// Whether this may be one: three pieces with dots between them.
    pub(super) fn is_like(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Verified, Problem> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Problem::invalid_token("the token is too long"));
        }
        let header = decode_header(token).map_err(|error| refused(error.kind()))?;
        let of = |algorithm: &&JwtAlgorithm| Algorithm::from(**algorithm) == header.alg;
        let algorithm =
            *self.algorithms.iter().find(of).ok_or_else(|| {
                Problem::invalid_token("the token is signed in a way that is not taken here")
            })?;
        // An extension that has to be understood, and is not (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Problem::invalid_token("the token has extensions that are not known here"));
        }
        let mut why = Problem::invalid_token("the token is not known here");
        if let Some(keys) = &self.file {
            let known = keys.borrow().clone();
            for key in known.of(algorithm) {
                match self.verify_by(token, key) {
                    Ok(claims) => return verified(claims, key, keys),
                    Err(error) => why = error,
                }
            }
        }
        if let Some(set) = &self.set {
            let key = set.key(header.kid.as_deref(), algorithm).await?;
            return verified(self.verify_by(token, &key)?, &key, set.keys());
        }
        Err(why)
    }

    /// What a token of this key stands on, if it is one.
    pub(super) async fn basis_of(&self, id: &[u8; 32]) -> Result<Option<Basis>, Problem> {
        let of = |keys: &watch::Receiver<Keys>| Basis::Key { id: *id, keys: keys.clone() };
        if let Some(file) = self.file.as_ref().filter(|file| file.borrow().has(id)) {
            return Ok(Some(of(file)));
        }
        let Some(set) = &self.set else { return Ok(None) };
        set.until(|keys| keys.has(id).then_some(())).await?;
        Ok(Some(of(set.keys())))
    }

    fn verify_by(&self, token: &str, key: &Key) -> Result<Claims, Problem> {
        let algorithms = vec![key.algorithm.into()];
        let validation = Validation { algorithms, ..self.validation.clone() };
        let decoded = decode::<Claims>(token, &key.key, &validation);
        Ok(decoded.map_err(|error| refused(error.kind()))?.claims)
    }
}

fn verified(claims: Claims, key: &Key, keys: &watch::Receiver<Keys>) -> Result<Verified, Problem> {
    let end = claims.end().ok_or_else(|| Problem::invalid_token("the token's `exp` is no time"))?;
    let ends = instant(end);
    let principal = claims.into_principal().map_err(Problem::invalid_token)?;
    Ok(Verified { principal, ends, key: key.id, keys: keys.clone() })
}

#[cfg(test)]
mod tests;
