//! An MCP server that is a program: JSON-RPC, a message a line, on its standard streams.
//!
//! The program is the leader of a process group of its own, which is killed with it. It gets no variable of this
//! process that the file of tools does not give it, save those that any program needs. What it writes to its
//! standard error goes to the log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use futures::StreamExt;
use rmcp::RoleClient;
use rmcp::model::{ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::gate::{End, Gate};
use super::stderr;
use crate::limits::mcp::{MESSAGE_BYTES_MAX, STOP_TIMEOUT, WRITE_TIMEOUT};
use crate::tools::output;
use crate::tools::secrets::{INHERITED, Secret, Secrets};

/// A program that runs. It and its group are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    group: Option<Pid>,
    /// Dropping it says to who reads the standard error that the program is gone.
    _runs: oneshot::Sender<Infallible>,
}

impl Program {
    pub(super) fn start(
        server: &str,
        program: &str,
        args: &[Secret<String>],
        env: &BTreeMap<String, Secret<String>>,
        secrets: &Secrets,
        gate: Arc<Gate>,
    ) -> io::Result<(Self, Pipes)> {
        let mut command = Command::new(program);
        command.args(args.iter().map(|Secret(arg)| arg)).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(env.iter().map(|(name, Secret(value))| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (runs, gone) = oneshot::channel();
        let program = Self { child, group, _runs: runs };
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(io::Error::other("its standard streams are not there"));
        };
        tokio::spawn(stderr::log(server.to_owned(), secrets.clone(), stderr, gone));
        let lines = FramedRead::new(stdout, LinesCodec::new_with_max_length(MESSAGE_BYTES_MAX));
        Ok((program, Pipes { lines, stdin: Arc::new(Mutex::new(Some(stdin))), gate }))
    }

    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Tells it to end, and kills what has not ended in time.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let _ = timeout(STOP_TIMEOUT, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The program's standard streams.
pub(super) struct Pipes {
    lines: FramedRead<ChildStdout, LinesCodec>,
    /// `None` once it does not read.
    stdin: Arc<Mutex<Option<ChildStdin>>>,
    gate: Arc<Gate>,
}

impl Transport<RoleClient> for Pipes {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (stdin, gate) = (self.stdin.clone(), self.gate.clone());
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut stdin = stdin.lock().await;
            let Some(writer) = stdin.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
            let written = timeout(WRITE_TIMEOUT, async {
                writer.write_all(&line).await?;
                writer.flush().await
            });
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    *stdin = None;
                    Err(error)
                }
                Err(_) => {
                    *stdin = None;
                    gate.close(End::Stuck);
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let end = match self.lines.next().await {
                Some(Ok(line)) if self.gate.admit() => match read(&line) {
                    Some(message) => return Some(message),
                    None => {
                        if !line.trim().is_empty() {
                            self.gate.count_nonsense();
                        }
                        continue;
                    }
                },
                Some(Ok(_)) => End::TooMany,
                Some(Err(LinesCodecError::MaxLineLengthExceeded)) => End::TooLong,
                Some(Err(LinesCodecError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                    End::NoText
                }
                Some(Err(_)) | None => End::Closed,
            };
            self.gate.close(end);
            return None;
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // Its input ends, which tells a server to end.
        *self.stdin.lock().await = None;
        Ok(())
    }
}

/// A message, if it is one. A malformed answer is one: whoever waits for it is told.
fn read(line: &str) -> Option<RxJsonRpcMessage<RoleClient>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        id: RequestId,
        #[serde(borrow)]
        method: Option<&'a RawValue>,
    }
    serde_json::from_str(line).ok().or_else(|| {
        let answer: Answer<'_> = output::object(line)?;
        let malformed = || ErrorData::internal_error("its answer is not as the protocol demands", None);
        answer.method.is_none().then(|| JsonRpcMessage::error(malformed(), Some(answer.id)))
    })
}
