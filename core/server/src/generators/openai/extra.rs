//! What a provider tells with a call and wants back with it, as Gemini its signatures of thoughts
//! (<https://ai.google.dev/gemini-api/docs/thought-signatures>). It is kept behind the call, as data of the answer, with
//! the model that it came from: no other can read it, and strict ones refuse it.

use mainstem_machine::Block;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

/// The name of such data.
pub(super) const EXTRA: &str = "openai.tool_call_extra";

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Extra<'a> {
    pub(super) model: Box<str>,
    pub(super) tool_call_id: Box<str>,
    /// As it came.
    #[serde(borrow)]
    pub(super) extra_content: &'a RawValue,
}

impl<'a> Extra<'a> {
    /// Of data with this name and this JSON text.
    pub(super) fn read(name: Option<&str>, json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok().filter(|_| name == Some(EXTRA))
    }
}

/// The part of a content that keeps what `model` told with a call, on one line. `None` if not all readers take it.
pub(super) fn part(model: &str, call: &str, extra: &str) -> Option<String> {
    // A line break can only stand between tokens: in a string it is escaped.
    let extra = extra.replace(['\n', '\r'], " ");
    let extra_content = serde_json::from_str(&extra).ok()?;
    let extra = Extra { model: model.into(), tool_call_id: call.into(), extra_content };
    let data = serde_json::to_string(&extra).expect("strings are written as JSON");
    let part = format!(r#"{{"type":"data","name":{},"data":{data}}}"#, json!(EXTRA));
    Block::Whole.takes(&part).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Part, parts};

    #[test]
    fn what_is_kept_is_read_as_it_came() {
        let kept = part("m\"", "a\"", "{\"google\":\n{\"thought_signature\":\"x\\n\"}}").unwrap();
        let content = mainstem_machine::Content::from_stored(format!("[{kept}]"));
        let [Part::Data { name, json }] = &parts(&content)[..] else { panic!("{kept}") };
        let extra = Extra::read(name.as_deref(), json).unwrap();
        assert_eq!((&*extra.model, &*extra.tool_call_id), ("m\"", "a\""));
        assert_eq!(extra.extra_content.get(), "{\"google\": {\"thought_signature\":\"x\\n\"}}");
        assert!(Extra::read(None, json).is_none() && Extra::read(Some("weather"), json).is_none());
        assert!(Extra::read(Some(EXTRA), "{}").is_none());
    }

    #[test]
    fn what_readers_do_not_take_is_not_kept() {
        assert_eq!(part("m", "a", "{"), None);
        let deep = ["[".repeat(200), "]".repeat(200)].concat();
        assert_eq!(part("m", "a", &deep), None);
    }
}
