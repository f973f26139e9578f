//! What an agent tells as a whole, as parts of a content: JSON on one line, which every reader takes, within its bound.

use mainstem_machine::Block;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::generators::calls::UNKNOWN_RESULT;
use crate::generators::json::string;
use crate::limits::agent::EXCERPT_BYTES_MAX;

/// Data of this name. `None` if it is too large to be kept, or not all readers take it. The value is JSON text.
pub(super) fn data(name: &str, id: Option<&str>, value: &str) -> Option<String> {
    let id = id.map(|id| format!(r#","id":{}"#, quoted(id))).unwrap_or_default();
    // A line break can only stand between tokens: in a string it is escaped.
    let value = value.replace(['\n', '\r'], " ");
    let part = format!(r#"{{"type":"data","name":{},"data":{value}{id}}}"#, quoted(name));
    Block::Whole.takes(&part).then_some(part)
}

/// The result of a call. Of one that is too large to be kept, the begin is.
pub(super) fn result(call: &str, content: &Content) -> String {
    let part = |content: &str| {
        let call = quoted(call);
        format!(r#"{{"type":"tool_result","tool_call_id":{call},"content":{content},"is_error":false}}"#)
    };
    let whole = part(&content.json);
    if Block::Whole.takes(&whole) {
        return whole;
    }
    let text = &content.text;
    let begin = &text[..text.floor_char_boundary(EXCERPT_BYTES_MAX)];
    part(&quoted(&format!("{begin}… (the result has {} bytes, too many to be kept)", text.len())))
}

/// The result of a call of which none is known.
pub(super) fn lost(call: &str) -> String {
    let (call, text) = (quoted(call), quoted(UNKNOWN_RESULT));
    format!(r#"{{"type":"tool_result","tool_call_id":{call},"content":{text},"is_error":true}}"#)
}

/// What a tool returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// JSON text of a string, or of an array of parts.
    pub(super) json: String,
    /// What is text of it.
    text: String,
}

impl Content {
    /// Of a text or of a list of AG-UI's content parts; whatever else is kept as its JSON text.
    pub(super) fn of(said: Option<&RawValue>) -> Self {
        let text = match said.map(RawValue::get) {
            None | Some("null") => String::new(),
            Some(json) if json.starts_with('"') => string(said).unwrap_or_default().into(),
            Some(json) if json.starts_with('[') => {
                if let Some(content) = Self::of_parts(json) {
                    return content;
                }
                json.into()
            }
            Some(json) => json.into(),
        };
        Self { json: quoted(&text), text }
    }

    fn of_parts(json: &str) -> Option<Self> {
        let parts: Vec<Part> = serde_json::from_str(json).ok().filter(|parts: &Vec<_>| !parts.is_empty())?;
        let texts: Vec<_> = parts.iter().filter_map(|part| part.text.as_deref()).collect();
        let text = texts.join("\n");
        let parts: Option<Vec<_>> = parts.into_iter().map(Part::into_ours).collect();
        Some(Self { json: serde_json::Value::from(parts?).to_string(), text })
    }
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
    source: Option<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    r#type: String,
    value: String,
    mime_type: Option<String>,
}

impl Part {
    /// As a part of our contents, if it is one of those that AG-UI has.
    fn into_ours(self) -> Option<serde_json::Value> {
        match (&*self.r#type, self.text, self.source) {
            ("text", Some(text), _) => Some(json!({ "type": "text", "text": text })),
            (kind @ ("image" | "audio" | "video" | "document"), _, Some(source)) => {
                let general =
                    if kind == "document" { "application/octet-stream" } else { &format!("{kind}/*") };
                let media_type = source.mime_type.as_deref().unwrap_or(general);
                let member = if source.r#type == "data" { "data" } else { "url" };
                Some(json!({ "type": "file", "media_type": media_type, member: source.value }))
            }
            _ => None,
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use mainstem_machine::limits::{MEMBER_DEPTH_MAX, WHOLE_PART_BYTES_MAX};

    use super::*;

    fn content(json: &str) -> Content {
        Content::of(Some(&RawValue::from_string(json.into()).unwrap()))
    }

    #[test]
    fn data_is_one_line_that_every_reader_takes_or_nothing() {
        let part = data("agui.custom", Some("a"), "{\"n\":\n1.50}").unwrap();
        assert_eq!(part, r#"{"type":"data","name":"agui.custom","data":{"n": 1.50},"id":"a"}"#);
        let deep = "[".repeat(MEMBER_DEPTH_MAX) + &"]".repeat(MEMBER_DEPTH_MAX);
        let large = quoted(&"x".repeat(WHOLE_PART_BYTES_MAX));
        for untaken in [r#""\ud800""#, "1e999", &deep, &large] {
            assert_eq!(data("agui.custom", None, untaken), None);
        }
    }

    #[test]
    fn a_result_is_text_or_parts_and_never_too_large() {
        for (said, kept) in [
            (r#""4""#, r#""4""#),
            ("null", r#""""#),
            ("{\"n\": 1}", r#""{\"n\": 1}""#),
            ("[]", r#""[]""#),
            ("[1]", r#""[1]""#),
            (r#"[{"type":"odd"}]"#, r#""[{\"type\":\"odd\"}]""#),
            (r#"[{"type":"text","text":"a"}]"#, r#"[{"text":"a","type":"text"}]"#),
            (
                r#"[{"type":"image","source":{"type":"url","value":"https://a"}}]"#,
                r#"[{"media_type":"image/*","type":"file","url":"https://a"}]"#,
            ),
            (
                r#"[{"type":"document","source":{"type":"data","value":"aGk=","mimeType":"text/plain"}}]"#,
                r#"[{"data":"aGk=","media_type":"text/plain","type":"file"}]"#,
            ),
        ] {
            let part = result("c", &content(said));
            let wanted =
                format!(r#"{{"type":"tool_result","tool_call_id":"c","content":{kept},"is_error":false}}"#);
            assert_eq!(part, wanted, "{said}");
        }
        let large = result("c", &content(&quoted(&"ż\n".repeat(WHOLE_PART_BYTES_MAX))));
        assert!(Block::Whole.takes(&large) && large.contains("bytes, too many to be kept"), "B1");
    }
}
