//! Who may use a server, beside the tokens of `--auth-file`: whose JWTs are taken, and how.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jsonwebtoken::Algorithm;
use reqwest::Url;
use serde::Deserialize;

use super::group::{Group, or};
use crate::limits::access::{TOKEN_GRACE, TOKEN_GRACE_MAX};
use crate::units::Span;

/// How a JWT may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
pub enum JwtAlgorithm {
    #[value(name = "HS256")]
    #[serde(rename = "HS256")]
    Hs256,
    #[value(name = "RS256")]
    #[serde(rename = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    #[serde(rename = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::Hs256 => Self::HS256,
            JwtAlgorithm::Rs256 => Self::RS256,
            JwtAlgorithm::Es256 => Self::ES256,
            JwtAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Which tokens may stand in the address of a stream, where logs have them. Tickets always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryTokens {
    None,
    File,
    Any,
}

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct AccessOptions {
    /// JWTs are taken that this key signed: a public key as PEM, or a secret
    #[arg(long, env = "MAINSTEM_JWT_KEY_FILE", value_name = "FILE")]
    pub jwt_key_file: Option<PathBuf>,
    /// JWTs are taken that a key behind this URL signed
    #[arg(long, env = "MAINSTEM_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<String>,
    /// How JWTs are signed. Repeatable, or separated by commas; needed where JWTs are taken
    #[arg(long, env = "MAINSTEM_JWT_ALGORITHM", value_name = "ALG", value_delimiter = ',')]
    pub jwt_algorithm: Option<Vec<JwtAlgorithm>>,
    /// Whom a JWT has to be for: one of these. Repeatable, or separated by commas
    #[arg(long, env = "MAINSTEM_JWT_AUDIENCE", value_name = "AUD", value_delimiter = ',')]
    pub jwt_audience: Option<Vec<String>>,
    /// Whom a JWT has to be from: one of these. Repeatable, or separated by commas
    #[arg(long, env = "MAINSTEM_JWT_ISSUER", value_name = "ISS", value_delimiter = ',')]
    pub jwt_issuer: Option<Vec<String>>,
    /// Which tokens may stand in the address of a stream, beside tickets [default: file]
    #[arg(long, env = "MAINSTEM_QUERY_TOKENS", value_name = "KIND")]
    pub query_tokens: Option<QueryTokens>,
    /// How long a stream may outlast its JWT [default: 25s]
    #[arg(long, env = "MAINSTEM_TOKEN_GRACE", value_name = "DURATION")]
    pub token_grace: Option<Span>,
}

impl Group for AccessOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: jwt_key_file, jwks_url, jwt_algorithm, jwt_audience, jwt_issuer, query_tokens, token_grace)
    }
}

/// Who may use a server, beside the tokens of `--auth-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// `None`: no JWT is taken.
    pub jwt: Option<JwtConfig>,
    pub query_tokens: QueryTokens,
    pub token_grace: Duration,
}

/// Which JWTs are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    pub key_file: Option<PathBuf>,
    /// Where a set of keys is: http or https.
    pub set: Option<Url>,
    /// At least one.
    pub algorithms: Vec<JwtAlgorithm>,
    /// None: any.
    pub audiences: Vec<String>,
    /// None: any.
    pub issuers: Vec<String>,
}

impl AccessOptions {
    pub(super) fn check(self) -> Result<AccessConfig, String> {
        let token_grace = self.token_grace.map_or(TOKEN_GRACE, |span| span.0);
        let query_tokens = self.query_tokens.unwrap_or(QueryTokens::File);
        if token_grace > TOKEN_GRACE_MAX {
            return Err(format!("--token-grace is {token_grace:?}: expected up to {TOKEN_GRACE_MAX:?}"));
        }
        let empty = |list: &Option<Vec<String>>| list.iter().flatten().any(String::is_empty);
        for (flag, is_empty) in
            [("--jwt-audience", empty(&self.jwt_audience)), ("--jwt-issuer", empty(&self.jwt_issuer))]
        {
            if is_empty {
                return Err(format!("{flag} is empty: expected a text, or leave the flag out"));
            }
        }
        let set = self.jwks_url.as_deref().map(parse_url).transpose()?;
        let of_file = self.jwt_key_file.as_ref().map(|_| "--jwt-key-file");
        let source = of_file.or(set.as_ref().map(|_| "--jwks-url"));
        let Some(source) = source else {
            let idle = [
                ("--jwt-algorithm", self.jwt_algorithm.is_some()),
                ("--jwt-audience", self.jwt_audience.is_some()),
                ("--jwt-issuer", self.jwt_issuer.is_some()),
            ];
            return match idle.into_iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(format!(
                    "{flag} says nothing without --jwt-key-file or --jwks-url: give a source of keys, too, or none"
                )),
                None => Ok(AccessConfig { jwt: None, query_tokens, token_grace }),
            };
        };
        let mut algorithms = self.jwt_algorithm.unwrap_or_default();
        algorithms.dedup();
        if algorithms.is_empty() {
            return Err(format!(
                "{source} needs --jwt-algorithm: HS256, RS256, ES256 or EdDSA, which no token may choose by itself"
            ));
        }
        let jwt = JwtConfig {
            key_file: self.jwt_key_file,
            set,
            algorithms,
            audiences: self.jwt_audience.unwrap_or_default(),
            issuers: self.jwt_issuer.unwrap_or_default(),
        };
        Ok(AccessConfig { jwt: Some(jwt), query_tokens, token_grace })
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "--jwks-url: expected a URL as in https://id.example/.well-known/jwks.json".into())
}
