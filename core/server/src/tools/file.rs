//! The file that `--tools` names: which tools this server carries out, and how. What is wrong with it is told with
//! the entry and the key, with what was expected, and without any value that may be secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstem_runtime::ports::Tool;
use reqwest::Url;
use reqwest::header::HeaderName;
use serde::Deserialize;
use toml::{Spanned, Value};

use super::secrets::{self, Environment, Headers, Secret, Secrets, Words};
use crate::failure::Failure;
use crate::limits::tools::{FILE_BYTES_MAX, NAME_BYTES_MAX};
use crate::units::Span;

/// What the file says, in its order.
#[derive(Clone, Debug, Default)]
pub struct ToolFile {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Http(HttpEntry),
    Mcp(McpEntry),
}

/// A tool behind an HTTP endpoint.
#[derive(Clone, Debug)]
pub(super) struct HttpEntry {
    pub(super) tool: Tool,
    pub(super) url: Secret<Url>,
    pub(super) headers: Headers,
    pub(super) secrets: Secrets,
    pub(super) timeout: Duration,
    pub(super) is_repeatable: bool,
}

/// A server of tools.
#[derive(Clone, Debug)]
pub(super) struct McpEntry {
    pub(super) name: String,
    pub(super) reached: Reached,
    pub(super) secrets: Secrets,
    /// The tools that are offered; `None`: all.
    pub(super) allow: Option<BTreeSet<String>>,
    pub(super) timeout: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Reached {
    Http { url: Secret<Url>, headers: Headers },
    Command { program: String, args: Vec<Secret<String>>, env: BTreeMap<String, Secret<String>> },
}

/// Why a file of tools is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: String },
    #[error("{entry}: {key}: {what}")]
    Key { entry: String, key: String, what: String },
    #[error("{entry}: {key}: {variable} is not set in the environment, or is not UTF-8: set it")]
    Variable { entry: String, key: String, variable: String },
}

impl FileError {
    /// As the process tells it.
    pub fn into_failure(self, path: &Path) -> Failure {
        let told = format!("--tools {}: {self}", path.display());
        match self {
            Self::Unreadable(_) | Self::Variable { .. } => Failure::environment(told),
            Self::TooLarge | Self::Syntax { .. } | Self::Key { .. } => Failure::usage(told),
        }
    }
}

impl ToolFile {
    /// Reads the file. A call without a time-out of its own has `timeout`.
    pub fn read(path: &Path, timeout: Duration) -> Result<Self, FileError> {
        let text = read_text(path)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory, timeout, &|name| std::env::var(name).ok())
    }

    /// Reads the file's text. The files that it names are relative to `directory`.
    pub fn parse(
        text: &str,
        directory: &Path,
        timeout: Duration,
        environment: &Environment<'_>,
    ) -> Result<Self, FileError> {
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            FileError::Syntax { line, what: error.message().trim().to_owned() }
        })?;
        let reader = |entry| Reader { entry, directory, timeout, environment, words: RefCell::default() };
        let mut entries = vec![];
        let mut names = BTreeSet::new();
        for tool in raw.tools {
            let at = tool.span().start;
            let tool = tool.into_inner();
            let reader = reader(format!("[[tools]] {:?}", tool.name));
            if !names.insert(tool.name.clone()) {
                return Err(reader.wrong("name", "another tool of this file has it: names are unique"));
            }
            entries.push((at, Entry::Http(reader.http(tool)?)));
        }
        for (name, server) in raw.mcp {
            let at = server.span().start;
            let reader = reader(format!("[mcp.{name}]"));
            entries.push((at, Entry::Mcp(reader.mcp(name, server.into_inner())?)));
        }
        entries.sort_by_key(|(at, _)| *at);
        Ok(Self { entries: entries.into_iter().map(|(_, entry)| entry).collect() })
    }
}

/// Whether providers of models take it as the name of a tool.
pub(super) fn is_name(name: &str) -> bool {
    let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_taken)
}

fn read_text(path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > FILE_BYTES_MAX { Err(FileError::TooLarge) } else { Ok(text) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    tools: Vec<Spanned<RawTool>>,
    #[serde(default)]
    mcp: BTreeMap<String, Spanned<RawServer>>,
}

// What may hold secrets is taken as any value: the parser's own errors would show it.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    name: String,
    #[serde(default)]
    description: String,
    input_schema: Option<Value>,
    schema_file: Option<PathBuf>,
    run: String,
    url: Option<Value>,
    headers: Option<Value>,
    timeout: Option<Span>,
    #[serde(default)]
    repeatable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    url: Option<Value>,
    headers: Option<Value>,
    command: Option<String>,
    args: Option<Value>,
    env: Option<Value>,
    allow: Option<Vec<String>>,
    timeout: Option<Span>,
}

/// Reads one entry.
struct Reader<'a> {
    entry: String,
    directory: &'a Path,
    timeout: Duration,
    environment: &'a Environment<'a>,
    words: RefCell<Words>,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, what: impl Into<String>) -> FileError {
        FileError::Key { entry: self.entry.clone(), key: key.into(), what: what.into() }
    }

    fn http(self, raw: RawTool) -> Result<HttpEntry, FileError> {
        if !is_name(&raw.name) {
            let expected = format!("expected 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ -, came {:?}", raw.name);
            return Err(self.wrong("name", expected));
        }
        if raw.run != "http" {
            let expected = "expected \"http\"; an MCP server is an entry [mcp.NAME]";
            return Err(self.wrong("run", format!("{expected}, came {:?}", raw.run)));
        }
        let url =
            raw.url.ok_or_else(|| self.wrong("url", "expected an http:// or https:// URL, came nothing"))?;
        Ok(HttpEntry {
            tool: Tool {
                name: raw.name.into(),
                description: raw.description.into(),
                input_schema: self.schema(raw.input_schema, raw.schema_file)?.into(),
            },
            url: self.url(url)?,
            headers: self.headers(raw.headers)?,
            timeout: raw.timeout.map_or(self.timeout, |span| span.0),
            secrets: Secrets::of(self.words.take()),
            is_repeatable: raw.repeatable,
        })
    }

    fn mcp(self, name: String, raw: RawServer) -> Result<McpEntry, FileError> {
        let reached = match (raw.url, raw.command) {
            (Some(url), None) => {
                for (key, given) in [("args", &raw.args), ("env", &raw.env)] {
                    if given.is_some() {
                        return Err(self.wrong(key, "it belongs to command, and this server has url"));
                    }
                }
                Reached::Http { url: self.url(url)?, headers: self.headers(raw.headers)? }
            }
            (None, Some(program)) => {
                if raw.headers.is_some() {
                    return Err(self.wrong("headers", "they belong to url, and this server has command"));
                }
                if program.is_empty() {
                    return Err(self.wrong("command", "expected a program, came an empty text"));
                }
                Reached::Command { program, args: self.args(raw.args)?, env: self.texts("env", raw.env)? }
            }
            (Some(_), Some(_)) => {
                return Err(self.wrong("command", "expected either url or command, came both"));
            }
            (None, None) => return Err(self.wrong("url", "expected either url or command, came neither")),
        };
        let timeout = raw.timeout.map_or(self.timeout, |span| span.0);
        let allow = raw.allow.map(|names| names.into_iter().collect());
        Ok(McpEntry { name, reached, secrets: Secrets::of(self.words.take()), allow, timeout })
    }

    /// The JSON text of a schema: of a table, of a text, or of a file.
    fn schema(&self, given: Option<Value>, file: Option<PathBuf>) -> Result<String, FileError> {
        let (key, text) = match (given, file) {
            (None, None) => return Ok(r#"{"type":"object","properties":{}}"#.into()),
            (Some(_), Some(_)) => {
                return Err(
                    self.wrong("schema_file", "expected either input_schema or schema_file, came both")
                );
            }
            (None, Some(file)) => {
                let path = self.directory.join(file);
                let unreadable = |error| self.wrong("schema_file", format!("{}: {error}", path.display()));
                ("schema_file", read_text(&path).map_err(unreadable)?)
            }
            (Some(Value::String(text)), None) => ("input_schema", text),
            (Some(value), None) => ("input_schema", json_of(value).to_string()),
        };
        let expected = "expected a JSON object (a JSON Schema)";
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(schema) if schema.is_object() => Ok(schema.to_string()),
            Ok(_) => Err(self.wrong(key, format!("{expected}, came another JSON value"))),
            Err(error) => Err(self.wrong(key, format!("{expected}: {error}"))),
        }
    }

    fn url(&self, given: Value) -> Result<Secret<Url>, FileError> {
        let expected = "expected an http:// or https:// URL";
        let text = given.as_str().ok_or_else(|| self.wrong("url", expected))?;
        let url = Url::parse(&self.filled("url", text)?).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| self.wrong("url", expected))?;
        self.words.borrow_mut().url(&url);
        Ok(Secret(url))
    }

    fn headers(&self, given: Option<Value>) -> Result<Headers, FileError> {
        let mut headers = Headers::new();
        for (name, Secret(value)) in self.texts("headers", given)? {
            let key = format!("headers.{name}");
            let parsed: HeaderName =
                name.parse().map_err(|_| self.wrong(&key, "expected the name of an HTTP header"))?;
            let value = secrets::header_value(&value).ok_or_else(|| {
                self.wrong(&key, "it has characters that no HTTP header takes: check it for line ends")
            })?;
            headers.insert(parsed, value);
        }
        Ok(headers)
    }

    fn args(&self, given: Option<Value>) -> Result<Vec<Secret<String>>, FileError> {
        let expected = || self.wrong("args", "expected an array of texts");
        let given = given.unwrap_or(Value::Array(vec![]));
        let args = given.as_array().ok_or_else(expected)?.iter();
        let args = args.map(|arg| self.filled("args", arg.as_str().ok_or_else(expected)?));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        self.words.borrow_mut().args(args.iter().map(String::as_str));
        Ok(args.into_iter().map(Secret).collect())
    }

    /// A table of texts, with variables filled in.
    fn texts(&self, key: &str, given: Option<Value>) -> Result<BTreeMap<String, Secret<String>>, FileError> {
        let given = given.unwrap_or(Value::Table(toml::Table::new()));
        let table = given.as_table().ok_or_else(|| self.wrong(key, "expected a table of texts"))?;
        let texts = table.iter().map(|(name, value)| {
            let key = format!("{key}.{name}");
            let text = value.as_str().ok_or_else(|| self.wrong(&key, "expected a text"))?;
            let filled = self.filled(&key, text)?;
            self.words.borrow_mut().named(name, &filled);
            Ok((name.clone(), Secret(filled)))
        });
        texts.collect()
    }

    fn filled(&self, key: &str, text: &str) -> Result<String, FileError> {
        use secrets::Unfilled::{Missing, Unclosed};
        secrets::fill(text, self.environment, &mut self.words.borrow_mut()).map_err(|unfilled| match unfilled
        {
            Missing(variable) => FileError::Variable { entry: self.entry.clone(), key: key.into(), variable },
            Unclosed => self.wrong(key, "expected ${NAME}, with a name of A-Z a-z 0-9 _, behind each ${"),
        })
    }
}

fn json_of(value: Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Boolean(is) => is.into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(items) => items.into_iter().map(json_of).collect(),
        Value::Table(members) => members.into_iter().map(|(name, value)| (name, json_of(value))).collect(),
    }
}
