//! The keys that signatures of JWTs are checked with. Each is bound to the one algorithm that it is for, so that no token
//! chooses how its own signature is checked (RFC 8725, section 3.1).

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::config::JwtAlgorithm;
use crate::limits::access::{
    HMAC_KEY_BYTES_MIN, KEYS_MAX, RSA_BYTES_MAX, RSA_BYTES_MIN, RSA_DER_OVERHEAD_MAX,
};

/// A key, for one algorithm.
#[derive(Clone)]
pub(super) struct Key {
    /// Its name in a set of keys.
    pub(super) kid: Option<String>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key: DecodingKey,
    /// A digest of all that makes it this key and no other.
    pub(super) id: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm).finish()
    }
}

impl Key {
    fn new(key: DecodingKey, kid: Option<String>) -> Result<Self, &'static str> {
        let algorithm = match key.family() {
            AlgorithmFamily::Hmac => JwtAlgorithm::Hs256,
            AlgorithmFamily::Rsa => JwtAlgorithm::Rs256,
            AlgorithmFamily::Ec => JwtAlgorithm::Es256,
            AlgorithmFamily::Ed => JwtAlgorithm::EdDsa,
        };
        let mut digest = Sha256::new().chain_update(algorithm.name());
        let bits = "an RSA key has 2048 to 4096 bits";
        match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => {
                match algorithm {
                    JwtAlgorithm::Hs256 if bytes.len() < HMAC_KEY_BYTES_MIN => {
                        return Err("a secret for HS256 has at least 32 bytes (RFC 7518, section 3.2)");
                    }
                    JwtAlgorithm::Rs256
                        if !(RSA_BYTES_MIN..=RSA_BYTES_MAX + RSA_DER_OVERHEAD_MAX).contains(&bytes.len()) =>
                    {
                        return Err(bits);
                    }
                    // The library takes longer ones for theirs, and panics at shorter ones.
                    JwtAlgorithm::EdDsa if bytes.len() != 32 => {
                        return Err("a key for EdDSA is one of Ed25519");
                    }
                    _ => {}
                }
                digest.update(bytes);
            }
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let leading = n.iter().take_while(|byte| **byte == 0).count();
                if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&(n.len() - leading)) {
                    return Err(bits);
                }
                digest.update((n.len() as u64).to_be_bytes());
                digest.update(n);
                digest.update(e);
            }
        }
        // What cannot check any signature is no key: a point that is not on the curve, or on another one.
        jsonwebtoken::crypto::verify("", b"", &key, algorithm.into())
            .map_err(|_| "it is not a key of its kind: for ES256 one of P-256 is needed")?;
        Ok(Self { kid, algorithm, key, id: digest.finalize().into() })
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, &'static str> {
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return Err("it is not for signatures");
        }
        if common.key_operations.as_ref().is_some_and(|list| !list.contains(&KeyOperations::Verify)) {
            return Err("it is not for checking signatures");
        }
        match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) if key.curve != EllipticCurve::P256 => {
                return Err("its curve is not P-256");
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve != EllipticCurve::Ed25519 => {
                return Err("its curve is not Ed25519");
            }
            _ => {}
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| "it is no key of a kind that is known here")?;
        let key = Self::new(key, common.key_id.clone())?;
        match common.key_algorithm {
            Some(algorithm) if algorithm != KeyAlgorithm::from(Algorithm::from(key.algorithm)) => {
                Err("its algorithm is none that is known here")
            }
            _ => Ok(key),
        }
    }
}

/// Keys of one source.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<Vec<Key>>);

impl Keys {
    /// Reads a file that has a public key as PEM, or else a secret. Errors never contain anything from the file.
    pub fn from_file(bytes: &[u8], algorithms: &[JwtAlgorithm]) -> Result<Self, String> {
        let bytes = bytes.trim_ascii();
        let is_pem = bytes.starts_with(b"-----BEGIN");
        let key = if is_pem {
            if bytes.windows(11).any(|words| words == b"PRIVATE KEY") {
                return Err(
                    "it has a private key: give the public one, which is all that is needed here".into()
                );
            }
            let read = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
            let read = read.into_iter().find_map(|read| read(bytes).ok());
            read.ok_or("expected a public key of RSA, P-256 or Ed25519 as PEM")?
        } else {
            DecodingKey::from_secret(bytes)
        };
        let key = Key::new(key, None)?;
        if !algorithms.contains(&key.algorithm) {
            let given: Vec<_> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
            let kind = if is_pem { "its key" } else { "a secret, which it has unless it is PEM," };
            return Err(format!(
                "{kind} is for {}, and --jwt-algorithm is {}",
                key.algorithm.name(),
                given.join(", ")
            ));
        }
        Ok(Self(Arc::new(vec![key])))
    }

    /// Reads a set of keys (RFC 7517, section 5). One that is of no use here is passed over, as the RFC has it; how many were
    /// is told beside the others.
    pub(super) fn from_jwks(json: &[u8], algorithms: &[JwtAlgorithm]) -> Result<(Self, usize), String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> = serde_json::from_slice(json).map_err(|_| "expected a JSON object with `keys`")?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("it has {} keys: expected up to {KEYS_MAX}", set.keys.len()));
        }
        let read = |json: &&RawValue| {
            let jwk: Jwk = serde_json::from_str(json.get()).map_err(|_| "it is no key")?;
            Key::from_jwk(&jwk)
        };
        let read = set.keys.iter().map(read).filter_map(|key| match key {
            Ok(key) => Some(key).filter(|key| algorithms.contains(&key.algorithm)),
            Err(why) => {
                tracing::debug!(why, "a key of the set is passed over");
                None
            }
        });
        let keys: Vec<_> = read.collect();
        let passed_over = set.keys.len() - keys.len();
        Ok((Self(Arc::new(keys)), passed_over))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn of(&self, algorithm: JwtAlgorithm) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.algorithm == algorithm)
    }

    /// The key of this name and algorithm. Without a name, the only one of the algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: JwtAlgorithm) -> Option<Key> {
        let mut found = self.of(algorithm).filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let first = found.next()?;
        found.next().is_none().then(|| first.clone())
    }

    /// Whether the same keys are in both, under the same names.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let named = |keys: &Self| keys.0.iter().map(|key| (key.id, key.kid.clone())).collect::<Vec<_>>();
        named(self) == named(other)
    }

    pub(super) fn has(&self, id: &[u8; 32]) -> bool {
        self.0.iter().any(|key| key.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = include_str!("../../../../../tests/keys/ec.pub.pem");
    const ED: &str = include_str!("../../../../../tests/keys/ed.pub.pem");
    const RSA: &str = include_str!("../../../../../tests/keys/rsa-1.pub.pem");
    const PRIVATE: &str = include_str!("../../../../../tests/keys/ed.pem");
    const P384: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE/rkO5qNnv8fw1YBdtLiVyjC6uirfPJSC\n\
        YXtakourhbK1YliGIAEeDhJPMmv45RNFL6NM0k4cp1jC9oc+4UtcnZxoqKwjkRUa\n\
        F8vwhPAuuHD7maFbpNJ3E5JHMNUAxPTC\n\
        -----END PUBLIC KEY-----\n";
    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDjG+U/CbxHwbunyL2ircZNk6p2\n\
        bq4FhtsFEYGkwquh2uWYAM3PmtBJqdabAnDQ8MIfpxgpfug+CiqvMO/a6UoKyN2p\n\
        jMXeQwABQUKqUyVmwVNpjR0Uido9u2p24RZV8OEB2hZ5i6mo7SXQMx1KBqNcXjOq\n\
        V9hsKW2PcHDnaSFTXQIDAQAB\n\
        -----END PUBLIC KEY-----\n";
    const ALL: [JwtAlgorithm; 4] =
        [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];

    #[test]
    fn a_key_is_for_the_one_algorithm_of_its_kind() {
        let secret = "0123456789abcdef0123456789abcdef\n";
        for (file, algorithm) in [(secret, ALL[0]), (RSA, ALL[1]), (EC, ALL[2]), (ED, ALL[3])] {
            let keys = Keys::from_file(file.as_bytes(), &ALL).expect("a key");
            for other in ALL {
                assert_eq!(keys.of(other).count(), usize::from(other == algorithm), "{other:?}");
            }
            let others: Vec<_> = ALL.into_iter().filter(|other| *other != algorithm).collect();
            let why = Keys::from_file(file.as_bytes(), &others).expect_err("it is for none of these");
            assert!(why.contains("--jwt-algorithm") && why.contains(algorithm.name()), "{why}");
        }
    }

    #[test]
    fn what_is_no_key_to_check_with_is_refused_without_repeating_it() {
        let broken = EC.replace("MFkw", "MFkx");
        for (bad, said) in [
            ("", "32 bytes"),
            ("0123456789abcdef0123456789abcde", "32 bytes"),
            (PRIVATE, "private"),
            (P384, "P-256"),
            (RSA_1024, "2048"),
            (&broken, "PEM"),
            ("-----BEGIN", "PEM"),
        ] {
            let why = Keys::from_file(bad.as_bytes(), &ALL).expect_err(said);
            assert!(why.contains(said) && !why.contains("0123") && !why.contains("MF"), "{why}");
        }
        assert!(Keys::from_file(b"\xff", &ALL).is_err());
    }

    #[test]
    fn a_set_has_what_is_of_use_here_and_passes_over_the_rest() {
        let rsa = r#""kty":"RSA","e":"AQAB","n":""#;
        let n = "0".repeat(342).replacen('0', "z", 1) + "w";
        let ed = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
        let set =
            |keys: &[String]| Keys::from_jwks(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes(), &ALL);
        let taken = |key: String| set(&[key]).expect("a set").0.count() == 1;
        assert!(taken(format!("{{{ed}}}")));
        assert!(taken(format!(
            "{{{ed},\"use\":\"sig\",\"alg\":\"EdDSA\",\"key_ops\":[\"verify\"],\"x5t\":\"AA\"}}"
        )));
        assert!(taken(format!("{{{rsa}{n}\"}}")));
        for bad in [
            format!("{{{ed},\"use\":\"enc\"}}"),
            format!("{{{ed},\"key_ops\":[\"sign\"]}}"),
            format!("{{{ed},\"alg\":\"ES256\"}}"),
            format!("{{{rsa}{n}\",\"alg\":\"PS256\"}}"),
            format!("{{{rsa}{}\"}}", &n[..170]),
            // A short point of Ed25519.
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.into(),
            r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.into(),
            r#"{"kty":"oct","k":"AAAA"}"#.into(),
            r#"{"kty":"elsewhere"}"#.into(),
            "3".into(),
        ] {
            assert!(!taken(bad.clone()), "{bad}");
        }
        let two =
            set(&[format!("{{{ed},\"kid\":\"a\"}}"), format!("{{{ed},\"kid\":\"b\"}}")]).expect("a set").0;
        let found = |kid: Option<&str>| two.find(kid, JwtAlgorithm::EdDsa).and_then(|key| key.kid);
        assert_eq!((found(Some("b")).as_deref(), found(Some("c")), found(None)), (Some("b"), None, None));
        assert!(two.find(Some("a"), JwtAlgorithm::Es256).is_none(), "a name is of a key of an algorithm");
        for bad in ["", "[]", "{}", "{\"keys\":3}"] {
            assert!(Keys::from_jwks(bad.as_bytes(), &ALL).is_err(), "{bad}");
        }
        assert!(set(&vec!["{}".to_owned(); KEYS_MAX + 1]).is_err(), "B1");
    }
}
