//! Parts of a content, read for this face; and what tools return, which is a text here.

use serde::Deserialize;
use serde_json::value::RawValue;

use mainstem_machine::{Content, Message, Role};

use crate::content::given;

/// A part as it is in a content. What its kind does not have is `None`.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    pub(super) r#type: String,
    pub(super) text: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    input: Option<Box<RawValue>>,
    input_text: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) url: Option<String>,
    pub(super) title: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) tool_call_id: Option<String>,
    content: Option<Box<RawValue>>,
    #[serde(default)]
    is_error: bool,
}

/// The parts of a content, each with its place. One that cannot be read is none.
pub(super) fn parts_of(content: &Content) -> Vec<(u32, Part)> {
    let parts: Vec<&RawValue> = serde_json::from_str(content.as_json()).unwrap_or_default();
    let parts = (0..).zip(parts);
    parts.filter_map(|(place, part)| Some((place, serde_json::from_str(part.get()).ok()?))).collect()
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) call: String,
    pub(super) text: String,
    pub(super) is_error: bool,
}

impl Part {
    /// What a call says it is made with, as it streams: JSON, unless the model erred or was cut short.
    pub(super) fn arguments(&self) -> Option<String> {
        let Some(input) = &self.input else { return self.input_text.as_deref().map(whole_arguments) };
        // An input that is no JSON is kept as a text.
        let text = serde_json::from_str::<String>(input.get()).ok();
        let raw = text.filter(|text| serde_json::from_str::<&RawValue>(text).is_err());
        Some(raw.map_or_else(|| input.get().to_owned(), |raw| whole_arguments(&raw)))
    }

    /// Whether its input came whole.
    pub(super) fn is_whole_call(&self) -> bool {
        self.r#type == "tool_call" && self.input.is_some()
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        let is_result = self.r#type == "tool_result";
        let call = self.tool_call_id.clone().filter(|_| is_result)?;
        Some(Outcome { call, text: text_of(self.content.as_deref()?), is_error: self.is_error })
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

/// The results that a message has.
pub(super) fn outcomes_of(message: &Message) -> Vec<Outcome> {
    parts_of(&message.content).iter().filter_map(|(_, part)| part.outcome()).collect()
}

/// The calls of an answer that were to be carried out: those that have no result of the model's own.
pub(super) fn calls_of(message: &Message) -> Vec<(String, String)> {
    if message.role != Role::Assistant {
        return vec![];
    }
    let parts = parts_of(&message.content);
    let answered: Vec<_> = parts.iter().filter_map(|(_, part)| part.tool_call_id.as_deref()).collect();
    let calls = parts.iter().filter(|(_, part)| part.is_whole_call());
    let calls = calls.filter_map(|(_, part)| Some((part.id.clone()?, part.name.clone()?)));
    calls.filter(|(id, _)| !answered.contains(&&**id)).collect()
}

/// The content of a result: a string is that, texts are joined, and all else is told as JSON.
fn text_of(content: &RawValue) -> String {
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return text;
    }
    let parts: Vec<Part> = serde_json::from_str(content.get()).unwrap_or_default();
    let texts: Option<Vec<String>> = parts.into_iter().map(|part| part.text).collect();
    match texts {
        Some(texts) if !texts.is_empty() => texts.join("\n"),
        _ => content.get().to_owned(),
    }
}

/// As the input is kept that came as this text.
fn whole_arguments(text: &str) -> String {
    let mut arguments = Arguments::default();
    let told = arguments.add(text);
    if told.is_empty() { NO_INPUT.to_owned() } else { told }
}

/// What an input without a word is kept as.
pub(super) const NO_INPUT: &str = "{}";

/// The text of an input while it comes: without the space around it, and on one line, as it is kept.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    has_begun: bool,
    /// Space that may be the last.
    held: String,
}

impl Arguments {
    pub(super) fn add(&mut self, text: &str) -> String {
        let text = text.replace(['\n', '\r'], " ");
        let text = if !self.has_begun { text.trim_ascii_start() } else { &text };
        let kept = text.trim_ascii_end();
        if kept.is_empty() {
            if self.has_begun {
                self.held.push_str(text);
            }
            return String::new();
        }
        let told = std::mem::take(&mut self.held) + kept;
        self.held.push_str(&text[kept.len()..]);
        self.has_begun = true;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_as_they_are_kept_however_they_are_cut() {
        for (text, kept) in [
            (" {\"a\":\n 1} \n", "{\"a\":  1}"),
            ("{}", "{}"),
            ("", "{}"),
            (" \n ", "{}"),
            ("[1, \"x  y\"]", "[1, \"x  y\"]"),
        ] {
            assert_eq!(whole_arguments(text), kept);
            let mut arguments = Arguments::default();
            let mut told: String = text.chars().map(|char| arguments.add(&char.to_string())).collect();
            if told.is_empty() {
                told.push_str(NO_INPUT);
            }
            assert_eq!(told, kept);
        }
    }

    #[test]
    fn a_call_says_what_the_model_said_also_if_it_is_no_json() {
        for (part, arguments) in [
            (r#"{"type":"tool_call","id":"a","name":"f","input":{"n": 1.50}}"#, "{\"n\": 1.50}"),
            (r#"{"type":"tool_call","id":"a","name":"f","input":"{\"n\":"}"#, "{\"n\":"),
            (r#"{"type":"tool_call","id":"a","name":"f","input":"{}"}"#, "\"{}\""),
            (r#"{"type":"tool_call","id":"a","name":"f","input":null}"#, "null"),
            (r#"{"type":"tool_call","id":"a","name":"f","input_text":"{\"n\": "}"#, "{\"n\":"),
        ] {
            let part: Part = serde_json::from_str(part).expect("a part");
            assert_eq!(part.arguments().as_deref(), Some(arguments));
        }
    }

    #[test]
    fn what_came_of_a_call_is_a_text() {
        for (content, text) in [
            (r#""no""#, "no"),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "a\nb"),
            (r#"[{"type":"data","name":"n","data":1}]"#, r#"[{"type":"data","name":"n","data":1}]"#),
        ] {
            let json =
                format!(r#"{{"type":"tool_result","tool_call_id":"a","is_error":true,"content":{content}}}"#);
            let part: Part = serde_json::from_str(&json).expect("a part");
            assert_eq!(part.outcome(), Some(Outcome { call: "a".into(), text: text.into(), is_error: true }));
        }
    }
}
