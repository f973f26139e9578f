//! What a chat is set up with, as requests bring it: bounded, and what databases and readers of JSON take.

use std::collections::BTreeSet;

use mainstem_machine::{NewSettings, Settings, Tool};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Problem;
use super::request::{parse_label, parse_name};
use crate::content::given;
use crate::limits::edge::{
    INSTRUCTIONS_BYTES_MAX, MODEL_BYTES_MAX, TITLE_BYTES_MAX, TOOL_NAME_BYTES_MAX, TOOLS_BYTES_MAX, TOOLS_MAX,
};

/// The members of a request that creates a chat, beside its messages.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SettingsBody {
    external_id: Option<String>,
    title: Option<String>,
    model: Option<String>,
    instructions: Option<String>,
    tools: Option<Vec<ToolBody>>,
}

/// The members of a request that changes a chat: null takes back, and what is not there stays.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NewSettingsBody {
    #[serde(default, deserialize_with = "given")]
    title: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    model: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    instructions: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    tools: Option<Option<Vec<ToolBody>>>,
}

#[derive(Debug, Deserialize)]
struct ToolBody {
    name: String,
    description: Option<String>,
    input_schema: Box<RawValue>,
}

impl SettingsBody {
    pub(super) fn parse(self) -> Result<Settings, Problem> {
        let Self { external_id, title, model, instructions, tools } = self;
        Ok(Settings {
            external_id: parse_name(external_id, "external_id")?,
            title: parse_label(title, "title", TITLE_BYTES_MAX)?,
            model: parse_label(model, "model", MODEL_BYTES_MAX)?,
            instructions: parse_label(instructions, "instructions", INSTRUCTIONS_BYTES_MAX)?,
            tools: parse_tools(tools.unwrap_or_default())?.into(),
        })
    }
}

impl NewSettingsBody {
    pub(super) fn parse(self) -> Result<NewSettings, Problem> {
        let label = |text: Option<Option<String>>, name, bytes_max| {
            text.map(|text| parse_label(text, name, bytes_max)).transpose()
        };
        Ok(NewSettings {
            title: label(self.title, "title", TITLE_BYTES_MAX)?,
            model: label(self.model, "model", MODEL_BYTES_MAX)?,
            instructions: label(self.instructions, "instructions", INSTRUCTIONS_BYTES_MAX)?,
            tools: self.tools.map(|tools| parse_tools(tools.unwrap_or_default())).transpose()?,
        })
    }
}

fn parse_tools(tools: Vec<ToolBody>) -> Result<Vec<Tool>, Problem> {
    if tools.len() > TOOLS_MAX {
        return Err(Problem::malformed(format!("`tools` may have up to {TOOLS_MAX} of them")));
    }
    let (mut names, mut bytes, mut parsed) = (BTreeSet::new(), 0, vec![]);
    for ToolBody { name, description, input_schema } in tools {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=TOOL_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_sign) {
            let signs = "letters, digits, `_` and `-`";
            return Err(Problem::malformed(format!(
                "a tool's `name` has 1 to {TOOL_NAME_BYTES_MAX} {signs}, and {name:.80?} has not"
            )));
        }
        if !names.insert(name.clone()) {
            return Err(Problem::malformed(format!("`tools` has {name} twice")));
        }
        let schema = one_line(input_schema.get());
        if !schema.starts_with('{') {
            return Err(Problem::malformed(format!("`input_schema` of {name} is not an object")));
        }
        let description = parse_label(description, "description", TOOLS_BYTES_MAX)?.unwrap_or_default();
        bytes += name.len() + description.len() + schema.len();
        if bytes > TOOLS_BYTES_MAX {
            return Err(Problem::too_large("`tools`", TOOLS_BYTES_MAX));
        }
        if has_nul(&schema) {
            return Err(Problem::malformed(format!("`input_schema` of {name} has a NUL character")));
        }
        parsed.push(Tool { name: name.into(), description, input_schema: schema.into() });
    }
    Ok(parsed)
}

/// A line break can only stand between tokens.
fn one_line(json: &str) -> String {
    json.trim_ascii().replace(['\n', '\r'], " ")
}

/// Whether a string of a JSON text has a NUL, which databases do not keep. Behind an escaped backslash it is none.
fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        before.is_multiple_of(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::parse_object;

    fn created(json: &str) -> Result<Settings, &'static str> {
        let body: SettingsBody = parse_object(json.as_bytes()).map_err(|problem| problem.code)?;
        body.parse().map_err(|problem| problem.code)
    }

    fn changed(json: &str) -> NewSettings {
        let body: NewSettingsBody = parse_object(json.as_bytes()).expect("an object");
        body.parse().expect("settings")
    }

    #[test]
    fn a_tool_is_kept_as_it_is_given_on_one_line() {
        let schema = "{\"type\" :\n  1.50}";
        let json = format!(r#"{{"tools": [{{"name": "a-B_1", "more": 1, "input_schema": {schema}}}]}}"#);
        let [tool] = &created(&json).expect("settings").tools[..] else { panic!("one tool") };
        assert_eq!((&*tool.name, &*tool.description), ("a-B_1", ""));
        assert_eq!(&*tool.input_schema, "{\"type\" :   1.50}");
    }

    #[test]
    fn what_is_no_setting_is_malformed_or_too_large() {
        let tool = |name: &str, schema: &str| format!(r#"{{"name": "{name}", "input_schema": {schema}}}"#);
        let tools = |tools: &[String]| format!(r#"{{"tools": [{}]}}"#, tools.join(","));
        let large = format!("\"{}\"", "x".repeat(TOOLS_BYTES_MAX));
        let many: Vec<_> = (0..=TOOLS_MAX).map(|n| tool(&format!("t{n}"), "{}")).collect();
        for (json, code) in [
            (tools(&[tool("", "{}")]), "malformed"),
            (tools(&[tool("a b", "{}")]), "malformed"),
            (tools(&[tool(&"x".repeat(TOOL_NAME_BYTES_MAX + 1), "{}")]), "malformed"),
            (tools(&[tool("a", "{}"), tool("a", "{}")]), "malformed"),
            (tools(&[tool("a", "[]")]), "malformed"),
            (tools(&[tool("a", r#"{"a": "\u0000"}"#)]), "malformed"),
            (tools(&[tool("a", &format!("{{\"a\": {large}}}"))]), "too_large"),
            (tools(&many), "malformed"),
            (r#"{"tools": [{"name": "a"}]}"#.into(), "malformed"),
            (r#"{"tools": {}}"#.into(), "malformed"),
            (r#"{"external_id": ""}"#.into(), "malformed"),
            (format!(r#"{{"instructions": "{}"}}"#, "x".repeat(INSTRUCTIONS_BYTES_MAX + 1)), "malformed"),
        ] {
            assert_eq!(created(&json).err(), Some(code), "{json:.60}");
        }
        assert!(created(&tools(&many[1..])).is_ok(), "B1");
        assert!(created(&tools(&[tool("a", r#"{"a": "\\u0000"}"#)])).is_ok(), "a backslash, and no NUL");
        assert!(created(&tools(&[tool("a", r#"{"a": "\\\u0000"}"#)])).is_err(), "a backslash, and a NUL");
    }

    #[test]
    fn null_takes_back_and_what_is_not_there_stays() {
        let change = changed(r#"{"title": null, "model": "m", "tools": null}"#);
        assert_eq!((change.title, change.model), (Some(None), Some(Some("m".into()))));
        assert_eq!((change.instructions, change.tools), (None, Some(vec![])));
        assert_eq!(changed("{}"), NewSettings::default());
    }
}
