//! A model that says what a story says, when it says so: a provider for one replica, so that who asks is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstem_machine::Completion;
use mainstem_oracles::{Evidence, FaultKind, RunEnd, RunId};
use mainstem_story::{Script, Turn};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::court::Ledger;
use crate::provider::{DONE, chunk, events};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

#[derive(Debug)]
enum Line {
    Part(String),
    Done,
    /// The connection breaks off: another attempt may go better.
    BreaksOff,
    FailsForGood,
}

/// One generation that a replica asked for.
#[derive(Debug)]
struct Run {
    id: RunId,
    replica: String,
    /// How many parts were said.
    parts: usize,
    /// `None` when it has ended, or the replica has gone.
    lines: Option<mpsc::UnboundedSender<Line>>,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<Run>,
    /// Runs end as soon as they have begun.
    finishing: bool,
}

/// The models of all replicas of a story.
#[derive(Clone, Debug)]
pub(super) struct Puppets {
    state: Arc<Mutex<State>>,
    ledger: Ledger,
}

/// The provider of one replica. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) base_url: String,
    serving: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Puppets {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { state: Arc::default(), ledger }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn provide(&self, replica: &str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (puppets, replica) = (self.clone(), replica.to_owned());
        let serving = tokio::spawn(async move {
            let mut runs = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (puppets, replica) = (puppets.clone(), replica.clone());
                runs.spawn(async move { puppets.perform(stream, replica).await.ok() });
            }
        });
        Provider { base_url: format!("http://127.0.0.1:{port}/v1"), serving }
    }

    async fn perform(&self, mut stream: TcpStream, replica: String) -> std::io::Result<()> {
        let prompt = asked(&mut stream).await?;
        let id = self.ledger.begun(&replica, prompt.clone());
        let (lines, mut said) = mpsc::unbounded_channel();
        let run = {
            let mut state = self.state();
            if state.finishing {
                lines.send(Line::Part("last ".into())).ok();
                lines.send(Line::Done).ok();
            }
            state.runs.push(Run { id, replica, parts: 0, lines: Some(lines) });
            state.runs.len() - 1
        };
        if let Some(script) = Script::parse(&prompt) {
            tokio::spawn(self.clone().answer(id, script));
        }
        let over = self.speak(&mut stream, id, &mut said).await;
        self.state().runs[run].lines = None;
        over?;
        stream.shutdown().await
    }

    async fn speak(
        &self,
        stream: &mut TcpStream,
        run: RunId,
        said: &mut mpsc::UnboundedReceiver<Line>,
    ) -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        stream.write_all(HEAD.as_bytes()).await?;
        loop {
            let line = tokio::select! {
                line = said.recv() => line,
                // The client says nothing more: whatever comes is its end.
                _ = stream.read(&mut bytes) => None,
            };
            let ends = |how| Some(Evidence::RunEnded { run, how });
            // The judges hear it before the replica does.
            let (text, says, ends) = match line {
                Some(Line::Part(text)) => {
                    let wire = events(&[chunk(&text, Value::Null)]);
                    (wire, Some(Evidence::RunSaid { run, begins: None, text }), None)
                }
                Some(Line::Done) => {
                    let wire = events(&[chunk("", "stop".into())]) + DONE;
                    (wire, None, ends(RunEnd::Done(Completion::STOPPED)))
                }
                Some(Line::FailsForGood) => {
                    (events(&[chunk("", "content_filter".into())]) + DONE, None, ends(RunEnd::Failed))
                }
                Some(Line::BreaksOff) => (String::new(), None, ends(RunEnd::Failed)),
                None => (String::new(), None, ends(RunEnd::Cancelled)),
            };
            let over = ends.is_some();
            says.into_iter().chain(ends).for_each(|evidence| self.ledger.say(evidence));
            stream.write_all(text.as_bytes()).await.ok();
            stream.flush().await.ok();
            if over {
                return Ok(());
            }
        }
    }

    /// Answers by itself, as the user's message says.
    async fn answer(self, id: RunId, script: Script) {
        let replica = |run: &Run| (run.id == id).then(|| run.replica.clone());
        let Some(replica) = self.state().runs.iter().find_map(replica) else { return };
        let is_it = |run| run == id;
        let mut said = 0;
        loop {
            tokio::time::sleep(script.every).await;
            // It ends with the run.
            match script.turn(said, 1) {
                Turn::Parts(count) if self.runs(&replica, is_it) => {
                    self.say_parts(&replica, is_it, count);
                    said += count;
                }
                Turn::Done => return self.finish(&replica, is_it),
                Turn::Fail { retryable } => return self.fail(&replica, is_it, retryable),
                Turn::Parts(_) | Turn::Stall => return,
            }
        }
    }

    /// Does this to the newest model that runs for this replica and is meant. False if none does.
    fn with(&self, replica: &str, is_meant: impl Fn(RunId) -> bool, act: impl FnOnce(&mut Run)) -> bool {
        let mut state = self.state();
        let is_it = |run: &&mut Run| run.replica == replica && run.lines.is_some() && is_meant(run.id);
        state.runs.iter_mut().rev().find(is_it).map(act).is_some()
    }

    /// Whether a model runs for this replica, of those that are meant.
    pub(super) fn runs(&self, replica: &str, is_meant: impl Fn(RunId) -> bool) -> bool {
        self.with(replica, is_meant, |_| {})
    }

    /// Says so many parts.
    pub(super) fn say_parts(&self, replica: &str, is_meant: impl Fn(RunId) -> bool, count: u64) {
        self.with(replica, is_meant, |run| {
            for _ in 0..count {
                run.parts += 1;
                run.say(Line::Part(format!("{}-{} ", run.id.0, run.parts)));
            }
        });
    }

    pub(super) fn finish(&self, replica: &str, is_meant: impl Fn(RunId) -> bool) {
        self.with(replica, is_meant, |run| run.say(Line::Done));
    }

    pub(super) fn fail(&self, replica: &str, is_meant: impl Fn(RunId) -> bool, retryable: bool) {
        let kind = if retryable { FaultKind::ModelFails } else { FaultKind::ModelFailsForGood };
        self.ledger.fault(kind, replica, None);
        self.with(replica, is_meant, |run| {
            run.say(if retryable { Line::BreaksOff } else { Line::FailsForGood });
        });
    }

    /// Every run ends, and those that begin from now on.
    pub(super) fn finish_all(&self) {
        let mut state = self.state();
        state.finishing = true;
        for run in &mut state.runs {
            run.say(Line::Part("last ".into()));
            run.say(Line::Done);
        }
    }
}

impl Run {
    fn say(&self, line: Line) {
        if let Some(lines) = &self.lines {
            lines.send(line).ok();
        }
    }
}

/// Reads a request, and returns what the user said last.
async fn asked(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut request, mut bytes) = (vec![], [0; 4096]);
    loop {
        let length = stream.read(&mut bytes).await?;
        request.extend_from_slice(&bytes[..length]);
        let text = String::from_utf8_lossy(&request);
        let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        if let Some(body) = body {
            let last = body["messages"].as_array().and_then(|said| said.last()).cloned().unwrap_or_default();
            return Ok(last["content"].as_str().unwrap_or_default().to_owned());
        }
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
