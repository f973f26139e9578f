//! Calls that a model made and that have no result in the history yet. They are committed before any of them is carried out,
//! and each gets exactly one result before anything of another turn (S11). Those of the server's own tools are begun by
//! the worker once they are in the row: a worker that acquires the chat takes them for begun.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::Content;
use crate::content::{on_one_line, written};
use crate::limits::RESULTS_BYTES_MAX;

/// What is said in place of a result that nobody waits for any more.
const CANCELLED: &str = r#""The call was cancelled.""#;

/// What is said of a call whose worker has gone, and that may not be begun again.
const UNKNOWN: &str = r#""The server that carried the call out went away. Nobody knows whether it was carried out, or what came of it.""#;

/// What the model is told of a result that does not fit beside the others.
const TOO_LARGE: &str =
    r#""The result is too large: those of all calls of one answer may have 4 MiB together.""#;

/// What the model is told of a call whose input does not fit beside the others.
const INPUT_TOO_LARGE: &str = r#""The call was not made, because its input is too large: those of all calls of one answer may have 1 MiB together.""#;

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallResult {
    /// The JSON text of a string, or of an array of parts, on one line.
    pub content: Arc<str>,
    /// It went wrong, and the model is told so.
    pub is_error: bool,
}

impl CallResult {
    /// What went wrong.
    pub fn error(why: &str) -> Self {
        Self { content: written(why).into(), is_error: true }
    }

    fn cancelled() -> Self {
        Self { content: CANCELLED.into(), is_error: true }
    }

    pub(crate) fn unknown() -> Self {
        Self { content: UNKNOWN.into(), is_error: true }
    }

    pub(crate) fn too_large() -> Self {
        Self { content: TOO_LARGE.into(), is_error: true }
    }

    pub(crate) fn input_too_large() -> Self {
        Self { content: INPUT_TOO_LARGE.into(), is_error: true }
    }
}

/// Who carries a call out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// The client: the chat waits for its results.
    #[default]
    Client,
    /// The worker, which begins it at most once.
    Server,
    /// The worker, which may begin it again where nobody knows what became of it.
    ServerAgain,
}

/// A call without a result in the history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenCall {
    /// The model's name for it.
    pub id: Arc<str>,
    /// The tool's name.
    pub name: Arc<str>,
    /// JSON text on one line. `null` of a call that had its result from the beginning: nobody carries it out.
    pub input: Arc<str>,
    /// Who carries it out.
    #[serde(default)]
    pub carrier: Carrier,
    /// What came of it, if it is known. It joins the history with those of all the others.
    pub result: Option<CallResult>,
}

impl OpenCall {
    /// Whether the client is to carry it out.
    pub fn waits_for_client(&self) -> bool {
        self.result.is_none() && self.carrier == Carrier::Client
    }

    /// The result that it is to have, if those of this size are all together; `None` if that is more than may be, and
    /// the client can be told so.
    pub(crate) fn fitting(&self, result: &CallResult, bytes: usize) -> Option<CallResult> {
        match self.carrier {
            _ if bytes <= RESULTS_BYTES_MAX => Some(result.clone()),
            Carrier::Client => None,
            Carrier::Server | Carrier::ServerAgain => Some(CallResult::too_large()),
        }
    }

    /// Whether it runs at the worker, or is to be begun there.
    pub fn waits_for_server(&self) -> bool {
        self.result.is_none() && self.carrier != Carrier::Client
    }
}

/// A part that is of a call.
pub(crate) enum PartOfCall<'a> {
    /// A call with its whole input, which may be `null`.
    Call { id: String, name: String, input: &'a RawValue },
    /// A call that was cut short while its input came.
    Cut { id: String },
    /// What came of one.
    Result { tool_call_id: String },
}

impl<'a> PartOfCall<'a> {
    fn read(part: &'a RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        #[derive(Deserialize)]
        struct Call<'a> {
            id: String,
            name: String,
            #[serde(borrow, default, deserialize_with = "given")]
            input: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Result {
            tool_call_id: String,
        }
        let part = part.get();
        let Kind { r#type } = serde_json::from_str(part).ok()?;
        match &*r#type {
            "tool_call" => {
                let Call { id, name, input } = serde_json::from_str(part).ok()?;
                Some(input.map_or(Self::Cut { id: id.clone() }, |input| Self::Call { id, name, input }))
            }
            "tool_result" => {
                let Result { tool_call_id } = serde_json::from_str(part).ok()?;
                Some(Self::Result { tool_call_id })
            }
            _ => None,
        }
    }
}

/// A member whose value may be `null`, which is not the same as none.
fn given<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

impl Content {
    /// The calls of a whole answer that it does not answer itself, in order; each of one id once.
    pub fn open_calls(&self) -> Vec<OpenCall> {
        let mut calls: Vec<OpenCall> = Vec::new();
        let mut answered = Vec::new();
        for part in self.parts_of_calls() {
            match part {
                PartOfCall::Call { id, name, input } if calls.iter().all(|call| *call.id != *id) => {
                    let (id, name) = (id.as_str().into(), name.as_str().into());
                    let input = on_one_line(input.get()).into();
                    calls.push(OpenCall { id, name, input, carrier: Carrier::default(), result: None });
                }
                PartOfCall::Call { .. } | PartOfCall::Cut { .. } => {}
                PartOfCall::Result { tool_call_id } => answered.push(tool_call_id),
            }
        }
        calls.retain(|call| answered.iter().all(|id| **id != *call.id));
        calls
    }

    /// Its calls and its results, in order. What a part of another kind has does not matter.
    pub(crate) fn parts_of_calls(&self) -> Vec<PartOfCall<'_>> {
        // Most contents have none: whoever writes the name of their kinds writes it so, or escapes it.
        if !["tool_", "\\u"].iter().any(|name| self.as_json().contains(name)) {
            return Vec::new();
        }
        self.raw_parts().into_iter().filter_map(PartOfCall::read).collect()
    }

    /// All of it but the calls that were cut short, byte for byte.
    pub(crate) fn without_cut_calls(&self) -> Self {
        let is_kept = |part: &&RawValue| !matches!(PartOfCall::read(part), Some(PartOfCall::Cut { .. }));
        let kept: Vec<&str> = self.raw_parts().into_iter().filter(is_kept).map(RawValue::get).collect();
        Self::from_stored(alloc::format!("[{}]", kept.join(",")))
    }

    fn raw_parts(&self) -> Vec<&RawValue> {
        serde_json::from_str(self.as_json()).unwrap_or_default()
    }

    /// The results that a message of a tool has, by their calls, in order.
    pub fn results(&self) -> Vec<(Arc<str>, CallResult)> {
        #[derive(Deserialize)]
        struct Part<'a> {
            tool_call_id: String,
            #[serde(borrow)]
            content: &'a RawValue,
            #[serde(default)]
            is_error: bool,
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(self.as_json()).unwrap_or_default();
        let result = |part: Part<'_>| {
            let content = part.content.get().into();
            (part.tool_call_id.as_str().into(), CallResult { content, is_error: part.is_error })
        };
        parts.into_iter().map(result).collect()
    }

    /// One `tool_result` for each call, in order; what has none is cancelled.
    pub(crate) fn of_results(calls: &[OpenCall]) -> Self {
        let mut json = String::from("[");
        for call in calls {
            let cancelled = CallResult::cancelled();
            let CallResult { content, is_error } = call.result.as_ref().unwrap_or(&cancelled);
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(r#"{"type":"tool_result","tool_call_id":"#);
            json.push_str(&written(&call.id));
            json.push_str(r#","content":"#);
            json.push_str(content);
            json.push_str(if *is_error { r#","is_error":true}"# } else { r#","is_error":false}"# });
        }
        json.push(']');
        Self::from_stored(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> OpenCall {
        let carrier = Carrier::default();
        OpenCall { id: id.into(), name: "find".into(), input: "{}".into(), carrier, result: None }
    }

    #[test]
    fn whole_calls_without_a_result_are_open() {
        let parts = [
            r#"{"type":"text","text":"see"}"#,
            r#"{"type":"tool_call","id":"a","name":"find","input":{"n": [1.0]}}"#,
            r#"{"type":"tool_call","id":"b","name":"find","input":"no JSON"}"#,
            r#"{"type":"tool_call","id":"none","name":"find","input":null}"#,
            r#"{"type":"data","id":7,"name":[],"tool_call_id":{}}"#,
            r#"{"type":"tool_call","id":"cut","name":"find","input_text":"{"}"#,
            r#"{"type":"tool_call","id":"a","name":"other","input":{}}"#,
            r#"{"type":"tool_call","id":"done","name":"find","input":{}}"#,
            r#"{"type":"tool_result","tool_call_id":"done","content":"x"}"#,
        ];
        let calls = Content::from_stored(alloc::format!("[{}]", parts.join(","))).open_calls();
        let told: Vec<_> = calls.iter().map(|call| (&*call.id, &*call.name, &*call.input)).collect();
        let expected =
            [("a", "find", r#"{"n": [1.0]}"#), ("b", "find", r#""no JSON""#), ("none", "find", "null")];
        assert_eq!(told, expected, "S11");
        assert_eq!(Content::text("[]").open_calls(), []);
    }

    #[test]
    fn a_call_whose_kind_is_written_with_escapes_is_a_call() {
        let escaped =
            Content::from_stored(r#"[{"type":"\u0074ool\u005fcall","id":"a","name":"find","input":1}]"#);
        let calls = escaped.open_calls();
        assert_eq!(
            calls.iter().map(|call| (&*call.id, &*call.input)).collect::<Vec<_>>(),
            [("a", "1")],
            "S11"
        );
    }

    #[test]
    fn each_call_has_one_result_and_what_has_none_was_cancelled() {
        let done = CallResult { content: r#"[{"type":"text","text":"x"}]"#.into(), is_error: false };
        let calls = [OpenCall { result: Some(done), ..call("a\"") }, call("b")];
        assert_eq!(
            Content::of_results(&calls).as_json(),
            concat!(
                r#"[{"type":"tool_result","tool_call_id":"a\"","content":[{"type":"text","text":"x"}],"is_error":false},"#,
                r#"{"type":"tool_result","tool_call_id":"b","content":"The call was cancelled.","is_error":true}]"#
            ),
            "S11"
        );
        let told = Content::of_results(&calls).results();
        assert_eq!(told[0], ("a\"".into(), calls[0].result.clone().expect("it has one")));
        assert_eq!((&*told[1].0, told[1].1.is_error), ("b", true));
    }
}
