//! The tools of one replica of a story: HTTP endpoints that carry out each call as the script of its model says, and perhaps
//! an MCP server that asks here what it is to answer. The judges hear that a call was begun when it arrives, and what comes
//! of it before the replica does.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{CallResult, ChatId, Version};
use mainstem_oracles::{Evidence, FaultKind, Name};
use mainstem_programs::PYTHON;
use mainstem_story::{Carrying, offered_tools, result_of};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::puppet::Puppets;
use crate::court::Ledger;
use crate::scratch::Scratch;
use crate::tool_endpoint::{idempotency_key, read_request, respond};

/// How long a server waits for a tool: longer than in the laboratory, so that a story that looks at a call meanwhile
/// finds it on a busy machine too.
pub(super) const TOOL_TIMEOUT: Duration = mainstem_story::TOOL_TIMEOUT.saturating_add(Duration::from_secs(4));

/// A program that is an MCP server.
const MCP_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/server/tests/tools/server.py");

/// What the MCP server has. It may be begun again. It hears nothing of a call but its input, which has to name the call:
/// `{"call": ID}`.
pub const MCP_TOOL: &str = "echo";

/// The tools of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    /// Those that scripts call.
    Http,
    /// And [`MCP_TOOL`] of an MCP server on its standard streams.
    WithMcp,
}

/// A call, as a tool got it.
#[derive(Clone, Debug)]
pub struct Called {
    pub replica: Name,
    /// How the model named it.
    pub call: Arc<str>,
    pub body: Value,
    pub end: CallEnd,
}

/// How a call ended, as its tool knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// Not yet.
    Open,
    Answered,
    /// Whoever called has gone before there was an answer.
    GivenUp,
}

/// Dropping it ends all calls.
#[derive(Debug)]
pub(super) struct Bench {
    /// The file that names the tools to a server.
    pub(super) file: String,
    _scratch: Scratch,
    serving: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bench {
    /// Of the replica with this name.
    pub(super) async fn of(replica: &str, tools: Tools, puppets: &Puppets, ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut file = String::new();
        for tool in &*offered_tools(false) {
            let (name, repeatable) = (&tool.name, tool.is_repeatable);
            let entry = format!(
                "[[tools]]\nname = {name:?}\nrun = \"http\"\nurl = \"http://{address}/{name}\"\n\
                 timeout = \"{}ms\"\nrepeatable = {repeatable}\n",
                TOOL_TIMEOUT.as_millis()
            );
            writeln!(file, "{entry}").expect("a text takes it");
        }
        if tools == Tools::WithMcp {
            file.push_str(&mcp_entry(address));
        }
        let scratch = Scratch::new();
        let file = scratch.file("tools.toml", &file);
        let (replica, puppets) = (Name::from(replica), puppets.clone());
        let serving = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (replica, puppets, ledger) = (replica.clone(), puppets.clone(), ledger.clone());
                calls.spawn(async move { carry_out(stream, replica, &puppets, &ledger).await.ok() });
            }
        });
        Self { file, _scratch: scratch, serving }
    }
}

fn mcp_entry(witness: SocketAddr) -> String {
    let python = PYTHON.path().expect("Python");
    format!(
        "[mcp.tests]\ncommand = {python:?}\nargs = [{MCP_SERVER:?}, \"--witness={witness}\"]\n\
         allow = [{MCP_TOOL:?}]\ntimeout = \"{}ms\"\n",
        TOOL_TIMEOUT.as_millis()
    )
}

/// A call, by all that its tool knows of it.
struct Named {
    /// Its chat, and the history that ends with it. An MCP server is not told.
    place: Option<(ChatId, Version)>,
    call: Arc<str>,
}

impl Named {
    /// By the name that the server gives it among all calls.
    fn read(key: &str) -> Option<Self> {
        let mut pieces = key.splitn(3, '/');
        let chat = ChatId(pieces.next()?.parse().ok()?);
        let of = Version(pieces.next()?.parse().ok()?);
        Some(Self { place: Some((chat, of)), call: pieces.next()?.into() })
    }

    /// By what the model gave as its input.
    fn of_input(body: &Value) -> Option<Self> {
        Some(Self { place: None, call: body["input"]["call"].as_str()?.into() })
    }

    fn begins(&self, replica: &Name, is_repeatable: bool, ledger: &Ledger) {
        let (replica, call) = (replica.clone(), self.call.clone());
        match self.place {
            Some((chat, of)) => ledger.say(Evidence::CallBegun { replica, chat, of, call, is_repeatable }),
            None => ledger.call_begun(&replica, &call, is_repeatable),
        }
    }

    fn returns(&self, replica: &Name, result: CallResult, ledger: &Ledger) {
        let (replica, call) = (replica.clone(), self.call.clone());
        match self.place {
            Some((chat, of)) => ledger.say(Evidence::CallReturned { replica, chat, of, call, result }),
            None => ledger.call_returned(&replica, &call, result),
        }
    }
}

async fn carry_out(
    mut stream: TcpStream,
    replica: Name,
    puppets: &Puppets,
    ledger: &Ledger,
) -> std::io::Result<()> {
    let (head, body) = read_request(&mut stream).await?;
    let is_of_mcp = head.starts_with("POST /mcp ");
    let key = idempotency_key(&head);
    let named = if is_of_mcp { Named::of_input(&body) } else { Named::read(&key) };
    let named = named.unwrap_or_else(|| panic!("S11: {key:?} with {body} is no call"));
    let name = body["name"].as_str().unwrap_or_default();
    let is_repeatable =
        is_of_mcp || offered_tools(false).iter().any(|tool| &*tool.name == name && tool.is_repeatable);
    let (by, call) = (replica.clone(), named.call.clone());
    named.begins(&replica, is_repeatable, ledger);
    let noted = puppets.note_call(Called { replica: by, call, body, end: CallEnd::Open });
    let (began, mut byte) = (Instant::now(), [0]);
    let given_up = tokio::select! {
        result = result(&named.call, began, puppets) => Ok(result),
        _ = stream.read(&mut byte) => Err(began.elapsed()),
    };
    let result = match given_up {
        Ok(result) => result,
        Err(after) => {
            puppets.note_end(noted, CallEnd::GivenUp);
            // The server's clock for it began when the call was not here yet. Who goes earlier does not want it any more.
            if after >= TOOL_TIMEOUT / 2 && !is_of_mcp {
                ledger.fault(FaultKind::ToolHangs, &replica, None);
                let why = format!("the tool did not answer within {}s", TOOL_TIMEOUT.as_secs());
                named.returns(&replica, CallResult::error(&why), ledger);
            }
            return Ok(());
        }
    };
    if result.is_error {
        ledger.fault(FaultKind::ToolFails, &replica, None);
    }
    let content: &RawValue = serde_json::from_str(&result.content).expect("it is JSON");
    let body = format!(r#"{{"content": {content}, "is_error": {}}}"#, result.is_error);
    named.returns(&replica, result, ledger);
    puppets.note_end(noted, CallEnd::Answered);
    respond(&mut stream, &body).await
}

/// What comes of a call, when it does.
async fn result(call: &str, began: Instant, puppets: &Puppets) -> CallResult {
    let mut changes = puppets.carrying_changes();
    loop {
        let (after, result) = match puppets.carrying(call) {
            Carrying::Returns(after) => (after, result_of(call)),
            Carrying::Fails(after) => (after, CallResult::error("The tool failed.")),
            Carrying::Hangs => match changes.changed().await {
                Ok(()) => continue,
                Err(_) => return std::future::pending().await,
            },
        };
        sleep_until(began + after).await;
        return result;
    }
}
