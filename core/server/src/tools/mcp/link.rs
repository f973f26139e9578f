//! An MCP server that is connected: how it is asked for its tools, and how a call goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::CallResult;
use mainstem_runtime::ports::{ServerTool, Tool, ToolCall};
use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, CallToolResponse, JsonObject, PaginatedRequestParams};
use rmcp::service::{Peer, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::content::output_of;
use super::gate::{End, Gate};
use super::http::HttpFault;
use crate::limits::mcp::{LIST_TIMEOUT, OUTPUT_GRACE, PAGES_MAX, TOOLS_BYTES_MAX, TOOLS_MAX};
use crate::limits::tools::CAUSE_BYTES_MAX;
use crate::tools::file::{McpEntry, is_name};
use crate::tools::output;
use crate::tools::secrets::Secrets;

/// A connection, as those who call see it.
#[derive(Debug)]
pub(in crate::tools) struct Link {
    pub(super) entry: Arc<McpEntry>,
    pub(super) peer: Peer<RoleClient>,
    pub(super) gate: Arc<Gate>,
    /// That the tools may have changed.
    pub(super) changed: Arc<Notify>,
    pub(super) result_bytes_max: usize,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error("none came within {LIST_TIMEOUT:?}")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

impl Link {
    /// Carries out a call. Dropping the future tells the server that nobody waits.
    pub(in crate::tools) async fn call(self: Arc<Self>, call: ToolCall) -> CallResult {
        let result = self.answer(call).await;
        output::without(&self.entry.secrets, result, self.result_bytes_max)
    }

    async fn answer(&self, call: ToolCall) -> CallResult {
        let (name, bytes_max) = (&self.entry.name, self.result_bytes_max);
        let failed = |what: String| output::error(&what, bytes_max);
        let Ok(arguments) = serde_json::from_str::<JsonObject>(&call.input) else {
            return failed("the tool was not called: its input has to be a JSON object".into());
        };
        let params = CallToolRequestParams::new(call.name.to_string()).with_arguments(arguments);
        let answer = tokio::select! {
            // What it answered before it ended counts.
            biased;
            answer = timeout(self.entry.timeout, self.peer.call_tool_once(params)) => answer,
            end = self.gate.ended() => return failed(lost(name, &end)),
        };
        match answer {
            Ok(Ok(CallToolResponse::Complete(result))) => output_of(result, bytes_max),
            Ok(Ok(_)) => failed(format!(
                "the MCP server {name:?} wants to go on in a way that is not possible here (a task, or more input)"
            )),
            Ok(Err(ServiceError::TransportClosed)) => {
                // Over HTTP, it may be the answer to this call alone that was cut short.
                let end = timeout(OUTPUT_GRACE, self.gate.ended()).await;
                failed(lost(name, &end.unwrap_or(End::Closed)))
            }
            Ok(Err(error)) => {
                let is_unsent = matches!(error, ServiceError::TransportSend(_));
                if let Some(end) = self.gate.end().filter(|_| is_unsent) {
                    return failed(lost(name, &end));
                }
                if is_unsent {
                    // It may have been started again, with other tools.
                    self.changed.notify_one();
                }
                failed(format!("the MCP server {name:?} failed: {}", self.told(&error)))
            }
            Err(_) => {
                let after = humantime::format_duration(self.entry.timeout);
                let nonsense = match self.gate.nonsense() {
                    0 => String::new(),
                    lines => format!("; so far it sent {lines} lines that are no messages of the protocol"),
                };
                failed(format!("the MCP server {name:?} did not answer within {after}{nonsense}"))
            }
        }
    }

    /// The tools that are offered. What is wrong with the list is told when it comes for the first time.
    pub(super) async fn tools(&self, is_first: bool) -> Result<Vec<ServerTool>, ListError> {
        let listed = timeout(LIST_TIMEOUT, self.listed()).await;
        let listed = listed.map_err(|_| ListError::TimedOut)?;
        let server = &*self.entry.name;
        let mut tools: Vec<ServerTool> = vec![];
        let mut seen = BTreeSet::new();
        for tool in listed.map_err(|error| ListError::Failed(self.told(&error)))? {
            seen.insert(tool.name.to_string());
            if self.entry.allow.as_ref().is_some_and(|allow| !allow.contains(&*tool.name)) {
                continue;
            }
            if !is_name(&tool.name) || tools.iter().any(|taken| *taken.tool.name == *tool.name) {
                if is_first {
                    let tool = self.entry.secrets.excerpt(&tool.name, CAUSE_BYTES_MAX);
                    tracing::warn!(
                        server,
                        tool,
                        "a tool is left out: its name is not one that models take, or stands twice"
                    );
                }
                continue;
            }
            tools.push(self.tool(&tool));
        }
        if let Some(missing) =
            self.entry.allow.as_ref().map(|allow| allow.difference(&seen).collect::<Vec<_>>())
            && is_first
            && !missing.is_empty()
        {
            tracing::warn!(server, ?missing, "the file of tools allows what this MCP server does not have");
        }
        Ok(tools)
    }

    fn tool(&self, tool: &rmcp::model::Tool) -> ServerTool {
        let (hints, secrets) = (tool.annotations.as_ref(), &self.entry.secrets);
        let is = |hint: Option<bool>| hint.unwrap_or(false);
        ServerTool {
            tool: Tool {
                name: (&*tool.name).into(),
                description: (&*secrets.without(tool.description.as_deref().unwrap_or_default())).into(),
                input_schema: serde_json::Value::Object((*tool.input_schema).clone()).to_string().into(),
            },
            is_repeatable: hints.is_some_and(|hints| is(hints.idempotent_hint) || is(hints.read_only_hint)),
            timeout: self.entry.timeout,
        }
    }

    /// All pages, within bounds.
    async fn listed(&self) -> Result<Vec<rmcp::model::Tool>, ServiceError> {
        let (mut tools, mut bytes, mut cursor) = (vec![], 0, None);
        for _ in 0..PAGES_MAX {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.peer.list_tools(Some(params)).await?;
            for tool in page.tools {
                bytes += serde_json::to_vec(&tool).map_or(0, |json| json.len());
                if tools.len() == TOOLS_MAX || bytes > TOOLS_BYTES_MAX {
                    return Ok(self.cut(tools));
                }
                tools.push(tool);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Ok(self.cut(tools))
    }

    fn cut(&self, tools: Vec<rmcp::model::Tool>) -> Vec<rmcp::model::Tool> {
        tracing::warn!(
            server = %self.entry.name,
            taken = tools.len(),
            "an MCP server has more tools than are taken: {TOOLS_MAX}, {TOOLS_BYTES_MAX} bytes, {PAGES_MAX} pages"
        );
        tools
    }

    /// An error of the protocol, with what led to it.
    fn told(&self, error: &ServiceError) -> String {
        let secrets = &self.entry.secrets;
        match error {
            ServiceError::McpError(error) => {
                let code = error.code.0;
                format!("{} (code {code})", secrets.excerpt(&error.message, CAUSE_BYTES_MAX))
            }
            ServiceError::TransportClosed => "the connection was closed".into(),
            ServiceError::UnexpectedResponse => "its answer is not what was asked for".into(),
            ServiceError::TransportSend(error) => transport_cause(error, secrets),
            error => secrets.excerpt(&output::causes_of(error), CAUSE_BYTES_MAX),
        }
    }
}

fn lost(server: &str, end: &End) -> String {
    format!("the MCP server {server:?} {end}: nobody knows what became of the call")
}

/// Why something could not be sent, or was not answered over HTTP.
pub(super) fn transport_cause(error: &DynamicTransportError, secrets: &Secrets) -> String {
    let cause = match error.error.downcast_ref() {
        Some(StreamableHttpError::<HttpFault>::Client(fault)) => fault.to_string(),
        Some(error) => output::causes_of(error),
        None => output::causes_of(&*error.error),
    };
    secrets.excerpt(&cause, CAUSE_BYTES_MAX)
}
