//! An issuer of JWTs. Its keys are those of `tests/keys`, which are in the open and good for nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../keys/", $name))
    };
}

/// The public key of [`Issuer::rsa`] as PEM.
pub const RSA_PUBLIC: &str = key!("rsa-1.pub.pem");
pub const EC_PUBLIC: &str = key!("ec.pub.pem");
pub const ED_PUBLIC: &str = key!("ed.pub.pem");

/// Signs with one key.
#[derive(Clone, Debug)]
pub struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    kid: Option<String>,
}

impl Issuer {
    pub fn secret(secret: &[u8]) -> Self {
        Self::new(Algorithm::HS256, EncodingKey::from_secret(secret))
    }

    pub fn rsa() -> Self {
        Self::new(Algorithm::RS256, EncodingKey::from_rsa_pem(key!("rsa-1.pem").as_bytes()).expect("a key"))
    }

    pub fn other_rsa() -> Self {
        Self::new(Algorithm::RS256, EncodingKey::from_rsa_pem(key!("rsa-2.pem").as_bytes()).expect("a key"))
    }

    pub fn ec() -> Self {
        Self::new(Algorithm::ES256, EncodingKey::from_ec_pem(key!("ec.pem").as_bytes()).expect("a key"))
    }

    pub fn ed() -> Self {
        Self::new(Algorithm::EdDSA, EncodingKey::from_ed_pem(key!("ed.pem").as_bytes()).expect("a key"))
    }

    fn new(algorithm: Algorithm, key: EncodingKey) -> Self {
        Self { algorithm, key, kid: None }
    }

    /// The same key under this name.
    pub fn named(self, kid: &str) -> Self {
        Self { kid: Some(kid.to_owned()), ..self }
    }

    /// A token of these claims and no others.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).expect("it is signed")
    }

    /// A token of a user for the next minutes, with this scope, and what else it claims.
    pub fn token(&self, user: &str, scope: &str, more: Value) -> String {
        let mut claims = json!({"sub": user, "scope": scope, "exp": now() + 600});
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.sign(&claims)
    }

    /// As a set of keys has it, with what else it says.
    pub fn jwk(&self, more: Value) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a key");
        jwk.common.key_id = self.kid.clone();
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        jwk
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

/// A token with this header and these claims, and bytes in the place of its signature.
pub fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (header, claims) = (encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
    format!("{header}.{claims}.{}", encoded(signature))
}
