//! Which parts each role has in a history that was told elsewhere, and what they need: all that answers are kept as.

use alloc::string::String;

use serde_json::value::RawValue;

use super::{Content, ContentError};
use crate::Role;

/// The kinds of parts that a role has, in words, or `None` if it has those.
pub(super) fn refused(role: Role, kind: &str) -> Option<&'static str> {
    let (kinds, told): (&[&str], _) = match role {
        Role::User => (&["text", "file", "data"], "text, file and data are"),
        Role::System => (&["text"], "text is"),
        Role::Tool => (&["tool_result"], "tool_result is"),
        Role::Assistant => (
            &["text", "reasoning", "tool_call", "tool_result", "file", "source", "data"],
            "text, reasoning, tool_call, tool_result, file, source and data are",
        ),
    };
    (!kinds.contains(&kind)).then_some(told)
}

/// What a part of an answer lacks, if it is none that users send.
pub(super) fn check<'a>(
    index: usize,
    kind: &str,
    value: impl Fn(&str) -> Option<&'a RawValue>,
) -> Result<(), ContentError> {
    let string = |name: &str| serde_json::from_str::<String>(value(name)?.get()).ok();
    let is_name = |name: &str| string(name).is_some_and(|name| !name.is_empty());
    let lacks = |kind, member, expected| Err(ContentError::Lacks { index, kind, member, expected });
    match kind {
        "tool_call" if !is_name("id") => lacks("tool_call", "id", "a string"),
        "tool_call" if !is_name("name") => lacks("tool_call", "name", "a string"),
        "tool_call" => match (value("input"), value("input_text")) {
            (Some(_), None) => Ok(()),
            (None, Some(_)) if string("input_text").is_some() => Ok(()),
            (None, Some(_)) => lacks("tool_call", "input_text", "a string"),
            _ => lacks("tool_call", "input", "a JSON value, or else `input_text`, and not both"),
        },
        "tool_result" if !is_name("tool_call_id") => lacks("tool_result", "tool_call_id", "a string"),
        "tool_result" => {
            let is_flag = |value: &RawValue| matches!(value.get(), "true" | "false");
            if !value("is_error").is_none_or(is_flag) {
                return lacks("tool_result", "is_error", "true or false, if it is there");
            }
            // How large it may be is counted with the message.
            let is_parts = |value: &RawValue| Content::from_request(value.get(), usize::MAX).is_ok();
            match value("content") {
                Some(content) if string("content").is_some() || is_parts(content) => Ok(()),
                _ => lacks("tool_result", "content", "a string, or parts as users send them"),
            }
        }
        "source" if !is_name("url") => lacks("source", "url", "an address"),
        "source" if value("title").is_some() && string("title").is_none() => {
            lacks("source", "title", "a string, if it is there")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(role: Role, json: &str) -> Result<Content, ContentError> {
        Content::from_history(role, json, 64)
    }

    #[test]
    fn each_role_has_its_kinds_of_parts_and_they_are_kept_as_they_came() {
        let text = r#"{"type":"text","text":"x","own":1.0}"#;
        let file = r#"{"type":"file","media_type":"image/png","url":"https://example.org/a.png"}"#;
        let thought = r#"{"type":"reasoning","text":"hm","signature":"s"}"#;
        let call = r#"{"type":"tool_call","id":"a","name":"find","input":{"n":1.50}}"#;
        let cut = r#"{"type":"tool_call","id":"a","name":"find","input_text":"{"}"#;
        let result = r#"{"type":"tool_result","tool_call_id":"a","content":"","is_error":true}"#;
        let parts = r#"{"type":"tool_result","tool_call_id":"a","content":[{"type":"text","text":"x"}]}"#;
        let source = r#"{"type":"source","url":"https://example.org","title":"t"}"#;
        let all = [text, file, thought, call, cut, result, parts, source];
        for (role, own) in [
            (Role::User, &all[..2]),
            (Role::System, &all[..1]),
            (Role::Tool, &all[5..7]),
            (Role::Assistant, &all[..]),
        ] {
            for part in all {
                let json = alloc::format!("[{part}]");
                match taken(role, &json) {
                    Ok(content) => {
                        assert!(own.contains(&part) && content.as_json() == json, "{role:?} {part}")
                    }
                    Err(error) => {
                        let is_kind = matches!(error, ContentError::Kind { .. });
                        assert!(is_kind && !own.contains(&part), "{role:?} {part}: {error}");
                    }
                }
            }
        }
        assert_eq!(taken(Role::System, "\"be brief\""), Ok(Content::text("be brief")));
        assert!(matches!(taken(Role::Tool, "\"x\""), Err(ContentError::Kind { .. })));
    }

    #[test]
    fn what_a_part_lacks_is_said() {
        for (part, member) in [
            (r#"{"type":"tool_call","name":"f","input":1}"#, "id"),
            (r#"{"type":"tool_call","id":"","name":"f","input":1}"#, "id"),
            (r#"{"type":"tool_call","id":"a","input":1}"#, "name"),
            (r#"{"type":"tool_call","id":"a","name":"f"}"#, "input"),
            (r#"{"type":"tool_call","id":"a","name":"f","input":1,"input_text":""}"#, "input"),
            (r#"{"type":"tool_call","id":"a","name":"f","input_text":1}"#, "input_text"),
            (r#"{"type":"tool_result","content":"x"}"#, "tool_call_id"),
            (r#"{"type":"tool_result","tool_call_id":"a"}"#, "content"),
            (r#"{"type":"tool_result","tool_call_id":"a","content":3}"#, "content"),
            (r#"{"type":"tool_result","tool_call_id":"a","content":[{"type":"source"}]}"#, "content"),
            (r#"{"type":"tool_result","tool_call_id":"a","content":"x","is_error":null}"#, "is_error"),
            (r#"{"type":"source","title":"t"}"#, "url"),
            (r#"{"type":"source","url":"u","title":1}"#, "title"),
        ] {
            match taken(Role::Assistant, &alloc::format!("[{part}]")) {
                Err(ContentError::Lacks { member: told, .. }) => assert_eq!(told, member, "{part}"),
                other => panic!("{part}: {other:?}"),
            }
        }
        let long = alloc::format!(r#"[{{"type":"reasoning","text":"{}"}}]"#, "x".repeat(65));
        assert_eq!(taken(Role::Assistant, &long), Err(ContentError::TextTooLarge { bytes_max: 64 }));
        assert!(matches!(taken(Role::Assistant, r#"[{"type":"reasoning"}]"#), Err(ContentError::Text(0))));
    }
}
