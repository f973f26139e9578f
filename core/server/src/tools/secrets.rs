//! What of a configuration may be secret, and how the environment gives it: `${NAME}`.

mod words;

use std::fmt;

use reqwest::header::{HeaderMap, HeaderValue};

pub(super) use self::words::{Secrets, Words};

/// What programs need of the environment: none of it is secret.
pub(super) const INHERITED: [&str; 12] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
];

/// The value of a variable, if it is set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Values are marked as sensitive, so they are not shown.
pub(super) type Headers = HeaderMap;

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret<T>(pub(super) T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Why a text cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    Missing(String),
    Unclosed,
}

/// Puts variables in their places. A `$` that no brace follows is itself. What is secret joins the `words`.
pub(super) fn fill(text: &str, environment: &Environment<'_>, words: &mut Words) -> Result<String, Unfilled> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}').ok_or(Unfilled::Unclosed)?;
        let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_taken) {
            return Err(Unfilled::Unclosed);
        }
        filled.push_str(before);
        let value = environment(name).ok_or_else(|| Unfilled::Missing(name.into()))?;
        if !INHERITED.contains(&name) {
            words.secret(&value);
        }
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `None` if no header takes it.
pub(super) fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_or_named() {
        let environment = |name: &str| (name == "KEY_1").then(|| "a${b".to_owned());
        for (text, wanted) in [
            ("", Ok("")),
            ("plain $KEY_1 $ {}", Ok("plain $KEY_1 $ {}")),
            ("Bearer ${KEY_1}", Ok("Bearer a${b")),
            ("${KEY_1}${KEY_1}!", Ok("a${ba${b!")),
            ("${KEY_2}", Err(Unfilled::Missing("KEY_2".into()))),
            ("${KEY_1", Err(Unfilled::Unclosed)),
            ("${}", Err(Unfilled::Unclosed)),
            ("${a b}", Err(Unfilled::Unclosed)),
        ] {
            assert_eq!(fill(text, &environment, &mut Words::default()), wanted.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_a_variable_gives_is_secret_unless_any_program_needs_it() {
        let environment = |name: &str| Some(format!("value-of-{name}"));
        let mut words = Words::default();
        fill("${HOME}/a ${KEY}", &environment, &mut words).expect("it is filled in");
        let told = Secrets::of(words).without("value-of-HOME/a value-of-KEY").into_owned();
        assert_eq!(told, "value-of-HOME/a …");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let headers = [header_value("sk-secret").expect("a value")];
        assert!(!format!("{headers:?} {:?}", Secret("sk-secret")).contains("sk-secret"));
    }
}
