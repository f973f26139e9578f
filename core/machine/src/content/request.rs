//! Content from the JSON of a request: what is taken, within which bounds, and how it is kept.

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};

use serde_json::value::RawValue;

use super::readable::{Members, readable};
use super::{ContentError, spoken};
use crate::Role;
use crate::limits::{CONTENT_REST_BYTES_MIN, MEDIA_TYPE_BYTES_MAX, NAME_TOLD_CHARS_MAX};

/// Parts on their way from a request to the text that is kept.
pub(super) struct Writer {
    role: Role,
    out: String,
    text_bytes_max: usize,
    text_bytes: usize,
    rest_bytes_max: usize,
    rest_bytes: usize,
}

impl Writer {
    pub(super) fn new(role: Role, text_bytes_max: usize) -> Self {
        let rest_bytes_max = text_bytes_max.max(CONTENT_REST_BYTES_MIN);
        Self { role, out: String::from("["), text_bytes_max, text_bytes: 0, rest_bytes_max, rest_bytes: 0 }
    }

    pub(super) fn part(&mut self, index: usize, part: &RawValue) -> Result<(), ContentError> {
        let Members(members) = serde_json::from_str(part.get()).map_err(|_| ContentError::Part(index))?;
        let value = |name: &str| members.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
        let string = |name: &str| serde_json::from_str::<String>(value(name)?.get()).ok();
        let kind = string("type").ok_or(ContentError::Part(index))?;
        self.take(index, &kind)?;
        let text = match &*kind {
            "text" | "reasoning" => Some(string("text").ok_or(ContentError::Text(index))?),
            "file" => file(index, string, |name| value(name).is_some()).map(|()| None)?,
            "data" => data(index, string, |name| value(name).is_some()).map(|()| None)?,
            other => spoken::check(index, other, value).map(|()| None)?,
        };
        let mut names = BTreeSet::new();
        for (name, value) in &members {
            if !names.insert(name) {
                return Err(ContentError::Twice { index, name: told(name) });
            }
            self.out.push_str(if names.len() > 1 {
                ","
            } else if index > 0 {
                ",{"
            } else {
                "{"
            });
            self.out.push_str(&written(name));
            self.out.push(':');
            self.count_rest(name.len())?;
            match &**name {
                "type" => {
                    self.count_rest(kind.len())?;
                    self.out.push_str(&written(&kind));
                }
                "text" if text.is_some() => {
                    let text = text.as_deref().unwrap_or_default();
                    self.count_text(text)?;
                    self.out.push_str(&written(text));
                }
                _ => {
                    self.count_rest(value.get().len())?;
                    readable(value).map_err(|error| ContentError::Member {
                        index,
                        name: told(name),
                        why: error.to_string(),
                    })?;
                    self.out.push_str(&on_one_line(value.get()));
                }
            }
        }
        self.out.push('}');
        Ok(())
    }

    /// Whether the role has parts of this kind.
    pub(super) fn take(&self, index: usize, kind: &str) -> Result<(), ContentError> {
        match spoken::refused(self.role, kind) {
            Some(taken) => Err(ContentError::Kind { index, kind: told(kind), taken }),
            None => Ok(()),
        }
    }

    pub(super) fn count_text(&mut self, text: &str) -> Result<(), ContentError> {
        self.text_bytes += text.len();
        let bytes_max = self.text_bytes_max;
        if self.text_bytes > bytes_max { Err(ContentError::TextTooLarge { bytes_max }) } else { Ok(()) }
    }

    fn count_rest(&mut self, bytes: usize) -> Result<(), ContentError> {
        self.rest_bytes += bytes;
        let bytes_max = self.rest_bytes_max;
        if self.rest_bytes > bytes_max { Err(ContentError::RestTooLarge { bytes_max }) } else { Ok(()) }
    }

    pub(super) fn end(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

/// A file is somewhere, or it is here.
fn file(
    index: usize,
    string: impl Fn(&str) -> Option<String>,
    is_there: impl Fn(&str) -> bool,
) -> Result<(), ContentError> {
    let lacks = |member, expected| ContentError::Lacks { index, kind: "file", member, expected };
    let media_type = string("media_type").ok_or(lacks("media_type", "a media type, as image/png"))?;
    let is_one = media_type.split_once('/').is_some_and(|(kind, of)| !kind.is_empty() && !of.is_empty());
    if !is_one || media_type.len() > MEDIA_TYPE_BYTES_MAX {
        return Err(lacks("media_type", "a media type, as image/png"));
    }
    match (is_there("url"), is_there("data")) {
        (true, false) if string("url").is_some_and(|url| !url.is_empty()) => {}
        (true, false) => return Err(lacks("url", "an address")),
        (false, true) if string("data").is_some_and(|data| is_base64(&data)) => {}
        (false, true) => return Err(lacks("data", "base64, with its padding")),
        _ => return Err(lacks("url", "an address, or else `data`, and not both")),
    }
    match is_there("name") && string("name").is_none() {
        true => Err(lacks("name", "a string, if it is there")),
        false => Ok(()),
    }
}

fn data(
    index: usize,
    string: impl Fn(&str) -> Option<String>,
    is_there: impl Fn(&str) -> bool,
) -> Result<(), ContentError> {
    let lacks = |member, expected| ContentError::Lacks { index, kind: "data", member, expected };
    if string("name").is_none_or(|name| name.is_empty()) {
        return Err(lacks("name", "a string"));
    }
    if !is_there("data") {
        return Err(lacks("data", "a JSON value"));
    }
    match is_there("id") && string("id").is_none() {
        true => Err(lacks("id", "a string, if it is there")),
        false => Ok(()),
    }
}

/// RFC 4648, section 4.
fn is_base64(data: &str) -> bool {
    let signs = data.trim_end_matches('=');
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    data.len().is_multiple_of(4) && data.len() - signs.len() <= 2 && signs.bytes().all(is_sign)
}

pub(crate) fn written(text: &str) -> String {
    serde_json::to_string(text).expect("a string is written")
}

/// The begin of a stranger's word.
fn told(name: &str) -> String {
    match name.char_indices().nth(NAME_TOLD_CHARS_MAX) {
        Some((end, _)) => alloc::format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// A line break can only stand between tokens: in a string it is escaped.
pub(crate) fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}
