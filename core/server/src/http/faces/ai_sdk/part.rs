//! Parts of a content that are told whole, read for this face; and outputs of tools, which are any JSON here.

use mainstem_machine::CallResult;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::content::given;

/// The name of the data part that keeps an output that is no string.
const OUTPUT: &str = "output";

/// A part as it is in a content. What its kind does not have is `None`.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub(super) r#type: String,
    pub(super) text: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) input: Option<Box<RawValue>>,
    pub(super) input_text: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) url: Option<String>,
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) data: Option<Box<RawValue>>,
    pub(super) message_metadata: Option<Box<RawValue>>,
}

impl Part {
    pub(super) fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Where a file is: what is in the message becomes an address.
    pub(super) fn file_url(&self) -> Option<String> {
        if let Some(url) = &self.url {
            return Some(url.clone());
        }
        let data: String = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(format!("data:{};base64,{data}", self.media_type.as_deref()?))
    }
}

#[derive(Deserialize)]
struct ToolResult {
    tool_call_id: String,
    content: Box<RawValue>,
    #[serde(default)]
    is_error: bool,
}

/// What came of a call.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tool_call_id: String,
    /// JSON, or what went wrong.
    pub(super) output: Result<Box<RawValue>, String>,
}

impl Outcome {
    /// Of the JSON text of a `tool_result`.
    pub(super) fn read(json: &str) -> Option<Self> {
        let ToolResult { tool_call_id, content, is_error } = serde_json::from_str(json).ok()?;
        let output = if is_error { Err(text_of(&content)) } else { Ok(output_of(content)) };
        Some(Self { tool_call_id, output })
    }
}

/// A content that is an output which was kept as data is that again; any other is what it is.
fn output_of(content: Box<RawValue>) -> Box<RawValue> {
    let parts: Vec<Part> = serde_json::from_str(content.get()).unwrap_or_default();
    match <[Part; 1]>::try_from(parts) {
        Ok([Part { r#type, name: Some(name), data: Some(data), .. }])
            if r#type == "data" && name == OUTPUT =>
        {
            data
        }
        _ => content,
    }
}

fn text_of(content: &RawValue) -> String {
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return text;
    }
    let parts: Vec<Part> = serde_json::from_str(content.get()).unwrap_or_default();
    let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
    if texts.is_empty() { "The tool failed.".to_owned() } else { texts.join("\n") }
}

/// The content that keeps an output: a string as it is, anything else as data.
pub(super) fn content_of(output: &RawValue) -> String {
    if output.get().starts_with('"') {
        return output.get().to_owned();
    }
    format!(r#"[{{"type":"data","name":"{OUTPUT}","data":{}}}]"#, output.get())
}

/// The result that says what went wrong.
pub(super) fn failed(why: &str) -> CallResult {
    CallResult::error(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_the_same_after_it_was_kept() {
        for output in [r#""x""#, "42", "null", r#"{"n": 1.50, "a":[]}"#, r#"[{"type":"text","text":"x"}]"#] {
            let raw: Box<RawValue> = serde_json::from_str(output).expect("JSON");
            let json =
                format!(r#"{{"type":"tool_result","tool_call_id":"a","content":{}}}"#, content_of(&raw));
            let outcome = Outcome::read(&json).expect("a result");
            assert_eq!(outcome.output.expect("it is one").get(), output);
        }
    }

    #[test]
    fn what_went_wrong_is_text() {
        for (content, text) in [
            (r#""no""#, "no"),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "a\nb"),
            (r#"[{"type":"data","name":"n","data":1}]"#, "The tool failed."),
        ] {
            let json =
                format!(r#"{{"type":"tool_result","tool_call_id":"a","is_error":true,"content":{content}}}"#);
            assert_eq!(Outcome::read(&json).expect("a result").output.map(drop), Err(text.to_owned()));
        }
    }
}
