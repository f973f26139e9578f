//! What came of calls, as clients bring it.

use std::sync::Arc;

use mainstem_machine::CallResult;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Problem;
use super::request::{parse_content, required};

#[derive(Debug, Deserialize)]
pub(super) struct ResultsBody {
    results: Option<Vec<ResultBody>>,
}

#[derive(Debug, Deserialize)]
struct ResultBody {
    tool_call_id: String,
    content: Option<Box<RawValue>>,
    is_error: Option<bool>,
}

impl ResultsBody {
    /// The calls' ids, and what came of each. A content is a string, or an array of parts as a user's message has them.
    pub(super) fn parse(self, bytes_max: usize) -> Result<Vec<(Arc<str>, CallResult)>, Problem> {
        let results = self.results.filter(|results| !results.is_empty());
        let results = results.ok_or_else(|| Problem::malformed("`results` has none"))?;
        results.into_iter().map(|result| result.parse(bytes_max)).collect()
    }
}

impl ResultBody {
    fn parse(self, bytes_max: usize) -> Result<(Arc<str>, CallResult), Problem> {
        let json = required(self.content, "content")?;
        let content = parse_result(&json, bytes_max)?;
        Ok((self.tool_call_id.into(), CallResult { content, is_error: self.is_error.unwrap_or(false) }))
    }
}

/// What a result says: the JSON text of a string, or of parts as a user's message has them.
pub(super) fn parse_result(json: &RawValue, bytes_max: usize) -> Result<Arc<str>, Problem> {
    match serde_json::from_str::<String>(json.get()) {
        Ok(text) if text.len() > bytes_max => Err(Problem::too_large("the text of a result", bytes_max)),
        // It is written anew: what it says is kept, in the way that all readers take.
        Ok(text) => Ok(serde_json::to_string(&text).expect("a string is written").into()),
        Err(_) => Ok(parse_content(json, bytes_max)?.as_json().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::parse_object;

    fn parsed(json: &str) -> Result<Vec<(Arc<str>, CallResult)>, &'static str> {
        let body: ResultsBody = parse_object(json.as_bytes()).map_err(|problem| problem.code)?;
        body.parse(9).map_err(|problem| problem.code)
    }

    #[test]
    fn a_result_is_a_string_or_parts_and_says_whether_it_went_wrong() {
        let json = r#"{"results": [
            {"tool_call_id": "a", "content": "s\u0075n", "is_error": true},
            {"tool_call_id": "b", "content": [{"type": "text", "text": "x", "own": 1.0}]},
            {"tool_call_id": "c", "content": ""}]}"#;
        let results = parsed(json).expect("results");
        let told: Vec<_> =
            results.iter().map(|(id, result)| (&**id, &*result.content, result.is_error)).collect();
        let parts = r#"[{"type":"text","text":"x","own":1.0}]"#;
        assert_eq!(told, [("a", r#""sun""#, true), ("b", parts, false), ("c", r#""""#, false)]);
    }

    #[test]
    fn what_is_no_result_is_malformed_or_too_large() {
        for (json, code) in [
            ("{}", "malformed"),
            (r#"{"results": []}"#, "malformed"),
            (r#"{"results": [{"content": "x"}]}"#, "malformed"),
            (r#"{"results": [{"tool_call_id": "a"}]}"#, "malformed"),
            (r#"{"results": [{"tool_call_id": "a", "content": 3}]}"#, "malformed"),
            (r#"{"results": [{"tool_call_id": "a", "content": []}]}"#, "malformed"),
            (r#"{"results": [{"tool_call_id": "a", "content": "\ud800"}]}"#, "malformed"),
            (r#"{"results": [{"tool_call_id": "a", "content": "0123456789"}]}"#, "too_large"),
        ] {
            assert_eq!(parsed(json).err(), Some(code), "{json}");
        }
    }
}
