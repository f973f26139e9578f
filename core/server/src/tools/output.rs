//! What a model is told of a call: always something, on one line, never more than may be kept, and never what some
//! reader of JSON refuses.

use std::borrow::Cow;
use std::error::Error;

use mainstem_machine::{Block, CallResult};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::secrets::Secrets;
use crate::limits::tools::CAUSE_BYTES_MAX;

/// The begin of a text that somebody else wrote.
pub(super) fn excerpt(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// An error and all that led to it, without line breaks, cut to its bound: of errors that hold no words of somebody else.
pub(super) fn cause_of(error: &dyn Error) -> String {
    excerpt(&causes_of(error), CAUSE_BYTES_MAX)
}

/// An error and all that led to it, without line breaks.
pub(super) fn causes_of(error: &dyn Error) -> String {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let told = error.to_string();
        if !cause.ends_with(&told) {
            cause = format!("{cause}: {told}");
        }
        source = error.source();
    }
    cause.replace(['\n', '\r'], " ")
}

/// A result without these secrets: some answer with what they got.
pub(super) fn without(secrets: &Secrets, result: CallResult, bytes_max: usize) -> CallResult {
    let Cow::Owned(content) = secrets.without(&result.content) else { return result };
    let is_text = serde_json::from_str::<String>(&content).is_ok();
    let content = if is_text { content } else { parts(&content).unwrap_or_else(|| quoted(&content)) };
    bounded(content, result.is_error, bytes_max)
}

/// A text as a result.
pub(super) fn text(text: &str, is_error: bool, bytes_max: usize) -> CallResult {
    bounded(quoted(text), is_error, bytes_max)
}

/// What went wrong, cut to what may be kept.
pub(super) fn error(what: &str, bytes_max: usize) -> CallResult {
    let mut kept = what.len();
    let mut content = quoted(what);
    while content.len() > bytes_max {
        kept /= 2;
        content = quoted(&excerpt(what, kept));
    }
    CallResult { content: content.into(), is_error: true }
}

/// The body of a successful answer: `{content, is_error?}`, a string, parts, or whatever else, as its text.
pub(super) fn of_body(body: &[u8], bytes_max: usize) -> CallResult {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
        #[serde(default)]
        is_error: bool,
    }
    let Ok(said) = str::from_utf8(body) else {
        return error("the tool failed: its answer is neither JSON nor text in UTF-8", bytes_max);
    };
    match object::<Said<'_>>(said) {
        Some(Said { content, is_error }) => bounded(content_of(content.get()), is_error, bytes_max),
        None => bounded(content_of(said), false, bytes_max),
    }
}

/// An object. Members alone, in an array, would be taken for one too.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(json).ok())?
}

/// The JSON text of content, made of any text.
fn content_of(said: &str) -> String {
    if let Ok(text) = serde_json::from_str::<String>(said) {
        return quoted(&text);
    }
    if let Some(parts) = parts(said) {
        return parts;
    }
    match serde_json::from_str::<&RawValue>(said) {
        Ok(json) => quoted(json.get().trim()),
        Err(_) => quoted(said),
    }
}

/// An array of parts, if it is one that everybody takes.
pub(super) fn parts(json: &str) -> Option<String> {
    let parts: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    if parts.is_empty() || !parts.iter().all(|part| is_part(part.get())) {
        return None;
    }
    // A line break can only stand between tokens: in a string it is escaped.
    let line = json.trim().replace(['\n', '\r'], " ");
    is_kept(&line).then_some(line)
}

fn is_part(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Part<'a> {
        r#type: String,
        text: Option<serde_json::Value>,
        media_type: Option<serde_json::Value>,
        url: Option<serde_json::Value>,
        name: Option<serde_json::Value>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Some(part) = object::<Part<'_>>(json) else { return false };
    let is_text = |member: &Option<serde_json::Value>| member.as_ref().is_some_and(|it| it.is_string());
    let is_base64 = |data: &RawValue| data.get().starts_with('"');
    match &*part.r#type {
        "text" => is_text(&part.text),
        "file" => is_text(&part.media_type) && (is_text(&part.url) || part.data.is_some_and(is_base64)),
        "source" => is_text(&part.url),
        "data" => is_text(&part.name) && part.data.is_some(),
        _ => false,
    }
}

/// Whether a result with this content can be kept.
fn is_kept(content: &str) -> bool {
    Block::Whole.takes(&format!(r#"{{"type":"tool_result","tool_call_id":"","content":{content}}}"#))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn bounded(content: String, is_error: bool, bytes_max: usize) -> CallResult {
    if content.len() > bytes_max {
        return error(&too_large(content.len(), bytes_max), bytes_max);
    }
    CallResult { content: content.into(), is_error }
}

pub(super) fn too_large(bytes: usize, bytes_max: usize) -> String {
    format!("the tool's result is too large: it has {bytes} bytes or more, and at most {bytes_max} are taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::secrets::Words;

    const MAX: usize = 4096;

    #[test]
    fn an_answer_is_taken_as_what_it_is() {
        let part =
            r#"[{"type":"text","text":"a"},{"type":"file","media_type":"image/png","data":"AA==","n":1.50}]"#;
        for (body, content, is_error) in [
            (r#""a\u0041""#, r#""aA""#, false),
            ("plain\ntext", r#""plain\ntext""#, false),
            ("", r#""""#, false),
            ("12", r#""12""#, false),
            (r#" {"a": 1.50} "#, r#""{\"a\": 1.50}""#, false),
            (r#"{"content":"x","is_error":true}"#, r#""x""#, true),
            (r#"{"content":"x"}"#, r#""x""#, false),
            (r#"{"content":{"a":1}}"#, r#""{\"a\":1}""#, false),
            (r#"{"content":"x","more":1}"#, r#""{\"content\":\"x\",\"more\":1}""#, false),
            (part, part, false),
            (r#"["x"]"#, r#""[\"x\"]""#, false),
            (r#"[["text","a"]]"#, r#""[[\"text\",\"a\"]]""#, false),
            (&format!(r#"{{"content":{part},"is_error":true}}"#), part, true),
            ("[]", r#""[]""#, false),
            (r#"[{"type":"text"}]"#, r#""[{\"type\":\"text\"}]""#, false),
            (r#"[{"type":"odd","text":"a"}]"#, r#""[{\"type\":\"odd\",\"text\":\"a\"}]""#, false),
            ("[{\"type\":\"text\",\n\"text\":\"a\"}]", r#"[{"type":"text", "text":"a"}]"#, false),
            (
                r#"[{"type":"text","text":"a","n":1e999}]"#,
                r#""[{\"type\":\"text\",\"text\":\"a\",\"n\":1e999}]""#,
                false,
            ),
        ] {
            let output = of_body(body.as_bytes(), MAX);
            assert_eq!((&*output.content, output.is_error), (content, is_error), "{body}");
            assert!(is_kept(&output.content), "{body}");
        }
        assert!(of_body(&[0xff, 0xfe], MAX).is_error);
    }

    #[test]
    fn a_result_without_its_secrets_can_be_kept() {
        let mut words = Words::default();
        for secret in ["sk-this-is-secret", "\"quoted\",", "media_type"] {
            words.secret(secret);
        }
        let secrets = Secrets::of(words);
        for (content, wanted) in [
            (r#""a sk-this-is-secret b""#, r#""a … b""#),
            (r#"[{"type":"text","text":"sk-this-is-secret"}]"#, r#"[{"type":"text","text":"…"}]"#),
            (r#""{\"key\":\"sk-this-is-secret\"}""#, r#""{\"key\":\"…\"}""#),
            // Without the word it is no part any more, or no JSON.
            (
                r#"[{"type":"file","media_type":"a/b","data":"AA=="}]"#,
                r#""[{\"type\":\"file\",\"…\":\"a/b\",\"data\":\"AA==\"}]""#,
            ),
            (
                r#"[{"type":"data","name":"quoted","data":1}]"#,
                r#""[{\"type\":\"data\",\"name\":…\"data\":1}]""#,
            ),
        ] {
            let result = CallResult { content: content.into(), is_error: false };
            let without = without(&secrets, result, MAX);
            assert_eq!((&*without.content, without.is_error), (wanted, false), "{content}");
            assert!(is_kept(&without.content), "{content}");
        }
    }

    #[test]
    fn what_is_too_large_is_an_error_that_fits() {
        for body in ["x".repeat(MAX), "\u{1}".repeat(MAX / 4)] {
            let output = of_body(body.as_bytes(), MAX);
            assert!(output.is_error && output.content.contains("too large"), "{}", output.content);
        }
        let output = error(&"\u{1}ж".repeat(MAX), MAX);
        assert!(output.is_error && output.content.len() <= MAX && is_kept(&output.content));
        assert!(!of_body("x".repeat(MAX - 2).as_bytes(), MAX).is_error);
    }
}
