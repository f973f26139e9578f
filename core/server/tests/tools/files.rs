//! The file of tools: what is taken, and how it is refused.

use std::path::Path;
use std::time::Duration;

use mainstem::tools::{FileError, ToolFile};
use mainstem_runtime::ports::Tools;
use serde_json::{Value, json};

use crate::{SECRET, environment, toolbox};

fn refused(toml: &str) -> FileError {
    let read = ToolFile::parse(toml, Path::new("."), Duration::from_secs(1), &environment);
    read.expect_err("expected an error")
}

const HTTP: &str = "[[tools]]\nname = \"a\"\nrun = \"http\"\nurl = \"http://a.example/\"\n";

#[test]
fn what_is_wrong_is_told_with_the_key_and_what_was_expected() {
    let tool = |more: &str| format!("{HTTP}{more}");
    let named = |name: &str| HTTP.replace("\"a\"", &format!("{name:?}"));
    for (toml, wanted) in [
        ("x = 1".into(), "line 1: unknown field `x`"),
        ("[[tools]]\nname = 1".into(), "line 2: invalid type"),
        (tool("more = 1"), "unknown field `more`"),
        (tool("timeout = \"soon\""), "expected a number with us, ms"),
        (tool("timeout = 3"), "line 5: "),
        (tool(&tool("")), "[[tools]] \"a\": name: another tool of this file has it"),
        (named("a.b"), "[[tools]] \"a.b\": name: expected 1 to 64 of A-Z a-z 0-9 _ -"),
        (named(""), "expected 1 to 64"),
        (named(&"x".repeat(65)), "expected 1 to 64"),
        (HTTP.replace("run = \"http\"", "run = \"shell\""), "run: expected \"http\""),
        (
            HTTP.replace("url = \"http://a.example/\"", ""),
            "url: expected an http:// or https:// URL, came nothing",
        ),
        (HTTP.replace("http://a", "ftp://a"), "url: expected an http:// or https:// URL"),
        (tool("input_schema = 3"), "input_schema: expected a JSON object"),
        (tool("input_schema = \"[]\""), "input_schema: expected a JSON object"),
        (tool("input_schema = \"{\""), "input_schema: expected a JSON object"),
        (tool("schema_file = \"/nowhere.json\""), "schema_file: /nowhere.json: "),
        (tool("schema_file = \"x\"\ninput_schema = {}"), "either input_schema or schema_file, came both"),
        (tool("headers = { A = \"${\" }"), "headers.A: expected ${NAME}"),
        (tool("headers = { \"a b\" = \"x\" }"), "headers.a b: expected the name of an HTTP header"),
        ("[mcp.a]".into(), "[mcp.a]: url: expected either url or command, came neither"),
        ("[mcp.a]\nurl = \"http://a\"\ncommand = \"b\"".into(), "expected either url or command, came both"),
        ("[mcp.a]\nurl = \"http://a\"\nargs = []".into(), "[mcp.a]: args: it belongs to command"),
        ("[mcp.a]\nurl = \"http://a\"\nenv = {}".into(), "[mcp.a]: env: it belongs to command"),
        ("[mcp.a]\ncommand = \"b\"\nheaders = {}".into(), "[mcp.a]: headers: they belong to url"),
        ("[mcp.a]\ncommand = \"\"".into(), "[mcp.a]: command: expected a program"),
        ("[mcp.a]\ncommand = \"b\"\nargs = [1]".into(), "[mcp.a]: args: expected an array of texts"),
        ("[mcp.a]\ncommand = \"b\"\nenv = { A = 1 }".into(), "[mcp.a]: env.A: expected a text"),
        ("[mcp.a]\ncommand = \"b\"\n[mcp.a]\ncommand = \"b\"".into(), "duplicate key"),
    ] {
        let told = refused(&toml).to_string();
        assert!(told.contains(wanted), "{toml}\n{told}");
    }
}

#[test]
fn a_variable_that_is_missing_is_named() {
    let error = refused(&format!("{HTTP}headers = {{ A = \"Bearer ${{OTHER}}\" }}"));
    assert!(matches!(&error, FileError::Variable { variable, .. } if variable == "OTHER"), "{error}");
    assert_eq!(
        error.to_string(),
        "[[tools]] \"a\": headers.A: OTHER is not set in the environment, or is not UTF-8: set it"
    );
    let error = refused("[mcp.a]\ncommand = \"b\"\nenv = { A = \"${OTHER}\" }");
    assert!(matches!(error, FileError::Variable { .. }), "{error}");
}

#[test]
fn no_error_tells_what_may_be_secret() {
    for toml in [
        format!("{HTTP}headers = \"{SECRET}\""),
        format!("{HTTP}headers = {{ A = [\"{SECRET}\"] }}"),
        format!("{HTTP}headers = {{ A = \"${{KEY}}\\n\" }}"),
        HTTP.replace("\"http://a.example/\"", &format!("[\"{SECRET}\"]")),
        HTTP.replace("http://a.example/", &format!("ftp://{SECRET}@a.example/")),
        format!("[mcp.a]\nurl = \"{SECRET}\""),
        format!("[mcp.a]\ncommand = \"b\"\nenv = \"{SECRET}\""),
        format!("[mcp.a]\ncommand = \"b\"\nargs = \"{SECRET}\""),
        format!("{HTTP}headers = {{ A = \"{SECRET}\" \n"),
    ] {
        let error = refused(&toml);
        assert!(!format!("{error} {error:?}").contains(SECRET), "{toml}\n{error}");
    }
    let toml = format!(
        "{HTTP}headers = {{ A = \"${{KEY}}\" }}\n[mcp.a]\ncommand = \"b\"\nenv = {{ A = \"${{KEY}}\" }}"
    );
    assert!(!format!("{:?}", crate::file(&toml)).contains(SECRET));
}

#[tokio::test]
async fn tools_are_offered_in_the_order_of_the_file_with_their_schemas() {
    let directory = std::env::temp_dir().join(format!("mainstem-schema-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let schema = directory.join("schema.json");
    std::fs::write(&schema, "{\"type\": \"object\"}").unwrap();
    let tool = |name: &str, more: &str| format!("{}{more}\n", HTTP.replace("\"a\"", &format!("{name:?}")));
    let toml = tool("z", "input_schema = '{\"a\": 1}'")
        + &tool("a", &format!("schema_file = {schema:?}"))
        + &tool("m", "input_schema = { at = 2026-01-01, n = [1.5, true, {}] }")
        + &tool("n", "");
    let tools = toolbox(&toml).await;
    std::fs::remove_dir_all(directory).unwrap();
    let tools: Vec<_> = tools.list().iter().map(|tool| tool.tool.clone()).collect();
    let tools: Vec<(_, Value)> =
        tools.iter().map(|tool| (&*tool.name, serde_json::from_str(&tool.input_schema).unwrap())).collect();
    assert_eq!(
        tools,
        [
            ("z", json!({ "a": 1 })),
            ("a", json!({ "type": "object" })),
            ("m", json!({ "at": "2026-01-01", "n": [1.5, true, {}] })),
            ("n", json!({ "type": "object", "properties": {} })),
        ]
    );
}
