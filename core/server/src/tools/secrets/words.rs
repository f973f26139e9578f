//! The secrets of one entry, as words: who was given them may say them again, in what a model, a user or the log is told.
//!
//! Secret is what variables of the environment give (but for those that any program needs), what stands under a name
//! that sounds secret, and of a URL the password and the values of the query. Short words are left: they stand in many
//! texts by chance, and a text without them would be another one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;

use crate::limits::tools::SECRET_BYTES_MIN;

/// What stands in the place of a secret.
const HIDDEN: &str = "…";

/// In names of what is secret, in lower case.
const SECRET_NAMES: [&str; 9] =
    ["auth", "cookie", "credential", "key", "passw", "secret", "session", "signature", "token"];

/// The secrets of an entry while it is read.
#[derive(Default)]
pub(in crate::tools) struct Words(BTreeSet<String>);

impl Words {
    /// A value that is secret, as a whole and word by word.
    pub(in crate::tools) fn secret(&mut self, value: &str) {
        self.word(value.trim());
        value.split_whitespace().for_each(|word| self.word(word));
        self.plain(value);
    }

    /// A value that is secret if its name says so.
    pub(in crate::tools) fn named(&mut self, name: &str, value: &str) {
        let name = name.to_lowercase();
        if !SECRET_NAMES.iter().any(|word| name.contains(word)) {
            return self.plain(value);
        }
        self.word(value.trim());
        // The first of many is a scheme, as `Bearer`.
        let words = value.split(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '='));
        let count = value.split_whitespace().count();
        words.skip(usize::from(count > 1)).for_each(|word| self.word(word));
        self.plain(value);
    }

    /// The arguments of a program: `--token=…`, or `--token` and then the secret.
    pub(in crate::tools) fn args<'a>(&mut self, args: impl Iterator<Item = &'a str>) {
        let mut flag = "";
        for arg in args {
            let is_flag = arg.starts_with('-');
            match arg.split_once('=') {
                Some((name, value)) if is_flag => self.named(name, value),
                _ if is_flag => {}
                _ => self.named(flag, arg),
            }
            flag = if is_flag && !arg.contains('=') { arg } else { "" };
        }
    }

    /// A value that is no secret, but has one if it is a URL.
    fn plain(&mut self, value: &str) {
        if let Ok(url) = Url::parse(value.trim())
            && url.has_host()
        {
            self.url(&url);
        }
    }

    /// What of a URL is secret: the password, or the user's name if there is none, and all values of the query. As they
    /// stand there, and as they are meant.
    pub(in crate::tools) fn url(&mut self, url: &Url) {
        let (user, password) = (url.username(), url.password());
        let secret = password.unwrap_or(user);
        self.word(secret);
        self.word(&decoded(secret));
        if !secret.is_empty() {
            // As it is sent.
            let sent = format!("{}:{}", decoded(user), decoded(password.unwrap_or_default()));
            self.word(&BASE64_STANDARD.encode(sent));
        }
        for (_, value) in url.query_pairs() {
            self.word(&value);
        }
        for pair in url.query().unwrap_or_default().split('&') {
            self.word(pair.split_once('=').map_or(pair, |(_, value)| value));
        }
    }

    fn word(&mut self, word: &str) {
        if word.len() >= SECRET_BYTES_MIN {
            self.0.insert(word.to_owned());
        }
    }
}

/// Without the percent signs of URLs.
fn decoded(raw: &str) -> String {
    let url = Url::parse(&format!("http://a/?{}", raw.replace('+', "%2B")));
    let name = url.ok().and_then(|url| url.query_pairs().next().map(|(name, _)| name.into_owned()));
    name.unwrap_or_default()
}

/// The secrets of an entry. Cheap to clone, and never shown.
#[derive(Clone, Default)]
pub(in crate::tools) struct Secrets {
    /// Longest first: what is in another one is not found before it.
    words: Arc<[String]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Secrets {
    pub(in crate::tools) fn of(words: Words) -> Self {
        // Also as they stand in a JSON text, and in one that is a string of another.
        let escaped = |word: &str| {
            let quoted = serde_json::Value::from(word).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let forms = |word: String| {
            let once = escaped(&word);
            [escaped(&once), once, word]
        };
        let words: BTreeSet<String> = words.0.into_iter().flat_map(forms).collect();
        let mut words: Vec<String> = words.into_iter().collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        Self { words: words.into() }
    }

    /// Bytes of the longest. So many more than are told have to be looked at.
    pub(in crate::tools) fn longest(&self) -> usize {
        self.words.first().map_or(0, String::len)
    }

    /// The whole text, without them.
    pub(in crate::tools) fn without<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.begin(text, text.len()) {
            begin if begin == text => Cow::Borrowed(text),
            begin => Cow::Owned(begin),
        }
    }

    /// The begin of a text that somebody else wrote: of its first bytes, what is no secret. It is cut behind that, so no
    /// begin of a secret is told.
    pub(in crate::tools) fn excerpt(&self, text: &str, bytes_max: usize) -> String {
        let begin = self.begin(text, bytes_max);
        if text.len() > bytes_max { format!("{begin}…") } else { begin }
    }

    fn begin(&self, text: &str, bytes_max: usize) -> String {
        let end = text.floor_char_boundary(bytes_max);
        let found: Vec<&str> =
            self.words.iter().map(String::as_str).filter(|word| text.contains(word)).collect();
        if found.is_empty() {
            return text[..end].to_owned();
        }
        let mut begin = String::new();
        let mut rest = text;
        while text.len() - rest.len() < end
            && let Some(next) = rest.chars().next()
        {
            let is_here = |word: &&&str| rest.starts_with(**word);
            let length = match found.iter().find(is_here) {
                Some(word) => {
                    begin.push_str(HIDDEN);
                    word.len()
                }
                None => {
                    begin.push(next);
                    next.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(collect: impl FnOnce(&mut Words)) -> Secrets {
        let mut words = Words::default();
        collect(&mut words);
        Secrets::of(words)
    }

    /// What is hidden of these words.
    fn hidden<'a>(secrets: &Secrets, all: &[&'a str]) -> Vec<&'a str> {
        all.iter().copied().filter(|word| secrets.without(word) == HIDDEN).collect()
    }

    #[test]
    fn a_variable_is_secret_whole_and_in_words_and_short_words_are_not() {
        let found = secrets(|words| words.secret("short one-that-is-long\n"));
        assert_eq!(found.without("short one-that-is-long"), HIDDEN);
        assert_eq!(found.without("a short text, one-that-is-long."), "a short text, ….");
        assert_eq!(secrets(|words| words.secret("1234567")).without("1234567"), "1234567");
        assert_eq!(secrets(|words| words.secret("12345678")).without("1234567812345678"), "……");
    }

    #[test]
    fn what_a_name_says_is_secret_is() {
        let all = ["Bearer", "Negotiate", "abcdefgh12", "application/json", "theme-dark"];
        for (name, value, wanted) in [
            ("Authorization", "Bearer abcdefgh12", &["abcdefgh12"][..]),
            ("Proxy-Authorization", "Negotiate abcdefgh12", &["abcdefgh12"]),
            ("x-api-KEY", "abcdefgh12", &["abcdefgh12"]),
            ("cookie", "id=abcdefgh12;x=theme-dark", &["abcdefgh12", "theme-dark"]),
            ("accept", "application/json", &[]),
            ("theme", "theme-dark", &[]),
        ] {
            assert_eq!(hidden(&secrets(|words| words.named(name, value)), &all), wanted, "{name}");
        }
    }

    #[test]
    fn of_arguments_those_are_secret_whose_flag_says_so() {
        let args =
            ["-m", "a_module", "--token", "abcdefgh12", "/srv/files", "--api-key=hgfedcba21", "--verbosely"];
        let found = secrets(|words| words.args(args.into_iter()));
        let all = ["a_module", "--token", "abcdefgh12", "/srv/files", "hgfedcba21", "--verbosely"];
        assert_eq!(hidden(&found, &all), ["abcdefgh12", "hgfedcba21"]);
    }

    #[test]
    fn of_a_url_the_password_and_the_query_are_secret() {
        let url = "postgres://postgres:pass%2Fw%C3%B6rd@database.example/data?sslkey=a%20long+value&v=1";
        let found = secrets(|words| words.named("DATABASE", url));
        let sent = BASE64_STANDARD.encode("postgres:pass/wörd");
        let all = [
            "postgres",
            "database.example",
            "pass%2Fw%C3%B6rd",
            "pass/wörd",
            "a%20long+value",
            "a long value",
        ];
        assert_eq!(hidden(&found, &all), all[2..]);
        assert_eq!(found.without(&sent), HIDDEN);
        let named_alone = secrets(|words| words.secret("https://abcdefgh12@git.example/"));
        assert_eq!(hidden(&named_alone, &["abcdefgh12", "git.example"]), ["abcdefgh12"]);
        assert!(
            secrets(|words| words.named("DATABASE", "postgres://database.example/data")).words.is_empty()
        );
    }

    #[test]
    fn a_secret_is_found_in_json_texts_too() {
        let secret = "a\"quoted\"\\secret";
        let found = secrets(|words| words.secret(secret));
        let once = serde_json::json!({ "said": secret }).to_string();
        let twice = serde_json::json!([once]).to_string();
        assert_eq!(found.without(&once), r#"{"said":"…"}"#);
        assert_eq!(found.without(&twice), r#"["{\"said\":\"…\"}"]"#);
    }

    #[test]
    fn no_begin_of_a_secret_is_told_and_nothing_behind_the_cut() {
        let found = secrets(|words| words.secret("abcdefgh12"));
        let text = format!("abcdefgh12 xx abcdefgh12{}", "y".repeat(20));
        for bytes_max in 0..text.len() + 5 {
            // No more is looked at than has to be.
            let seen = &text[..text.len().min(bytes_max + found.longest())];
            for seen in [seen, &text] {
                let told = found.excerpt(seen, bytes_max);
                assert!(
                    !told.contains('a') && told.len() <= bytes_max + 2 * HIDDEN.len(),
                    "{bytes_max}: {told}"
                );
                assert!(told.trim_end_matches('…').matches('y').count() <= bytes_max.saturating_sub(24));
            }
        }
        assert_eq!(found.excerpt("żółw", 3), "ż…");
        assert_eq!(found.excerpt("żółw", 7), "żółw");
    }
}
