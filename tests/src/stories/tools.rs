//! The tools of one replica of a story: HTTP endpoints that carry out each call as the script of its model says. The
//! judges hear that a call was begun when it arrives, and what comes of it before the replica does.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{CallResult, ChatId, Version};
use mainstem_oracles::{Evidence, FaultKind, Name};
use mainstem_story::{Carrying, offered_tools, result_of};
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::puppet::Puppets;
use crate::court::Ledger;
use crate::scratch::Scratch;
use crate::tool_endpoint::{idempotency_key, read_request, respond};

/// How long a server waits for a tool: longer than in the laboratory, so that a story that looks at a call meanwhile
/// finds it on a busy machine too.
pub(super) const TOOL_TIMEOUT: Duration = mainstem_story::TOOL_TIMEOUT.saturating_add(Duration::from_secs(4));

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
    pub(super) async fn of(replica: &str, puppets: &Puppets, ledger: Ledger) -> Self {
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

/// A call, by the name that the server gives it among all calls.
struct Named {
    chat: ChatId,
    of: Version,
    call: Arc<str>,
}

impl Named {
    fn read(key: &str) -> Option<Self> {
        let mut pieces = key.splitn(3, '/');
        let chat = ChatId(pieces.next()?.parse().ok()?);
        let of = Version(pieces.next()?.parse().ok()?);
        Some(Self { chat, of, call: pieces.next()?.into() })
    }
}

async fn carry_out(
    mut stream: TcpStream,
    replica: Name,
    puppets: &Puppets,
    ledger: &Ledger,
) -> std::io::Result<()> {
    let (head, body) = read_request(&mut stream).await?;
    let key = idempotency_key(&head);
    let Named { chat, of, call } = Named::read(&key).unwrap_or_else(|| panic!("S11: {key:?} is no call"));
    let name = body["name"].as_str().unwrap_or_default();
    let is_repeatable = offered_tools(false).iter().any(|tool| &*tool.name == name && tool.is_repeatable);
    let (by, id) = (replica.clone(), call.clone());
    ledger.say(Evidence::CallBegun { replica: by, chat, of, call: id, is_repeatable });
    let (began, mut byte) = (Instant::now(), [0]);
    let (after, result) = match puppets.carrying(&call) {
        Carrying::Returns(after) => (Some(after), result_of(&call)),
        Carrying::Fails(after) => (Some(after), CallResult::error("The tool failed.")),
        Carrying::Hangs => (None, result_of(&call)),
    };
    let comes = async {
        match after {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let is_given_up = tokio::select! {
        () = comes => false,
        _ = stream.read(&mut byte) => true,
    };
    let returned = |result| Evidence::CallReturned { replica: replica.clone(), chat, of, call, result };
    if is_given_up {
        // The server's clock for it began when the call was not here yet. Who goes earlier does not want it any more.
        if began.elapsed() >= TOOL_TIMEOUT / 2 {
            ledger.fault(FaultKind::ToolHangs, &replica, None);
            let why = format!("the tool did not answer within {}s", TOOL_TIMEOUT.as_secs());
            ledger.say(returned(CallResult::error(&why)));
        }
        return Ok(());
    }
    if result.is_error {
        ledger.fault(FaultKind::ToolFails, &replica, None);
    }
    let content: &RawValue = serde_json::from_str(&result.content).expect("it is JSON");
    let body = format!(r#"{{"content": {content}, "is_error": {}}}"#, result.is_error);
    ledger.say(returned(result));
    respond(&mut stream, &body).await
}
