//! The tokens of a file, each of which belongs to a user.
//!
//! They are stored and looked up by their digest, so that the time of a look-up reveals nothing about them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

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

    /// The user of the token of this digest.
    pub(super) fn user(&self, digest: &[u8; 32]) -> Option<&Arc<str>> {
        self.0.get(digest)
    }
}

pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
